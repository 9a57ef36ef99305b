"""Folds of genes, and what they leave visible."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stlatent import slots
from stlatent.expression import (
    dense,
    log_normalise,
    reference_expression,
    visible_library,
)
from stlatent.failures import reading
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


@dataclass(frozen=True)
class Fold:
    """Genes hidden from everything, and those used for the alignment.

    ``population`` says what hidden genes were drawn from (`stlatent.inputs.genes.population`): its ``name``,
    ``n_genes`` and how many were drawn, ``n_drawn``.
    """

    sample: str
    name: str
    hidden: list[str]
    panel: list[str]
    population: dict[str, Any] = field(default_factory=dict)


def read_fold(path: str | Path) -> Fold:
    """Read a ``fold_<name>.json``."""
    with reading(path):
        content = json.loads(Path(path).read_text())
    return Fold(
        content["sample"],
        str(content["fold"]),
        content["hidden"],
        content["panel"],
        content.get("population", {}),
    )


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
