"""SCORE: predictions of hidden genes beside their measurements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from stlatent.evaluation.scoring import build_maps, fold_of, score_file, seed_of
from stlatent.graph import row_weights, spatial_neighbours
from stlatent.records.evaluation import Maps
from stlatent.records.inputs import Fold

if TYPE_CHECKING:
    from anndata import AnnData


def score(
    spatial: AnnData,
    folds: Sequence[Fold],
    predictions: Sequence[AnnData],
    arm: str,
    n_neighbors: int,
) -> tuple[pd.DataFrame, Maps]:
    """Compare predictions of hidden genes with their measurements.

    Parameters
    ----------
    spatial
        The QC'd sample, which holds the truth.
    folds
        Those that hide genes, at least one.
    predictions
        Outputs of IMPUTE and COMPARE, each for one of the folds.
    arm
        Noted for IMPUTE's methods.
    n_neighbors
        Spatial neighbours of a location in Moran's I.

    Returns
    -------
    One row a method, fold, seed and gene (`stlatent.evaluation.score_table.COLUMNS`), and maps of
    some genes under the first seed.

    Raises
    ------
    DataError
        When spots differ or hidden genes are missing.
    """
    by_name = {fold.name: fold for fold in folds}
    weights = row_weights(spatial_neighbours(spatial, n_neighbors))
    tables = [
        score_file(spatial, by_name[fold_of(file)], file, weights, arm) for file in predictions
    ]
    scores = pd.concat(tables, ignore_index=True).sort_values(
        ["fold", "seed"], kind="stable", ignore_index=True, na_position="first"
    )
    first = scores["seed"].min()
    shown = scores[scores["seed"].isna() | (scores["seed"] == first)]
    files = [file for file in predictions if seed_of(file) in (None, first)]
    return scores, build_maps(spatial, by_name, files, shown, arm)
