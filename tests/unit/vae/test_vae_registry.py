from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import anndata
import pytest

from builders.project import ROOT
from stlatent.failures import DataError
from stlatent.vae import registry
from stlatent.vae.interface import Run


def test_an_unknown_vae_names_the_choices() -> None:
    choices = ", ".join(registry.names())
    with pytest.raises(ValueError, match=f"unknown VAE 'scvae': choose {choices}"):
        registry.get("scvae")


def test_the_parameter_has_all_vaes() -> None:
    groups = json.loads((ROOT / "nextflow_schema.json").read_text())["$defs"].values()
    (rule,) = [group["properties"]["vae"] for group in groups if "vae" in group["properties"]]
    assert sorted(rule["enum"]) == registry.names()


def test_names_are_known_without_the_libraries_of_the_vaes() -> None:
    code = (
        "import sys; from stlatent.vae import registry; registry.names();"
        "print({'scvi', 'torch', 'sklearn', 'lightning'} & set(sys.modules))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "bin"
    )
    assert ended.stdout.strip() == "set()"


@pytest.mark.parametrize("name", registry.names())
def test_every_vae_has_an_installed_package_and_a_paper(name: str) -> None:
    backend = registry.get(name)
    command = [sys.executable, ROOT / "bin" / "package_of.py", name]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == backend.package
    assert version(backend.package)
    assert backend.cite.rpartition(", ")[2].startswith("https://")
    assert backend.title


def test_a_vae_takes_the_options_that_it_has() -> None:
    values = {"n_latent": 4, "max_epochs": 2, "kl_warmup_epochs": 1, "batch_size": 64}
    assert vars(registry.get("scvi").select({**values, "depth": 3})) == values


@pytest.mark.parametrize("name", registry.names())
def test_too_few_cells_name_the_cure(
    name: str, reference: anndata.AnnData, genes: list[str]
) -> None:
    with pytest.raises(DataError, match="has 5 cells after quality control, at least 20"):
        registry.get(name).train(reference[:5].copy(), genes, None, Run())


def test_genes_that_the_reference_lacks_are_named(
    reference: anndata.AnnData, genes: list[str]
) -> None:
    with pytest.raises(DataError, match="lacks 1 genes, among them Nowhere"):
        registry.get("scvi").train(reference, [*genes, "Nowhere"], None, Run())
