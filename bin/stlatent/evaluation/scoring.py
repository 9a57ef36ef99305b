"""Scores of every method on the hidden genes of the folds, and maps to look at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stlatent import slots
from stlatent.arrays import Array
from stlatent.evaluation import metrics
from stlatent.evaluation.score_table import BASELINE_ARM, COLUMNS, OURS
from stlatent.expression import dense, enough_counts, visible_library
from stlatent.failures import DataError
from stlatent.graph import morans_i
from stlatent.maps import rounded, some_locations
from stlatent.records.evaluation import MapGene, Maps
from stlatent.records.inputs import Fold

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy import sparse


MIN_MAP_DETECTION = 0.05


def predictions_of(imputed: AnnData) -> Iterable[tuple[str, Array, float]]:
    """Yield (method, spots x genes, seconds) of an output of IMPUTE or of the baselines.

    ``X`` of IMPUTE is method ``stlatent`` and its layers are ``stlatent_<layer>``; layers of the
    baselines keep their names. The seconds of ``X`` are those noted under ``stlatent``, or else of
    the slowest among the methods that ``var['method']`` names: each includes the alignment.
    """
    seconds = dict(slots.facts(imputed).get("seconds", {}))
    if is_baseline(imputed):
        for name, layer in slots.layers(imputed).items():
            yield name, dense(layer), float(seconds.get(name, np.nan))
        return
    used = set(imputed.var[slots.METHOD]) if slots.METHOD in imputed.var else set(seconds)
    slowest = max((float(s) for name, s in seconds.items() if name in used), default=float("nan"))
    yield OURS, dense(imputed.X), float(seconds.get(OURS, slowest))
    for name, layer in slots.layers(imputed).items():
        if name != slots.NORMALISED:
            yield f"{OURS}_{name}", dense(layer), float(seconds.get(name, np.nan))


def is_baseline(imputed: AnnData) -> bool:
    """Whether a file is of methods to compare with."""
    return slots.facts(imputed).get("arm") == BASELINE_ARM


def fold_of(imputed: AnnData) -> str:
    """Return the name of the fold that a prediction was made for."""
    return str(slots.facts(imputed)["fold"])


def seed_of(imputed: AnnData) -> int | None:
    """Return the seed that a prediction was made under, or None where none is noted."""
    seed = slots.facts(imputed).get("seed")
    return None if seed is None else int(seed)


def score_file(
    spatial: AnnData, fold: Fold, imputed: AnnData, weights: sparse.csr_matrix, arm: str
) -> pd.DataFrame:
    """Score one file of predictions for the genes that its fold hides.

    Parameters
    ----------
    spatial
        The QC'd sample, which holds the truth.
    fold
        The fold that ``imputed`` was made for.
    imputed
        Same spots in the same order; genes that a method leaves NaN everywhere are skipped.
    weights
        Of `stlatent.graph.morans_i`.
    arm
        Recorded for IMPUTE's methods; baselines are of arm ``baseline`` and of no seed.

    Returns
    -------
    One row a method and gene, columns `COLUMNS`.

    Raises
    ------
    DataError
        When spots differ or hidden genes are missing.
    """
    genes = [gene for gene in fold.hidden if gene in imputed.var_names]
    slots.require_genes(imputed, fold.hidden, f"the prediction of fold {fold.name}")
    slots.require_genes(spatial, genes, "the spatial sample")
    if list(imputed.obs_names) != list(spatial.obs_names):
        msg = f"the prediction of fold {fold.name} has other spots than the sample"
        raise DataError(msg)
    measured = dense(spatial[:, genes].X)
    library = visible_library(spatial, fold.hidden)
    n_compared = int(enough_counts(library, spatial.n_obs).sum())
    morans_measured = morans_i(measured, weights)
    compared = is_baseline(imputed)
    seed = None if compared else seed_of(imputed)
    tables = []
    for method, values, seconds in predictions_of(imputed[:, genes]):
        known = np.flatnonzero(~np.isnan(values).all(axis=0))
        values = np.nan_to_num(values[:, known], nan=0.0)
        table = pd.DataFrame(metrics.score(measured[:, known], values, library))
        table["locations_normalised"] = n_compared
        table["sample"], table["method"], table["fold"] = fold.sample, method, fold.name
        table["arm"] = BASELINE_ARM if compared else arm
        table["seed"] = pd.array([seed] * len(table), dtype="Int64")
        table["gene"] = np.array(genes, dtype=object)[known]
        table["morans_i_measured"] = morans_measured[known]
        table["morans_i_imputed"] = morans_i(values, weights)
        table["seconds"] = seconds
        tables.append(table[list(COLUMNS)])
    return pd.concat(tables, ignore_index=True)


def map_genes(scores: pd.DataFrame, detected: pd.Series, method: str) -> pd.DataFrame:
    """Choose the best, upper-quartile, median and worst hidden gene of a method.

    Parameters
    ----------
    scores
        Rows of `score_file`.
    detected
        Share of spots with a nonzero measurement, by gene; genes below `MIN_MAP_DETECTION` are left
        out while others remain.
    method
        Ranked by its ``pcc_normalised``.

    Returns
    -------
    At most four rows of ``scores``, best first.
    """
    own = scores[scores["method"] == method]
    enough = own[own["gene"].map(detected) >= MIN_MAP_DETECTION]
    ranked = (enough if len(enough) else own).sort_values(
        ["pcc_normalised", "gene"], ascending=[False, True], kind="stable"
    )
    at = [round(share * (len(ranked) - 1)) for share in (0.0, 0.25, 0.5, 1.0)]
    return ranked.iloc[sorted(set(at))] if len(ranked) else ranked


def build_maps(
    spatial: AnnData,
    folds: dict[str, Fold],
    files: list[AnnData],
    scores: pd.DataFrame,
    arm: str,
    seed: int = 0,
) -> Maps:
    """Return maps of measured and imputed values of `map_genes`, on the scale of the metric.

    Values of counts are log1p of library-normalised ones, as for ``pcc_normalised``; intensities are
    as given. The method is ``stlatent``, or the first one where only baselines ran.
    """
    methods = list(dict.fromkeys(scores["method"]))
    method = OURS if OURS in methods else next(iter(methods), OURS)
    counted = np.asarray((spatial.X != 0).sum(axis=0)).ravel() / max(spatial.n_obs, 1)
    chosen = map_genes(scores, pd.Series(counted, index=spatial.var_names), method)
    spots, coordinates = some_locations(spatial, seed)
    genes = []
    for row in chosen.to_dict("records"):
        gene, fold = str(row["gene"]), str(row["fold"])
        library = visible_library(spatial, folds[fold].hidden)
        imputed = _prediction(files, fold, method, gene)
        measured = dense(spatial[:, [gene]].X)
        genes.append(
            MapGene(
                gene=gene,
                fold=fold,
                pcc=rounded(row["pcc"]),
                pcc_normalised=rounded(row["pcc_normalised"]),
                measured=_column(measured, library, spots),
                imputed=_column(imputed, library, spots),
            )
        )
    return Maps(
        sample=next(iter(folds.values())).sample,
        arm=arm,
        method=method,
        coordinates=coordinates,
        genes=genes,
    )


def _prediction(files: list[AnnData], fold: str, method: str, gene: str) -> Array:
    for file in files:
        if fold_of(file) != fold or gene not in file.var_names:
            continue
        for name, values, _ in predictions_of(file[:, [gene]]):
            if name == method:
                return np.nan_to_num(values, nan=0.0)
    msg = f"no prediction of {gene} by {method} in fold {fold}"
    raise KeyError(msg)


def _column(values: Array, library: Array | None, spots: Array) -> list[float]:
    return [rounded(value) for value in metrics.library_normalised(values, library)[spots, 0]]
