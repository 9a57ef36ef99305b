"""What every VAE of the reference takes and gives to the rest of the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from stlatent.vae.geometry import Geometry

if TYPE_CHECKING:
    from anndata import AnnData

    from stlatent.vae.decoder import Decoder


@dataclass(frozen=True)
class Run:
    """What is not a VAE's own.

    Attributes
    ----------
    seed
        Of all that is random.
    device
        ``cpu`` or ``cuda``.
    """

    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class TrainingOptions:
    """Options of what is trained by gradient descent.

    Attributes
    ----------
    max_epochs
        Most epochs; training stops early when it gains too little.
    kl_warmup_epochs
        Epochs over which the weight of the Kullback-Leibler term rises to 1.
    batch_size
        Cells.
    """

    max_epochs: int
    kl_warmup_epochs: int
    batch_size: int


@dataclass(frozen=True)
class TrainedVAE:
    """A trained, frozen VAE.

    Attributes
    ----------
    latent
        Positions of the reference's cells, cells x n_latent float32.
    geometry
        Of the latent space.
    decoder
        Latent space -> expression of the genes it was trained on; None where there is none.
    history
        Series by epoch; those of other lengths are no training (variance explained).
    best_epoch
        Epoch with the lowest validation loss; None without epochs.
    state
        Every weight, as tensors by name.
    """

    latent: np.ndarray
    geometry: Geometry
    decoder: Decoder | None
    history: dict[str, list[float]]
    best_epoch: int | None = None
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """A trained VAE, and how it came about.

    Attributes
    ----------
    backend
        Name of the VAE in the registry.
    versions
        Of the packages that trained it.
    genes
        That it was trained on, in the decoder's order.
    options
        Of the backend, those of the result.
    run
        Seed and device.
    vae
        The result.
    seconds
        That it took.
    batch_sizes
        Those tried, the last one that of the result; none where the backend has no batches.
    """

    backend: str
    versions: dict[str, str]
    genes: list[str]
    options: Any
    run: Run
    vae: TrainedVAE
    seconds: float
    batch_sizes: list[int]


Train = Callable[["AnnData", list[str], Any, Run], TrainedVAE]
"""Cells after QC, genes to model, the backend's options, and the run."""
