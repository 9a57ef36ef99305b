"""Published methods: that they work here, see nothing hidden, and repeat themselves."""

from __future__ import annotations

import warnings
from functools import partial

import anndata
import numpy as np
import pytest
from scipy import sparse

from builders.simulated import fold_of, noted
from stlatent.baselines import gimvi, spage, tangram
from stlatent.baselines.interface import Inputs, on_tissue_scale
from stlatent.baselines.registry import METHODS
from stlatent.evaluation import metrics
from stlatent.expression import visible_library
from stlatent.failures import DataError
from stlatent.records.inputs import Fold
from stlatent.simulate import Settings, Study, simulate

TRAINED = {
    "tangram": partial(tangram.predict, epochs=150),
    "gimvi": partial(gimvi.predict, epochs=150),
    "spage": spage.predict,
}
QUICK = {
    "tangram": partial(tangram.predict, epochs=5),
    "gimvi": partial(gimvi.predict, epochs=3),
    "spage": spage.predict,
}
PUBLISHED = ["tangram", "gimvi", "spage"]


@pytest.fixture(scope="module")
def study() -> Study:
    return simulate(Settings(n_cells=300, n_spots=150, n_reference=400), seed=1)


@pytest.fixture(scope="module")
def spatial(study) -> anndata.AnnData:
    return noted(study.samples["sample_a"].measured, "spatial")


@pytest.fixture(scope="module")
def reference(study) -> anndata.AnnData:
    return noted(study.reference, "reference")


@pytest.fixture(scope="module")
def fold(study) -> Fold:
    return fold_of(study, "sample_a", 30, n_unused=5)


def inputs_of(spatial, reference, fold, seed=0) -> Inputs:
    return Inputs(spatial, reference, fold.panel, fold.hidden, seed, n_neighbors=8)


def predict(method, spatial, reference, fold, seed=0, methods=QUICK):
    inputs = inputs_of(spatial, reference, fold, seed)
    return on_tissue_scale(methods[method](inputs), inputs)


@pytest.mark.parametrize("method", PUBLISHED)
def test_recovers_the_truth(method, study, spatial, reference, fold):
    values = predict(method, spatial, reference, fold, methods=TRAINED)
    assert values.dtype == np.float32 and values.shape == (spatial.n_obs, len(fold.hidden))
    truth = study.samples["sample_a"].expected[:, study.genes.index.get_indexer(fold.hidden)]
    library = visible_library(spatial, fold.hidden)
    null = predict("null", spatial, reference, fold, methods={"null": METHODS["null"].predict})
    ours, least = (metrics.score(truth, found, library) for found in (values, null))
    assert ours["pcc_normalised"].mean() > least["pcc_normalised"].mean() + 0.2
    assert 0.2 < values.sum() / truth.sum() < 5


@pytest.mark.parametrize("method", PUBLISHED)
def test_hidden_genes_are_hidden_and_a_seed_gives_one_answer(method, spatial, reference, fold):
    values = predict(method, spatial, reference, fold)
    changed = spatial.copy()
    dense = changed.X.toarray()
    dense[:, changed.var_names.get_indexer(fold.hidden)] = 7
    changed.X = sparse.csr_matrix(dense)
    np.testing.assert_array_equal(predict(method, changed, reference, fold), values)
    if method != "spage":
        assert not np.array_equal(predict(method, spatial, reference, fold, seed=1), values)


@pytest.mark.parametrize("method", PUBLISHED)
def test_intensities(method, spatial, reference, fold):
    tissue = noted(spatial, "spatial", counts=False)
    tissue.X = (tissue.X.multiply(0.137) + tissue.X.sqrt()).tocsr()
    values = predict(method, tissue, reference, fold)
    assert np.isfinite(values).all() and (values >= 0).all() and np.ptp(values, axis=0).min() > 0


@pytest.mark.parametrize("method", PUBLISHED)
def test_empty_rows_and_genes(method, spatial, reference, fold):
    tissue, cells = spatial.copy(), reference.copy()
    for adata in (tissue, cells):
        dense = adata.X.toarray()
        dense[:3, adata.var_names.get_indexer([*fold.panel, *fold.hidden])] = 0
        dense[:, adata.var_names.get_loc(fold.panel[0])] = 0
        adata.X = sparse.csr_matrix(dense)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        assert np.isfinite(predict(method, tissue, cells, fold)).all()


@pytest.mark.parametrize("method", PUBLISHED)
def test_an_empty_panel_is_the_data_s_fault(method, spatial, reference, fold):
    tissue = spatial.copy()
    tissue.X = sparse.csr_matrix(tissue.shape, dtype=np.float32)
    with pytest.raises(DataError):
        METHODS[method].predict(inputs_of(tissue, reference, fold))
    with pytest.raises(DataError, match="Nowhere1"):
        METHODS[method].predict(Inputs(spatial, reference, fold.panel, ["Nowhere1"], 0, 8))


def test_tangram_maps_as_many_cells_as_memory_allows():
    assert len(tangram.mapped_cells(5000, 1000, 0)) == 5000
    some = tangram.mapped_cells(50_000, 10_000, 0)
    assert len(np.unique(some)) == tangram.MAX_PAIRS // 10_000
    np.testing.assert_array_equal(some, tangram.mapped_cells(50_000, 10_000, 0))
    assert not np.array_equal(some, tangram.mapped_cells(50_000, 10_000, 1))
    with pytest.raises(DataError, match="Leave tangram out of --baselines"):
        tangram.mapped_cells(50_000, 300_000, 0)


def test_weights_of_spage():
    weights = spage.neighbour_weights(
        np.array([[0.1, 0.3, 0.6], [0.2, 0.6, 1.4], [0.5, 1.0, 1.2], [1.0, 1.1, 1.2], [0, 0, 1.5]])
    )
    expected = [[0.45, 0.35, 0.2], [0.75, 0.25, 0], [1, 0, 0], [0, 0, 0], [0.5, 0.5, 0]]
    np.testing.assert_allclose(weights, expected, atol=1e-6)


def test_principal_vectors_keep_what_both_share():
    rng = np.random.default_rng(0)
    shared = np.linalg.qr(rng.normal(size=(40, 3)))[0]
    cells, spots = (
        9 * rng.normal(size=(n, 3)) @ shared.T + 0.1 * rng.normal(size=(n, 40)) for n in (300, 200)
    )
    vectors = spage.principal_vectors(cells, spots, 0)[:, :3]
    assert np.linalg.svd(vectors.T @ shared)[1].min() > 0.99
