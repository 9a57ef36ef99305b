from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest

from stlatent import graph, slots


def test_neighbours_of_points_on_a_line() -> None:
    line = np.array([[0.0, 0], [1, 0], [3, 0], [7, 0]])
    assert graph.neighbours(line, 2).tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]


def test_neighbours_never_cross_sections() -> None:
    line = np.array([[0.0, 0], [1, 0], [1.5, 0], [2, 0]])
    nearest = graph.neighbours(line, 1, np.array(["a", "a", "b", "b"]))
    assert nearest.ravel().tolist() == [1, 0, 3, 2]


def test_spatial_neighbours_stay_in_the_section_that_the_sheet_names() -> None:
    obs = pd.DataFrame({"slice": ["a", "a", "b", "b"]}, index=list("wxyz"))
    tissue = anndata.AnnData(
        obs=obs, obsm={"spatial": np.array([[0, 0], [1, 0], [1.5, 0], [2, 0]])}
    )
    slots.note(tissue)
    assert graph.spatial_neighbours(tissue, 1).ravel().tolist() == [1, 2, 1, 2]
    slots.note(tissue, section_key="slice")
    assert graph.spatial_neighbours(tissue, 1).ravel().tolist() == [1, 0, 3, 2]


def test_duplicated_coordinates_are_not_their_own_neighbours() -> None:
    nearest = graph.neighbours(np.zeros((5, 2)), 2)
    assert not (nearest == np.arange(5)[:, None]).any()


def test_more_neighbours_than_spots_are_padded_with_the_spot_itself() -> None:
    nearest = graph.neighbours(np.array([[0.0, 0], [1, 0]]), 3)
    assert nearest.tolist() == [[1, 0, 0], [0, 1, 1]]


def test_adjacency_is_symmetric_binary_and_without_self_loops() -> None:
    edges = graph.adjacency(np.array([[1], [2], [1], [0]])).toarray()
    expected = np.zeros((4, 4))
    for i, j in [(0, 1), (1, 2), (0, 3)]:
        expected[i, j] = expected[j, i] = 1
    np.testing.assert_array_equal(edges, expected)


def test_normalised_adjacency_of_one_edge() -> None:
    # A + I is all ones and every degree is 2.
    operator = graph.normalised_adjacency(graph.adjacency(np.array([[1], [0]])))
    np.testing.assert_allclose(operator.toarray(), np.full((2, 2), 0.5))


def test_neighbour_mean() -> None:
    values = np.array([[1.0], [2.0], [6.0]])
    means = graph.neighbour_mean(values, np.array([[1, 2], [0, 2], [0, 1]]))
    np.testing.assert_allclose(means.ravel(), [4, 3.5, 1.5])


def whole(nearest: np.ndarray) -> graph.Batch:
    edges = graph.adjacency(nearest)
    return graph.batch(np.arange(len(nearest)), edges, graph.normalised_adjacency(edges))


def test_non_edges_are_neither_edges_nor_spots_with_themselves() -> None:
    part = whole(graph.neighbours(np.random.default_rng(0).random((20, 2)), 4))
    edges = {frozenset(pair) for pair in part.edges.T.tolist()}
    rng = np.random.default_rng(1)
    drawn = [pair for _ in range(20) for pair in graph.non_edges(part, rng).T.tolist()]
    assert len(drawn) > 10 * part.edges.shape[1]
    assert all(len(set(pair)) == 2 and frozenset(pair) not in edges for pair in drawn)
    # Every other pair is drawn sooner or later.
    assert len({frozenset(pair) for pair in drawn}) == 20 * 19 / 2 - len(edges)


def test_a_complete_graph_has_no_non_edges_and_one_without_edges_asks_for_none() -> None:
    rng = np.random.default_rng(0)
    assert graph.non_edges(whole(np.array([[1, 2], [0, 2], [0, 1]])), rng).shape == (2, 0)
    assert graph.non_edges(whole(np.array([[0], [1]])), rng).shape == (2, 0)


def test_blocks_partition_the_spots() -> None:
    coordinates = np.random.default_rng(0).random((103, 2))
    parts = graph.blocks(coordinates, 20)
    assert max(map(len, parts)) <= 20
    assert sorted(np.concatenate(parts)) == list(range(103))


@pytest.mark.parametrize("n_hops", [1, 2])
def test_halo_makes_propagation_exact(n_hops: int) -> None:
    rng = np.random.default_rng(1)
    coordinates = rng.random((200, 2))
    edges = graph.adjacency(graph.neighbours(coordinates, 5))
    operator = graph.normalised_adjacency(edges)
    values = rng.random((200, 3))
    whole = values
    part = graph.batch(graph.blocks(coordinates, 30)[0], edges, operator, n_hops)
    inner = values[part.nodes]
    for _ in range(n_hops):
        whole, inner = operator @ whole, part.operator @ inner
    np.testing.assert_allclose(inner[: part.n_own], whole[part.nodes[: part.n_own]], rtol=1e-5)
    assert len(part.nodes) < 200
    own = part.nodes[: part.n_own]
    assert all(edges[own[i], own[j]] == 1 for i, j in part.edges.T)
