"""Reliability of genes: features, the model and its prior."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from stlatent import slots
from stlatent.evaluation.score_table import BELIEVABLE
from stlatent.imputation.candidates import Candidates
from stlatent.imputation.view import Targets, View
from stlatent.slots import FEATURES
from stlatent.trust import calibration, reliability
from stlatent.trust.gene_features import GeneFeatures
from stlatent.trust.reliability import NORMALISED, RAW


def features(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({name: rng.uniform(0.05, 0.9, n) for name in FEATURES})
    return table.set_axis([f"g{i}" for i in range(n)])


def tissue(n: int, seed: int, level: float = 0.0, noise: float = 0.08) -> pd.DataFrame:
    """Genes whose PCC follows the agreement of candidates, around a level of the tissue.

    Sampling attenuates it.
    """
    table = features(n, seed)
    rng = np.random.default_rng(seed + 1000)
    true = level + 1.2 * table["candidate_agreement"]
    pcc = {
        target: (table[reliability.CEILINGS[target]] * true + rng.normal(0, noise, n)).clip(-1, 1)
        for target in (RAW, NORMALISED)
    }
    return table.assign(**pcc)


@pytest.fixture(scope="module")
def prior() -> reliability.Model:
    tissues = {str(seed): tissue(120, seed, level) for seed, level in enumerate((-0.05, 0, 0.05))}
    return reliability.fit_prior(tissues, dict.fromkeys(tissues, True))


def folds(n: int) -> np.ndarray:
    return np.arange(n) % 5


def test_a_prior_tells_good_from_bad_genes_of_another_tissue(prior: reliability.Model) -> None:
    other = tissue(200, seed=7)
    judged = reliability.validation(prior.predict(other, counts=True), other)
    for target in (NORMALISED, RAW):
        assert getattr(judged, target).auroc > 0.9
        assert getattr(judged, target).calibration_error < 0.15


def test_the_tissue_s_own_genes_correct_its_level(prior: reliability.Model) -> None:
    own = tissue(100, seed=8, level=-0.3)
    before = prior.predict(own, counts=True)
    after = reliability.cross_fitted(own, folds(100), prior, counts=True)
    true = own["pcc_normalised"].mean()
    assert before["predicted_pcc"].mean() > true + 0.1
    assert after["predicted_pcc"].mean() == pytest.approx(true, abs=0.03)
    judged = reliability.validation(after, own)
    assert judged.pcc_normalised.calibration_error < 0.08
    for counted in judged.labels.values():
        assert 0 <= counted.above <= counted.genes


def test_few_genes_leave_the_prior_nearly_as_it_is(prior: reliability.Model) -> None:
    own, new = tissue(60, seed=9, level=-0.3), features(50, seed=10)
    assert reliability.fit(own[:0], np.array([]), prior) is prior

    def moved(n: int) -> float:
        model = reliability.fit(own[:n], folds(n), prior)
        change = (
            model.predict(new, True)["predicted_pcc"] - prior.predict(new, True)["predicted_pcc"]
        )
        return float(change.abs().mean())

    assert 0 < moved(2) < moved(10) < moved(60)
    assert moved(2) < 0.05 < 0.1 < moved(60)


def test_labels_follow_the_probability(prior: reliability.Model) -> None:
    predicted = prior.predict(features(300, seed=11), counts=True)
    order = {"low": 0, "medium": 1, "high": 2}
    ranked = predicted.sort_values("reliability")
    assert ranked["reliability_label"].map(order).is_monotonic_increasing
    likely = predicted["reliability"] > 0.5
    assert ((predicted["predicted_pcc"] > BELIEVABLE) == likely).all()
    assert reliability.labels(np.array([0.8, 0.79, 0.5, 0.49])).tolist() == [
        "high", "medium", "medium", "low",
    ]  # fmt: skip


def test_a_gene_of_few_molecules_is_no_better_than_they_allow(prior: reliability.Model) -> None:
    table = features(200, seed=15).assign(candidate_agreement=0.9)
    for target, column in (("predicted_pcc", NORMALISED), ("predicted_pcc_raw", RAW)):
        ceiling = reliability.CEILINGS[column]
        rare = prior.predict(table.assign(**{ceiling: 0.1}), counts=True)
        common = prior.predict(table.assign(**{ceiling: 0.9}), counts=True)
        assert rare[target].max() < 0.2 < common[target].min()
    assert (prior.predict(table.assign(**{ceiling: 0.1}), True)["reliability_raw"] < 0.3).all()


@pytest.mark.parametrize("n_measured", [20, 80])
def test_on_a_panel_what_follows_its_library_is_not_testable(
    prior: reliability.Model, n_measured: int
) -> None:
    table = features(100, seed=17)
    table["candidate_agreement"], table["sampling_ceiling_normalised"] = 0.9, 0.9
    table["library_correlation"] = np.where(np.arange(100) % 2, 0.95, 0.5)
    table["measured"] = np.arange(100) < n_measured
    nothing = table.iloc[:0].assign(fold="")
    found = calibration.Findings(None, "", prior, None, None, None, nothing)
    panel = calibration.is_panel(table, n_measured=n_measured)
    assert not calibration.is_panel(table, n_measured=18_000)
    labelled = calibration.gene_table(table, found, counts=True, panel=panel)
    untestable = labelled["reliability_label"] == "not testable"
    follows = (table["library_correlation"] > 0.9) & ~table["measured"]
    assert (untestable == (follows if n_measured == 20 else False)).all()
    assert labelled.loc[untestable, ["reliability", "predicted_pcc"]].isna().all(axis=None)
    assert labelled["reliability_raw"].notna().all()


def test_genes_without_any_expected_molecule_do_no_harm(prior: reliability.Model) -> None:
    own = tissue(12, seed=18).assign(sampling_ceiling=0.0, sampling_ceiling_normalised=0.0)
    predicted = reliability.cross_fitted(own, folds(12), prior, counts=True)
    assert np.isfinite(predicted["reliability"]).all()
    assert (predicted["predicted_pcc"] == 0).all()


def test_a_gene_without_features_is_not_testable(prior: reliability.Model) -> None:
    table = features(3, seed=16)
    table.loc["g1"] = np.nan
    predicted = prior.predict(table, counts=True)
    assert predicted.loc["g1"].drop("reliability_label").isna().all()
    assert predicted["reliability_label"]["g1"] == reliability.UNTESTABLE
    assert predicted.drop("g1").notna().all().all()


def test_without_counts_raw_is_normalised(prior: reliability.Model) -> None:
    table = features(20, seed=12)
    sampling = ["sampling_ceiling", "sampling_ceiling_normalised", "library_correlation"]
    predicted = prior.predict(table.assign(**dict.fromkeys(sampling, np.nan)), counts=False)
    assert predicted.notna().all().all()
    pd.testing.assert_series_equal(
        predicted["reliability"], predicted["reliability_raw"], check_names=False
    )
    assert not np.allclose(*prior.predict(table, True)[["reliability", "reliability_raw"]].T.values)


def test_the_shipped_prior_says_where_it_comes_from(tmp_path: Path) -> None:
    shipped = reliability.read_prior()
    predicted = shipped.predict(features(30, seed=13), counts=True)
    assert predicted["reliability"].between(0, 1).all()
    content = json.loads(reliability.PRIOR_FILE.read_text())
    assert {"tissues", "commit", "command"} <= set(content["provenance"])
    content["features"] = content["features"][1:]
    (tmp_path / "old.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="--fit-prior"):
        reliability.read_prior(tmp_path / "old.json")


def test_a_prior_survives_its_file(prior: reliability.Model, tmp_path: Path) -> None:
    path = tmp_path / "prior.json"
    path.write_text(json.dumps(reliability.prior_content(prior, {"tissues": {}})))
    table = features(20, seed=14)
    pd.testing.assert_frame_equal(
        reliability.read_prior(path).predict(table, True), prior.predict(table, True), atol=1e-4
    )


def test_measures_of_validation() -> None:
    rng = np.random.default_rng(0)
    score, positive = rng.uniform(size=200).round(2), rng.uniform(size=200) < 0.4
    assert reliability.auroc(score, positive) == pytest.approx(roc_auc_score(positive, score))
    assert reliability.auroc(score, np.ones(200, bool)) is None
    honest = np.repeat([0.25, 0.75], 400)
    above = np.tile([1, 0, 0, 0], 100).tolist() + np.tile([1, 1, 1, 0], 100).tolist()
    assert reliability.calibration_error(honest, np.array(above, bool), 2) < 1e-12
    assert reliability.calibration_error(np.ones(8), np.zeros(8, bool)) == 1
    curve = reliability.risk_coverage(np.array([3, 1, 2, 0]), np.array([0.8, 0.2, 0.4, 0.0]))
    assert curve[0] == (0.05, 0.8) and curve[-1] == (1.0, pytest.approx(0.35))
    assert dict(curve)[0.5] == pytest.approx(0.6)


def study(seed: int, n_spots: int = 150) -> tuple[View, Targets, np.ndarray]:
    """Half of the targets follow the panel, half are noise; spots lie on a line."""
    rng = np.random.default_rng(seed)
    n_cells, n_panel = 400, 12
    types = rng.integers(0, 3, n_cells)
    means = rng.uniform(0, 2, (3, n_panel + 5))
    cells = np.maximum(means[types] + rng.normal(0, 0.3, (n_cells, n_panel + 5)), 0)
    noise = np.maximum(rng.normal(0.5, 0.5, (n_cells, 5)), 0)
    target = np.concatenate([cells[:, n_panel:], noise], axis=1).astype(np.float32)
    domain = np.arange(n_spots) * 3 // n_spots
    spots = np.maximum(means[domain][:, :n_panel] + rng.normal(0, 0.3, (n_spots, n_panel)), 0)
    places = np.arange(n_spots)
    nearest = np.stack([np.roll(places, step) for step in (-2, -1, 1, 2)], axis=1)
    panel = cells[:, :n_panel].astype(np.float32)
    names = [f"t{number}" for number in range(target.shape[1])]
    return View(panel, spots.astype(np.float32), nearest), Targets(names, target), types


def describe(
    view: View, targets: Targets, latent: np.ndarray | None, counts: bool = True
) -> pd.DataFrame:
    library = np.linspace(500, 1500, view.n_locations) if counts else None
    candidates = Candidates(view)
    found = [candidates.predict(name, targets) for name in ("ridge", "kernel_ridge", "knn")]
    mean = np.mean(found, axis=0)
    scaled = np.expm1(np.maximum(mean, 0))
    values = scaled * library[:, None] / 1e3 if library is not None else scaled
    features = GeneFeatures(view, latent, library)
    return features.table(targets, mean, found, np.log1p(scaled), values)


def test_features_tell_predictable_genes_from_noise() -> None:
    view, targets, types = study(0)
    latent = np.eye(3)[types] + np.random.default_rng(1).normal(0, 0.1, (len(types), 3))
    table = describe(view, targets, latent)
    assert list(table.columns) == [*FEATURES, slots.NORMALISED_MEAN, slots.NORMALISED_SD]
    for name in (
        "panel_predictability",
        "latent_predictability",
        "prediction_spread",
        "candidate_agreement",
        "morans_i",
        "sampling_ceiling_normalised",
    ):
        assert table[name][:5].min() > table[name][5:].max(), name
    assert table["reference_detection"].between(0, 1).all()


def test_features_of_a_block_are_those_of_the_whole() -> None:
    view, targets, types = study(2)
    latent = np.eye(3)[types].astype(np.float32)
    latent += np.random.default_rng(0).normal(0, 0.1, latent.shape)
    whole = describe(view, targets, latent)
    part = Targets(targets.names[3:7], targets.expression[:, 3:7])
    again = describe(view, part, latent)
    np.testing.assert_allclose(again, whole[3:7], rtol=1e-3, atol=1e-3)


def test_what_cannot_be_known_is_missing() -> None:
    view, targets, _ = study(3)
    table = describe(view, targets, None, counts=False)
    missing = {name for name in table if table[name].isna().any()}
    assert missing == {
        "latent_predictability",
        "sampling_ceiling",
        "sampling_ceiling_normalised",
        "library_correlation",
    }
