from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse, stats
from scipy.spatial.distance import jensenshannon

from stlatent.evaluation import metrics
from stlatent.graph import morans_i, neighbours, row_weights


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    measured = rng.poisson(2.0, (200, 7)).astype(float)
    return measured, measured * rng.uniform(0.2, 1.5, measured.shape) + rng.gamma(
        1.0, 1.0, measured.shape
    )


def test_pcc_by_hand():
    x = np.array([[0.0], [1.0], [2.0], [3.0]])
    y = np.array([[1.0], [0.0], [3.0], [2.0]])
    assert metrics.pcc(x, y)[0] == pytest.approx(3 / 5)
    assert metrics.rmse(x, y)[0] == pytest.approx(np.sqrt(0.8))


def test_correlations_agree_with_scipy(arrays):
    x, y = arrays
    for j in range(x.shape[1]):
        assert metrics.pcc(x, y)[j] == pytest.approx(stats.pearsonr(x[:, j], y[:, j])[0])
        assert metrics.spearman(x, y)[j] == pytest.approx(stats.spearmanr(x[:, j], y[:, j])[0])


def test_rmse_is_that_of_z_scores(arrays):
    x, y = arrays
    expected = np.sqrt(((stats.zscore(x) - stats.zscore(y)) ** 2).mean(axis=0))
    np.testing.assert_allclose(metrics.rmse(x, y), expected)


def test_jensen_shannon_agrees_with_scipy(arrays):
    x, y = arrays
    expected = jensenshannon(x, y, axis=0) ** 2
    np.testing.assert_allclose(metrics.jensen_shannon(x, y), expected, rtol=1e-9)


def test_jensen_shannon_by_hand():
    disjoint = metrics.jensen_shannon(np.array([[1.0], [0.0]]), np.array([[0.0], [5.0]]))
    assert disjoint[0] == pytest.approx(np.log(2))
    half = metrics.jensen_shannon(np.array([[1.0], [0.0]]), np.array([[1.0], [1.0]]))
    by_hand = 0.5 * np.log(1 / 0.75) + 0.5 * (0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25))
    assert half[0] == pytest.approx(by_hand)


def test_ssim_by_hand():
    x, y = np.array([[0.0], [2.0]]), np.array([[4.0], [8.0]])
    # Divided by the maxima: (0, 1) and (.5, 1); means .5 and .75, deviations .5 and .25, covariance .125.
    c1, c2, c3 = 1e-4, 9e-4, 4.5e-4
    by_hand = (
        (0.75 + c1) / (0.8125 + c1) * (0.25 + c2) / (0.3125 + c2) * (0.125 + c3) / (0.125 + c3)
    )
    assert metrics.ssim(x, y)[0] == pytest.approx(by_hand)
    assert metrics.ssim(x, 3 * x)[0] == pytest.approx(1.0)


def test_constant_prediction(arrays):
    x, _ = arrays
    scores = metrics.score(x, np.full_like(x, 3.0), library=np.full(len(x), 100.0))
    for name in ("pcc", "pcc_normalised", "spearman"):
        assert (scores[name] == 0).all()
    np.testing.assert_allclose(scores["rmse"], np.sqrt(2))
    assert np.isfinite(scores["ssim"]).all()
    assert np.isfinite(scores["js"]).all()


def test_prediction_of_zeros_and_missing_values_stay_finite(arrays):
    x, y = arrays
    missing = y.copy()
    missing[:, 0], missing[:5, 1] = 0.0, np.nan
    scores = metrics.score(x, missing, library=x.sum(axis=1))
    assert all(np.isfinite(values).all() for values in scores.values())


def test_library_null_is_nothing_once_normalised():
    rng = np.random.default_rng(1)
    library = rng.integers(500, 20000, 400).astype(np.float32)
    measured = rng.poisson(library[:, None] * 0.001, (400, 20)).astype(np.float32)
    null = np.float32(0.00137) * library[:, None] * np.ones((1, 20), dtype=np.float32)
    scores = metrics.score(measured, null, library)
    assert (scores["pcc"] > 0.3).all()
    assert (scores["pcc_normalised"] == 0).all()


def test_normalisation_by_hand():
    values = metrics.library_normalised(
        np.array([[2.0], [2.0], [0.0]]), np.array([10.0, 20.0, 0.0])
    )
    np.testing.assert_allclose(values[:, 0], np.log1p([2.0, 1.0, 0.0]))


def test_locations_without_visible_counts_are_left_out_of_the_normalised_pcc():
    rng = np.random.default_rng(2)
    library = np.append(rng.integers(20, 200, 300), [0, 1, 4, 0]).astype(float)
    measured = rng.poisson(np.maximum(library, 1)[:, None] * 0.1, (304, 5)).astype(float)
    measured[-4:] += 3
    null = library[:, None] * np.ones((1, 5))
    assert metrics.enough_counts(library, 304).sum() == 300
    assert (metrics.score(measured, null, library)["pcc_normalised"] == 0).all()
    imputed = rng.random((304, 5))
    whole = metrics.score(measured, imputed, library)["pcc_normalised"]
    part = metrics.score(measured[:300], imputed[:300], library[:300])["pcc_normalised"]
    np.testing.assert_allclose(whole, part)
    assert (metrics.score(measured, imputed, np.zeros(304))["pcc_normalised"] == 0).all()


def test_intensities_are_not_normalised(arrays):
    x, y = arrays
    scores = metrics.score(x, y, library=None)
    np.testing.assert_array_equal(scores["pcc"], scores["pcc_normalised"])


def test_negative_intensities_are_kept():
    x = np.array([[-2.0], [-1.0], [0.0], [1.0]])
    assert metrics.score(x, x, library=None)["pcc"][0] == pytest.approx(1.0)


def test_genes_in_chunks_score_the_same(arrays, monkeypatch):
    x, y = arrays
    whole = metrics.score(x, y, x.sum(axis=1))
    monkeypatch.setattr(metrics, "_CHUNK_VALUES", 2 * len(x))
    for name, values in metrics.score(x, y, x.sum(axis=1)).items():
        np.testing.assert_allclose(values, whole[name])


def test_shapes_must_agree(arrays):
    x, y = arrays
    with pytest.raises(ValueError, match="imputed"):
        metrics.score(x, y[:, 1:], None)


def test_morans_i_by_hand():
    # A path of four spots, rows normalised; z = (-1.5, -.5, .5, 1.5).
    adjacency = sparse.csr_matrix(
        np.array([[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0]], float)
    )
    weights = sparse.diags(1 / np.asarray(adjacency.sum(axis=1)).ravel()) @ adjacency
    values = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [4.0, 5.0]])
    result = morans_i(values, sparse.csr_matrix(weights))
    assert result[0] == pytest.approx((0.75 + 0.25 + 0.25 + 0.75) / 5.0)
    assert result[1] == 0.0


def test_morans_i_tells_smooth_from_random():
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 1, (500, 2))
    weights = row_weights(neighbours(xy, 6))
    result = morans_i(np.column_stack([np.sin(4 * xy[:, 0]), rng.normal(size=500)]), weights)
    assert result[0] > 0.9
    assert abs(result[1]) < 0.1


def test_neighbours_exclude_self_and_other_sections():
    rng = np.random.default_rng(0)
    xy = np.vstack([rng.integers(0, 3, (40, 2)), rng.integers(0, 3, (40, 2)), [[0, 0]]]).astype(
        float
    )
    sections = np.array(["a"] * 40 + ["b"] * 40 + ["alone"])
    weights = row_weights(neighbours(xy, 5, sections))
    assert weights.diagonal().sum() == 0
    rows, columns = weights.nonzero()
    assert (sections[rows] == sections[columns]).all()
    np.testing.assert_allclose(np.asarray(weights.sum(axis=1)).ravel(), [1.0] * 80 + [0.0])


def test_fewer_spots_than_neighbours():
    weights = row_weights(neighbours(np.zeros((3, 2)), 8))
    np.testing.assert_allclose(weights.toarray(), (np.ones((3, 3)) - np.eye(3)) / 2)
