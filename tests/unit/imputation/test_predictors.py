from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest
from click.testing import CliRunner
from scipy import sparse

import run_baselines
from stlatent import slots
from stlatent.evaluation import metrics
from stlatent.expression import dense, visible_library
from stlatent.failures import DataError
from stlatent.imputation import predictors
from stlatent.imputation.predictors import Problem
from stlatent.imputation.problem import build_problem
from stlatent.records import Fold
from stlatent.simulate import Settings, Study, simulate

METHODS = ["null", "ridge", "kernel_ridge", "knn"]


@pytest.fixture(scope="module")
def study() -> Study:
    return simulate(Settings(n_cells=500, n_spots=250, n_reference=600), seed=1)


def noted(adata: anndata.AnnData, kind: str, counts: bool = True) -> anndata.AnnData:
    adata = adata.copy()
    slots.note(adata, kind=kind, source="s", counts=counts)
    return adata


def fold_of(study: Study, sample: str, n_hidden: int = 40) -> Fold:
    """Hide every other gene with marker or gradient structure, up to ``n_hidden``."""
    names = list(study.samples[sample].measured.var_names)
    structured = study.genes.loc[names, "structure"].isin(["marker", "gradient", "lineage"])
    hidden = np.array(names)[structured][::2][:n_hidden].tolist()
    return Fold("s", "1", hidden, [name for name in names if name not in set(hidden)])


@pytest.mark.parametrize("sample", ["sample_a", "sample_b"])
def test_recovers_the_truth_better_than_the_null(study, sample):
    spatial = noted(study.samples[sample].measured, "spatial")
    reference = noted(study.reference, "reference")
    fold = fold_of(study, sample)
    layers, seconds = run_baselines.predict(spatial, reference, fold, METHODS, seed=0)
    at = study.genes.index.get_indexer(fold.hidden)
    truth = study.samples[sample].expected[:, at]
    library = visible_library(spatial, fold.hidden)
    scores = {method: metrics.score(truth, layers[method], library) for method in METHODS}
    assert set(seconds) == set(METHODS)
    assert np.abs(scores["null"]["pcc_normalised"]).mean() < 0.05
    for method in METHODS[1:]:
        assert scores[method]["pcc"].mean() > scores["null"]["pcc"].mean() + 0.1
        assert scores[method]["pcc_normalised"].mean() > 0.4
    # The scale is right up to platform effects.
    ratio = layers["ridge"].sum() / dense(spatial[:, fold.hidden].X).sum()
    assert 0.5 < ratio < 2.0


def test_intensities(study):
    spatial = noted(study.samples["sample_a"].measured, "spatial", counts=False)
    spatial.X = sparse.csr_matrix(np.log1p(spatial.X.toarray()) - 0.1)
    fold = fold_of(study, "sample_a")
    layers, _ = run_baselines.predict(
        spatial, noted(study.reference, "reference"), fold, METHODS, seed=0
    )
    assert visible_library(spatial, fold.hidden) is None
    measured = dense(spatial[:, fold.hidden].X)
    null = metrics.pcc(measured, layers["null"]).mean()
    for method in METHODS[1:]:
        assert np.isfinite(layers[method]).all()
        assert metrics.pcc(measured, layers[method]).mean() > null + 0.05


def test_spots_without_counts(study):
    spatial = noted(study.samples["sample_b"].measured, "spatial")
    counts = spatial.X.toarray()
    counts[:3] = 0
    spatial.X = sparse.csr_matrix(counts)
    layers, _ = run_baselines.predict(
        spatial, noted(study.reference, "reference"), fold_of(study, "sample_b"), METHODS, seed=0
    )
    for values in layers.values():
        assert np.isfinite(values).all()
        assert (values[:3] == 0).all()


def test_library_leaves_the_hidden_genes_out(study):
    spatial = noted(study.samples["sample_a"].measured, "spatial")
    hidden = list(spatial.var_names[:5])
    np.testing.assert_allclose(
        visible_library(spatial, hidden), np.asarray(spatial[:, 5:].X.sum(axis=1)).ravel()
    )


def random_problem(n_reference: int = 300) -> Problem:
    rng = np.random.default_rng(0)
    panel = rng.normal(size=(n_reference, 12)).astype(np.float32)
    target = np.column_stack([np.tanh(panel[:, 0]), panel[:, 1]]).astype(np.float32)
    return Problem(panel, target, rng.normal(size=(50, 12)).astype(np.float32))


def test_nystrom_with_all_landmarks_is_exact():
    problem = random_problem()
    exact = predictors.kernel_ridge(problem)
    reference, _ = predictors.standardised_panels(problem, 0.0)
    target, _, _ = predictors._z_scored(problem.reference_target)
    unit = predictors._unit_rows(reference)
    landmarks, coefficients = predictors._kernel_coefficients(unit, target, 2.0, 5.0, 299, 0)
    nearly = predictors._kernel(unit, landmarks, 2.0) @ coefficients
    landmarks, coefficients = predictors._kernel_coefficients(unit, target, 2.0, 5.0, 300, 0)
    np.testing.assert_allclose(
        nearly, predictors._kernel(unit, landmarks, 2.0) @ coefficients, atol=0.05
    )
    assert exact.shape == (50, 2)


def test_few_landmarks_stay_close():
    problem = random_problem(1000)
    exact = predictors.kernel_ridge(problem)
    approximate = predictors.kernel_ridge(problem, max_landmarks=200)
    assert metrics.pcc(exact, approximate).min() > 0.95


def test_knn_reproduces_copies_of_reference_cells():
    problem = random_problem()
    tissue = Problem(problem.reference_panel, problem.reference_target, problem.reference_panel)
    np.testing.assert_allclose(
        predictors.knn(tissue, n_neighbors=1), problem.reference_target, rtol=1e-5
    )


def test_panel_genes_without_signal_are_left_out():
    problem = random_problem()
    panel = problem.reference_panel.copy()
    panel[:, 3] = 1.0
    reference, tissue = predictors.standardised_panels(
        Problem(panel, problem.reference_target, problem.tissue_panel), 0.3
    )
    assert reference.shape[1] == tissue.shape[1] == 11


def test_missing_genes_are_the_data_s_fault(study):
    panel = list(study.samples["sample_a"].measured.var_names)
    with pytest.raises(DataError, match="Nowhere1"):
        build_problem(
            noted(study.samples["sample_a"].measured, "spatial"),
            noted(study.reference, "reference"),
            panel,
            [],
            ["Nowhere1"],
            0,
        )


def test_unknown_method_names_the_allowed(tmp_path):
    with pytest.raises(ValueError, match="null, ridge, kernel_ridge, knn"):
        predictors.predictor("tangram")


def test_command_line(study, tmp_path: Path):
    fold = fold_of(study, "sample_a", 10)
    noted(study.samples["sample_a"].measured, "spatial").write_h5ad(tmp_path / "s.h5ad")
    noted(study.reference, "reference").write_h5ad(tmp_path / "r.h5ad")
    content = {"sample": "s", "fold": "1", "hidden": fold.hidden, "panel": fold.panel}
    (tmp_path / "fold_1.json").write_text(json.dumps(content))
    arguments = ["--spatial", "s.h5ad", "--reference", "r.h5ad", "--fold", "fold_1.json"]
    arguments += ["--methods", "ridge,null", "--output", "b.h5ad", "--failure", "f.json"]
    arguments = [str(tmp_path / a) if "." in a else a for a in arguments]
    outcome = CliRunner().invoke(run_baselines.main, arguments)
    assert outcome.exit_code == 0, outcome.output
    result = slots.read(tmp_path / "b.h5ad", slots.IMPUTED)
    assert list(result.var_names) == fold.hidden
    assert set(slots.layers(result)) == {"ridge", "null"}
    np.testing.assert_array_equal(result.X, result.layers["ridge"])
    facts = slots.facts(result)
    assert (facts["fold"], facts["arm"], facts["source"]) == ("1", "baseline", "s")
    assert set(facts["seconds"]) == {"ridge", "null"}
    outcome = CliRunner().invoke(run_baselines.main, [*arguments, "--methods", "magic"])
    assert outcome.exit_code == 2
    assert "allowed are" in outcome.output


def test_a_log_normalised_reference_gives_what_its_counts_give(study):
    tissue = noted(study.samples["sample_a"].measured, "spatial")
    counts = noted(study.reference, "reference")
    panel, targets = tissue.var_names[:20].tolist(), tissue.var_names[20:25].tolist()
    logged = counts.copy()
    library = np.asarray(counts.X.sum(1))
    logged.X = counts.X.multiply(1e4 / library).tocsr().log1p()
    slots.note(logged, counts=False)
    one = build_problem(tissue, counts, panel, [], targets, 0)
    other = build_problem(tissue, logged, panel, [], targets, 0)
    np.testing.assert_allclose(other.reference_panel, one.reference_panel, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(other.reference_target, one.reference_target, rtol=1e-3, atol=1e-4)


def gene_problem(seed: int = 0) -> Problem:
    """Six panel genes in two groups of three; two targets, one in each group."""
    rng = np.random.default_rng(seed)
    groups = np.array([0, 0, 0, 1, 1, 1])
    programs, maps = rng.normal(size=(300, 2)), rng.normal(size=(80, 2))
    panel = programs[:, groups] + 0.5 * rng.normal(size=(300, 6))
    targets = programs + 0.5 * rng.normal(size=(300, 2))
    tissue = maps[:, groups] + 0.5 * rng.normal(size=(80, 6))
    return Problem(panel + 3, targets + 3, tissue, counts=False)


def test_gene_kernel_predicts_a_gene_from_its_likes() -> None:
    problem = gene_problem()
    predicted = predictors.gene_kernel(problem)
    z = (problem.tissue_panel - problem.tissue_panel.mean(0)) / problem.tissue_panel.std(0)
    of_group = np.stack([z[:, :3].mean(1), z[:, 3:].mean(1)], axis=1)
    found = np.corrcoef(predicted.T, of_group.T)[:2, 2:]
    assert (np.diag(found) > 0.9).all()
    assert (np.abs(found - np.diag(np.diag(found))) < 0.5).all()


@pytest.mark.parametrize("abundance", [False, True])
def test_gene_kernel_predicts_each_target_on_its_own(abundance: bool) -> None:
    problem = gene_problem()
    together = predictors.gene_kernel(problem, abundance=abundance)
    for column in range(2):
        alone = replace(problem, reference_target=problem.reference_target[:, [column]])
        found = predictors.gene_kernel(alone, abundance=abundance)
        np.testing.assert_allclose(found, together[:, [column]], rtol=1e-4, atol=1e-5)


def test_gene_kernel_leaves_out_what_does_not_vary() -> None:
    problem = gene_problem()
    constant = replace(
        problem,
        reference_panel=np.hstack([problem.reference_panel, np.ones((300, 1))]),
        tissue_panel=np.hstack([problem.tissue_panel, np.zeros((80, 1))]),
        reference_target=np.hstack([problem.reference_target, np.full((300, 1), 2.0)]),
    )
    found = predictors.gene_kernel(constant, abundance=True)
    np.testing.assert_allclose(
        found[:, :2], predictors.gene_kernel(problem, abundance=True), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(found[:, 2], 2.0)


def test_abundance_prefers_genes_expressed_alike() -> None:
    # Two panel genes correlate equally with the target; only the first is as abundant.
    rng = np.random.default_rng(1)
    program = rng.normal(size=(400, 1))
    levels = np.array([2.0, 7.0, 2.0])
    cells = program + 0.8 * rng.normal(size=(400, 3)) + levels
    tissue = rng.normal(size=(60, 2))
    problem = Problem(cells[:, :2], cells[:, 2:], tissue, counts=False)
    found = predictors.gene_kernel(problem, abundance=True)[:, 0]
    assert np.corrcoef(found, tissue[:, 0])[0, 1] > 0.95
