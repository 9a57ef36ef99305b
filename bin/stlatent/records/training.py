"""JSON files of TRAIN_VAE and ALIGN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from stlatent.records.base import Record, Series


@dataclass(frozen=True)
class VaeDescription(Record):
    """What the VAE in a folder is.

    Attributes
    ----------
    vae
        Its name in the registry.
    options
        Of the VAE, those of the result.
    genes
        That it was trained on, in the decoder's order.
    geometry
        Of the latent space.
    versions
        Of the packages that trained it.
    batch_sizes
        Those tried on the GPU, the last one that of the result.
    """

    SUFFIX = "vae.json"
    STEP = "TRAIN_VAE"

    id: str
    settings: str
    vae: str
    options: dict[str, Any]
    genes: list[str]
    geometry: Literal["plane", "sphere", "hyperboloid"]
    seed: int
    device: str
    versions: dict[str, str]
    seconds: float
    batch_sizes: list[int]


@dataclass(frozen=True)
class VaeHistory(Record):
    """How the VAE of a reference was trained.

    Attributes
    ----------
    vae
        Its name in the registry.
    best_epoch
        Of the lowest validation loss; None without epochs.
    batch_sizes
        Those tried on the GPU, the last one that of the result.
    """

    SUFFIX = "vae_history.json"
    STEP = "TRAIN_VAE"
    INDENT = None

    id: str
    settings: str
    vae: str
    epoch: list[int]
    series: Series
    best_epoch: int | None
    seconds: float
    batch_sizes: list[int]


@dataclass(frozen=True)
class AlignmentHistory(Record):
    """How the alignment of a sample was trained.

    Attributes
    ----------
    phase
        By epoch: ``pretrain``, ``discriminator``, then the kind of alignment.
    series
        By epoch; None where a phase does not compute the value or it is not finite. Accuracies are
        balanced accuracies on locations and cells that took no part in the training.
    warm_up_accuracy
        Of discriminators before tissue and reference are matched; in the full fit only.
    validation
        Of the states that imputation may take, by slot.
    imputation_space
        The slot that imputation takes.
    batch_sizes
        Those tried on the GPU, the last one that of the result.
    """

    SUFFIX = "alignment_history.json"
    STEP = "ALIGN"
    INDENT = None

    id: str
    settings: str
    fold: str
    seed: int
    phase: list[str]
    epoch: list[int]
    series: Series
    n_panel_genes: int
    n_neighbors: int
    warm_up_accuracy: float | None
    validation: dict[str, float | None]
    imputation_space: str
    seconds: float
    batch_sizes: list[int]
