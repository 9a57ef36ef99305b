"""Sparse neighbour graphs of spots, and blocks of them for minibatches. Nothing is N x N."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree

from stlatent import slots
from stlatent.correlation import is_constant

if TYPE_CHECKING:
    from anndata import AnnData

# Pairs drawn for each non-edge that is needed.
OVERSAMPLING = 2


def spatial_neighbours(spatial: AnnData, n_neighbors: int) -> np.ndarray:
    """Return the indices of every location's nearest others in its section, n x n_neighbors.

    Padded as `neighbours` says.
    """
    sections = slots.label_column(spatial, "section_key")
    return neighbours(
        np.asarray(spatial.obsm[slots.SPATIAL], dtype=np.float64),
        n_neighbors,
        None if sections is None else sections.astype(str).to_numpy(),
    )


def neighbours(coordinates: np.ndarray, k: int, sections: np.ndarray | None = None) -> np.ndarray:
    """Return the indices of every spot's k nearest other spots, n x k.

    Parameters
    ----------
    coordinates
        n x 2 or n x 3.
    k
        Neighbours per spot; fewer when a section has fewer spots, padded with the spot itself.
    sections
        Section of every spot; neighbours never cross sections.
    """
    n = len(coordinates)
    groups = (
        np.zeros(n, dtype=int) if sections is None else np.unique(sections, return_inverse=True)[1]
    )
    found = np.repeat(np.arange(n)[:, None], k, axis=1)
    for group in range(groups.max() + 1):
        members = np.flatnonzero(groups == group)
        reach = min(k, len(members) - 1)
        if reach == 0:
            continue
        _, nearest = cKDTree(coordinates[members]).query(coordinates[members], k=reach + 1)
        found[members, :reach] = members[_without_self(np.asarray(nearest))]
    return found


def _without_self(nearest: np.ndarray) -> np.ndarray:
    # With duplicated coordinates a spot is not always its own first neighbour.
    own = nearest == np.arange(len(nearest))[:, None]
    own[~own.any(1), -1] = True
    return nearest[~own].reshape(len(nearest), -1)


def adjacency(nearest: np.ndarray) -> sp.csr_matrix:
    """Return the symmetric 0/1 adjacency (no self-loops) of an n x k neighbour table."""
    n, k = nearest.shape
    rows = np.repeat(np.arange(n, dtype=np.int32), k)
    directed = sp.csr_matrix((np.ones(n * k, np.float32), (rows, nearest.ravel())), shape=(n, n))
    symmetric = directed.maximum(directed.T)
    symmetric.setdiag(0)
    symmetric.eliminate_zeros()
    symmetric.data[:] = 1
    return symmetric.tocsr()


def normalised_adjacency(graph: sp.csr_matrix) -> sp.csr_matrix:
    """Return D^-1/2 (A + I) D^-1/2 (Kipf and Welling 2017) as float32 CSR."""
    looped = graph + sp.identity(graph.shape[0], dtype=np.float32, format="csr")
    scale = sp.diags(1 / np.sqrt(np.asarray(looped.sum(1)).ravel()))
    return (scale @ looped @ scale).tocsr().astype(np.float32)


def neighbour_mean(values: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Return every spot's mean over its neighbours, shaped like ``values`` (n x genes)."""
    n, k = nearest.shape
    rows = np.repeat(np.arange(n), k)
    weights = sp.csr_matrix((np.full(n * k, 1 / k), (rows, nearest.ravel())), shape=(n, n))
    return np.asarray(weights @ values, dtype=values.dtype)


def blocks(coordinates: np.ndarray, size: int) -> list[np.ndarray]:
    """Cut spots into compact blocks of at most ``size`` by halving along the longer axis."""
    pending, done = [np.arange(len(coordinates))], []
    while pending:
        members = pending.pop()
        if len(members) <= size:
            done.append(np.sort(members))
            continue
        axis = np.ptp(coordinates[members], axis=0).argmax()
        order = members[np.argsort(coordinates[members, axis], kind="stable")]
        pending += np.array_split(order, 2)
    return done


@dataclass(frozen=True)
class Batch:
    """Spots of one training step and the halo that makes their graph convolutions exact.

    Attributes
    ----------
    nodes
        Indices of the batch's own spots followed by its halo.
    n_own
        Number of own spots: losses are taken over ``nodes[:n_own]``.
    operator
        Rows and columns ``nodes`` of the normalised adjacency.
    edges
        2 x n_edges positions in ``nodes[:n_own]`` joined by an edge.
    """

    nodes: np.ndarray
    n_own: int
    operator: sp.csr_matrix
    edges: np.ndarray


def batch(own: np.ndarray, graph: sp.csr_matrix, operator: sp.csr_matrix, n_hops: int = 2) -> Batch:
    """Return the batch of the spots ``own`` with a halo of ``n_hops``."""
    reached = own
    for _ in range(n_hops):
        reached = np.union1d(reached, graph[reached].indices)
    halo = np.setdiff1d(reached, own)
    nodes = np.concatenate([own, halo])
    inner = sp.triu(graph[own][:, own], k=1).tocoo()
    return Batch(nodes, len(own), operator[nodes][:, nodes].tocsr(), np.stack(inner.coords))


def non_edges(batch: Batch, rng: np.random.Generator) -> np.ndarray:
    """Return random pairs of a batch's own spots that no edge joins, 2 x at most as many as edges.

    Pairs of a spot with itself are left out too: A + I is what the graph is encoded with. In a
    batch where nearly every pair is an edge fewer are found, or none.
    """
    n, n_edges = batch.n_own, batch.edges.shape[1]
    drawn = rng.integers(0, n, (2, OVERSAMPLING * n_edges))
    low, high = drawn.min(0).astype(np.int64), drawn.max(0).astype(np.int64)
    edges = np.sort(batch.edges.astype(np.int64), axis=0)
    free = (low != high) & ~np.isin(low * n + high, edges[0] * n + edges[1])
    return drawn[:, free][:, :n_edges]


def row_weights(nearest: np.ndarray) -> sp.csr_matrix:
    """Row-normalised weights (n x n) of an n x k neighbour table.

    Where `neighbours` padded a row with the observation itself, that entry has no
    weight: rows sum to one, or to zero without a neighbour.
    """
    n, k = nearest.shape
    rows, columns = np.repeat(np.arange(n), k), nearest.ravel()
    other = rows != columns
    counts = np.bincount(rows[other], minlength=n)
    weights = 1.0 / counts[rows[other]]
    return sp.csr_matrix((weights, (rows[other], columns[other])), shape=(n, n))


def morans_i(values: np.ndarray, weights: sp.csr_matrix) -> np.ndarray:
    """Moran's I of each column.

    ``I = (n / S0) sum_ij w_ij z_i z_j / sum_i z_i^2`` with z centred and S0 the sum of the weights
    (Moran, Biometrika 1950); 0 where the column is constant or nothing has a neighbour.

    Parameters
    ----------
    values
        n x genes.
    weights
        n x n sparse weights, see `row_weights`.
    """
    values = np.asarray(values, dtype=float)
    z = values - values.mean(axis=0)
    total = float(weights.data.sum())
    squares = (z**2).sum(axis=0)
    usable = ~is_constant(values) & (squares > 0) & (total > 0)
    product = (z * (weights @ z)).sum(axis=0) * (len(z) / max(total, 1e-300))
    return np.divide(product, squares, out=np.zeros_like(product), where=usable)
