"""The joint latent space: a location's place among the reference's cells, and its surroundings."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


def joint_space(latent: np.ndarray, spatial: np.ndarray, graph: sp.csr_matrix) -> np.ndarray:
    """Return both latent spaces side by side, made comparable in scale and in smoothness.

    The first is a cell's own state, the second is two graph convolutions wide. Each location's
    ``latent`` is therefore averaged with the mean of its neighbours; then each half is centred and
    divided by its total standard deviation, so that neither drowns the other in a distance.

    Parameters
    ----------
    latent
        Positions in the reference's latent space, locations x dimensions.
    spatial
        Positions in the spatial latent space, locations x dimensions.
    graph
        Symmetric 0/1 adjacency; a location without neighbours keeps its own position.
    """
    degree = np.asarray(graph.sum(axis=1)).ravel()
    mean = (graph @ latent) / np.maximum(degree, 1)[:, None]
    smoothed = np.where(degree[:, None] > 0, 0.5 * (latent + mean), latent)
    return np.hstack([scaled(smoothed), scaled(spatial)]).astype(np.float32)


def scaled(values: np.ndarray) -> np.ndarray:
    """Return ``values`` centred, with a total variance (summed over dimensions) of 1.

    Positions that are all the same become 0.
    """
    centred = values - values.mean(axis=0)
    total = float(centred.var(axis=0).sum())
    return np.asarray(centred / np.sqrt(total) if total > 0 else centred)
