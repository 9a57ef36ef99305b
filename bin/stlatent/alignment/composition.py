"""Which part of the reference a tissue is made of.

A tissue holds other cell types, and in other shares, than its reference. Matching it to the whole
reference forces cells onto types that are not there, and a classifier tells the two apart by their
composition alone. Shares of clusters are counted before the tissue is matched to anything, so that
neither the matching nor its judge can move them.
"""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

N_CLUSTERS = 50
CELLS_PER_CLUSTER = 15
N_NEAREST = 15
MAX_CELLS = 5000
MAX_SPOTS = 5000


def composition_weights(latent: np.ndarray, positions: np.ndarray, seed: int) -> np.ndarray:
    """Return a weight per reference cell, mean 1, that gives its clusters the tissue's shares.

    The reference is cut into clusters by k-means. A location counts for the clusters of its nearest
    cells, in shares; one location is added to every cluster, so that none vanishes. Within a
    cluster weights are equal: how the tissue lies there is left to be matched, and judged.

    Parameters
    ----------
    latent
        Latent positions of the reference, cells x dimensions.
    positions
        Of the tissue in the same space, before it is matched, locations x dimensions.
    seed
        Of the clustering and of the subsets of cells and locations that are compared.
    """
    rng = np.random.default_rng(seed)
    n_clusters = max(1, min(N_CLUSTERS, len(latent) // CELLS_PER_CLUSTER))
    known = rng.permutation(len(latent))[:MAX_CELLS]
    some = positions[rng.permutation(len(positions))[:MAX_SPOTS]]
    clusters = KMeans(n_clusters, n_init=3, random_state=seed).fit(latent[known])
    of_cells = clusters.predict(latent)
    nearest = NearestNeighbors(n_neighbors=min(N_NEAREST, len(known))).fit(latent[known])
    votes = of_cells[known][nearest.kneighbors(some, return_distance=False)]
    found = np.bincount(votes.ravel(), minlength=n_clusters) / votes.shape[1] + 1
    size = np.maximum(np.bincount(of_cells, minlength=n_clusters), 1)
    weights = (found / size)[of_cells]
    return np.asarray(weights / weights.mean())


def effective_share(weights: np.ndarray) -> float:
    """Return Kish's effective sample size of ``weights`` as a share of their number, 0 to 1."""
    return float(weights.sum() ** 2 / (weights**2).sum() / len(weights))
