from __future__ import annotations

from dataclasses import replace

import anndata
import numpy as np
import pytest
import torch
from scipy import sparse

from stlatent import slots
from stlatent.vae import registry, training
from stlatent.vae.interface import Run, TrainedVAE
from stlatent.vae.models.scvi import Options

OPTIONS = Options(n_latent=5, max_epochs=6, kl_warmup_epochs=3, batch_size=64)


def train(reference: anndata.AnnData, genes: list[str], options: Options = OPTIONS) -> TrainedVAE:
    return registry.get("scvi").train(reference, genes, options, Run()).vae


@pytest.fixture(scope="module")
def trained(reference: anndata.AnnData, genes: list[str]) -> TrainedVAE:
    return train(reference, genes)


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

    from stlatent.vae.models.scvi import export_decoder

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


def test_same_seed_gives_the_same_latent_space(
    reference: anndata.AnnData, genes: list[str], trained: TrainedVAE
) -> None:
    again = train(reference, genes)
    np.testing.assert_array_equal(again.latent, trained.latent)


@pytest.mark.parametrize("logged", [False, True])
def test_a_reference_without_counts_is_modelled_as_counts_are(
    reference: anndata.AnnData, genes: list[str], logged: bool
) -> None:
    options = Options(n_latent=5, max_epochs=2, kl_warmup_epochs=1, batch_size=64)
    counts = reference.X.toarray()
    shares = counts / counts.sum(axis=1, keepdims=True)
    as_counts, other = reference.copy(), reference.copy()
    as_counts.X = sparse.csr_matrix((shares * 1e4).astype(np.float32))
    per_million = shares * 1e6
    other.X = sparse.csr_matrix((np.log1p(per_million) if logged else per_million), dtype="float32")
    before = other.X.copy()
    slots.note(other, counts=False)
    expected, found = train(as_counts, genes, options), train(other, genes, options)
    np.testing.assert_allclose(found.latent, expected.latent, atol=1e-3)
    assert (before != other.X).nnz == 0


def test_no_warm_up_gives_the_full_weight_from_the_start(
    reference: anndata.AnnData, genes: list[str]
) -> None:
    options = Options(n_latent=3, max_epochs=2, kl_warmup_epochs=0, batch_size=64)
    assert train(reference, genes, options).history["kl_weight"] == [1, 1]


def test_training_ends_when_it_gains_too_little(
    reference: anndata.AnnData, genes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # No epoch halves the loss, so the first epoch after the warm-up stays the best.
    monkeypatch.setattr(training, "MIN_RELATIVE_GAIN", 0.5)
    options = Options(n_latent=5, max_epochs=60, kl_warmup_epochs=3, batch_size=64)
    trained = train(reference, genes, options)
    assert len(trained.history["train_loss"]) == 3 + 1 + training.PATIENCE


def test_a_training_that_outgrows_the_gpu_starts_anew_with_smaller_batches(
    reference: anndata.AnnData, genes: list[str], trained: TrainedVAE
) -> None:
    backend = registry.get("scvi")

    def limited(cells: anndata.AnnData, genes: list[str], options: Options, run: Run) -> TrainedVAE:
        if options.batch_size > 64:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return backend.function(cells, genes, options, run)

    found = replace(backend, function=limited).train(
        reference, genes, replace(OPTIONS, batch_size=256), Run()
    )
    assert found.batch_sizes == [256, 128, 64]
    assert found.options.batch_size == 64
    np.testing.assert_array_equal(found.vae.latent, trained.latent)
