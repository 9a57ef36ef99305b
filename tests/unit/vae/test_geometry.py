from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from stlatent.vae import geometry
from stlatent.vae.geometry import GEOMETRIES, HYPERBOLOID, PLANE, SPHERE, Geometry


def on_hyperboloid(points: np.ndarray) -> np.ndarray:
    return np.column_stack([np.sqrt(1 + (points**2).sum(1)), points])


def on_sphere(points: np.ndarray) -> np.ndarray:
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_distances_in_the_plane_are_euclidean() -> None:
    found = PLANE.distances(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(found, [[5, 0]])


def test_distances_on_the_sphere_are_angles() -> None:
    east, north, west = [1.0, 0, 0], [0.0, 0, 1], [-1.0, 0, 0]
    found = SPHERE.distances(np.array([east]), np.array([east, north, west]))
    np.testing.assert_allclose(found, [[0, np.pi / 2, np.pi]])


def test_distances_on_the_hyperboloid_add_up_along_a_line() -> None:
    # (cosh t, sinh t) is t away from the origin.
    t = np.array([0.0, 1.0, 2.5, -0.5])
    line = np.column_stack([np.cosh(t), np.sinh(t)])
    np.testing.assert_allclose(
        HYPERBOLOID.distances(line[1:2], line), [[1, 0, 1.5, 1.5]], atol=1e-7
    )


def test_rounding_gives_no_distance_that_is_not_a_number() -> None:
    rng = np.random.default_rng(0)
    for space, points in ((SPHERE, on_sphere), (HYPERBOLOID, on_hyperboloid)):
        positions = points(rng.normal(size=(200, 3))).astype(np.float32)
        assert np.isfinite(space.distances(positions, positions)).all()
        assert np.isfinite(space.distances(positions, -positions)).all()


def test_neighbours_in_the_plane_are_those_of_the_tree() -> None:
    rng = np.random.default_rng(0)
    latent, z = rng.normal(size=(300, 5)).astype("f"), rng.normal(size=(40, 5)).astype("f")
    distances, rows = PLANE.nearest(z, latent, 7)
    expected = cKDTree(latent).query(z, k=7)
    np.testing.assert_array_equal(distances, expected[0])
    np.testing.assert_array_equal(rows, expected[1])


@pytest.mark.parametrize(("space", "points"), [(SPHERE, on_sphere), (HYPERBOLOID, on_hyperboloid)])
def test_neighbours_are_those_of_the_smallest_distances(
    space: Geometry, points: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Three positions at once.
    monkeypatch.setattr(geometry, "DISTANCES_AT_ONCE", 900)
    rng = np.random.default_rng(1)
    latent, z = points(rng.normal(size=(300, 4))), points(rng.normal(size=(20, 4)))
    distances, rows = space.nearest(z, latent, 6)
    every = space.distances(z, latent)
    np.testing.assert_array_equal(rows, np.argsort(every, axis=1)[:, :6])
    np.testing.assert_allclose(distances, np.sort(every, axis=1)[:, :6])


@pytest.mark.parametrize("name", GEOMETRIES)
def test_fewer_positions_than_neighbours_are_all_neighbours(name: str) -> None:
    latent = np.array([[1.0, 0.0], [np.sqrt(2), 1.0]])
    distances, rows = GEOMETRIES[name].nearest(latent[:1], latent, 5)
    assert rows.tolist() == [[0, 1]] and distances.shape == (1, 2)
