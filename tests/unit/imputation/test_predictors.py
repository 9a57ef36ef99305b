from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from builders.simulated import noted
from stlatent import slots
from stlatent.evaluation import metrics
from stlatent.expression import visible_library
from stlatent.failures import DataError
from stlatent.imputation import predictors
from stlatent.imputation.predictors import Problem
from stlatent.imputation.problem import build_problem
from stlatent.simulate import Settings, Study, simulate


@pytest.fixture(scope="module")
def study() -> Study:
    return simulate(Settings(n_cells=500, n_spots=250, n_reference=600), seed=1)


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
