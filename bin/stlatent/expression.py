"""Scales of expression that reference and tissue share."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

CLIP = 5.0


def dense(matrix: sp.csr_matrix | np.ndarray) -> np.ndarray:
    """Return ``matrix`` as a float32 array."""
    return np.asarray(matrix.toarray() if sp.issparse(matrix) else matrix, dtype=np.float32)


def library_size(matrix: sp.csr_matrix | np.ndarray) -> np.ndarray:
    """Return every observation's total, at least 1, as an n vector."""
    return np.maximum(np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel(), 1)


def log_normalise(values: np.ndarray, library: np.ndarray, target: float) -> np.ndarray:
    """Return log(1 + values / library * target), shaped like ``values`` (n x genes)."""
    return np.log1p(values * (target / library)[:, None]).astype(np.float32)


def standardise(values: np.ndarray) -> np.ndarray:
    """Return z-scores per gene (column), clipped at +-5; constant genes become 0."""
    centred = values - values.mean(0)
    spread = values.std(0)
    return np.clip(centred / np.where(spread > 0, spread, 1), -CLIP, CLIP).astype(np.float32)
