from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pytest
from click.testing import CliRunner
from scipy import sparse

import train_vae
from stlatent import slots
from stlatent.expression import reference_expression
from stlatent.failures import DataError
from stlatent.vae import registry, storage
from stlatent.vae.interface import Run
from stlatent.vae.models.pca import Options


def expression(reference: anndata.AnnData, genes: list[str]) -> np.ndarray:
    return reference_expression(reference, np.arange(reference.n_obs), genes)


def test_positions_are_the_leading_components_on_one_scale(
    reference: anndata.AnnData, genes: list[str]
) -> None:
    found = registry.get("pca").train(reference, genes, Options(n_latent=5), Run()).vae
    values = expression(reference, genes)
    centred = values - values.mean(0)
    left, singular, _ = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    expected = left[:, :5] * singular[:5]
    scale = np.sqrt((singular[:5] ** 2).mean() / (len(values) - 1))
    np.testing.assert_allclose(np.abs(found.latent), np.abs(expected / scale), atol=1e-3)
    np.testing.assert_allclose(found.latent.var(0, ddof=1).mean(), 1, rtol=1e-4)
    share = singular[:5] ** 2 / (singular**2).sum()
    np.testing.assert_allclose(found.history["explained_variance"], share, rtol=1e-4)
    assert found.best_epoch is None


def test_the_decoder_is_the_exact_inverse(reference: anndata.AnnData, genes: list[str]) -> None:
    few = genes[:12]
    found = registry.get("pca").train(reference, few, Options(n_latent=12), Run()).vae
    decoded = found.decoder.decode(found.latent, covered=0.1)
    np.testing.assert_allclose(decoded, expression(reference, few), atol=1e-4)


def test_a_reference_without_counts_has_the_components_of_its_shares(
    reference: anndata.AnnData, genes: list[str]
) -> None:
    counts = reference.X.toarray()
    per_million = counts / counts.sum(axis=1, keepdims=True) * 1e6
    other = reference.copy()
    other.X = sparse.csr_matrix(np.log1p(per_million), dtype="float32")
    slots.note(other, counts=False)
    backend, options = registry.get("pca"), Options(n_latent=3)
    expected = backend.train(reference, genes, options, Run()).vae.latent
    found = backend.train(other, genes, options, Run()).vae.latent
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_more_components_than_genes_are_refused(
    reference: anndata.AnnData, genes: list[str]
) -> None:
    with pytest.raises(
        DataError, match="8 principal components cannot be taken of 257 cells and 3"
    ):
        registry.get("pca").train(reference, genes[:3], Options(n_latent=8), Run())


def test_a_reference_without_variance_is_refused(
    reference: anndata.AnnData, genes: list[str]
) -> None:
    same = reference.copy()
    same.X = sparse.csr_matrix(np.ones(same.shape, dtype=np.float32))
    with pytest.raises(DataError, match="all cells of the reference have the same expression"):
        registry.get("pca").train(same, genes, Options(n_latent=3), Run())


def test_the_script_takes_the_options_of_pca_and_writes_its_history(
    tmp_path: Path, reference: anndata.AnnData, genes: list[str]
) -> None:
    reference.write_h5ad(tmp_path / "r.h5ad")
    (tmp_path / "hvg.txt").write_text("\n".join(genes))
    options = {
        "reference": tmp_path / "r.h5ad", "hvg": tmp_path / "hvg.txt", "vae": "pca", "n-latent": 5,
        "max-epochs": 6, "kl-warmup-epochs": 3, "batch-size": 64, "seed": 3, "device": "cpu",
        "threads": 1, "settings": "key", "output": tmp_path / "vae",
        "history": tmp_path / "ref.vae_history.json", "failure": tmp_path / "f",
    }  # fmt: skip
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    result = CliRunner().invoke(train_vae.main, arguments)
    assert result.exit_code == 0, result.output
    expected = registry.get("pca").train(reference, genes, Options(n_latent=5), Run()).vae
    np.testing.assert_array_equal(storage.load(tmp_path / "vae").latent, expected.latent)
    written = (tmp_path / "ref.vae_history.json").read_text()
    history = json.loads(written)
    assert (history["settings"], history["epoch"], history["batch_sizes"]) == ("key", [], [])
    assert len(history["series"]["explained_variance"]) == 5
    assert written == (tmp_path / "vae" / "history.json").read_text()
    assert storage.read_about(tmp_path / "vae").options == {"n_latent": 5}
