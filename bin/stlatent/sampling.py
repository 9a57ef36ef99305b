"""Seeded subsets, where asking all would cost too much."""

from __future__ import annotations

import numpy as np


def subset(n: int, maximum: int, seed: int) -> np.ndarray:
    """Return sorted indices of at most ``maximum`` of ``n`` observations."""
    if n <= maximum:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, maximum, replace=False))
