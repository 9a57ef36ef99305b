"""What every VAE of the reference gives to the rest of the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from anndata import AnnData

    from stlatent.vae.decoder import LatentDecoder


@dataclass(frozen=True)
class VAESettings:
    """Settings shared by all VAEs."""

    n_latent: int = 10
    max_epochs: int = 400
    kl_warmup_epochs: int = 50
    batch_size: int = 128
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class TrainedVAE:
    """A trained, frozen VAE.

    Attributes
    ----------
    latent
        Posterior means of the reference cells, cells x n_latent.
    decoder
        Latent space -> expression of ``genes``.
    genes
        Genes the VAE was trained on, in the decoder's order.
    state
        Every weight, as tensors by name.
    history
        Series by epoch.
    best_epoch
        Epoch with the lowest validation loss; the weights are those of the last epoch.
    """

    latent: np.ndarray
    decoder: LatentDecoder
    genes: list[str]
    state: dict[str, Any]
    history: dict[str, list[float]]
    best_epoch: int


TrainVAE = Callable[["AnnData", list[str], VAESettings], TrainedVAE]
