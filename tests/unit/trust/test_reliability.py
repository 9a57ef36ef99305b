"""Reliability of genes: features, the model and its prior, and what CALIBRATE writes."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

import calibrate as script
from stlatent import slots
from stlatent.failures import DataError
from stlatent.imputation.predictors import Problem, kernel_ridge, knn, ridge
from stlatent.imputation.problem import Fold
from stlatent.trust import calibration, intervals, reliability
from stlatent.trust.gene_features import COLUMNS, GeneFeatures
from stlatent.trust.reliability import FEATURES, NORMALISED, RAW


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
        assert judged[target]["auroc"] > 0.9
        assert judged[target]["calibration_error"] < 0.15


def test_the_tissue_s_own_genes_correct_its_level(prior: reliability.Model) -> None:
    own = tissue(100, seed=8, level=-0.3)
    before = prior.predict(own, counts=True)
    after = reliability.cross_fitted(own, folds(100), prior, counts=True)
    true = own["pcc_normalised"].mean()
    assert before["predicted_pcc"].mean() > true + 0.1
    assert after["predicted_pcc"].mean() == pytest.approx(true, abs=0.03)
    judged = reliability.validation(after, own)
    assert judged[NORMALISED]["calibration_error"] < 0.08
    for counted in judged["labels"].values():
        assert 0 <= counted["above"] <= counted["genes"]


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
    assert ((predicted["predicted_pcc"] > reliability.THRESHOLD) == likely).all()
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
    found = calibration.Calibration(None, "", prior, None, None, None, nothing)
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
    assert curve[0] == [0.05, 0.8] and curve[-1] == [1.0, pytest.approx(0.35)]
    assert dict(curve)[0.5] == pytest.approx(0.6)


def study(seed: int, n_spots: int = 150) -> tuple[Problem, np.ndarray]:
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
    return Problem(panel, target, spots.astype(np.float32), nearest), types


def describe(problem: Problem, latent: np.ndarray | None, counts: bool = True) -> pd.DataFrame:
    n = len(problem.tissue_panel)
    library = np.linspace(500, 1500, n) if counts else None
    found = [predict(problem) for predict in (ridge, kernel_ridge, knn)]
    mean = np.mean(found, axis=0)
    scaled = np.expm1(np.maximum(mean, 0))
    values = scaled * library[:, None] / 1e3 if library is not None else scaled
    features = GeneFeatures(problem, latent, library)
    return features.table(problem, mean, found, np.log1p(scaled), values)


def test_features_tell_predictable_genes_from_noise() -> None:
    problem, types = study(0)
    latent = np.eye(3)[types] + np.random.default_rng(1).normal(0, 0.1, (len(types), 3))
    table = describe(problem, latent)
    assert list(table.columns) == [*COLUMNS, intervals.MEAN, intervals.SPREAD]
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
    problem, types = study(2)
    latent = np.eye(3)[types].astype(np.float32)
    latent += np.random.default_rng(0).normal(0, 0.1, latent.shape)
    whole = describe(problem, latent)
    part = Problem(
        problem.reference_panel,
        problem.reference_target[:, 3:7],
        problem.tissue_panel,
        problem.nearest,
    )
    again = describe(part, latent)
    np.testing.assert_allclose(again, whole[3:7], rtol=1e-3, atol=1e-3)


def test_what_cannot_be_known_is_missing() -> None:
    problem, _ = study(3)
    table = describe(problem, None, counts=False)
    missing = {name for name in table if table[name].isna().any()}
    assert missing == {
        "latent_predictability",
        "sampling_ceiling",
        "sampling_ceiling_normalised",
        "library_correlation",
    }


GENES = [f"g{i}" for i in range(40)]


def imputed(
    folder: Path, name: str, genes: list[str], counts: np.ndarray, library: np.ndarray, seed: int
) -> Path:
    """Write what IMPUTE would: noisy expectations, and features that follow their quality."""
    rng = np.random.default_rng(seed)
    noise = np.array([0.1 + 0.03 * int(gene[1:]) for gene in genes])
    columns = [GENES.index(gene) for gene in genes]
    expected = (counts[:, columns] + 0.2) * np.exp(
        rng.normal(size=(len(library), len(genes))) * noise
    )
    var = features(len(genes), seed).set_axis(genes)
    var["candidate_agreement"] = np.clip(1 - noise / 1.5, 0.05, 0.95)
    normalised = np.log1p(1e4 * expected / library[:, None])
    var[intervals.MEAN], var[intervals.SPREAD] = normalised.mean(0), normalised.std(0)
    var["measured"], var["method"], var["in_decoder"] = True, "stack", True
    adata = anndata.AnnData(
        X=expected.astype(np.float32),
        obs=pd.DataFrame(
            {intervals.LIBRARY: library}, index=[f"s{i}" for i in range(len(library))]
        ),
        var=var,
    )
    adata.obsm[slots.SPATIAL] = rng.uniform(size=(len(library), 2))
    if name == "all":
        adata.layers[slots.NORMALISED] = normalised.astype(np.float32)
    slots.note(adata, kind="spatial", source="s", counts=True, fold=name)
    path = folder / f"{name}.h5ad"
    adata.write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a tissue, three folds and their imputed files in a folder."""
    folder = tmp_path_factory.mktemp("sample")
    rng = np.random.default_rng(5)
    library = rng.lognormal(6.5, 0.3, 200)
    pattern = rng.lognormal(np.log(2e-3), 0.7, (200, 40)) * rng.lognormal(0, 0.5, 40)
    counts = rng.poisson(pattern * library[:, None]).astype(np.float32)
    spatial = anndata.AnnData(
        X=sp.csr_matrix(counts),
        obs=pd.DataFrame(index=[f"s{i}" for i in range(200)]),
        var=pd.DataFrame(index=GENES),
    )
    spatial.obsm[slots.SPATIAL] = rng.uniform(size=(200, 2))
    slots.note(spatial, kind="spatial", source="s", counts=True)
    spatial.write_h5ad(folder / "s.qc.h5ad")
    for number in range(3):
        hidden = GENES[number::3]
        fold = {"sample": "s", "fold": str(number + 1), "hidden": hidden, "panel": []}
        (folder / f"fold_{number + 1}.json").write_text(json.dumps(fold))
        imputed(folder, str(number + 1), hidden, counts, library, number)
    imputed(folder, "all", GENES, counts, library, 9)
    return folder


def run(folder: Path, numbers: list[int], *options: str) -> dict[str, object]:
    arguments = [
        "--sample",
        "s",
        "--imputed",
        folder / "all.h5ad",
        "--spatial",
        folder / "s.qc.h5ad",
    ]
    for number in numbers:
        arguments += [
            "--fold",
            folder / f"fold_{number}.json",
            "--held-out",
            folder / f"{number}.h5ad",
        ]
    arguments += ["--output", folder / "out.h5ad", "--table", folder / "out.csv"]
    arguments += ["--summary", folder / "out.json", "--failure", folder / "failure.json"]
    result = CliRunner().invoke(script.main, [str(a) for a in (*arguments, *options)])
    assert result.exit_code == 0, result.output
    assert not (folder / "failure.json").exists()
    content: dict[str, object] = json.loads((folder / "out.json").read_text())
    return content


def test_a_sample_is_calibrated_on_its_folds(sample: Path) -> None:
    content = run(sample, [1, 2, 3])
    written = anndata.read_h5ad(sample / "out.h5ad")
    lower, upper = intervals.interval(written, 90)
    np.testing.assert_allclose(written.layers["lower_90"], lower, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(written.layers["upper_90"], upper, rtol=1e-4, atol=1e-5)
    assert set(calibration.ADDED) <= set(written.var)
    assert set(written.var["reliability_label"]) <= set(reliability.LABELS)
    levels = [entry["level"] for entry in content["intervals"]["levels"]]
    assert levels == list(intervals.LEVELS)
    judged = content["reliability"]
    assert (judged["from"], judged["n_genes"]) == ("tissue", 40)
    assert sum(content["labels"].values()) == content["n_genes"] == 40
    table = pd.read_csv(sample / "out.csv", index_col="gene")
    assert table["reliability"].is_monotonic_decreasing
    assert table["held_out_pcc"].notna().all() and set(table.index) == set(GENES)
    original = anndata.read_h5ad(sample / "all.h5ad")
    np.testing.assert_array_equal(original.X, written.X)


def test_another_level_or_none_is_written(sample: Path) -> None:
    run(sample, [1, 2, 3], "--interval-level", "0")
    with h5py.File(sample / "out.h5ad") as file:
        assert set(file["layers"]) == {slots.NORMALISED}
        assert "intervals" in file["uns/stlatent"]
    assert run(sample, [1, 2, 3], "--interval-level", "50")["interval_level"] == 50
    assert {"lower_50", "upper_50"} <= set(anndata.read_h5ad(sample / "out.h5ad").layers)


def test_without_folds_the_prior_speaks_and_intervals_are_absent(sample: Path) -> None:
    content = run(sample, [])
    assert content["intervals"] is None and "no genes were held out" in content["intervals_reason"]
    assert content["reliability"]["from"] == "prior"
    written = anndata.read_h5ad(sample / "out.h5ad")
    assert not [name for name in slots.layers(written) if name.startswith("lower")]
    expected = reliability.read_prior().predict(written.var, counts=True)
    np.testing.assert_allclose(written.var["reliability"], expected["reliability"])
    with pytest.raises(ValueError, match="no intervals"):
        intervals.interval(written, 90)


def test_one_fold_calibrates_but_cannot_be_validated(sample: Path) -> None:
    content = run(sample, [2])
    assert content["intervals_calibrated"] and content["intervals"] is None
    assert content["reliability"]["n_genes"] == 13


def test_what_the_script_finds_is_what_the_scores_say(sample: Path) -> None:
    spatial = anndata.read_h5ad(sample / "s.qc.h5ad")
    file = calibration.read_without_layers(sample / "1.h5ad")
    fold = Fold("s", "1", GENES[0::3], [])
    found = calibration.hold_out(spatial, fold, file)
    measured = spatial[:, fold.hidden].X.toarray()
    for column, gene in enumerate(fold.hidden):
        true = np.corrcoef(measured[:, column], file.X[:, column])[0, 1]
        assert found.table.loc[gene, "pcc"] == pytest.approx(true, abs=1e-5)
    with pytest.raises(DataError, match="other spots"):
        calibration.hold_out(spatial[:50], fold, file)
