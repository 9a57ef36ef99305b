"""Plain predictors of unmeasured genes, learned on the reference and applied to the tissue.

Each takes panels and targets on the working scale, log-normalised counts or intensities, and
returns the targets at every spot on that scale; `to_counts` brings them to the count scale. They
know neither files nor folds, so they serve as baselines and as candidates of a stack alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve
from scipy.sparse import csr_matrix
from sklearn.linear_model import RidgeCV

from stlatent.expression import CLIP, standardise
from stlatent.failures import DataError
from stlatent.graph import neighbour_mean

Array = np.ndarray

MAX_LANDMARKS = 2000
KERNEL_SCALE = 2.0
KERNEL_RIDGE = 5.0
RIDGE_ALPHAS = tuple(10.0 ** (exponent / 2) for exponent in range(2, 11))
GENE_KERNEL_SCALE = 2.0
GENE_KERNEL_NOISE = 0.1
N_TRANSFER_NEIGHBORS = 50
TRANSFER_SHARPNESS = 5.0
# Counts per REFERENCE_TARGET below which abundances no longer differ.
LOG_MEAN_OFFSET = 1e-2
_CHUNK = 4096
_CHUNK_VALUES = 20_000_000


@dataclass(frozen=True)
class Problem:
    """What a predictor is given.

    Attributes
    ----------
    reference_panel, reference_target
        Cells x panel and cells x targets, working scale.
    tissue_panel
        Spots x panel, working scale.
    nearest
        Spots x k table of spatial neighbours (`stlatent.graph.neighbours`), or None.
    counts
        Whether the tissue holds counts; otherwise intensities.
    seed
        Of landmarks.
    """

    reference_panel: Array
    reference_target: Array
    tissue_panel: Array
    nearest: Array | None = None
    counts: bool = True
    seed: int = 0


Predictor = Callable[[Problem], Array]


def standardised_panels(problem: Problem, mixing: float) -> tuple[Array, Array]:
    """Return z-scored panels of reference and tissue, each by its own moments.

    Genes that are constant on either side are left out; a share ``mixing`` of every spot is replaced
    by the mean of its spatial neighbours.

    Raises
    ------
    DataError
        When no gene is left.
    """
    usable = varying_panel(problem)
    if not usable.any():
        msg = (
            "no gene of the panel varies both in the tissue and in the reference; "
            "check that both files hold the values you expect"
        )
        raise DataError(msg)
    reference = standardise(problem.reference_panel[:, usable])
    tissue = standardise(problem.tissue_panel[:, usable])
    if problem.nearest is not None and mixing > 0:
        tissue = (1 - mixing) * tissue + mixing * neighbour_mean(tissue, problem.nearest)
    return reference, tissue.astype(np.float32)


def null(problem: Problem) -> Array:
    """Library size and nothing else.

    Counts: the reference's mean of each target at every spot, so that on the count scale only the
    library varies. Intensities: the mean of the spot's panel, relative to that over spots.
    """
    mean = problem.reference_target.mean(axis=0)
    if problem.counts:
        level: Array = np.ones(len(problem.tissue_panel), dtype=np.float32)
    else:
        level = problem.tissue_panel.mean(axis=1)
        level = level / max(float(level.mean()), 1e-12)
    return np.outer(level, mean).astype(np.float32)


def ridge(problem: Problem, mixing: float = 0.5) -> Array:
    """Ridge regression of z-scored targets on the z-scored panel, penalty by leave-one-out."""
    reference, tissue = standardised_panels(problem, mixing)
    target, mean, spread = _z_scored(problem.reference_target)
    model = RidgeCV(alphas=RIDGE_ALPHAS).fit(reference.astype(np.float64), target)
    weights = np.atleast_2d(model.coef_).astype(np.float32)
    return _restored(tissue @ weights.T + np.asarray(model.intercept_, np.float32), mean, spread)


def kernel_ridge(
    problem: Problem,
    scale: float = KERNEL_SCALE,
    penalty: float = KERNEL_RIDGE,
    mixing: float = 0.3,
    max_landmarks: int = MAX_LANDMARKS,
) -> Array:
    """Kernel ridge regression with k(x, y) = exp(scale (cos(x, y) - 1)) on z-scored panels.

    Up to ``max_landmarks`` reference cells the solution is exact, (K + penalty I)^-1 Y. Beyond it is
    Nystrom's with a random subset m, (K_mn K_nm + penalty K_mm)^-1 K_mn Y (Williams and Seeger 2001),
    so that cost is linear in cells and in spots.
    """
    reference, tissue = standardised_panels(problem, mixing)
    target, mean, spread = _z_scored(problem.reference_target)
    reference, tissue = _unit_rows(reference), _unit_rows(tissue)
    landmarks, coefficients = _kernel_coefficients(
        reference, target, scale, penalty, max_landmarks, problem.seed
    )
    predicted = np.empty((len(tissue), target.shape[1]), dtype=np.float32)
    for rows in _chunks(len(tissue)):
        predicted[rows] = _kernel(tissue[rows], landmarks, scale) @ coefficients
    return _restored(predicted, mean, spread)


def knn(problem: Problem, n_neighbors: int = N_TRANSFER_NEIGHBORS, mixing: float = 0.3) -> Array:
    """Weighted mean of the targets of the reference cells nearest by cosine of z-scored panels.

    Weights are proportional to ``exp(TRANSFER_SHARPNESS * cosine)``.
    """
    reference, tissue = standardised_panels(problem, mixing)
    reference, tissue = _unit_rows(reference), _unit_rows(tissue)
    n_cells = len(reference)
    k = min(n_neighbors, n_cells)
    predicted = np.empty((len(tissue), problem.reference_target.shape[1]), dtype=np.float32)
    for rows in _chunks(len(tissue), max(1, _CHUNK_VALUES // n_cells)):
        cosine = tissue[rows] @ reference.T
        nearest = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
        weights = np.exp(TRANSFER_SHARPNESS * np.take_along_axis(cosine, nearest, axis=1))
        weights /= weights.sum(axis=1, keepdims=True)
        pointers = np.arange(0, nearest.size + 1, k)
        sparse = csr_matrix((weights.ravel(), nearest.ravel(), pointers), (len(nearest), n_cells))
        predicted[rows] = sparse @ problem.reference_target
    return predicted


def gene_kernel(
    problem: Problem,
    scale: float = GENE_KERNEL_SCALE,
    noise: float = GENE_KERNEL_NOISE,
    mixing: float = 0.3,
    abundance: bool = False,
) -> Array:
    """Gaussian process over genes: the tissue's own panel is the data, the reference the kernel.

    Each gene of the panel is a sample whose value is its whole map, so that a target's map is
    ``T (K_pp + noise I)^-1 K_pt`` with T the z-scored tissue panel (Rasmussen and Williams 2006,
    eq. 2.23). k(g, h) = exp(scale (corr(g, h) - 1)), the correlation over the reference's cells.
    Regressions trust the reference for how genes act together; this trusts it only for which genes
    are alike.

    Parameters
    ----------
    problem
        Panel and targets.
    scale, noise
        Of the kernel, and the variance of what is a gene's own.
    mixing
        Share of every spot that is replaced by the mean of its spatial neighbours.
    abundance
        Whether genes must also be alike in their mean: a factor exp(-d^2 / 2), d the difference of
        log means in units of the panel's standard deviation. Genes detected alike share errors.
    """
    reference, tissue = standardised_panels(problem, mixing)
    target, mean, spread = _z_scored(problem.reference_target)
    target = np.clip(target, -CLIP, CLIP)
    panel_kernel = np.exp(scale * (_correlation(reference, reference) - 1))
    target_kernel = np.exp(scale * (_correlation(reference, target) - 1))
    if abundance:
        panel_level, target_level = _log_means(problem)
        width = max(float(panel_level.std()), 1e-6)
        panel_kernel *= _gaussian(panel_level, panel_level, width)
        target_kernel *= _gaussian(panel_level, target_level, width)
    panel_kernel[np.diag_indices(len(panel_kernel))] += noise
    weights = solve(panel_kernel, target_kernel, assume_a="pos").astype(np.float32)
    return _restored(tissue @ weights, mean, spread)


PREDICTORS: dict[str, Predictor] = {
    "null": null,
    "ridge": ridge,
    "kernel_ridge": kernel_ridge,
    "knn": knn,
}


def predictor(name: str) -> Predictor:
    """Return the predictor registered under ``name``.

    Raises
    ------
    ValueError
        Listing what is allowed.
    """
    if name not in PREDICTORS:
        msg = f"unknown method '{name}': allowed are {', '.join(PREDICTORS)}"
        raise ValueError(msg)
    return PREDICTORS[name]


def to_counts(log_predicted: Array, library: Array, total: float) -> Array:
    """Bring log-normalised predictions to the count scale: ``expm1(x) * library``, scaled.

    One factor for all genes makes them add up to ``total``: the mean of logarithms is below the
    logarithm of the mean, so that ``expm1`` alone would be too low.

    Parameters
    ----------
    log_predicted
        Spots x genes, log1p of counts per `REFERENCE_TARGET`; negative values count as 0.
    library
        Observed total of each spot; a spot without counts is predicted 0.
    total
        Expected sum of all predicted counts, see `expected_total`.
    """
    counts = np.expm1(np.maximum(log_predicted, 0.0)) * np.asarray(library)[:, None]
    predicted = float(counts.sum())
    return (counts * (total / predicted if predicted > 0 else 0.0)).astype(np.float32)


def to_intensities(predicted: Array) -> Array:
    """Shift the genes (columns) with negative predictions so that their least is 0."""
    return np.asarray(predicted - np.minimum(predicted.min(axis=0), 0.0), dtype=np.float32)


def expected_total(problem: Problem, tissue_panel: Array) -> float:
    """Return the counts that the targets should have in the tissue, all together.

    The measured total of the panel times the reference's ratio of targets to panel.

    Parameters
    ----------
    problem
        With log1p of counts per `REFERENCE_TARGET` in the reference.
    tissue_panel
        Spots x panel, counts.
    """
    panel = float(np.expm1(problem.reference_panel).sum())
    target = float(np.expm1(problem.reference_target).sum())
    return float(tissue_panel.sum()) * target / panel if panel > 0 else 0.0


def varying_panel(problem: Problem) -> Array:
    """Return which genes of the panel vary on both sides."""
    return (np.ptp(problem.reference_panel, axis=0) > 0) & (
        np.ptp(problem.tissue_panel, axis=0) > 0
    )


def _correlation(x: Array, y: Array) -> Array:
    """Pearson correlation of the columns of x with those of y; 0 where either is constant."""

    def unit(values: Array) -> Array:
        centred = values - values.mean(axis=0)
        length = np.linalg.norm(centred, axis=0)
        return centred / np.where(length > 0, length, 1.0)

    return np.asarray(unit(x).T @ unit(y), dtype=np.float64)


def _log_means(problem: Problem) -> tuple[Array, Array]:
    """Log of the mean linear expression in the reference, of usable panel genes and of targets."""
    panel = np.expm1(problem.reference_panel[:, varying_panel(problem)]).mean(axis=0)
    target = np.expm1(problem.reference_target).mean(axis=0)
    return np.log(panel + LOG_MEAN_OFFSET), np.log(target + LOG_MEAN_OFFSET)


def _gaussian(x: Array, y: Array, width: float) -> Array:
    return np.exp(-0.5 * ((x[:, None] - y[None, :]) / width) ** 2)


def _chunks(n: int, size: int = _CHUNK) -> list[slice]:
    return [slice(start, start + size) for start in range(0, n, size)]


def _unit_rows(values: Array) -> Array:
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.where(length > 0, length, 1.0), dtype=np.float32)


def _z_scored(target: Array) -> tuple[Array, Array, Array]:
    """Targets as z-scores (not clipped), their means and spreads."""
    mean, spread = target.mean(axis=0), target.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    return ((target - mean) / spread).astype(np.float64), mean, spread


def _restored(predicted: Array, mean: Array, spread: Array) -> Array:
    return np.asarray(predicted * spread + mean, dtype=np.float32)


def _kernel(x: Array, y: Array, scale: float) -> Array:
    return np.exp(scale * (x @ y.T - 1.0))


def _kernel_coefficients(
    reference: Array, target: Array, scale: float, penalty: float, max_landmarks: int, seed: int
) -> tuple[Array, Array]:
    """Landmarks (m x panel) and the coefficients (m x targets) of their kernels."""
    n = len(reference)
    if n <= max_landmarks:
        gram = _kernel(reference, reference, scale).astype(np.float64)
        gram[np.diag_indices(n)] += penalty
        return reference, solve(gram, target, assume_a="pos").astype(np.float32)
    chosen = np.sort(np.random.default_rng(seed).choice(n, max_landmarks, replace=False))
    landmarks = reference[chosen]
    gram = penalty * _kernel(landmarks, landmarks, scale).astype(np.float64)
    right = np.zeros((max_landmarks, target.shape[1]))
    for rows in _chunks(n):
        kernel = _kernel(reference[rows], landmarks, scale).astype(np.float64)
        gram += kernel.T @ kernel
        right += kernel.T @ target[rows]
    # Landmarks that resemble each other leave the system nearly singular.
    gram[np.diag_indices(max_landmarks)] += 1e-6 * np.trace(gram) / max_landmarks
    return landmarks, solve(gram, right, assume_a="pos").astype(np.float32)
