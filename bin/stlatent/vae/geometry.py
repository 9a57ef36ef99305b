"""Geometries of latent spaces: distances and nearest neighbours."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from stlatent.arrays import Array

Name = Literal["plane", "sphere", "hyperboloid"]

# Of a block of distances, in float64: 64 MB.
DISTANCES_AT_ONCE = 1 << 23


class Geometry(Protocol):
    """What later steps ask of a latent space.

    Attributes
    ----------
    name
        As it is saved with a VAE.
    """

    name: Name

    def distances(self, x: Array, y: Array) -> Array:
        """Return the distance of every row of ``x`` to every row of ``y``, n x m float64."""

    def nearest(self, z: Array, latent: Array, k: int) -> tuple[Array, Array]:
        """Find the nearest neighbours of positions.

        Parameters
        ----------
        z
            Positions, n x dimensions.
        latent
            Those to find, m x dimensions.
        k
            How many; all when ``latent`` has fewer.

        Returns
        -------
        Distances and rows of ``latent``, n x k each, the nearest first.
        """


class Plane:
    """Euclidean space."""

    name: Name = "plane"

    def distances(self, x: Array, y: Array) -> Array:
        """Return Euclidean distances."""
        return cdist(x, y)

    def nearest(self, z: Array, latent: Array, k: int) -> tuple[Array, Array]:
        """Find the nearest neighbours by a KD-tree."""
        return _tree_neighbours(z, latent, k)


class Sphere:
    """The unit sphere; positions are unit vectors, distances are along great circles."""

    name: Name = "sphere"

    def distances(self, x: Array, y: Array) -> Array:
        """Return angles in radians."""
        return _angle(cdist(x, y))

    def nearest(self, z: Array, latent: Array, k: int) -> tuple[Array, Array]:
        """Find the nearest neighbours by a KD-tree: the longer the chord, the wider the angle."""
        chords, rows = _tree_neighbours(z, latent, k)
        return _angle(chords), rows


class Hyperboloid:
    """Hyperbolic space in the Lorentz model: the first coordinate is sqrt(1 + |the others|^2)."""

    name: Name = "hyperboloid"

    def distances(self, x: Array, y: Array) -> Array:
        """Return arccosh(-<x, y>), with the Lorentzian inner product."""
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        product = x[:, 1:] @ y[:, 1:].T - np.outer(x[:, 0], y[:, 0])
        # Rounding gives less than 1 for a point and itself.
        return np.arccosh(np.maximum(-product, 1.0))

    def nearest(self, z: Array, latent: Array, k: int) -> tuple[Array, Array]:
        """Find the nearest neighbours among all distances, in blocks of positions."""
        k = min(k, len(latent))
        distances = np.empty((len(z), k))
        rows = np.empty((len(z), k), dtype=np.int64)
        size = max(1, DISTANCES_AT_ONCE // max(len(latent), 1))
        for start in range(0, len(z), size):
            block = slice(start, start + size)
            every = self.distances(z[block], latent)
            rows[block] = np.argsort(every, axis=1, kind="stable")[:, :k]
            distances[block] = np.take_along_axis(every, rows[block], axis=1)
        return distances, rows


def _tree_neighbours(z: Array, latent: Array, k: int) -> tuple[Array, Array]:
    # A sequence of ranks gives n x k even for one neighbour.
    ranks = np.arange(1, min(k, len(latent)) + 1)
    distances, rows = cKDTree(latent).query(z, k=ranks)
    return np.asarray(distances), np.asarray(rows)


def _angle(chord: Array) -> Array:
    # Chords of float32 vectors may exceed the diameter by rounding.
    return 2 * np.arcsin(np.minimum(chord / 2, 1.0))


PLANE, SPHERE, HYPERBOLOID = Plane(), Sphere(), Hyperboloid()
GEOMETRIES: dict[Name, Geometry] = {
    geometry.name: geometry for geometry in (PLANE, SPHERE, HYPERBOLOID)
}
