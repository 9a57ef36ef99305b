from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest
import torch

from builders.project import ROOT
from stlatent import slots
from stlatent.failures import DamagedFileError
from stlatent.records.training import VaeDescription, VaeHistory
from stlatent.vae import storage
from stlatent.vae.decoder import Decoder, Layer
from stlatent.vae.geometry import SPHERE
from stlatent.vae.interface import Run, TrainedVAE, Training, TrainingOptions


@pytest.fixture(scope="module")
def training(reference: anndata.AnnData, genes: list[str]) -> Training:
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(reference.n_obs, 5)).astype(np.float32)
    weight = torch.as_tensor(rng.normal(size=(len(genes), 5)), dtype=torch.float32)
    decoder = Decoder((Layer(weight, torch.zeros(len(genes))),), "softmax", "share")
    history = {"train_loss": [3.0, 2.0], "validation_loss": [3.5, 2.5]}
    vae = TrainedVAE(latent, SPHERE, decoder, history, best_epoch=1)
    options = TrainingOptions(max_epochs=2, kl_warmup_epochs=1, batch_size=64)
    return Training("new", {"a": "1.0"}, genes, options, Run(seed=3), vae, 1.5, [128, 64])


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, reference: anndata.AnnData, training: Training
) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "ref.vae"
    storage.save(folder, reference, training, "a1b2")
    return folder


def test_a_vae_is_read_back_as_it_was_saved(folder: Path, training: Training) -> None:
    saved = storage.load(folder)
    np.testing.assert_array_equal(saved.latent, training.vae.latent)
    assert (saved.genes, saved.geometry) == (training.genes, SPHERE)
    z = training.vae.latent[:3]
    np.testing.assert_array_equal(saved.decoder.decode(z, 1.0), training.vae.decoder.decode(z, 1.0))


def test_the_folder_tells_what_the_vae_is(folder: Path, training: Training) -> None:
    assert storage.read_about(folder) == VaeDescription(
        id="ref",
        settings="a1b2",
        vae="new",
        options={"max_epochs": 2, "kl_warmup_epochs": 1, "batch_size": 64},
        genes=training.genes,
        geometry="sphere",
        seed=3,
        device="cpu",
        versions={"a": "1.0"},
        seconds=1.5,
        batch_sizes=[128, 64],
    )
    assert VaeHistory.read(folder / "history.json") == VaeHistory(
        id="ref",
        settings="a1b2",
        vae="new",
        epoch=[0, 1],
        series=training.vae.history,
        best_epoch=1,
        seconds=1.5,
        batch_sizes=[128, 64],
    )


def test_the_reference_is_not_in_the_folder(folder: Path, reference: anndata.AnnData) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "history.json", "latent.h5ad", "vae.json", "vae.pt",
    ]  # fmt: skip
    stored = anndata.read_h5ad(folder / "latent.h5ad")
    assert stored.X is None and stored.obs.columns.empty
    assert slots.facts(stored) == {**slots.facts(reference), "settings": "a1b2"}


def test_a_latent_space_goes_to_the_cells_that_it_is_of(
    folder: Path, reference: anndata.AnnData
) -> None:
    saved = storage.load(folder)
    attached = storage.attach(reference.copy(), saved)
    np.testing.assert_array_equal(attached.obsm["X_vae"], saved.latent)
    with pytest.raises(DamagedFileError, match="belongs to another reference: of its 257 cells"):
        storage.attach(reference[1:].copy(), saved)
    with pytest.raises(DamagedFileError, match="257 are among the 257 of this one, or their order"):
        storage.attach(reference[::-1].copy(), saved)


def test_a_latent_space_without_a_decoder_is_saved_too(
    tmp_path: Path, reference: anndata.AnnData, training: Training
) -> None:
    without = replace(training, vae=replace(training.vae, decoder=None))
    storage.save(tmp_path, reference, without)
    assert storage.load(tmp_path).decoder is None


def test_genes_and_positions_need_no_torch(folder: Path) -> None:
    code = (
        "import sys; from stlatent.vae import storage;"
        f"saved = storage.load({str(folder)!r}); print(len(saved.genes), 'torch' in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "bin"
    )
    assert ended.stdout.split() == ["100", "False"]


def test_damaged_weights_are_told_from_data_at_fault(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "vae.pt").write_bytes(b"PK")
    with pytest.raises(DamagedFileError, match=r"'vae\.pt' of an earlier step cannot be read"):
        storage.load(tmp_path).decoder  # noqa: B018
