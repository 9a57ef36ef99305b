"""scVI (Lopez et al. 2018) through scvi-tools, its decoder exported to plain torch."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stlatent import slots
from stlatent.expression import like_counts
from stlatent.failures import DataError
from stlatent.vae.decoder import LatentDecoder
from stlatent.vae.interface import TrainedVAE, VAESettings

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

PATIENCE = 10
# Epochs that gain less than this share of the validation loss change nothing downstream.
MIN_RELATIVE_GAIN = 1e-3
MIN_CELLS = 20


def export_decoder(module: Any, n_batches: int) -> LatentDecoder:
    """Fold scVI's decoder (linear, batch norm, ReLU, linear, softmax) into a `LatentDecoder`.

    Parameters
    ----------
    module
        ``SCVI.module`` in evaluation mode, one hidden layer.
    n_batches
        Number of batches the model was set up with.
    """
    linear, norm = module.decoder.px_decoder.fc_layers[0][:2]
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    offset = scale * (linear.bias - norm.running_mean) + norm.bias
    n_latent = module.n_latent
    # With a single batch scvi adds no batch columns.
    columns = linear.weight[:, n_latent:] if n_batches > 1 else torch.zeros_like(offset)[:, None]
    hidden_bias = (scale[:, None] * columns).T + offset
    output = module.decoder.px_scale_decoder[0]
    parts = (scale[:, None] * linear.weight[:, :n_latent], hidden_bias, output.weight, output.bias)
    return LatentDecoder(*(part.detach().cpu().clone() for part in parts))


def _early_stopping(warmup_epochs: int) -> Any:
    """Return a callback that ends the training when `PATIENCE` epochs gain too little.

    Lightning's own asks for an absolute gain, but the scale of the loss grows with genes and depth.
    """
    from lightning.pytorch import Callback, LightningModule, Trainer

    class RelativeEarlyStopping(Callback):
        def __init__(self) -> None:
            self.best = float("inf")
            self.waited = 0

        def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if trainer.sanity_checking or trainer.current_epoch < warmup_epochs:
                return
            loss = float(trainer.callback_metrics["elbo_validation"])
            if self.best == float("inf") or self.best - loss > MIN_RELATIVE_GAIN * abs(self.best):
                self.best, self.waited = loss, 0
                return
            self.waited += 1
            trainer.should_stop = trainer.should_stop or self.waited >= PATIENCE

    return RelativeEarlyStopping()


def _series(column: pd.DataFrame) -> list[float]:
    return [float(value) for value in column.to_numpy().ravel()]


def train_scvi(adata: AnnData, genes: list[str], settings: VAESettings) -> TrainedVAE:
    """Train scVI on ``genes`` of the reference.

    Parameters
    ----------
    adata
        Reference with raw counts in ``X``, or other values, of which the VAE sees what is
        `like_counts`; its batch key is honoured.
    genes
        Genes to model.
    settings
        Explicit epochs and KL warm-up: scvi's own warm-up of 400 epochs never ends on large data.

    Raises
    ------
    DataError
        With fewer than `MIN_CELLS` cells.

    Returns
    -------
    Latent posterior means for every cell of ``adata``, the decoder and the history.
    """
    import scvi

    scvi.settings.seed = settings.seed
    scvi.settings.verbosity = logging.ERROR
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*num_workers.*")
    warnings.filterwarnings("ignore", message="The number of training batches")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")

    if adata.n_obs < MIN_CELLS:
        msg = (
            f"the reference has {adata.n_obs} cells after quality control, at least {MIN_CELLS} are "
            "needed; lower reference_min_counts and reference_min_genes or use a larger reference"
        )
        raise DataError(msg)
    subset = adata[:, genes].copy()
    if not slots.facts(adata)["counts"]:
        # A Gaussian over logarithms finds types of cells less well.
        subset.X = like_counts(adata)[:, adata.var_names.get_indexer(genes)]
        warnings.filterwarnings("ignore", message=".*unnormalized count data.*")
        warnings.filterwarnings("ignore", message="The value argument must be within the support.*")
    batch_key = slots.facts(adata).get("batch_key")
    scvi.model.SCVI.setup_anndata(subset, batch_key=batch_key)
    model = scvi.model.SCVI(
        subset,
        n_latent=settings.n_latent,
        gene_likelihood="zinb",
    )
    warmup = min(settings.kl_warmup_epochs, max(settings.max_epochs // 2, 1))
    model.train(
        max_epochs=settings.max_epochs,
        batch_size=settings.batch_size,
        accelerator="gpu" if settings.device == "cuda" else "cpu",
        devices=1,
        check_val_every_n_epoch=1,
        callbacks=[_early_stopping(warmup)],
        plan_kwargs={"n_epochs_kl_warmup": warmup},
        enable_progress_bar=False,
        logger=None,
    )
    history = {
        "train_loss": _series(model.history["elbo_train"]),
        "validation_loss": _series(model.history["elbo_validation"]),
    }
    # scvi logs the weight every tenth step only.
    epochs = range(len(history["train_loss"]))
    history["kl_weight"] = [min(epoch / warmup, 1.0) if warmup else 1.0 for epoch in epochs]
    model.module.eval()
    latent = model.get_latent_representation().astype(np.float32)
    return TrainedVAE(
        latent=latent,
        decoder=export_decoder(model.module, model.summary_stats.n_batch),
        genes=list(genes),
        state={name: value.cpu() for name, value in model.module.state_dict().items()},
        history=history,
        best_epoch=int(np.nanargmin(history["validation_loss"])),
    )
