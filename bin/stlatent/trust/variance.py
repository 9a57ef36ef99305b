"""How the variance of errors grows with what is known of them."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from stlatent.arrays import Array

REWEIGHTINGS = 5


def fit_variance(
    design: Array,
    squares: Array,
    least: float,
    weights: Array | None = None,
    most: float = np.inf,
) -> Array:
    """Return non-negative coefficients b, so that squared errors are about ``design @ b``.

    Least squares, reweighted by the inverse of the fitted variance, as for a gamma likelihood.

    Parameters
    ----------
    design
        n x terms, the first one constant.
    squares
        n squared errors.
    least
        Least fitted variance.
    weights
        Of the errors; all the same by default.
    most
        Errors beyond ``most`` times their fitted variance count no more than that, from the second
        round on: no single one decides.
    """
    found = np.zeros(design.shape[1])
    found[0] = np.average(squares, weights=weights)
    for step in range(REWEIGHTINGS):
        fitted = np.maximum(design @ found, least)
        target = squares if step == 0 else np.minimum(squares, most * fitted)
        scale = (1.0 if weights is None else np.sqrt(weights)) / fitted
        found, _ = nnls(design * scale[:, None], target * scale)
    return np.asarray(found)
