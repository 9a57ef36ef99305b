"""A latent space with labels."""

from __future__ import annotations

import numpy as np


def clusters(
    n: int, shift: float = 0.0, seed: int = 0, spread: float = 0.3
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, n)
    space = np.eye(4)[codes] * 3 + rng.normal(0, spread, (n, 4)) + shift
    return space, np.array(["Alpha", "Beta", "Gamma"])[codes]
