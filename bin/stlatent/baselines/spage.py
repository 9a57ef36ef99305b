"""SpaGE (Abdelaal et al. 2020, Nucleic Acids Research 48:e107): nearest cells in a common subspace."""

from __future__ import annotations

import numpy as np

from stlatent.arrays import Array
from stlatent.baselines.interface import Inputs, Prediction
from stlatent.baselines.registry import register
from stlatent.failures import DataError

MAX_VECTORS = 50
MIN_COSINE = 0.3
N_NEIGHBORS = 50
_CHUNK = 4096


@register(
    "spage",
    package="scikit-learn",
    cite="Abdelaal et al., Nucleic Acids Research 2020, https://doi.org/10.1093/nar/gkaa740",
    published=True,
)
def predict(inputs: Inputs) -> Prediction:
    """Predict the hidden genes as SpaGE does."""
    view, targets = inputs.view, inputs.targets
    if not view.varying.any():
        msg = "SpaGE: no gene of the panel varies both in the tissue and in the reference"
        raise DataError(msg)
    cells = _z_scored(view.reference_panel[:, view.varying])
    spots = _z_scored(view.tissue_panel[:, view.varying])
    vectors = principal_vectors(cells, spots, inputs.seed)
    distances, nearest = _neighbours(cells @ vectors, spots @ vectors)
    weights = neighbour_weights(distances)
    values = np.empty((len(spots), len(inputs.hidden)), dtype=np.float32)
    for start in range(0, len(spots), _CHUNK):
        rows = slice(start, start + _CHUNK)
        values[rows] = np.einsum("sk,skg->sg", weights[rows], targets.expression[nearest[rows]])
    return Prediction(values, "log")


def principal_vectors(cells: Array, spots: Array, seed: int) -> Array:
    """Return the reference's principal vectors (genes x n) with a like direction in the tissue.

    The singular vectors of the product of both sets of principal components; the singular values
    are the cosines between the pairs (Mourragui et al. 2019), of which those above `MIN_COSINE`
    are kept, and the best one always.

    Parameters
    ----------
    cells, spots
        Cells x genes and spots x genes, z-scored.
    seed
        Of the randomised PCA of large matrices.
    """
    from sklearn.decomposition import PCA

    n = max(1, min(MAX_VECTORS, cells.shape[1] // 2, len(cells) - 1, len(spots) - 1))
    of_reference, of_tissue = (
        PCA(n, random_state=seed).fit(values).components_ for values in (cells, spots)
    )
    rotation, cosines, _ = np.linalg.svd(of_reference @ of_tissue.T)
    kept = max(1, int((cosines > MIN_COSINE).sum()))
    return np.asarray(of_reference.T @ rotation[:, :kept], dtype=np.float32)


def neighbour_weights(distances: Array) -> Array:
    """Return ``(1 - d / sum(d)) / (n - 1)`` over the n neighbours with a cosine distance below 1.

    Parameters
    ----------
    distances
        Spots x k, cosine distances. A spot without a neighbour below 1 has weights 0.
    """
    near = distances < 1
    n_near = near.sum(axis=1, keepdims=True)
    total = np.where(near, distances, 0.0).sum(axis=1, keepdims=True)
    share = distances / np.where(total > 0, total, 1.0)
    # Alone, or with all of them at distance 0, the formula has no value.
    even = np.where((n_near == 1) | (total == 0), 1 / np.maximum(n_near, 1), 0.0)
    weights = np.where(even > 0, even, (1 - share) / np.maximum(n_near - 1, 1))
    return np.where(near, weights, 0.0).astype(np.float32)


def _z_scored(values: Array) -> Array:
    return np.asarray((values - values.mean(axis=0)) / values.std(axis=0), dtype=np.float32)


def _neighbours(cells: Array, spots: Array) -> tuple[Array, Array]:
    from sklearn.neighbors import NearestNeighbors

    k = min(N_NEIGHBORS, len(cells))
    found = NearestNeighbors(n_neighbors=k, metric="cosine").fit(cells).kneighbors(spots)
    return found[0], found[1]
