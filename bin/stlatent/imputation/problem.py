"""Folds of genes, and what they leave visible."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stlatent import slots
from stlatent.expression import (
    dense,
    log_normalise,
    reference_expression,
    visible_library,
)
from stlatent.graph import spatial_neighbours
from stlatent.imputation.predictors import (
    Problem,
    expected_total,
    to_counts,
    to_intensities,
)
from stlatent.sampling import reference_cells

if TYPE_CHECKING:
    from anndata import AnnData

Array = np.ndarray

N_NEIGHBORS = 8


def build_problem(
    spatial: AnnData,
    reference: AnnData,
    panel: list[str],
    hidden: list[str],
    targets: list[str],
    seed: int,
) -> Problem:
    """Bring both sides to the working scale.

    Counts of the tissue are divided by the library of its visible genes and scaled to the median
    library, those of the reference by their total and scaled to `REFERENCE_TARGET`; both log1p. A
    reference without counts is brought to the same scale. Beyond
    `stlatent.sampling.MAX_REFERENCE_CELLS` a seeded subset of the reference is used.

    Parameters
    ----------
    spatial, reference
        After QC.
    panel
        Genes to predict from.
    hidden
        Genes that take no part in the tissue's library.
    targets
        Genes to predict, looked up in the reference only.
    seed
        Of the subset of cells, and of what predictors sample.

    Raises
    ------
    DataError
        When a gene is missing.
    """
    slots.require_genes(spatial, panel, "the spatial sample")
    slots.require_genes(reference, [*panel, *targets], "the reference")
    cells = reference_cells(reference.n_obs, seed)
    tissue = dense(spatial[:, panel].X)
    library = visible_library(spatial, hidden)
    if library is not None:
        tissue = log_normalise(
            tissue, np.maximum(library, 1.0), max(float(np.median(library)), 1.0)
        )
    return Problem(
        reference_expression(reference, cells, panel),
        reference_expression(reference, cells, targets),
        tissue,
        spatial_neighbours(spatial, N_NEIGHBORS),
        library is not None,
        seed,
    )


def on_tissue_scale(
    predicted: Array, problem: Problem, spatial: AnnData, panel: list[str], hidden: list[str]
) -> Array:
    """Bring predictions of a plain method to counts, or to intensities where the tissue holds those.

    Parameters
    ----------
    predicted
        Spots x targets of ``problem``, on the working scale.
    problem, spatial, panel, hidden
        As for `build_problem`.
    """
    library = visible_library(spatial, hidden)
    if library is None:
        return to_intensities(predicted)
    return to_counts(predicted, library, expected_total(problem, dense(spatial[:, panel].X)))
