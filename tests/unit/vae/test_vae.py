from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy import sparse

import train_vae
from stlatent import slots
from stlatent.failures import DamagedFileError, DataError
from stlatent.simulate import Settings, simulate
from stlatent.vae import registry, storage
from stlatent.vae.interface import TrainedVAE, VAESettings

SETTINGS = VAESettings(n_latent=5, max_epochs=6, kl_warmup_epochs=3, batch_size=64)


@pytest.fixture(scope="module")
def reference() -> anndata.AnnData:
    study = simulate(
        Settings(n_genes=620, n_panel=40, n_cells=50, n_spots=30, n_reference=257), seed=2
    )
    slots.note(study.reference, kind="reference", source="ref", counts=True, batch_key="batch")
    return study.reference


@pytest.fixture(scope="module")
def genes(reference: anndata.AnnData) -> list[str]:
    return reference.var_names[:100].tolist()


@pytest.fixture(scope="module")
def trained(reference: anndata.AnnData, genes: list[str]) -> TrainedVAE:
    return registry.trainer("scvi")(reference, genes, SETTINGS)


def test_unknown_vae_names_the_choices() -> None:
    with pytest.raises(ValueError, match="unknown VAE 'scvae': choose scvi"):
        registry.trainer("scvae")


def test_latent_and_history_cover_every_cell_and_epoch(
    reference: anndata.AnnData, trained: TrainedVAE
) -> None:
    assert trained.latent.shape == (reference.n_obs, 5)
    assert np.isfinite(trained.latent).all()
    assert len(trained.history["train_loss"]) == len(trained.history["validation_loss"]) == 6
    assert trained.history["train_loss"][-1] < trained.history["train_loss"][0]
    assert trained.history["kl_weight"][0] == 0
    assert trained.history["kl_weight"][-1] == 1


@pytest.mark.parametrize("batch_key", ["batch", None])
def test_exported_decoder_equals_scvi(
    reference: anndata.AnnData, genes: list[str], batch_key: str | None
) -> None:
    import scvi

    from stlatent.vae.scvi_model import export_decoder

    subset = reference[:, genes].copy()
    scvi.model.SCVI.setup_anndata(subset, batch_key=batch_key)
    model = scvi.model.SCVI(subset, n_latent=5)
    model.train(max_epochs=2, accelerator="cpu", enable_progress_bar=False)
    model.module.eval()
    z = torch.as_tensor(model.get_latent_representation()[:20])
    n_batches = model.summary_stats.n_batch
    expected = torch.zeros(20, len(genes))
    with torch.no_grad():
        for batch in range(n_batches):
            code = torch.full((20, 1), batch)
            scale, *_ = model.module.decoder("gene", z, torch.zeros(20, 1), code)
            expected += scale / n_batches
    decoded = export_decoder(model.module, n_batches)(z)
    torch.testing.assert_close(decoded, expected, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(decoded.sum(1), torch.ones(20))


def test_saved_vae_is_read_back_without_pickle(
    tmp_path: Path, reference: anndata.AnnData, trained: TrainedVAE
) -> None:
    storage.save(tmp_path, trained, reference.copy(), SETTINGS, {"id": "ref", "seconds": 1.0})
    saved = storage.load(tmp_path)
    np.testing.assert_array_equal(saved.latent, trained.latent)
    assert saved.genes == trained.genes
    z = torch.as_tensor(trained.latent[:3])
    torch.testing.assert_close(saved.decoder(z), trained.decoder(z))
    history = json.loads((tmp_path / "history.json").read_text())
    assert history["id"] == "ref"
    assert len(history["epoch"]) == len(history["series"]["train_loss"])


def test_a_saved_latent_space_goes_to_the_cells_that_it_is_of(
    tmp_path: Path, reference: anndata.AnnData, trained: TrainedVAE
) -> None:
    storage.save(tmp_path, trained, reference, SETTINGS, {"id": "ref", "seconds": 1.0})
    saved = storage.load(tmp_path)
    attached = storage.attach(reference.copy(), saved)
    np.testing.assert_array_equal(attached.obsm["X_vae"], trained.latent)
    stored = anndata.read_h5ad(tmp_path / "latent.h5ad")
    assert stored.X is None and stored.obs.columns.empty
    assert slots.facts(stored) == slots.facts(reference)
    with pytest.raises(DamagedFileError, match="belongs to another reference: of its 257 cells"):
        storage.attach(reference[1:].copy(), saved)
    with pytest.raises(DamagedFileError, match="257 are among the 257 of this one, or their order"):
        storage.attach(reference[::-1].copy(), saved)


def test_same_seed_gives_the_same_latent_space(
    reference: anndata.AnnData, genes: list[str], trained: TrainedVAE
) -> None:
    again = registry.trainer("scvi")(reference, genes, SETTINGS)
    np.testing.assert_array_equal(again.latent, trained.latent)


@pytest.mark.parametrize("logged", [False, True])
def test_a_reference_without_counts_is_modelled_as_counts_are(
    reference: anndata.AnnData, genes: list[str], logged: bool
) -> None:
    settings = VAESettings(n_latent=5, max_epochs=2, kl_warmup_epochs=1, batch_size=64)
    train = registry.trainer("scvi")
    counts = reference.X.toarray()
    shares = counts / counts.sum(axis=1, keepdims=True)
    as_counts, other = reference.copy(), reference.copy()
    as_counts.X = sparse.csr_matrix((shares * 1e4).astype(np.float32))
    per_million = shares * 1e6
    other.X = sparse.csr_matrix((np.log1p(per_million) if logged else per_million), dtype="float32")
    before = other.X.copy()
    slots.note(other, counts=False)
    expected, found = train(as_counts, genes, settings), train(other, genes, settings)
    np.testing.assert_allclose(found.latent, expected.latent, atol=1e-3)
    assert (before != other.X).nnz == 0


def test_no_warm_up_gives_the_full_weight_from_the_start(
    reference: anndata.AnnData, genes: list[str]
) -> None:
    settings = VAESettings(n_latent=3, max_epochs=2, kl_warmup_epochs=0, batch_size=64)
    assert registry.trainer("scvi")(reference, genes, settings).history["kl_weight"] == [1, 1]


def test_too_few_cells_name_the_cure(reference: anndata.AnnData, genes: list[str]) -> None:
    with pytest.raises(DataError, match="has 5 cells after quality control, at least 20"):
        registry.trainer("scvi")(reference[:5].copy(), genes, SETTINGS)


def test_training_ends_when_it_gains_too_little(
    reference: anndata.AnnData, genes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from stlatent.vae import scvi_model

    # No epoch halves the loss, so the first epoch after the warm-up stays the best.
    monkeypatch.setattr(scvi_model, "MIN_RELATIVE_GAIN", 0.5)
    settings = VAESettings(n_latent=5, max_epochs=60, kl_warmup_epochs=3, batch_size=64)
    trained = registry.trainer("scvi")(reference, genes, settings)
    assert len(trained.history["train_loss"]) == 3 + 1 + scvi_model.PATIENCE


def test_a_training_that_outgrows_the_gpu_starts_anew_with_smaller_batches(
    reference: anndata.AnnData,
    genes: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = registry.trainer("scvi")

    def limited(adata: anndata.AnnData, asked: list[str], settings: VAESettings) -> TrainedVAE:
        if settings.batch_size > 64:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(adata, asked, settings)

    monkeypatch.setattr(registry, "trainer", lambda _name: limited)
    reference.write_h5ad(tmp_path / "r.h5ad")
    (tmp_path / "hvg.txt").write_text("\n".join(genes))
    arguments = ["--reference", tmp_path / "r.h5ad", "--hvg", tmp_path / "hvg.txt"]
    arguments += ["--n-latent", 5, "--max-epochs", 6, "--kl-warmup-epochs", 3]
    arguments += ["--batch-size", 256, "--output", tmp_path / "vae", "--failure", tmp_path / "f"]
    result = CliRunner().invoke(train_vae.main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    history = json.loads((tmp_path / "vae" / "history.json").read_text())
    assert history["batch_sizes"] == [256, 128, 64]
    assert json.loads((tmp_path / "vae" / "vae.json").read_text())["settings"]["batch_size"] == 64
    saved = storage.load(tmp_path / "vae").latent
    np.testing.assert_array_equal(saved, real(reference, genes, SETTINGS).latent)
