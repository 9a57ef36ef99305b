"""Seeded subsets, where asking all would cost too much."""

from __future__ import annotations

import numpy as np

MAX_REFERENCE_CELLS = 30_000


def subset(n: int, maximum: int, seed: int) -> np.ndarray:
    """Return sorted indices of at most ``maximum`` of ``n`` observations."""
    if n <= maximum:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, maximum, replace=False))


def reference_cells(n_cells: int, seed: int) -> np.ndarray:
    """Return the positions of the reference cells that are used: all, or a seeded subset."""
    return subset(n_cells, MAX_REFERENCE_CELLS, seed)
