"""Candidates of the panel, and the views they are fitted to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV

from builders.simulated import fold_of, noted
from stlatent import slots
from stlatent.evaluation import metrics
from stlatent.expression import visible_library
from stlatent.failures import DataError
from stlatent.imputation import candidates, regression
from stlatent.imputation.candidates import Candidates, Fit, stacked
from stlatent.imputation.view import Targets, View, Views
from stlatent.simulate import Settings, Study, simulate

EVERYWHERE = slice(None)


@pytest.fixture(scope="module")
def study() -> Study:
    return simulate(Settings(n_cells=500, n_spots=250, n_reference=600), seed=1)


def views_of(study: Study, seed: int = 0) -> Views:
    spatial = noted(study.samples["sample_a"].measured, "spatial")
    return Views(spatial, noted(study.reference, "reference"), n_neighbors=8, seed=seed)


def predict(fit: Fit, view: View, targets: Targets) -> np.ndarray:
    return fit(view)(targets)(EVERYWHERE)


def targets_of(expression: np.ndarray) -> Targets:
    return Targets([f"t{number}" for number in range(expression.shape[1])], expression)


def test_library_leaves_the_hidden_genes_out(study):
    spatial = noted(study.samples["sample_a"].measured, "spatial")
    hidden = list(spatial.var_names[:5])
    np.testing.assert_allclose(
        visible_library(spatial, hidden), np.asarray(spatial[:, 5:].X.sum(axis=1)).ravel()
    )


def random_view(n_reference: int = 300) -> tuple[View, Targets]:
    rng = np.random.default_rng(0)
    panel = rng.normal(size=(n_reference, 12)).astype(np.float32)
    target = np.column_stack([np.tanh(panel[:, 0]), panel[:, 1]]).astype(np.float32)
    return View(panel, rng.normal(size=(50, 12)).astype(np.float32)), targets_of(target)


@pytest.mark.parametrize(("n_cells", "n_genes"), [(80, 12), (10, 12), (12, 12)])
@pytest.mark.parametrize("n_targets", [1, 5])
def test_ridge_is_that_of_scikit_learn(n_cells: int, n_genes: int, n_targets: int) -> None:
    rng = np.random.default_rng(n_cells)
    panel = rng.normal(size=(n_cells, n_genes)).astype(np.float32)
    targets = panel @ rng.normal(size=(n_genes, n_targets)) + rng.normal(size=(n_cells, n_targets))
    penalties = (0.1, 1.0, 10.0, 100.0)
    expected = RidgeCV(penalties).fit(panel.astype(float), targets)
    model = regression.Ridge(panel, penalties)
    for _ in range(2):
        coefficients, intercept, penalty = model.fit(targets)
        np.testing.assert_allclose(coefficients.T, np.atleast_2d(expected.coef_), rtol=1e-9)
        np.testing.assert_allclose(intercept, expected.intercept_, rtol=1e-9)
        assert penalty == expected.alpha_


def test_nystrom_with_nearly_all_landmarks_is_nearly_exact() -> None:
    view, targets = random_view()
    unit = candidates.unit_rows(view.standard_reference)
    found = []
    for max_landmarks in (299, 300):
        model = regression.KernelRidge(unit, 2.0, 5.0, max_landmarks, 0)
        found.append(model.predict(unit, model.fit(targets.standardised)))
    np.testing.assert_allclose(*found, atol=0.05)
    assert predict(candidates.kernel_ridge, view, targets).shape == (50, 2)


def test_few_landmarks_stay_close() -> None:
    view, targets = random_view(1000)
    exact = predict(candidates.kernel_ridge, view, targets)
    approximate = candidates.kernel_ridge(view, max_landmarks=200)(targets)(EVERYWHERE)
    assert metrics.pcc(exact, approximate).min() > 0.95


def test_knn_reproduces_copies_of_reference_cells() -> None:
    view, targets = random_view()
    tissue = View(view.reference_panel, view.reference_panel)
    found = candidates.knn(tissue, n_neighbors=1)(targets)(EVERYWHERE)
    np.testing.assert_allclose(found, targets.expression, rtol=1e-5)


def test_panel_genes_without_signal_are_left_out() -> None:
    view, _ = random_view()
    panel = view.reference_panel.copy()
    panel[:, 3] = 1.0
    view = replace(view, reference_panel=panel)
    assert view.standard_reference.shape[1] == view.standard_tissue(0.3).shape[1] == 11


def test_a_panel_that_does_not_vary_is_the_data_s_fault() -> None:
    view, targets = random_view()
    constant = replace(view, tissue_panel=np.ones_like(view.tissue_panel))
    for name in stacked(needs_alignment=False):
        with pytest.raises(DataError, match="no gene of the panel varies"):
            Candidates(constant).predict(name, targets)


def test_missing_genes_are_the_data_s_fault(study: Study) -> None:
    views = views_of(study)
    panel = list(views.spatial.var_names)
    with pytest.raises(DataError, match="Nowhere1"):
        views.view(panel, []).targets(["Nowhere1"])
    with pytest.raises(DataError, match="Nowhere2"):
        views.view([*panel, "Nowhere2"], [])


def test_a_log_normalised_reference_gives_what_its_counts_give(study: Study) -> None:
    views = views_of(study)
    names = views.spatial.var_names.tolist()
    logged = views.reference.copy()
    library = np.asarray(logged.X.sum(1))
    logged.X = logged.X.multiply(1e4 / library).tocsr().log1p()
    slots.note(logged, counts=False)
    one = views.view(names[:20], [])
    other = replace(views, reference=logged).view(names[:20], [])
    np.testing.assert_allclose(other.reference_panel, one.reference_panel, rtol=1e-3, atol=1e-4)
    found, expected = (view.targets(names[20:25]).expression for view in (other, one))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_a_view_knows_nothing_of_hidden_genes(study: Study) -> None:
    views, fold = views_of(study), fold_of(study, "sample_a")
    spatial = views.spatial.copy()
    values = spatial.X.tolil()
    values[:, spatial.var_names.get_indexer(fold.hidden)] = 1000
    spatial.X = values.tocsr()
    one = views.view(fold.panel, fold.hidden)
    other = replace(views, spatial=spatial).view(fold.panel, fold.hidden)
    np.testing.assert_array_equal(one.tissue_panel, other.tissue_panel)
    np.testing.assert_array_equal(one.library, other.library)
    np.testing.assert_array_equal(one.shared_library, other.shared_library)
    assert set(one.shared).isdisjoint(fold.hidden)


def test_blocks_of_locations_make_up_the_whole(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    fold = fold_of(study, "sample_a", 10)
    view = views_of(study).view(fold.panel, fold.hidden)
    targets = view.targets(fold.hidden)
    names = stacked(needs_alignment=False)
    whole = {name: Candidates(view).predict(name, targets) for name in names}
    monkeypatch.setattr(candidates, "LOCATIONS_PER_BLOCK", 97)
    for name in names:
        found = Candidates(view).predict(name, targets)
        np.testing.assert_allclose(found, whole[name], rtol=1e-4, atol=1e-5)


def test_a_candidate_is_fitted_once_for_all_blocks_of_genes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view, targets = random_view()
    fits = []

    def counted(view: View) -> candidates.Fitted:
        fits.append(view)
        return candidates.ridge(view)

    monkeypatch.setitem(candidates.CANDIDATES, "ridge", candidates.Candidate(counted))
    fitted = Candidates(view)
    first, second = fitted.predict("ridge", targets), fitted.predict("ridge", targets)
    np.testing.assert_array_equal(first, second)
    assert len(fits) == 1
    assert fitted.seconds["ridge"] > 0


def gene_view(seed: int = 0) -> tuple[View, Targets]:
    """Six panel genes in two groups of three; two targets, one in each group."""
    rng = np.random.default_rng(seed)
    groups = np.array([0, 0, 0, 1, 1, 1])
    programs, maps = rng.normal(size=(300, 2)), rng.normal(size=(80, 2))
    panel = programs[:, groups] + 0.5 * rng.normal(size=(300, 6))
    targets = programs + 0.5 * rng.normal(size=(300, 2))
    tissue = maps[:, groups] + 0.5 * rng.normal(size=(80, 6))
    return View(panel + 3, tissue), targets_of(targets + 3)


def test_gene_kernel_predicts_a_gene_from_its_likes() -> None:
    view, targets = gene_view()
    predicted = predict(candidates.gene_kernel, view, targets)
    z = (view.tissue_panel - view.tissue_panel.mean(0)) / view.tissue_panel.std(0)
    of_group = np.stack([z[:, :3].mean(1), z[:, 3:].mean(1)], axis=1)
    found = np.corrcoef(predicted.T, of_group.T)[:2, 2:]
    assert (np.diag(found) > 0.9).all()
    assert (np.abs(found - np.diag(np.diag(found))) < 0.5).all()


@pytest.mark.parametrize("abundance", [False, True])
def test_gene_kernel_predicts_each_target_on_its_own(abundance: bool) -> None:
    view, targets = gene_view()
    fitted = candidates.gene_kernel(view, abundance=abundance)
    together = fitted(targets)(EVERYWHERE)
    for column in range(2):
        found = fitted(targets_of(targets.expression[:, [column]]))(EVERYWHERE)
        np.testing.assert_allclose(found, together[:, [column]], rtol=1e-4, atol=1e-5)


def test_gene_kernel_leaves_out_what_does_not_vary() -> None:
    view, targets = gene_view()
    constant = View(
        np.hstack([view.reference_panel, np.ones((300, 1))]),
        np.hstack([view.tissue_panel, np.zeros((80, 1))]),
    )
    more = targets_of(np.hstack([targets.expression, np.full((300, 1), 2.0)]))
    found, expected = (
        candidates.gene_kernel(v, abundance=True)(t)(EVERYWHERE)
        for v, t in ((constant, more), (view, targets))
    )
    np.testing.assert_allclose(found[:, :2], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found[:, 2], 2.0)


def test_abundance_prefers_genes_expressed_alike() -> None:
    # Two panel genes correlate equally with the target; only the first is as abundant.
    rng = np.random.default_rng(1)
    program = rng.normal(size=(400, 1))
    levels = np.array([2.0, 7.0, 2.0])
    cells = program + 0.8 * rng.normal(size=(400, 3)) + levels
    tissue = rng.normal(size=(60, 2))
    fitted = candidates.gene_kernel(View(cells[:, :2], tissue), abundance=True)
    found = fitted(targets_of(cells[:, 2:]))(EVERYWHERE)[:, 0]
    assert np.corrcoef(found, tissue[:, 0])[0, 1] > 0.95
