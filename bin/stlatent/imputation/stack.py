"""Weights of the candidates, learned on panel genes that inner folds hide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from stlatent.expression import standardise

Array = np.ndarray

# The shared weights count as much as this many genes of evidence.
PRIOR_GENES = 10.0
MAX_SPOTS = 5000


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


def equal_weights(candidates: list[str]) -> Weights:
    """Return the same weight for every candidate: what is left without inner folds."""
    return Weights(dict.fromkeys(candidates, 1 / len(candidates)), {})


def learn_weights(predicted: dict[str, Array], measured: Array) -> Weights:
    """Learn the combination that predicts hidden panel genes best.

    Least squares of the measured values, standardised per gene, on the candidates, centred per gene,
    over all genes and spots at once, with non-negative weights and a ridge penalty towards equal
    ones: the penalty stands for `PRIOR_GENES` genes. The weights are scaled to sum to 1, so that the
    combination keeps the candidates' own shrinkage. At most `MAX_SPOTS` spots are looked at.

    Parameters
    ----------
    predicted
        By candidate, spots x genes in units of each gene's standard deviation in the reference.
    measured
        Spots x genes on the working scale.
    """
    names = list(predicted)
    if len(measured) > MAX_SPOTS:
        spots = np.random.default_rng(0).choice(len(measured), MAX_SPOTS, replace=False)
        predicted = {name: values[spots] for name, values in predicted.items()}
        measured = measured[spots]
    centred = np.stack([predicted[name] - predicted[name].mean(0) for name in names])
    truth = standardise(measured)
    size = truth.size
    gram = np.einsum("asg,bsg->ab", centred, centred, optimize=True).astype(float) / size
    target = np.einsum("asg,sg->a", centred, truth, optimize=True).astype(float) / size
    found = _towards_equal(gram, target, PRIOR_GENES / truth.shape[1])
    norms = np.linalg.norm(centred, axis=1) * np.linalg.norm(truth, axis=0)
    products = np.einsum("asg,sg->ag", centred, truth, optimize=True)
    correlation = (products / np.maximum(norms, 1e-12)).mean(1)
    return Weights(
        dict(zip(names, found.tolist(), strict=True)),
        dict(zip(names, correlation.tolist(), strict=True)),
    )


def _towards_equal(gram: Array, target: Array, strength: float) -> Array:
    n = len(target)
    scale = float(np.median(np.diag(gram)))
    if scale <= 0:
        return np.full(n, 1 / n)
    common = max(float(target.sum() / max(gram.sum(), 1e-12)), 0.0)
    penalty = strength * scale
    root = np.linalg.cholesky(gram + (penalty + 1e-9 * scale) * np.eye(n))
    weights, _ = nnls(root.T, np.linalg.solve(root, target + penalty * common))
    total = weights.sum()
    return weights / total if total > 0 else np.full(n, 1 / n)
