"""Weights of the candidates, learned on panel genes that inner folds hide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, minimize

from stlatent.arrays import Array
from stlatent.expression import enough_counts

# The squared distance from equal weights costs as much as the correlation of this many genes.
TOWARDS_EQUAL = 1.0
MAX_SPOTS = 5000
_TINY = 1e-12


@dataclass(frozen=True)
class Weights:
    """A convex combination of candidates.

    Attributes
    ----------
    by_candidate
        Non-negative weights that sum to 1.
    correlation
        Mean correlation of each candidate with the measured values of hidden panel genes.
    """

    by_candidate: dict[str, float]
    correlation: dict[str, float]


@dataclass(frozen=True)
class Moments:
    """All that the correlation of a combination with the truth needs.

    Attributes
    ----------
    gram
        Genes x candidates x candidates: covariances of the predictions.
    product
        Genes x candidates: covariances with the measured values, these scaled to variance 1.
    """

    gram: Array
    product: Array


def equal_weights(candidates: list[str]) -> Weights:
    """Return the same weight for every candidate: what is left without inner folds."""
    return Weights(dict.fromkeys(candidates, 1 / len(candidates)), {})


def moments(predicted: Sequence[Array], measured: Array, library: Array | None) -> Moments:
    """Return the moments of hidden genes over the locations that the metric compares.

    At most `MAX_SPOTS` of them are looked at.

    Parameters
    ----------
    predicted
        A matrix a candidate, spots x genes, on the working scale.
    measured
        Spots x genes, with the library of the visible genes divided out.
    library
        That library, or None for intensities.
    """
    spots = np.flatnonzero(enough_counts(library, len(measured)))
    if len(spots) > MAX_SPOTS:
        spots = np.random.default_rng(0).choice(spots, MAX_SPOTS, replace=False)
    n_genes, n = measured.shape[1], len(predicted)
    if not len(spots):
        return Moments(np.zeros((n_genes, n, n)), np.zeros((n_genes, n)))
    values = np.stack([matrix[spots] for matrix in predicted]).astype(np.float64)
    values -= values.mean(axis=1, keepdims=True)
    truth = measured[spots] - measured[spots].mean(axis=0, dtype=np.float64)
    spread = truth.std(axis=0)
    truth = truth / np.where(spread > 0, spread, 1.0)
    return Moments(
        np.einsum("asg,bsg->gab", values, values, optimize=True) / len(spots),
        np.einsum("asg,sg->ga", values, truth, optimize=True) / len(spots),
    )


def learn_weights(names: Sequence[str], folds: Sequence[Moments]) -> Weights:
    """Learn the combination whose mean correlation with hidden panel genes is largest.

    That is what a prediction is judged by. The weights are non-negative and sum to 1, so that the
    combination keeps the candidates' own shrinkage; a penalty on the squared distance from equal
    weights, `TOWARDS_EQUAL` over the number of genes, keeps few genes from deciding.

    Parameters
    ----------
    names
        Of the candidates.
    folds
        Moments of the hidden genes of every inner fold.
    """
    gram = np.concatenate([fold.gram for fold in folds])
    product = np.concatenate([fold.product for fold in folds])
    own = np.sqrt(np.maximum(np.einsum("gaa->ga", gram), 0.0))
    correlation = np.divide(product, own, out=np.zeros_like(product), where=own > _TINY)
    # A gene's scale is no matter of its weight, and would only hamper the optimiser.
    scale = np.maximum(own.max(axis=1), _TINY)
    gram, product = gram / scale[:, None, None] ** 2, product / scale[:, None]
    n, equal = len(names), 1 / len(names)
    strength = TOWARDS_EQUAL / max(len(gram), 1)

    def loss(weights: Array) -> tuple[float, Array]:
        covariance = product @ weights
        pulled = gram @ weights
        deviation = np.sqrt(np.maximum(pulled @ weights, _TINY))
        off = weights - equal
        mean = float((covariance / deviation).mean()) - strength * float(off @ off)
        slope = product / deviation[:, None] - pulled * (covariance / deviation**3)[:, None]
        return -mean, -(slope.mean(axis=0) - 2 * strength * off)

    found = minimize(
        loss,
        np.full(n, equal),
        jac=True,
        method="SLSQP",
        bounds=Bounds(0.0, 1.0),
        constraints=LinearConstraint(np.ones((1, n)), 1.0, 1.0),
        options={"maxiter": 200, "ftol": 1e-9},
    )
    if not np.isfinite(found.x).all():
        return equal_weights(list(names))
    weights = np.clip(found.x, 0.0, None)
    weights[weights < 1e-6] = 0.0
    weights = weights / weights.sum()
    return Weights(
        dict(zip(names, weights.tolist(), strict=True)),
        dict(zip(names, correlation.mean(axis=0).tolist(), strict=True)),
    )
