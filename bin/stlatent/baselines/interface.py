"""What a method to compare with takes and returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from stlatent.arrays import Array

if TYPE_CHECKING:
    from anndata import AnnData

    from stlatent.imputation.view import Targets, View


Scale = Literal["tissue", "log"]


@dataclass(frozen=True)
class Inputs:
    """A tissue with hidden genes, and the reference to predict them from.

    Attributes
    ----------
    spatial, reference
        After QC. Of the tissue a method looks at the panel alone, and where it needs the library
        at that of the genes that are not hidden.
    panel, hidden
        Genes that both must have, and genes that the reference must have.
    seed
        Of all that is random.
    n_neighbors
        Spatial neighbours of a location, for methods that use the tissue's graph.
    """

    spatial: AnnData
    reference: AnnData
    panel: list[str]
    hidden: list[str]
    seed: int
    n_neighbors: int

    @cached_property
    def view(self) -> View:
        """Both panels on the working scale, for methods that start from there."""
        from stlatent.imputation.view import Views

        views = Views(self.spatial, self.reference, self.n_neighbors, self.seed)
        return views.view(self.panel, self.hidden)

    @cached_property
    def targets(self) -> Targets:
        """The hidden genes in the reference, on the working scale."""
        return self.view.targets(self.hidden)


@dataclass(frozen=True)
class Prediction:
    """Hidden genes as the method gives them.

    Attributes
    ----------
    values
        Spots x hidden genes, float32.
    scale
        ``tissue``: the scale of the tissue's own values, counts or intensities, library included.
        ``log``: log1p of counts per `stlatent.expression.REFERENCE_TARGET`, which says nothing of
        a spot's library.
    """

    values: Array
    scale: Scale


Predict = Callable[[Inputs], Prediction]
"""Raises DataError when the data do not suit the method; the message says why."""


def on_tissue_scale(prediction: Prediction, inputs: Inputs) -> Array:
    """Return spots x hidden genes as counts, or as intensities where the tissue holds those."""
    from stlatent.imputation import scale

    if prediction.scale == "tissue":
        return prediction.values
    return scale.on_tissue_scale(prediction.values, inputs.view, inputs.targets)
