"""COMPARE: methods to compare with, from the command line and in one task."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest
from click.testing import CliRunner
from scipy import sparse

import compare
from builders.simulated import fold_of, noted
from stlatent import slots
from stlatent.records.inputs import Fold
from stlatent.simulate import Settings, Study, simulate
from stlatent.steps.compare import Compared


@pytest.fixture(scope="module")
def study() -> Study:
    return simulate(Settings(n_cells=300, n_spots=150, n_reference=400), seed=1)


@pytest.fixture(scope="module")
def fold(study) -> Fold:
    return fold_of(study, "sample_a", 10)


@pytest.fixture
def run(study, fold, tmp_path: Path):
    """Run the script on a tissue; return the predictions and the failure, where there are."""

    def _run(methods: str, tissue=None, hidden=None) -> tuple[anndata.AnnData | None, dict]:
        tissue = noted(study.samples["sample_a"].measured, "spatial") if tissue is None else tissue
        tissue.write_h5ad(tmp_path / "s.h5ad")
        noted(study.reference, "reference").write_h5ad(tmp_path / "r.h5ad")
        replace(fold, hidden=hidden or fold.hidden).write(tmp_path / "fold_1.json")
        arguments = ["--spatial", "s.h5ad", "--reference", "r.h5ad", "--fold", "fold_1.json"]
        arguments += ["--output", "p.h5ad", "--failure", "f.json"]
        arguments = [str(tmp_path / a) if "." in a else a for a in arguments]
        options = ["--method", methods, "--n-neighbors", "8", "--seed", "0"]
        outcome = CliRunner().invoke(compare.main, [*arguments, *options])
        assert outcome.exit_code == 0, outcome.output
        output, failure = tmp_path / "p.h5ad", tmp_path / "f.json"
        predicted = slots.read(output, slots.IMPUTED) if output.exists() else None
        return predicted, json.loads(failure.read_text()) if failure.exists() else {}

    return _run


@pytest.mark.parametrize("methods", [["ridge", "null"], ["spage"]])
def test_there_is_a_layer_a_method_and_the_first_one_is_x(methods, run, fold):
    result, failure = run(",".join(methods))
    assert not failure
    assert list(result.var_names) == fold.hidden
    assert set(slots.layers(result)) == set(methods)
    np.testing.assert_array_equal(result.X, result.layers[methods[0]])
    assert set(result.var["method"]) == {methods[0]}
    facts = slots.facts(result)
    assert (facts["fold"], facts["arm"], facts["source"]) == ("1", "baseline", "s")
    assert set(facts["seconds"]) == set(methods)


def test_methods_give_the_same_alone_and_together(run):
    together, _ = run("knn,spage")
    for method in ("knn", "spage"):
        np.testing.assert_array_equal(run(method)[0].X, together.layers[method])


@pytest.mark.parametrize("methods", ["spage", "null,knn"])
def test_a_failure_names_its_methods(methods, run):
    predicted, failure = run(methods, hidden=["Nowhere1"])
    assert predicted is None
    assert (failure["step"], failure["method"], failure["fold"]) == ("COMPARE", methods, "1")
    assert "Nowhere1" in failure["reason"]


def test_a_method_that_fails_takes_no_other_down(study, run):
    empty = noted(study.samples["sample_a"].measured, "spatial")
    empty.X = sparse.csr_matrix(empty.shape, dtype=np.float32)
    predicted, failure = run("null,ridge,knn,spage", empty)
    assert set(slots.layers(predicted)) == set(slots.facts(predicted)["seconds"]) == {"null"}
    assert failure["method"] == "ridge,knn,spage"
    assert failure["reason"].startswith("ridge, knn: no gene of the panel varies")
    assert "; spage: SpaGE: no gene" in failure["reason"]


def test_one_reason_of_several_methods_is_said_once():
    assert Compared(None, {"ridge": "too few genes", "knn": "too few genes"}).reason == (
        "too few genes"
    )


def test_an_unknown_method_names_the_allowed(study, tmp_path):
    outcome = CliRunner().invoke(compare.main, ["--method", "magic"])
    assert outcome.exit_code == 2
    assert "allowed are" in outcome.output
