"""Conformal intervals of imputed values, calibrated on held-out genes.

The unit that is exchangeable is the gene: held-out genes and genes of interest are taken for draws
from one population, the locations of a gene are not independent. So quantiles are those of the
pooled distribution over all locations of calibration genes, every gene weighing the same ("pooling
CDFs" of Dunn, Wasserman and Ramdas, JASA 2022), and how often intervals hold has to be measured on genes that took
no part (`leave_fold_out`).

Where genes are chosen, as on a panel of markers, those of interest are another population: rarer,
above all. So a gene's quantiles are those of the calibration genes that are expected as abundant in
the tissue as it is (localised conformal prediction; Guan, Biometrika 2023). Where few are, quantiles
are those of higher levels, by conformal prediction's (n + 1) / n, and a gene beyond all of them has
no interval.

All values are on the normalised scale: log(1 + counts per 10,000 of the expected library) or
intensities as they are. A monotone map takes intervals to the count scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.linear_model import HuberRegressor

from stlatent import slots
from stlatent.arrays import Array
from stlatent.expression import CLIP, REFERENCE_TARGET, dense
from stlatent.records.evaluation import IntervalHitRates, IntervalLevel
from stlatent.trust.variance import fit_variance

if TYPE_CHECKING:
    from anndata import AnnData


LEVELS = (50, 67, 80, 90, 95)
COUNT, NORMALISED = "count", "normalised"

MIN_GENES = 10
GENES_PER_WINDOW = 20
# Genes whose expected means differ by less than this factor support each other.
NEAR = float(np.e)
CROSS_FITS = 5
MAX_SPOTS = 5000
_PREDICTION_BINS = 8
_FLOOR = 1e-3


@dataclass(frozen=True)
class Genes:
    """Predictions of held-out genes with their measurements, both spots x genes, normalised scale."""

    predicted: Array
    measured: Array

    def __getitem__(self, columns: Array) -> Genes:
        """Return some of the genes."""
        return Genes(self.predicted[:, columns], self.measured[:, columns])

    @property
    def n(self) -> int:
        """Number of genes."""
        return int(self.predicted.shape[1])


def joined(parts: Sequence[Genes]) -> Genes:
    """Put genes of several folds side by side."""
    return Genes(
        np.concatenate([part.predicted for part in parts], axis=1),
        np.concatenate([part.measured for part in parts], axis=1),
    )


@dataclass(frozen=True)
class Centre:
    """How level and spread of the tissue's measurements follow from those of the prediction.

    Attributes
    ----------
    floor, lowest, highest
        Least mean told from 0, and the range of predicted means seen.
    level, spread
        Intercept and slopes of log(measured mean), and of log(measured sd), on log(predicted mean)
        and log(predicted sd). At one predicted mean, genes of few places have more to be measured
        than genes that are everywhere: without the sd, a panel of markers would promise as much of
        all other genes.
    pattern
        Share of a gene's spread that the prediction explains: the mean correlation.
    """

    floor: float
    lowest: float
    highest: float
    level: tuple[float, ...]
    spread: tuple[float, ...]
    pattern: float

    def expected(self, mean: Array, sd: Array) -> tuple[Array, Array]:
        """Return the expected mean and sd of the measurements of genes, from those predicted.

        Beyond the means that were seen both are proportional to the prediction.
        """
        mean = np.maximum(mean, self.floor)
        inside = np.clip(mean, self.lowest, self.highest)
        beyond = mean / inside
        design = np.log(np.stack([inside, np.maximum(sd / beyond, self.floor)]))
        level, spread = (
            np.exp(line[0] + np.asarray(line[1:]) @ design) * beyond
            for line in (self.level, self.spread)
        )
        return level, spread

    def values(self, predicted: Array, mean: Array, sd: Array) -> Array:
        """Return the centre of every value, spots x genes, at least 0."""
        level, spread = self.expected(mean, sd)
        z = np.clip((predicted - mean) / np.where(sd > 0, sd, 1.0), -CLIP, CLIP)
        return np.maximum(level + self.pattern * spread * z, 0.0)


@dataclass(frozen=True)
class Model:
    """Everything that intervals of new genes need.

    Attributes
    ----------
    centre
        Where intervals lie.
    variance
        The variance of a measurement is ``v0 + v1 centre + v2 spread^2``.
    abundance
        Expected means of the calibration genes, sorted.
    quantiles
        Genes of ``abundance`` x levels: of |measured - centre| / sqrt(variance), over the
        `GENES_PER_WINDOW` genes around each.
    flat_quantiles
        The same for the plain interval: |measured - level| / spread, one interval a gene.
    n_genes
        Calibration genes.
    levels
        How often intervals should hold, in percent.
    """

    centre: Centre
    variance: Array
    abundance: Array
    quantiles: Array
    flat_quantiles: Array
    n_genes: int
    levels: tuple[int, ...] = LEVELS

    def bounds(self, predicted: Array, mean: Array, sd: Array, level: int) -> tuple[Array, Array]:
        """Return lower and upper bounds, spots x genes; NaN for genes that are not `supported`.

        Parameters
        ----------
        predicted
            Spots x genes.
        mean, sd
            Moments of each gene's prediction over all spots.
        level
            One of ``levels``.

        Raises
        ------
        ValueError
            When the level was not calibrated.
        """
        centre = self.centre.values(predicted, mean, sd)
        expected, spread = self.centre.expected(mean, sd)
        scale = np.sqrt(_variance(centre, spread, self.variance))
        half = self._quantile(self.quantiles, expected, level) * scale
        return np.maximum(centre - half, 0.0), centre + half

    def flat_bounds(self, mean: Array, sd: Array, level: int) -> tuple[Array, Array]:
        """Return the bounds of the plain interval, which is the same at every spot."""
        expected, spread = self.centre.expected(mean, sd)
        half = self._quantile(self.flat_quantiles, expected, level) * spread
        return np.maximum(expected - half, 0.0), expected + half

    def supported(self, mean: Array, sd: Array) -> Array:
        """Return which genes are expected no rarer and no more abundant than all calibration genes."""
        return self._supports(self.centre.expected(mean, sd)[0])

    def _supports(self, expected: Array) -> Array:
        return (self.abundance[0] <= expected) & (expected <= self.abundance[-1])

    def _quantile(self, quantiles: Array, expected: Array, level: int) -> Array:
        place = np.clip(np.searchsorted(self.abundance, expected), 0, len(quantiles) - 1)
        return np.where(self._supports(expected), quantiles[place, self._column(level)], np.nan)

    def _column(self, level: int) -> int:
        if level not in self.levels:
            msg = f"no interval of {level} %: choose {', '.join(map(str, self.levels))}"
            raise ValueError(msg)
        return self.levels.index(level)

    def to_dict(self) -> dict[str, Any]:
        """Return the model as numbers and arrays that h5ad and JSON can hold."""
        centre = {
            name: np.asarray(value, dtype=float) for name, value in asdict(self.centre).items()
        }
        return {
            **centre,
            "variance": self.variance,
            "abundance": self.abundance,
            "quantiles": self.quantiles,
            "flat_quantiles": self.flat_quantiles,
            "n_genes": self.n_genes,
            "levels": np.asarray(self.levels),
        }

    @staticmethod
    def from_dict(stored: dict[str, Any]) -> Model:
        """Read what `to_dict` gave."""
        centre = Centre(
            floor=float(stored["floor"]),
            lowest=float(stored["lowest"]),
            highest=float(stored["highest"]),
            level=tuple(np.ravel(stored["level"]).tolist()),
            spread=tuple(np.ravel(stored["spread"]).tolist()),
            pattern=float(stored["pattern"]),
        )
        return Model(
            centre=centre,
            variance=np.asarray(stored["variance"], dtype=float),
            abundance=np.asarray(stored["abundance"], dtype=float),
            quantiles=np.asarray(stored["quantiles"], dtype=float),
            flat_quantiles=np.asarray(stored["flat_quantiles"], dtype=float),
            n_genes=int(stored["n_genes"]),
            levels=tuple(int(level) for level in np.ravel(stored["levels"])),
        )


def fit(genes: Genes) -> Model:
    """Calibrate on held-out genes.

    Centre and variance are learned from the genes whose scores they do not enter (`CROSS_FITS` parts,
    as in cross-conformal prediction; Vovk, Ann. Math. Artif. Intell. 2015), so that the quantiles
    know how wrong both are for a new gene.

    Parameters
    ----------
    genes
        At least `MIN_GENES`.

    Raises
    ------
    ValueError
        When there are fewer.
    """
    if genes.n < MIN_GENES:
        msg = f"{genes.n} held-out genes, {MIN_GENES} are needed for intervals"
        raise ValueError(msg)
    scores, flat_scores = np.empty_like(genes.measured), np.empty_like(genes.measured)
    abundance = np.empty(genes.n)
    for away in cross_fits(genes.n):
        kept = np.setdiff1d(np.arange(genes.n), away)
        centre, variance = _fit_parts(genes[kept])
        scores[:, away], flat_scores[:, away], abundance[away] = _scores(
            genes[away], centre, variance
        )
    centre, variance = _fit_parts(genes)
    order = np.argsort(abundance, kind="stable")
    abundance = abundance[order]
    return Model(
        centre,
        variance,
        abundance,
        _local_quantiles(scores[:, order], abundance),
        _local_quantiles(flat_scores[:, order], abundance),
        genes.n,
    )


def cross_fits(n_genes: int) -> list[Array]:
    """Cut genes into parts that are left out in turn."""
    return np.array_split(np.random.default_rng(0).permutation(n_genes), CROSS_FITS)


def leave_fold_out(folds: list[Genes]) -> IntervalHitRates | None:
    """Measure hit rate and width on every fold's genes by a model of the other folds.

    Returns
    -------
    Hit rates in percent and widths on the normalised scale, means over genes that have intervals.
    None where the other folds are too few to calibrate on.
    """
    parts: list[Array] = []
    for number, fold in enumerate(folds):
        others = [other for place, other in enumerate(folds) if place != number]
        if sum(other.n for other in others) < MIN_GENES:
            return None
        parts.append(interval_hit_rate(fit(joined(others)), fold))
    every = np.concatenate(parts, axis=2)
    known = ~np.isnan(every).any(axis=(0, 1))
    if not known.any():
        return None
    found = every[:, :, known]
    scale = np.array([100.0, 1.0, 100.0, 1.0])
    means = found.mean(axis=2) * scale[:, None]
    per_gene = found[0, LEVELS.index(90)]
    return IntervalHitRates(
        n_genes=int(known.sum()),
        n_without=int((~known).sum()),
        genes_within=float((per_gene >= 0.8).mean()),
        levels=[
            IntervalLevel(level, *means[:, column].tolist()) for column, level in enumerate(LEVELS)
        ],
    )


def interval_hit_rate(model: Model, genes: Genes) -> Array:
    """Return hit rate, width, and both of the plain interval: 4 x levels x genes, NaN without intervals.

    The hit rate is what a user would compute: the mean of lower <= measured <= upper.
    """
    mean, sd = genes.predicted.mean(0), genes.predicted.std(0)
    found = np.empty((4, len(model.levels), genes.n))
    for column, level in enumerate(model.levels):
        lower, upper = model.bounds(genes.predicted, mean, sd, level)
        found[0, column] = ((lower <= genes.measured) & (genes.measured <= upper)).mean(0)
        found[1, column] = (upper - lower).mean(0)
        lower, upper = model.flat_bounds(mean, sd, level)
        found[2, column] = ((lower <= genes.measured) & (genes.measured <= upper)).mean(0)
        found[3, column] = upper - lower
    found[:, :, ~model.supported(mean, sd)] = np.nan
    return found


def measured_on_scale(measured: Array, library: Array | None) -> Array:
    """Return measurements on the normalised scale.

    Parameters
    ----------
    measured
        Spots x genes, counts or intensities.
    library
        Expected library of the spots, None for intensities.
    """
    if library is None:
        return np.asarray(measured, dtype=float)
    return np.log1p(REFERENCE_TARGET * measured / _at_least_one(library)[:, None])


def on_count_scale(values: Array, library: Array | None) -> Array:
    """Undo `measured_on_scale`."""
    if library is None:
        return values
    return np.expm1(values) * (_at_least_one(library) / REFERENCE_TARGET)[:, None]


def interval(
    adata: AnnData, level: int, genes: Sequence[str] | None = None, scale: str = COUNT
) -> tuple[Array, Array]:
    """Return the bounds of the imputed values of a pipeline output.

    Parameters
    ----------
    adata
        ``<sample>.imputed.h5ad``, all of it or some locations and genes.
    level
        How often the bounds should hold, in percent: one of 50, 67, 80, 90, 95.
    genes
        Names; all by default.
    scale
        ``count``: comparable with measured counts (intensities: with measured intensities);
        ``normalised``: comparable with ``log1p(counts / expected_library * 1e4)``.

    Returns
    -------
    Lower and upper bounds, locations x genes.

    Raises
    ------
    ValueError
        When the file has no intervals, or none of that level or scale.
    """
    if scale not in {COUNT, NORMALISED}:
        msg = f"no scale '{scale}': choose {COUNT} or {NORMALISED}"
        raise ValueError(msg)
    stored = slots.facts(adata).get("intervals")
    if stored is None:
        msg = "the file has no intervals: too few genes were held out to calibrate them"
        raise ValueError(msg)
    chosen = adata if genes is None else adata[:, list(genes)]
    library = (
        chosen.obs[slots.EXPECTED_LIBRARY].to_numpy()
        if slots.EXPECTED_LIBRARY in chosen.obs
        else None
    )
    bounds = Model.from_dict(stored).bounds(
        dense(chosen.layers[slots.NORMALISED]),
        chosen.var[slots.NORMALISED_MEAN].to_numpy(),
        chosen.var[slots.NORMALISED_SD].to_numpy(),
        level,
    )
    if scale == NORMALISED:
        return bounds
    return on_count_scale(bounds[0], library), on_count_scale(bounds[1], library)


def _at_least_one(library: Array) -> Array:
    return np.maximum(np.asarray(library, dtype=float), 1.0)


def _local_quantiles(scores: Array, abundance: Array) -> Array:
    """Return quantiles around every gene, spots x genes in order of abundance: genes x levels.

    The level is raised by (n + 1) / n, n the number of genes that are `NEAR`.
    """
    size = min(GENES_PER_WINDOW, scores.shape[1])
    starts = np.clip(np.arange(scores.shape[1]) - size // 2, 0, scores.shape[1] - size)
    logs = np.log(np.maximum(abundance, 1e-300))
    near = (np.abs(logs[:, None] - logs) <= np.log(NEAR)).sum(axis=1)
    levels = np.minimum(np.array(LEVELS) / 100 * (1 + 1 / near)[:, None], 1.0)
    return np.stack(
        [
            np.quantile(scores[:, start : start + size], own)
            for start, own in zip(starts, levels, strict=True)
        ]
    )


def _variance(centre: Array, spread: Array, coefficients: Array) -> Array:
    """Variance of every value, spots x genes."""
    return coefficients[0] + coefficients[2] * spread**2 + coefficients[1] * centre


def _fit_parts(genes: Genes) -> tuple[Centre, Array]:
    centre = fit_centre(genes)
    mean, sd = genes.predicted.mean(0), genes.predicted.std(0)
    values = centre.values(genes.predicted, mean, sd)
    _, spread = centre.expected(mean, sd)
    return centre, _fit_variance(values, (genes.measured - values) ** 2, spread)


def fit_centre(genes: Genes) -> Centre:
    """Learn level and spread of measurements by robust regression over genes, in logarithms.

    Tissue and reference come from different platforms, whose efficiency differs from gene to gene,
    or are not even in the same unit (intensities): Huber's regression (Huber, Ann. Math. Stat. 1964)
    of the logarithms of measured on predicted moments finds what is common.
    """
    mean, sd = genes.predicted.mean(0), genes.predicted.std(0)
    true_mean, true_sd = genes.measured.mean(0), genes.measured.std(0)
    usable = (true_mean > 0) & (true_sd > 0)
    if not usable.any():
        nothing = (np.log(_FLOOR), 0.0, 0.0)
        return Centre(1.0, 1.0, 1.0, nothing, nothing, 0.0)
    floor = max(_FLOOR * float(np.median(mean[usable])), 1e-12)
    bounded = np.maximum(mean[usable], floor)
    design = np.log(np.stack([bounded, np.maximum(sd[usable], floor)], axis=1))
    standard = (genes.predicted - mean) / np.where(sd > 0, sd, 1.0)
    true_standard = (genes.measured - true_mean) / np.where(true_sd > 0, true_sd, 1.0)
    return Centre(
        floor,
        float(bounded.min()),
        float(bounded.max()),
        _robust_line(design, np.log(true_mean[usable])),
        _robust_line(design, np.log(true_sd[usable])),
        float(np.clip((standard * true_standard).mean(), 0.0, 1.0)),
    )


def _robust_line(design: Array, target: Array) -> tuple[float, ...]:
    """Intercept and slopes by Huber's regression on standardised columns."""
    middle, width = design.mean(0), design.std(0)
    varying = width > 1e-9
    slopes = np.zeros(design.shape[1])
    intercept = float(np.median(target))
    if varying.any() and len(target) >= MIN_GENES // 2 and np.ptp(target) > 0:
        x = (design - middle)[:, varying] / width[varying]
        found = HuberRegressor(alpha=_FLOOR * len(target), max_iter=1000).fit(x, target)
        slopes[varying] = found.coef_ / width[varying]
        intercept = float(found.intercept_)
    return (intercept - float(slopes @ middle), *slopes.tolist())


def _fit_variance(centre: Array, squares: Array, spread: Array) -> Array:
    """Coefficients of `_variance`, by `fit_variance` on squared residuals.

    Residuals are averaged in `_PREDICTION_BINS` bins of every gene's own predictions. The terms in the centre and not in its square keep the
    score of a zero, centre / sqrt(variance), rising with the centre: zeros are not tied.
    """
    order = np.argsort(centre, axis=0, kind="stable")
    ranked = [np.take_along_axis(values, order, axis=0) for values in (centre, squares)]
    n_bins = min(_PREDICTION_BINS, len(centre))
    bins = [
        np.stack([part.mean(0) for part in np.array_split(values, n_bins)]).ravel()
        for values in ranked
    ]
    gene_term = np.tile(spread**2, n_bins)
    design = np.stack([np.ones_like(gene_term), bins[0], gene_term], axis=1)
    typical = float(bins[1].mean())
    if typical <= 0:
        return np.array([1e-12, 0.0, 0.0])
    found = fit_variance(design, bins[1], _FLOOR * typical, most=9.0)
    found[0] = max(found[0], 1e-9 * typical)
    return found


def _scores(genes: Genes, centre: Centre, variance: Array) -> tuple[Array, Array, Array]:
    """Nonconformity of measurements, of the intervals and of the plain ones, and expected means."""
    mean, sd = genes.predicted.mean(0), genes.predicted.std(0)
    values = centre.values(genes.predicted, mean, sd)
    level, spread = centre.expected(mean, sd)
    scores = np.abs(genes.measured - values) / np.sqrt(_variance(values, spread, variance))
    return scores, np.abs(genes.measured - level) / spread, level
