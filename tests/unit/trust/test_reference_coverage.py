"""Reference coverage on simulated tissues: cells of a removed type are found, others left alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from sklearn.metrics import roc_auc_score

from builders.report_inputs import write_run
from stlatent import devices, slots
from stlatent.evaluation.latent import principal_components
from stlatent.expression import dense, library_size, log_normalise
from stlatent.records.imputation import ReferenceCoverage, UncoveredLocations
from stlatent.report.chapters.reference_coverage import overview
from stlatent.report.run import health
from stlatent.report.run.model import Run
from stlatent.report.run.read import load
from stlatent.simulate import CELL_TYPES, TISSUE_ONLY_TYPE, Settings, Study, simulate
from stlatent.slots import REFERENCE_COVERAGE, REFERENCE_COVERED, REFERENCE_DISTANCE
from stlatent.trust import reference_coverage

SMALL = Settings(n_cells=700, n_spots=200, n_reference=800)


@pytest.fixture(scope="module")
def study() -> Study:
    devices.make_deterministic(seed=0, threads=1)
    return noted(simulate(SMALL, seed=11))


@pytest.fixture(scope="module")
def covered_study() -> Study:
    return noted(simulate(replace(SMALL, tissue_only_type=False), seed=12))


def noted(study: Study) -> Study:
    slots.note(study.reference, kind="reference", counts=True, label_key="cell_type")
    for name, sample in study.samples.items():
        slots.note(sample.measured, kind="spatial", source=name, counts=True)
    return study


def judge(tissue: AnnData, reference: AnnData, seed: int = 0) -> pd.DataFrame:
    """Assess with principal components in the place of the VAE's latent space."""
    values = dense(reference.X)
    latent = principal_components(log_normalise(values, library_size(values), 1e4), 10, 0)
    shared = tissue.var_names.intersection(reference.var_names)
    panel = np.random.default_rng(0).permutation(shared)[:500].tolist()
    # Where the spots lie in the latent space plays no part in the flag.
    z = np.zeros((tissue.n_obs, latent.shape[1]), dtype=np.float32)
    return reference_coverage.assess(tissue, reference, panel, z, latent, seed)


def without(reference: AnnData, cell_type: str) -> AnnData:
    return reference[reference.obs["cell_type"] != cell_type].copy()


@pytest.mark.parametrize("cell_type", [*CELL_TYPES, TISSUE_ONLY_TYPE])
def test_cells_of_a_type_that_the_reference_lacks_are_found(study: Study, cell_type: str) -> None:
    tissue = study.samples["sample_a"].measured
    found = judge(tissue, without(study.reference, cell_type))
    labels = tissue.obs["cell_type"].astype(str)
    lacking = labels.isin([cell_type, TISSUE_ONLY_TYPE]).to_numpy()
    known = np.asarray(tissue.X.sum(axis=1)).ravel() >= 20
    assert roc_auc_score(lacking[known], -found[REFERENCE_COVERAGE][known]) > 0.95
    assert found[REFERENCE_COVERED][~lacking].mean() > 0.98
    assert found[REFERENCE_COVERED][lacking & known].mean() < 0.3


@pytest.mark.parametrize("name", ["sample_a", "sample_b"])
def test_a_covered_tissue_is_left_alone(covered_study: Study, name: str) -> None:
    found = judge(covered_study.samples[name].measured, covered_study.reference)
    assert found[REFERENCE_COVERED].mean() > 0.99
    assert found[REFERENCE_COVERAGE].median() > 0.9


def test_mixtures_with_a_lacking_type_are_found(study: Study) -> None:
    sample = study.samples["sample_b"]
    found = judge(sample.measured, without(study.reference, "Endothelial"))
    share = sample.composition[:, CELL_TYPES.index("Endothelial")]
    apart = (share > 0.3) | (share == 0)
    assert roc_auc_score(share[apart] > 0.3, -found[REFERENCE_COVERAGE][apart]) > 0.85


def test_flag_and_score_agree_and_a_seed_repeats_them(study: Study) -> None:
    tissue = study.samples["sample_a"].measured
    reference = without(study.reference, "Astrocyte")
    found = judge(tissue, reference)
    assert found.index.equals(tissue.obs_names)
    assert ((found[REFERENCE_COVERAGE] > 0.5) == found[REFERENCE_COVERED]).all()
    assert found[REFERENCE_COVERAGE].between(0, 1).all()
    pd.testing.assert_frame_equal(found, judge(tissue, reference))


def test_intensities_on_any_scale_give_the_same_answer(study: Study) -> None:
    tissue = study.samples["sample_a"].measured.copy()
    reference = without(study.reference, "Inhibitory")
    slots.note(tissue, counts=False)
    labels = (tissue.obs["cell_type"] == "Inhibitory").to_numpy()
    plain = judge(tissue, reference)
    tissue.X = tissue.X / 300
    scaled = judge(tissue, reference)
    assert roc_auc_score(labels, -plain[REFERENCE_COVERAGE]) > 0.9
    assert (
        np.corrcoef(plain[REFERENCE_COVERAGE].rank(), scaled[REFERENCE_COVERAGE].rank())[0, 1]
        > 0.95
    )


def test_a_reference_without_counts_serves(study: Study) -> None:
    tissue = study.samples["sample_a"].measured
    reference = without(study.reference, "Oligodendrocyte")
    values = dense(reference.X)
    reference.X = log_normalise(values, library_size(values), 1e4)
    slots.note(reference, counts=False)
    found = judge(tissue, reference)
    lacking = tissue.obs["cell_type"].isin(["Oligodendrocyte", TISSUE_ONLY_TYPE]).to_numpy()
    assert roc_auc_score(lacking, -found[REFERENCE_COVERAGE]) > 0.9


def test_a_handful_of_spots_and_few_cells_serve(study: Study) -> None:
    tissue = study.samples["sample_a"].measured[:6].copy()
    reference = study.reference[: reference_coverage.MIN_CELLS].copy()
    found = judge(tissue, reference)
    assert found[REFERENCE_COVERAGE].between(0, 1).all()
    assert found[REFERENCE_COVERED].dtype == bool
    assert found[REFERENCE_DISTANCE].notna().all()


def test_a_reference_of_few_cells_is_no_judge(study: Study, tmp_path: Path) -> None:
    tissue = study.samples["sample_a"].measured.copy()
    slots.note(tissue, label_key="cell_type")
    found = judge(tissue, study.reference[: reference_coverage.MIN_CELLS - 1].copy())
    assert found[REFERENCE_COVERAGE].isna().all() and found[REFERENCE_COVERED].isna().all()
    assert found[REFERENCE_DISTANCE].notna().all()
    summary = reference_coverage.summarise(found, tissue, 0)
    why = f"the reference has fewer than {reference_coverage.MIN_CELLS} cells after quality control"
    assert summary == ReferenceCoverage(None, 0.1, None, None, why)
    tissue.obs = tissue.obs.assign(**found)
    slots.write(tissue, tmp_path / "o.h5ad", slots.INGESTED_SPATIAL)
    again = slots.read(tmp_path / "o.h5ad", slots.INGESTED_SPATIAL)
    assert (
        again.obs[REFERENCE_COVERED].isna().all()
        and again.obs[REFERENCE_COVERED].dtype == "boolean"
    )

    write_run(tmp_path, samples=2, n_spots=100)
    run = load(tmp_path.glob("*.json"), tmp_path / "input.json", None)
    without = replace(run.imputations["embryo_1", "", "all"], coverage=summary)
    run.imputations["embryo_1", "", "all"] = without
    shown: dict[str, Any] = {block.id: block for block in overview(run)}
    assert "<b>embryo_1</b>: the reference has fewer" in shown["coverage_not_judged"].body
    assert len(shown["coverage_maps"].figures) == 1
    assert set(shown["coverage_table"].rows) == {"embryo_2"}
    check = health.run_checks(run, "embryo_1")["reference_coverage"]
    assert check.status == "not_run" and "fewer than 120 cells" in check.message
    run.imputations["embryo_2", "", "all"] = without
    shown = {block.id: block for block in overview(run)}
    assert shown["coverage_not_judged"].body.count("<p>") == 2
    assert not shown["coverage_maps"].figures and shown["coverage_table"].is_empty


def test_latent_distance_is_one_inside_the_reference_and_grows_outside() -> None:
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(2000, 5))
    inside, outside = rng.normal(size=(500, 5)), np.full((3, 5), 6.0)
    assert np.median(reference_coverage.latent_distance(inside, latent)) == pytest.approx(
        1, abs=0.1
    )
    assert (reference_coverage.latent_distance(outside, latent) > 2).all()


def test_chances_fall_through_the_end_of_the_null() -> None:
    rng = np.random.default_rng(0)
    null = rng.exponential(size=2000)
    chances = reference_coverage.tail_chances(np.array([-1.0, 0.7, 3.0, 12.0, 15.0]), null)
    assert chances[0] == 1
    assert chances[1] == pytest.approx(np.exp(-0.7), abs=0.03)
    assert chances[2] == pytest.approx(np.exp(-3), rel=0.3)
    assert 0 < chances[4] < chances[3] < 1 / len(null)
    # However far out, a chance stays something to divide by.
    assert reference_coverage.tail_chances(np.array([1e6]), null)[0] > 0


def test_discoveries_are_those_of_benjamini_and_hochberg() -> None:
    chances = np.array([0.001, 0.008, 0.039, 0.041, 0.6])
    assert reference_coverage.discovery_threshold(chances, 0.05) == 0.008
    assert reference_coverage.discovery_threshold(np.ones(10), 0.1) == pytest.approx(0.01)


def test_a_summary_holds_shares_by_label_and_a_map(study: Study) -> None:
    tissue = study.samples["sample_a"].measured.copy()
    slots.note(tissue, label_key="cell_type")
    table = pd.DataFrame(
        {REFERENCE_COVERAGE: 0.9, REFERENCE_COVERED: tissue.obs["cell_type"] != TISSUE_ONLY_TYPE},
        index=tissue.obs_names,
    )
    summary = reference_coverage.summarise(table, tissue, 0)
    rare = (tissue.obs["cell_type"] == TISSUE_ONLY_TYPE).sum()
    assert summary.uncovered == pytest.approx(rare / tissue.n_obs)
    assert summary.by_label is not None and summary.map is not None
    assert summary.by_label[TISSUE_ONLY_TYPE] == UncoveredLocations(rare, 1.0)
    assert len(summary.map.coverage) == len(summary.map.coordinates) == tissue.n_obs


def test_the_report_shows_where_the_reference_lacks_something(tmp_path: Path) -> None:
    write_run(tmp_path, samples=3, n_spots=100)
    run = load(tmp_path.iterdir(), tmp_path / "input.json", None)
    shown: dict[str, Any] = {block.id: block for block in overview(run)}
    assert len(shown["coverage_maps"].figures) == 3
    assert "10%" in shown["coverage_maps"].text
    rows = shown["coverage_table"].rows
    assert rows["embryo_3"]["uncovered"] > rows["embryo_1"]["uncovered"]
    assert rows["embryo_3"]["where"] == "edge (80% of 90)"
    checks = {s: health.run_checks(run, s)["reference_coverage"].status for s in run.samples}
    assert checks["embryo_1"] == "passed" and checks["embryo_3"] == "warned"
    assert checks["liver_bad"] == "not_run"
    assert overview(Run()) == []
