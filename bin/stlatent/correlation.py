"""Pearson correlation of columns.

A constant column correlates with nothing. Constant means a spread below `CONSTANT` of the largest
value: what rounding leaves of a prediction that only scales with the library is no signal.
"""

from __future__ import annotations

import numpy as np

from stlatent.arrays import Array

CONSTANT = 1e-5


def is_constant(values: Array) -> Array:
    """Return, for each column, whether it is constant up to rounding."""
    values = np.asarray(values, dtype=float)
    return np.ptp(values, axis=0) <= CONSTANT * np.abs(values).max(axis=0)


def pcc(measured: Array, imputed: Array) -> Array:
    """Pearson correlation of each column: cov(x, y) / (sd(x) sd(y)); 0 where either is constant."""
    x = np.asarray(measured, dtype=float)
    y = np.asarray(imputed, dtype=float)
    usable = ~(is_constant(x) | is_constant(y))
    x = x - x.mean(axis=0)
    y = y - y.mean(axis=0)
    spread = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    product = (x * y).sum(axis=0)
    correlation = np.divide(
        product, spread, out=np.zeros_like(product), where=usable & (spread > 0)
    )
    return np.clip(correlation, -1.0, 1.0)
