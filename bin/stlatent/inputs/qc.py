"""Quality control of cells, spots and genes, for both modalities."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from stlatent import slots
from stlatent.failures import DataError
from stlatent.records.base import Point
from stlatent.records.inputs import Histograms, Overview, QualityControl, Removed, Thresholds

if TYPE_CHECKING:
    from anndata import AnnData

# FlyBase separates by a colon.
MITOCHONDRIAL = re.compile(r"^((MT|Mt|mt)-|mt:)")
MIN_LOCATIONS = 10
PANEL_GENES = 6000
PANEL_SHARE = 0.01
HISTOGRAM_BINS = 40
OBSERVATION_FILTERS = ("min_counts", "min_genes", "max_mito", "mad_outlier")


@dataclass(frozen=True)
class Measures:
    """Per observation (``n_obs``): total counts, expressed genes, mitochondrial percent.

    ``mito_percent`` is None where no gene is mitochondrial or the values are no counts.
    """

    counts: np.ndarray
    genes: np.ndarray
    mito_percent: np.ndarray | None

    def subset(self, kept: np.ndarray) -> Measures:
        """Return the measures of the observations in a mask."""
        mito = None if self.mito_percent is None else self.mito_percent[kept]
        return Measures(self.counts[kept], self.genes[kept], mito)


def effective(thresholds: Thresholds, n_vars: int, counts: bool) -> Thresholds:
    """Fit thresholds to the size of the panel and the kind of values.

    With fewer than 6000 genes (a panel, or a reference cut to some genes) ``min_counts`` and
    ``min_genes`` are at most 1 % of the number of genes (rounded up); with more they are what was
    asked. Intensities have no counts to threshold: of them only observations without any signal
    are removed, and no share is mitochondrial.
    """
    if not counts:
        return Thresholds(0, 0, thresholds.min_cells, 100, thresholds.mad)
    cap = math.ceil(PANEL_SHARE * n_vars) if n_vars < PANEL_GENES else math.inf
    return Thresholds(
        min_counts=min(thresholds.min_counts, cap),
        min_genes=int(min(thresholds.min_genes, cap)),
        min_cells=thresholds.min_cells,
        max_mito_percent=thresholds.max_mito_percent,
        mad=thresholds.mad,
    )


def measure(adata: AnnData) -> Measures:
    """Measure every observation of ``adata`` (``X``: ``n_obs x n_vars``, CSR)."""
    counts = np.asarray(adata.X.sum(axis=1), dtype=float).ravel()
    genes = np.asarray(adata.X.getnnz(axis=1))
    mitochondrial = np.array([bool(MITOCHONDRIAL.match(gene)) for gene in adata.var_names])
    if not mitochondrial.any() or not slots.facts(adata)["counts"]:
        return Measures(counts, genes, None)
    mito = np.asarray(adata.X[:, mitochondrial].sum(axis=1), dtype=float).ravel()
    share = np.divide(100 * mito, counts, out=np.zeros_like(mito), where=counts > 0)
    return Measures(counts, genes, share)


def failed_filters(measures: Measures, thresholds: Thresholds) -> dict[str, np.ndarray]:
    """Return for each filter the mask (``n_obs``) of observations that it removes.

    An observation is counted under the first filter that it fails. Observations without any
    counts always go, under ``min_counts``.
    """
    failing = {
        "min_counts": (measures.counts < thresholds.min_counts) | (measures.genes == 0),
        "min_genes": measures.genes < thresholds.min_genes,
        "max_mito": _above(measures.mito_percent, thresholds.max_mito_percent, measures.genes),
    }
    removed = np.zeros(len(measures.counts), dtype=bool)
    first: dict[str, np.ndarray] = {}
    for name, mask in failing.items():
        first[name] = mask & ~removed
        removed |= mask
    first["mad_outlier"] = np.zeros_like(removed)
    first["mad_outlier"][~removed] = mad_outliers(measures.subset(~removed), thresholds.mad)
    return first


def mad_outliers(measures: Measures, n_mads: float) -> np.ndarray:
    """Return the mask (``n_obs``) of outliers by median absolute deviations; none when 0."""
    outlying = np.zeros(len(measures.counts), dtype=bool)
    if n_mads <= 0 or not len(outlying):
        return outlying
    for values in (np.log1p(measures.counts), np.log1p(measures.genes)):
        outlying |= np.abs(_in_mads(values)) > n_mads
    if measures.mito_percent is not None:
        outlying |= _in_mads(measures.mito_percent) > n_mads
    return outlying


def filter_data(adata: AnnData, thresholds: Thresholds) -> tuple[AnnData, QualityControl]:
    """Filter observations, then genes.

    Parameters
    ----------
    adata
        An ingested file.
    thresholds
        As given; `effective` ones are used and reported.

    Returns
    -------
    The filtered data, and what was removed.

    Raises
    ------
    DataError
        When nothing is left, naming the filter that removed most.
    """
    facts = slots.facts(adata)
    used = effective(thresholds, adata.n_vars, facts["counts"])
    before = measure(adata)
    removed = failed_filters(before, used)
    kept = ~np.any(list(removed.values()), axis=0)
    _refuse_empty(int(kept.sum()), removed, used, facts["kind"])
    genes_kept = informative_genes(adata.X[kept], used.min_cells, facts["counts"])
    _refuse_no_genes(int(genes_kept.sum()), used, facts["kind"])
    filtered = adata[kept, genes_kept].copy()
    filtered, n_emptied = _drop_emptied(filtered)
    counted = {name: int(mask.sum()) for name, mask in removed.items()}
    counted["min_counts"] += n_emptied
    record = QualityControl(
        id=facts["source"],
        kind=facts["kind"],
        counts=bool(facts["counts"]),
        before=overview(before, adata.n_vars),
        after=overview(measure(filtered), filtered.n_vars),
        removed=Removed(counted, {"min_cells": int((~genes_kept).sum())}),
        thresholds=used,
        histograms=Histograms(log_histogram(before.counts), log_histogram(before.genes)),
    )
    return filtered, record


def refuse_few(summary: QualityControl) -> None:
    """Refuse a sample of which fewer than `MIN_LOCATIONS` are left.

    Parameters
    ----------
    summary
        As `filter_data` returns it. References have a limit of their own, in TRAIN_VAE.

    Raises
    ------
    DataError
        Naming the filter that removed most.
    """
    n_kept, n_before = summary.after.observations, summary.before.observations
    if summary.kind != "spatial" or n_kept >= MIN_LOCATIONS:
        return
    counted = summary.removed.observations
    listed = ", ".join(f"{name} removed {n}" for name, n in counted.items() if n) or "none removed"
    relax = f"{_relax(counted, 'spatial')}, or give" if n_kept < n_before else "Give"
    msg = (
        f"sample '{summary.id}' has {n_kept} of {n_before} locations after quality control ({listed});"
        f" at least {MIN_LOCATIONS} are needed, as correlations over fewer say nothing."
        f" {relax} a spatial file of more locations"
    )
    raise DataError(msg)


def informative_genes(matrix: sparse.csr_matrix, min_cells: int, counts: bool) -> np.ndarray:
    """Return the mask (``n_vars``) of genes in enough observations; intensities must also vary."""
    expressed = np.asarray(matrix.getnnz(axis=0)) >= max(1, min_cells)
    if counts:
        return expressed
    low, high = matrix.min(axis=0).toarray().ravel(), matrix.max(axis=0).toarray().ravel()
    return np.asarray(expressed & (high > low))


def overview(measures: Measures, n_genes: int) -> Overview:
    """Summarise measures by medians; ``median_mito_percent`` is None where not measured."""
    mito = measures.mito_percent
    return Overview(
        observations=len(measures.counts),
        genes=n_genes,
        median_counts=_median(measures.counts),
        median_genes=_median(measures.genes),
        median_mito_percent=None if mito is None else _median(mito),
    )


def log_histogram(values: np.ndarray) -> list[Point]:
    """Return centre and number of bins of log10(1 + value)."""
    numbers, edges = np.histogram(np.log10(1 + values), bins=HISTOGRAM_BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    return [(round(float(x), 4), int(n)) for x, n in zip(centres, numbers, strict=True)]


def _above(values: np.ndarray | None, limit: float, like: np.ndarray) -> np.ndarray:
    return np.zeros(len(like), dtype=bool) if values is None else values > limit


def _in_mads(values: np.ndarray) -> np.ndarray:
    off = values - np.median(values)
    mad = np.median(np.abs(off))
    return np.zeros_like(off) if mad == 0 else off / mad


def _median(values: np.ndarray) -> float:
    return round(float(np.median(values)), 4) if len(values) else 0.0


def _drop_emptied(adata: AnnData) -> tuple[AnnData, int]:
    kept = np.asarray(adata.X.getnnz(axis=1)) > 0
    return (adata if kept.all() else adata[kept].copy()), int((~kept).sum())


def _refuse_empty(n_kept: int, removed: dict[str, np.ndarray], used: Thresholds, kind: str) -> None:
    if n_kept:
        return
    counted = {name: int(mask.sum()) for name, mask in removed.items()}
    listed = ", ".join(f"{name} removed {n}" for name, n in counted.items())
    msg = (
        f"quality control left no observations ({listed}; min_counts was {used.min_counts:g},"
        f" min_genes {used.min_genes:g}, max_mito {used.max_mito_percent:g} %)."
        f" {_relax(counted, kind)}, or check that the file holds raw counts"
    )
    raise DataError(msg)


def _relax(counted: dict[str, int], kind: str) -> str:
    most = max(counted, key=lambda name: counted[name])
    change = "Raise" if most in ("max_mito", "mad_outlier") else "Lower"
    return f"{change} {'mad_outliers' if most == 'mad_outlier' else f'{kind}_{most}'}"


def _refuse_no_genes(n_kept: int, used: Thresholds, kind: str) -> None:
    if n_kept:
        return
    msg = (
        f"quality control left no genes: none is expressed in {used.min_cells} observations."
        f" Lower {kind}_min_cells"
    )
    raise DataError(msg)
