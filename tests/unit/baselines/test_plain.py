"""Plain methods: that they work, on counts and on intensities."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
from scipy import sparse

from builders.simulated import fold_of, noted
from stlatent.baselines.interface import Array, Inputs, on_tissue_scale
from stlatent.baselines.registry import METHODS
from stlatent.evaluation import metrics
from stlatent.expression import dense, visible_library
from stlatent.records.inputs import Fold
from stlatent.simulate import Settings, Study, simulate

PLAIN = ["null", "ridge", "kernel_ridge", "knn"]


@pytest.fixture(scope="module")
def study() -> Study:
    return simulate(Settings(n_cells=500, n_spots=250, n_reference=600), seed=1)


@pytest.fixture(scope="module")
def reference(study) -> anndata.AnnData:
    return noted(study.reference, "reference")


def predict(spatial: anndata.AnnData, reference: anndata.AnnData, fold: Fold) -> dict[str, Array]:
    inputs = Inputs(spatial, reference, fold.panel, fold.hidden, seed=0, n_neighbors=8)
    return {name: on_tissue_scale(METHODS[name].predict(inputs), inputs) for name in PLAIN}


@pytest.mark.parametrize("sample", ["sample_a", "sample_b"])
def test_recover_the_truth_better_than_the_null(sample, study, reference):
    spatial, fold = noted(study.samples[sample].measured, "spatial"), fold_of(study, sample)
    layers = predict(spatial, reference, fold)
    at = study.genes.index.get_indexer(fold.hidden)
    truth = study.samples[sample].expected[:, at]
    library = visible_library(spatial, fold.hidden)
    scores = {method: metrics.score(truth, layers[method], library) for method in PLAIN}
    assert np.abs(scores["null"]["pcc_normalised"]).mean() < 0.05
    for method in PLAIN[1:]:
        assert scores[method]["pcc"].mean() > scores["null"]["pcc"].mean() + 0.1
        assert scores[method]["pcc_normalised"].mean() > 0.4
    # The scale is right up to platform effects.
    ratio = layers["ridge"].sum() / dense(spatial[:, fold.hidden].X).sum()
    assert 0.5 < ratio < 2.0


def test_intensities(study, reference):
    spatial = noted(study.samples["sample_a"].measured, "spatial", counts=False)
    spatial.X = sparse.csr_matrix(np.log1p(spatial.X.toarray()) - 0.1)
    fold = fold_of(study, "sample_a")
    layers = predict(spatial, reference, fold)
    assert visible_library(spatial, fold.hidden) is None
    measured = dense(spatial[:, fold.hidden].X)
    null = metrics.pcc(measured, layers["null"]).mean()
    for method in PLAIN[1:]:
        assert np.isfinite(layers[method]).all()
        assert metrics.pcc(measured, layers[method]).mean() > null + 0.05


def test_spots_without_counts(study, reference):
    spatial = noted(study.samples["sample_b"].measured, "spatial")
    counts = spatial.X.toarray()
    counts[:3] = 0
    spatial.X = sparse.csr_matrix(counts)
    for values in predict(spatial, reference, fold_of(study, "sample_b")).values():
        assert np.isfinite(values).all()
        assert (values[:3] == 0).all()


def test_the_number_of_spatial_neighbours_counts_where_the_tissue_is_smoothed(study, reference):
    spatial, fold = noted(study.samples["sample_a"].measured, "spatial"), fold_of(study, "sample_a")
    few, many = (
        Inputs(spatial, reference, fold.panel, fold.hidden, seed=0, n_neighbors=n) for n in (2, 8)
    )
    for method, differs in (("ridge", True), ("null", False)):
        one, other = (METHODS[method].predict(inputs).values for inputs in (few, many))
        assert np.array_equal(one, other) != differs
