"""scVI (Lopez et al. 2018) through scvi-tools, its decoder exported to plain torch."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stlatent import slots
from stlatent.expression import like_counts
from stlatent.vae.geometry import PLANE
from stlatent.vae.interface import Run, TrainedVAE, TrainingOptions
from stlatent.vae.registry import register
from stlatent.vae.training import VALIDATION_SHARE, EarlyStopping, kl_weight, warmup_epochs

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from anndata import AnnData

    from stlatent.vae.decoder import Decoder


@dataclass(frozen=True)
class Options(TrainingOptions):
    """Options of scVI.

    Attributes
    ----------
    n_latent
        Dimensions of the latent space.
    """

    n_latent: int


def export_decoder(module: Any, n_batches: int) -> Decoder:
    """Fold scVI's decoder (linear, batch norm, ReLU, linear, softmax) into two layers.

    Parameters
    ----------
    module
        ``SCVI.module`` in evaluation mode, one hidden layer.
    n_batches
        Number of batches the model was set up with.
    """
    import torch

    from stlatent.vae.decoder import Decoder, Layer

    linear, norm = module.decoder.px_decoder.fc_layers[0][:2]
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    offset = scale * (linear.bias - norm.running_mean) + norm.bias
    n_latent = module.n_latent
    # With a single batch scvi adds no batch columns.
    columns = linear.weight[:, n_latent:] if n_batches > 1 else torch.zeros_like(offset)[:, None]
    hidden_bias = (scale[:, None] * columns).T + offset
    output = module.decoder.px_scale_decoder[0]
    weight = scale[:, None] * linear.weight[:, :n_latent]
    layers = (
        Layer(_frozen(weight), _frozen(hidden_bias), "relu"),
        Layer(_frozen(output.weight), _frozen(output.bias)),
    )
    return Decoder(layers, "softmax", "share")


def _frozen(weights: torch.Tensor) -> torch.Tensor:
    return weights.detach().cpu().clone()


def _early_stopping(warmup: int) -> Any:
    """Return `EarlyStopping` as a callback; Lightning's own asks for an absolute gain."""
    from lightning.pytorch import Callback, LightningModule, Trainer

    class RelativeEarlyStopping(Callback):
        def __init__(self) -> None:
            self.stopping = EarlyStopping(warmup)

        def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if trainer.sanity_checking:
                return
            loss = float(trainer.callback_metrics["elbo_validation"])
            if self.stopping.should_stop(trainer.current_epoch, loss):
                trainer.should_stop = True

    return RelativeEarlyStopping()


def _series(column: pd.DataFrame) -> list[float]:
    return [float(value) for value in column.to_numpy().ravel()]


@register(
    "scvi",
    Options,
    title="scVI",
    package="scvi-tools",
    cite="Lopez et al., Nature Methods 2018, https://doi.org/10.1038/s41592-018-0229-2",
)
def train(cells: AnnData, genes: list[str], options: Options, run: Run) -> TrainedVAE:
    """Train scVI on ``genes`` of the reference.

    Parameters
    ----------
    cells
        Reference with raw counts in ``X``, or other values, of which the VAE gets what is
        `like_counts`; its batch key is honoured.
    genes
        Genes to model.
    options
        Epochs and KL warm-up are explicit: scvi's own warm-up of 400 epochs never ends on large
        data.
    run
        Seed and device.

    Returns
    -------
    Posterior means of every cell, the decoder and the history; the weights are those of the last
    epoch.
    """
    import scvi

    scvi.settings.seed = run.seed
    scvi.settings.verbosity = logging.ERROR
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*num_workers.*")
    warnings.filterwarnings("ignore", message="The number of training batches")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")

    subset = cells[:, genes].copy()
    if not slots.facts(cells)["counts"]:
        # A Gaussian over logarithms finds types of cells less well.
        subset.X = like_counts(cells)[:, cells.var_names.get_indexer(genes)]
        warnings.filterwarnings("ignore", message=".*unnormalized count data.*")
        warnings.filterwarnings("ignore", message="The value argument must be within the support.*")
    batch_key = slots.facts(cells).get("batch_key")
    scvi.model.SCVI.setup_anndata(subset, batch_key=batch_key)
    model = scvi.model.SCVI(subset, n_latent=options.n_latent, gene_likelihood="zinb")
    warmup = warmup_epochs(options)
    model.train(
        max_epochs=options.max_epochs,
        batch_size=options.batch_size,
        train_size=1 - VALIDATION_SHARE,
        accelerator="gpu" if run.device == "cuda" else "cpu",
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
    history["kl_weight"] = [kl_weight(epoch, warmup) for epoch in epochs]
    model.module.eval()
    return TrainedVAE(
        latent=model.get_latent_representation().astype(np.float32),
        geometry=PLANE,
        decoder=export_decoder(model.module, model.summary_stats.n_batch),
        history=history,
        best_epoch=int(np.nanargmin(history["validation_loss"])),
        state={name: value.cpu() for name, value in model.module.state_dict().items()},
    )
