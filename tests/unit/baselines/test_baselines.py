"""Published methods: that they work here, see nothing hidden, and repeat themselves."""

from __future__ import annotations

import json
import warnings
from functools import partial
from pathlib import Path

import anndata
import numpy as np
import pytest
from click.testing import CliRunner
from scipy import sparse

import run_baselines
import run_peer
from builders.project import ROOT
from stlatent import slots
from stlatent.baselines import PEERS, gimvi, on_tissue_scale, spage, tangram
from stlatent.evaluation import metrics
from stlatent.expression import visible_library
from stlatent.failures import DataError
from stlatent.imputation.predictors import PREDICTORS
from stlatent.records import Fold
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
METHODS = ["tangram", "gimvi", "spage"]


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
def fold(study, spatial) -> Fold:
    """Hide every other gene with structure, and leave some genes out of the panel as well."""
    names = np.array(spatial.var_names)
    structure = study.genes.loc[names, "structure"]
    hidden = names[structure.isin(["marker", "gradient", "lineage"])][::2][:30].tolist()
    return Fold("s", "1", hidden, [name for name in names if name not in set(hidden)][:-5])


def noted(adata: anndata.AnnData, kind: str, counts: bool = True) -> anndata.AnnData:
    adata = adata.copy()
    slots.note(adata, kind=kind, source="s", counts=counts)
    return adata


def predict(method, spatial, reference, fold, seed=0, methods=QUICK):
    prediction = methods[method](spatial, reference, fold.panel, fold.hidden, seed)
    return on_tissue_scale(prediction, spatial, reference, fold.panel, fold.hidden, seed)


@pytest.mark.parametrize("method", METHODS)
def test_recovers_the_truth(method, study, spatial, reference, fold):
    values = predict(method, spatial, reference, fold, methods=TRAINED)
    assert values.dtype == np.float32 and values.shape == (spatial.n_obs, len(fold.hidden))
    truth = study.samples["sample_a"].expected[:, study.genes.index.get_indexer(fold.hidden)]
    library = visible_library(spatial, fold.hidden)
    null = run_baselines.predict(spatial, reference, fold, ["null"], 0)[0]["null"]
    ours, least = (metrics.score(truth, found, library) for found in (values, null))
    assert ours["pcc_normalised"].mean() > least["pcc_normalised"].mean() + 0.2
    assert 0.2 < values.sum() / truth.sum() < 5


@pytest.mark.parametrize("method", METHODS)
def test_hidden_genes_are_hidden_and_a_seed_gives_one_answer(method, spatial, reference, fold):
    values = predict(method, spatial, reference, fold)
    changed = spatial.copy()
    dense = changed.X.toarray()
    dense[:, changed.var_names.get_indexer(fold.hidden)] = 7
    changed.X = sparse.csr_matrix(dense)
    np.testing.assert_array_equal(predict(method, changed, reference, fold), values)
    if method != "spage":
        assert not np.array_equal(predict(method, spatial, reference, fold, seed=1), values)


@pytest.mark.parametrize("method", METHODS)
def test_intensities(method, spatial, reference, fold):
    tissue = noted(spatial, "spatial", counts=False)
    tissue.X = (tissue.X.multiply(0.137) + tissue.X.sqrt()).tocsr()
    values = predict(method, tissue, reference, fold)
    assert np.isfinite(values).all() and (values >= 0).all() and np.ptp(values, axis=0).min() > 0


@pytest.mark.parametrize("method", METHODS)
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


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_panel_is_the_data_s_fault(method, spatial, reference, fold):
    tissue = spatial.copy()
    tissue.X = sparse.csr_matrix(tissue.shape, dtype=np.float32)
    with pytest.raises(DataError):
        PEERS[method](tissue, reference, fold.panel, fold.hidden, 0)
    with pytest.raises(DataError, match="Nowhere1"):
        PEERS[method](spatial, reference, fold.panel, ["Nowhere1"], 0)


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


def test_command_line(spatial, reference, fold, tmp_path: Path):
    spatial.write_h5ad(tmp_path / "s.h5ad")
    reference.write_h5ad(tmp_path / "r.h5ad")
    content = {"sample": "s", "fold": "1", "hidden": fold.hidden, "panel": fold.panel}
    (tmp_path / "fold_1.json").write_text(json.dumps(content))
    arguments = ["--spatial", "s.h5ad", "--reference", "r.h5ad", "--fold", "fold_1.json"]
    arguments += ["--output", "p.h5ad", "--failure", "f.json", "--method", "spage"]
    arguments = [str(tmp_path / a) if "." in a else a for a in arguments]
    outcome = CliRunner().invoke(run_peer.main, arguments)
    assert outcome.exit_code == 0, outcome.output
    result = slots.read(tmp_path / "p.h5ad", slots.IMPUTED)
    assert list(result.var_names) == fold.hidden
    assert list(slots.layers(result)) == list(slots.facts(result)["seconds"]) == ["spage"]
    assert slots.facts(result)["arm"] == "baseline"

    content["hidden"] = ["Nowhere1"]
    (tmp_path / "fold_1.json").write_text(json.dumps(content))
    outcome = CliRunner().invoke(run_peer.main, arguments)
    assert outcome.exit_code == 0, outcome.output
    failure = json.loads((tmp_path / "f.json").read_text())
    assert (failure["step"], failure["method"], failure["fold"]) == ("PEER", "spage", "1")
    assert "Nowhere1" in failure["reason"]


def test_all_that_can_be_asked_for_is_there():
    schema = json.loads((ROOT / "nextflow_schema.json").read_text())
    rules = [group["properties"].get("baselines") for group in schema["$defs"].values()]
    (rule,) = [rule for rule in rules if rule]
    names = [*PREDICTORS, *PEERS]
    assert rule["pattern"] == f"^({'|'.join(names)})(,({'|'.join(names)}))*$"
    listed = (ROOT / "main.nf").read_text().split("def peerPackages()")[1].split("]")[0]
    assert all(f"{name}: '" in listed for name in PEERS) and listed.count(":") == len(PEERS)
