"""Reference coverage: which spots hold something that the reference does not.

A spot is explained as a non-negative mixture of archetypes, mean profiles of groups of reference
cells, so that a mixture of covered cells is covered. What is left over is noise, a difference of the
platforms, or a cell type that the reference lacks. Noise differs from spot to spot; a lacking type
leaves the same residual in all spots that look alike. The statistic is therefore the residual that a
spot shares with the spots most like it. A spot is uncovered when that is larger than in most of the
tissue and than in held-out reference cells treated alike.

Distance in the latent space that the imputation takes is reported beside it and decides nothing:
alignment pulls every spot towards the reference, and mixtures of covered cells lie between its cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import gaussian_kde
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from stlatent import slots
from stlatent.arrays import Array
from stlatent.expression import CLIP, dense, library_size, linear
from stlatent.failures import DataError
from stlatent.maps import rounded, some_locations
from stlatent.records.imputation import CoverageMap, ReferenceCoverage, UncoveredLocations
from stlatent.sampling import reference_cells, subset

if TYPE_CHECKING:
    from anndata import AnnData


FALSE_DISCOVERY_RATE = 0.1
CELLS_PER_ARCHETYPE, MAX_ARCHETYPES = 15, 60
MISSING_LABELS = ("", "nan", "None")
MAX_CALIBRATION = 2000
MAX_POOL = 20_000
N_LIKE = 8
N_COMPONENTS = 20
N_ROUNDS, N_UPDATES = 5, 60
N_FOLDS = 5
WELL_EXPLAINED = 1 / 3
MIN_DISPERSION, MAX_DISPERSION = 0.05, 20.0
QUIETEST = 0.1
STRAY = 1e-3
MAX_MIXED = 10
TAIL = 0.1
MAX_TAIL_SHAPE = 0.5
NORMAL_MEDIAN = 0.6745
# With fewer, archetypes and null are of so few cells that covered tissues are flagged.
MIN_CELLS = 120
_CHUNK = 4096
_TINY = 1e-12


@dataclass(frozen=True)
class Platform:
    """How a platform sees the archetypes.

    Attributes
    ----------
    profiles
        Archetypes x genes: shares, each gene times its capture.
    capture
        Per gene, relative to the reference.
    unit
        Variance over mean of the noise: 1 for counts.
    dispersion
        Per gene: the variance at mean m is ``unit m + dispersion m^2``.
    """

    profiles: Array
    capture: Array
    unit: float
    dispersion: Array

    def explain(self, values: Array) -> Array:
        """Return the best mixture of the profiles for every spot, spots x genes."""
        return np.maximum(mixture_weights(values, self.profiles) @ self.profiles, _TINY)

    def variance(self, mean: Array) -> Array:
        """Return the variance expected at ``mean`` (spots x genes)."""
        # A single stray molecule of a gene that no mixture holds is no evidence.
        stray = STRAY * self.unit * mean.mean(1, keepdims=True)
        return np.asarray(self.unit * mean + self.dispersion * mean**2 + stray)


def archetypes(shares: Array, groups: Array) -> Array:
    """Return the mean share of every group of cells, groups x genes, rows sum to 1.

    One average cell is added to each group, so that no gene is impossible in a small one.

    Parameters
    ----------
    shares
        Cells x panel genes, shares of the whole library.
    groups
        Cells x groups, 0 or 1.
    """
    summed = groups.T @ shares + shares.mean(0)
    return np.asarray(summed / np.maximum(summed.sum(1, keepdims=True), _TINY))


def group_cells(latent: Array, labels: Array | None, seed: int) -> Array:
    """Return cells x groups: clusters in the latent space, and labels of enough cells, if any."""
    n_groups = int(np.clip(len(latent) // CELLS_PER_ARCHETYPE, 1, MAX_ARCHETYPES))
    found = KMeans(n_groups, n_init=1, random_state=seed).fit_predict(latent)
    groups = [found[:, None] == np.unique(found)]
    if labels is not None:
        names, sizes = np.unique(labels, return_counts=True)
        known = (sizes >= CELLS_PER_ARCHETYPE) & ~np.isin(names, MISSING_LABELS)
        groups.append(labels[:, None] == names[known])
    return np.hstack(groups).astype(np.float64)


def mixture_weights(values: Array, profiles: Array) -> Array:
    """Return non-negative weights of ``profiles`` that explain ``values``, spots x profiles.

    Minimises the Kullback-Leibler divergence by multiplicative updates (Lee and Seung, 2001).
    """
    total = np.maximum(profiles.sum(1), _TINY)
    start = values.sum(1, keepdims=True) / (len(profiles) * total.mean())
    values, profiles, total = (part.astype(np.float32) for part in (values, profiles, total))
    weights = np.tile(np.maximum(start, _TINY).astype(np.float32), len(profiles))
    for _ in range(N_UPDATES):
        explained = np.maximum(weights @ profiles, _TINY)
        weights *= ((values / explained) @ profiles.T) / total
    return np.asarray(weights)


def learn_platform(values: Array, profiles: Array, counts: bool) -> Platform:
    """Learn how a platform sees the reference, from the spots that are explained best.

    A gene that is more abundant in the tissue than in the reference can be captured better, or belong
    to cells that the reference lacks. The start gives half of the difference (in logarithms) to
    either; then the third of the spots that is explained best decides, so that most of a tissue may lack
    something.

    Parameters
    ----------
    values
        Spots x genes, counts or intensities.
    profiles
        `archetypes` of the same genes.
    counts
        Whether the values are counts, whose noise is at least Poisson's.
    """
    share = values / np.maximum(values.sum(1, keepdims=True), _TINY)
    capture = np.sqrt((share.mean(0) + _TINY) / (profiles.mean(0) + _TINY))
    dispersion = np.full(len(capture), MIN_DISPERSION)
    platform = Platform(profiles * capture, capture, 1.0, dispersion)
    for _ in range(N_ROUNDS):
        mean = platform.explain(values)
        squared = (values - mean) ** 2
        misfit = np.minimum(squared / platform.variance(mean), CLIP**2).mean(1)
        best = misfit <= np.quantile(misfit, WELL_EXPLAINED)
        first, second = mean[best].sum(0), (mean[best] ** 2).sum(0)
        floor = 1e-3 * first.mean()
        observed = squared[best].sum(0)
        # Intensities have a scale of their own: the quietest genes tell it.
        unit = 1.0 if counts else float(np.quantile(observed / (first + floor), QUIETEST))
        excess = (observed - unit * first) / np.maximum(second, _TINY)
        dispersion = np.clip(excess, MIN_DISPERSION, MAX_DISPERSION)
        capture = capture * (values[best].sum(0) + floor) / (first + floor)
        platform = Platform(profiles * capture, capture, unit, dispersion)
    return platform


def residuals(values: Array, platform: Platform) -> Array:
    """Return Pearson residuals of the best mixture, spots x genes, clipped at +-5."""
    parts = []
    for rows in _chunks(len(values)):
        mean = platform.explain(values[rows])
        scaled = (values[rows] - mean) / np.sqrt(platform.variance(mean))
        parts.append(np.clip(scaled, -CLIP, CLIP).astype(np.float32))
    return np.concatenate(parts)


def shared_residual(values: Array, residual_of: Callable[[Array], Array], seed: int) -> Array:
    """Return how much of its residual every spot shares with the `N_LIKE` spots most like it.

    The inner product of the spot's residual with the mean of theirs; noise is independent between
    spots and has mean 0 in it. Spots are alike by the first principal components of the square roots
    of their shares; at most `MAX_POOL` spots are searched.

    Parameters
    ----------
    values
        Spots x genes.
    residual_of
        Gives the residuals of spots by their positions.
    seed
        Of the spots searched.
    """
    n = len(values)
    pool = subset(n, MAX_POOL, seed)
    if len(pool) < 2:
        return np.zeros(n)
    kept = residual_of(pool)
    centre = np.median(kept, axis=0)
    kept = kept - centre
    roots = _roots(values[pool])
    n_components = min(N_COMPONENTS, *roots.shape)
    space = PCA(n_components, random_state=seed, svd_solver="randomized").fit(roots)
    search = NearestNeighbors(algorithm="brute").fit(space.transform(roots))
    place = np.full(n, -1)
    place[pool] = np.arange(len(pool))
    k = min(N_LIKE, len(pool) - 1)
    found = np.zeros(n)
    for rows in _chunks(n):
        own = place[rows]
        queries = space.transform(_roots(values[rows]))
        nearest = search.kneighbors(queries, n_neighbors=k + 1, return_distance=False)
        others = nearest != own[:, None]
        others[others.all(1), -1] = False
        alike = nearest[others].reshape(len(own), k)
        mean = np.mean([kept[column] for column in alike.T], axis=0)
        residual = residual_of(np.arange(n)[rows]) - centre
        found[rows] = np.einsum("ng,ng->n", residual, mean)
    return found


def mixture_size(weights: Array) -> float:
    """Return the median effective number of profiles in a mixture, ``1 / sum(share^2)``."""
    share = weights / np.maximum(weights.sum(1, keepdims=True), _TINY)
    return float(np.median(1 / np.maximum((share**2).sum(1), _TINY)))


def as_seen(
    values: Array, depth: Array, capture: Array, counts: bool, rng: np.random.Generator
) -> Array:
    """Return reference observations as the tissue's platform would count them.

    Each gets the depth of a random spot: counts are thinned, other values drawn from a Poisson
    distribution. An observation of less depth stays as deep as it is.

    Parameters
    ----------
    values
        Observations x genes of the reference.
    depth
        Totals of the spots.
    capture
        Per gene.
    counts
        Whether the reference's values are counts.
    """
    expected = values * capture
    target = rng.choice(depth, len(values)) / np.maximum(expected.sum(1), _TINY)
    if not counts:
        return rng.poisson(expected * target[:, None]).astype(np.float64)
    chance = np.clip(capture * target[:, None], 0, 1)
    return rng.binomial(np.rint(values).astype(np.int64), chance).astype(np.float64)


def standardise_by_bulk(statistic: Array, by: Array) -> Array:
    """Return ``statistic`` in robust deviations from the most common value of ``by``.

    The mode, and the spread of what lies below it, do not move with an uncovered minority.
    """
    by = by[subset(len(by), MAX_CALIBRATION, 0)]
    spread = float(np.subtract(*np.quantile(by, [0.75, 0.25])))
    if spread <= 0:
        return np.zeros(len(statistic))
    # Silverman's rule with the quartiles, as the right tail is what is looked for.
    width = 0.9 * spread / (2 * NORMAL_MEDIAN) * len(by) ** -0.2
    least, most = np.quantile(by, [0.01, 0.99])
    grid = np.linspace(least, most, 200)
    density = gaussian_kde(by, bw_method=width / max(float(by.std(ddof=1)), _TINY))(grid)
    mode = float(grid[density.argmax()])
    below = mode - by[by <= mode]
    scale = float(np.median(below)) / NORMAL_MEDIAN if len(below) else 0.0
    return np.asarray((statistic - mode) / (scale if scale > 0 else spread))


def tail_chances(statistic: Array, null: Array) -> Array:
    """Return the chance that a null observation is at least as large, one per value.

    Empirical up to the null's `TAIL`; beyond it a generalised Pareto distribution is fitted by
    probability-weighted moments (Hosking and Wallis, 1987), so that chances below one over the size
    of the null can be told apart. Its shape is kept between 0 (exponential) and `MAX_TAIL_SHAPE`.
    """
    ordered = np.sort(null)
    ranks = (len(null) - np.arange(len(null))) / (len(null) + 1)
    threshold = float(np.quantile(null, 1 - TAIL))
    excess = ordered[ordered > threshold] - threshold
    body = np.interp(statistic, ordered, ranks, left=1.0)
    if len(excess) == 0:
        return np.asarray(body)
    position = (np.arange(1, len(excess) + 1) - 0.35) / len(excess)
    first, second = excess.mean(), ((1 - position) * excess).mean()
    shape = float(np.clip(2 - first / max(first - 2 * second, _TINY), 0, MAX_TAIL_SHAPE))
    scale = first * (1 - shape)
    beyond = np.maximum(statistic - threshold, 0) / scale
    tail = np.exp(-beyond) if shape < 1e-6 else (1 + shape * beyond) ** (-1 / shape)
    # Not 0, however far out: a coverage is a ratio of chances.
    chances = np.where(statistic > threshold, TAIL * tail, np.maximum(body, TAIL))
    return np.maximum(chances, np.finfo(float).tiny)


def discovery_threshold(chances: Array, rate: float = FALSE_DISCOVERY_RATE) -> float:
    """Return the largest chance that counts as a discovery (Benjamini and Hochberg, 1995)."""
    ordered = np.sort(chances)
    allowed = rate * np.arange(1, len(ordered) + 1) / len(ordered)
    passed = np.flatnonzero(ordered <= allowed)
    return float(ordered[passed[-1]] if len(passed) else allowed[0])


def latent_distance(z: Array, latent: Array, k: int = 10) -> Array:
    """Return each spot's distance to its k-th nearest reference cell, over those cells' own."""
    k = min(k, len(latent) - 1)
    if k < 1:
        return np.full(len(z), np.nan)
    search = NearestNeighbors().fit(latent)
    own = search.kneighbors(n_neighbors=k)[0][:, -1]
    distance, nearest = search.kneighbors(z, n_neighbors=k)
    return np.asarray(distance[:, -1] / np.maximum(own[nearest].mean(1), _TINY))


@dataclass(frozen=True)
class ReferenceCells:
    """Cells of the reference to judge by.

    Attributes
    ----------
    expression
        Cells x panel, counts or linear expression.
    library
        Total of every cell.
    latent
        Cells x dimensions of the VAE.
    labels
        Names of types, or None.
    counts
        Whether the expression is counts.
    """

    expression: Array
    library: Array
    latent: Array
    labels: Array | None
    counts: bool

    def archetypes(self, rows: Array, seed: int) -> Array:
        """Return the archetypes of some cells."""
        labels = None if self.labels is None else self.labels[rows]
        shares = self.expression[rows] / self.library[rows, None]
        return archetypes(shares, group_cells(self.latent[rows], labels, seed))


def held_out_statistic(
    cells: ReferenceCells,
    n_mixed: int,
    see: Callable[[Array, np.random.Generator], Array],
    seed: int,
) -> Array:
    """Return the statistic of reference cells that took no part in the archetypes they are held to.

    Parameters
    ----------
    cells
        The reference.
    n_mixed
        Cells that make up one observation, as in the tissue's spots.
    see
        Makes observations of the tissue's platform of them, see `as_seen`.
    seed
        Of folds and mixtures.
    """
    rng = np.random.default_rng(seed)
    n_folds = min(N_FOLDS, len(cells.expression))
    fold = rng.permutation(len(cells.expression)) % n_folds
    seen, known = [], []
    for number in range(n_folds):
        profiles = cells.archetypes(np.flatnonzero(fold != number), seed)
        own = np.flatnonzero(fold == number)
        own = own[subset(len(own), MAX_CALIBRATION // n_folds, seed)]
        partners = [own, *(rng.permutation(own) for _ in range(n_mixed - 1))]
        values = see(np.sum([cells.expression[rows] for rows in partners], axis=0), rng)
        seen.append(values)
        known.append(residuals(values, learn_platform(values, profiles, counts=True)))
    residual = np.concatenate(known)
    return shared_residual(np.concatenate(seen), lambda rows: residual[rows], seed)


def chances_of_covered(tissue: Array, counts: bool, cells: ReferenceCells, seed: int) -> Array:
    """Return the chance that a covered spot deviates as much as each spot does.

    Parameters
    ----------
    tissue
        Spots x panel, counts or intensities.
    counts
        Whether they are counts.
    cells
        The reference, with genes that both sides detect.
    seed
        Of everything that is drawn.
    """
    everything = np.arange(len(cells.expression))
    profiles = cells.archetypes(everything, seed)
    sample = tissue[subset(len(tissue), MAX_CALIBRATION, seed)]
    platform = learn_platform(sample, profiles, counts)
    statistic = shared_residual(tissue, lambda rows: residuals(tissue[rows], platform), seed)

    def see(values: Array, rng: np.random.Generator) -> Array:
        if not counts and cells.counts:  # intensities have no depth to thin to
            return values
        return as_seen(values, sample.sum(1), platform.capture, cells.counts, rng)

    single = cells.expression[subset(len(everything), MAX_CALIBRATION, seed)]
    ratio = mixture_size(mixture_weights(sample, platform.profiles)) / mixture_size(
        mixture_weights(single, profiles)
    )
    null = held_out_statistic(cells, int(np.clip(round(ratio), 1, MAX_MIXED)), see, seed)
    deviation = np.minimum(
        standardise_by_bulk(statistic, statistic), standardise_by_bulk(statistic, null)
    )
    return tail_chances(deviation, standardise_by_bulk(null, null))


def assess(
    spatial: AnnData, reference: AnnData, panel: list[str], z: Array, latent: Array, seed: int
) -> pd.DataFrame:
    """Judge for every spot whether the reference covers it.

    A spot is uncovered when its `chances_of_covered` pass Benjamini and Hochberg's procedure at
    `FALSE_DISCOVERY_RATE`. Its coverage is c / (c + t), c its chance and t the largest that passes:
    at most 0.5 where uncovered. With a reference of fewer than `MIN_CELLS` cells neither is known.

    Parameters
    ----------
    spatial, reference
        After QC.
    panel
        Genes of both to judge by.
    z, latent
        Positions of the spots and of the reference cells, in the latent space of the imputation.
    seed
        Of everything that is drawn.

    Returns
    -------
    One row a spot: ``reference_coverage`` in [0, 1], 1 well covered; ``reference_covered``; and
    ``reference_distance``, see `latent_distance`. Of the first two all values are missing where
    they were not judged.

    Raises
    ------
    DataError
        When no gene is detected on both sides.
    """
    chosen = reference_cells(reference.n_obs, seed)
    if len(chosen) < MIN_CELLS:
        return _not_judged(spatial.obs_names, latent_distance(z, latent[chosen]))
    values = linear(reference)
    columns = reference.var_names.get_indexer(panel)
    expression = dense(values[:, columns][chosen])
    tissue = np.maximum(dense(spatial[:, panel].X), 0)
    usable = (expression.sum(0) > 0) & (tissue.sum(0) > 0)
    if not usable.any():
        msg = "no gene of the panel is detected both in the tissue and in the reference"
        raise DataError(msg)
    labels = slots.label_column(reference, "label_key")
    cells = ReferenceCells(
        expression[:, usable],
        library_size(values)[chosen],
        latent[chosen],
        None if labels is None else labels.astype(str).to_numpy()[chosen],
        bool(slots.facts(reference)["counts"]),
    )
    counts = bool(slots.facts(spatial)["counts"])
    chances = chances_of_covered(tissue[:, usable], counts, cells, seed)
    threshold = discovery_threshold(chances)
    table = {
        slots.REFERENCE_COVERAGE: chances / (chances + threshold),
        slots.REFERENCE_COVERED: chances > threshold,
        slots.REFERENCE_DISTANCE: latent_distance(z, cells.latent),
    }
    return pd.DataFrame(table, index=spatial.obs_names)


def summarise(table: pd.DataFrame, spatial: AnnData, seed: int) -> ReferenceCoverage:
    """Return what the report shows of `assess`, with a map."""
    if table[slots.REFERENCE_COVERED].isna().any():
        why = f"the reference has fewer than {MIN_CELLS} cells after quality control"
        return ReferenceCoverage(None, FALSE_DISCOVERY_RATE, None, None, why)
    labels = slots.label_column(spatial, "label_key")
    uncovered = ~table[slots.REFERENCE_COVERED]
    groups = None
    if labels is not None:
        counted = uncovered.groupby(labels.astype(str).to_numpy()).agg(["size", "mean"])
        groups = {
            str(name): UncoveredLocations(int(row["size"]), float(row["mean"]))
            for name, row in counted.iterrows()
        }
    spots, coordinates = some_locations(spatial, seed)
    drawn = CoverageMap(
        coordinates=coordinates,
        coverage=[rounded(value) for value in table[slots.REFERENCE_COVERAGE].to_numpy()[spots]],
    )
    return ReferenceCoverage(float(uncovered.mean()), FALSE_DISCOVERY_RATE, groups, drawn, None)


def _not_judged(names: pd.Index[str], distance: Array) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            slots.REFERENCE_COVERAGE: np.nan,
            slots.REFERENCE_COVERED: False,
            slots.REFERENCE_DISTANCE: distance,
        },
        index=names,
    )
    table[slots.REFERENCE_COVERED] = (
        table[slots.REFERENCE_COVERED].astype("boolean").mask(np.ones(len(names), dtype=bool))
    )
    return table


def _chunks(n: int) -> Iterator[slice]:
    for start in range(0, n, _CHUNK):
        yield slice(start, start + _CHUNK)


def _roots(values: Array) -> Array:
    total = np.maximum(values.sum(1, keepdims=True), _TINY)
    return np.asarray(np.sqrt(values / total), dtype=np.float32)
