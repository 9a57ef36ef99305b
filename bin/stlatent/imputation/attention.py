"""Latent attention: which reference cells lie around a location in the latent space, and how near."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from stlatent.vae.geometry import PLANE, Geometry

N_NEAREST = 200


def attention(
    z: np.ndarray,
    latent: np.ndarray,
    precision: float,
    k: int = N_NEAREST,
    geometry: Geometry = PLANE,
) -> sp.csr_matrix:
    """Return attention weights of the k nearest reference cells, locations x cells, rows sum to 1.

    Parameters
    ----------
    z
        Aligned latent positions of the locations.
    latent
        Latent positions of the reference cells.
    precision
        Of the attention: weights are proportional to exp(-precision * squared distance).
    k
        Cells per location; all when the reference has fewer.
    geometry
        Of the latent space: what a distance is.
    """
    k = min(k, len(latent))
    distances, nearest = geometry.nearest(z, latent, k)
    # The nearest cell's distance is taken off so that the largest exponent is 0.
    scores = -precision * (distances**2 - distances[:, :1] ** 2)
    weights = np.exp(scores)
    weights /= weights.sum(axis=1, keepdims=True)
    pointers = np.arange(0, nearest.size + 1, k)
    return sp.csr_matrix((weights.ravel(), nearest.ravel(), pointers), shape=(len(z), len(latent)))
