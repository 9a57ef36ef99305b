"""What a published method takes and returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from stlatent.imputation import problem

if TYPE_CHECKING:
    from anndata import AnnData

Array = np.ndarray

Scale = Literal["tissue", "log"]


@dataclass(frozen=True)
class Prediction:
    """Hidden genes as the method gives them.

    Attributes
    ----------
    values
        Spots x hidden genes, float32.
    scale
        ``tissue``: the scale of the tissue's own values, counts or intensities, library included.
        ``log``: log1p of counts per `stlatent.imputation.predictors.REFERENCE_TARGET`, which says
        nothing of a spot's library.
    """

    values: Array
    scale: Scale


class Peer(Protocol):
    """A published method, with its published settings as defaults."""

    def __call__(
        self,
        spatial: AnnData,
        reference: AnnData,
        panel: list[str],
        hidden: list[str],
        seed: int,
    ) -> Prediction:
        """Predict ``hidden`` from the tissue's ``panel``; both are looked up by name.

        Parameters
        ----------
        spatial, reference
            After QC. Of the tissue nothing but the panel is looked at, and for a method that needs
            it the library of the genes that are not hidden.
        panel, hidden
            Genes that both, and genes that the reference must have.
        seed
            Of all that is random.

        Raises
        ------
        DataError
            When the data do not suit the method; the message says why.
        """
        ...


def on_tissue_scale(
    prediction: Prediction,
    spatial: AnnData,
    reference: AnnData,
    panel: list[str],
    hidden: list[str],
    seed: int,
) -> Array:
    """Return spots x hidden genes as counts, or as intensities where the tissue holds those.

    What is on a logarithmic scale is treated as the plain predictors' output is.
    """
    if prediction.scale == "tissue":
        return prediction.values
    plain = problem.build_problem(spatial, reference, panel, hidden, hidden, seed)
    return problem.on_tissue_scale(prediction.values, plain, spatial, panel, hidden)
