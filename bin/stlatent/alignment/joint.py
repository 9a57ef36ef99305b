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
    halves = scaled(smoothed(latent, graph)), scaled(spatial)
    return np.hstack(halves).astype(np.float32)


def smoothed(values: np.ndarray, graph: sp.csr_matrix) -> np.ndarray:
    """Return ``values`` with half of each location replaced by the mean of its neighbours.

    Parameters are those of `joint_space`.
    """
    degree = np.asarray(graph.sum(axis=1))
    mean = (graph @ values) / np.maximum(degree, 1)
    return np.where(degree > 0, 0.5 * (values + mean), values)


def scaled(values: np.ndarray) -> np.ndarray:
    """Return ``values`` centred, with a total variance (summed over dimensions) of 1.

    Positions that are all the same become 0.
    """
    centred = values - values.mean(axis=0)
    total = float(centred.var(axis=0).sum())
    return np.asarray(centred / np.sqrt(total) if total > 0 else centred)
