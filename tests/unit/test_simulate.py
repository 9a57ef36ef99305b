from __future__ import annotations

import csv

import anndata
import numpy as np
import pytest
from click.testing import CliRunner

import simulate_tissue
from builders.project import DEMO
from stlatent import slots
from stlatent.evaluation import metrics
from stlatent.graph import morans_i, neighbours, row_weights
from stlatent.simulate import CELL_TYPES, TISSUE_ONLY_TYPE, Settings, Study, simulate

SMALL = Settings(n_cells=300, n_spots=150, n_reference=400)


@pytest.fixture(scope="module")
def study() -> Study:
    return simulate(SMALL, seed=3)


def test_shapes_and_slots(study):
    assert study.reference.shape == (400, 1000)
    assert set(study.reference.obs["cell_type"]) == set(CELL_TYPES)
    assert set(study.reference.obs["batch"]) == {"batch1", "batch2"}
    a, b = study.samples["sample_a"], study.samples["sample_b"]
    assert a.measured.shape == (300, 150)
    assert b.measured.shape == (150, 1000)
    for sample in (a, b):
        n = sample.measured.n_obs
        assert sample.expected.shape == sample.proportions.shape == (n, 1000)
        assert sample.composition.shape == (n, len(study.types))
        assert sample.measured.obsm["spatial"].shape == (n, 2)
        np.testing.assert_allclose(sample.proportions.sum(axis=1), 1.0)
        np.testing.assert_allclose(sample.composition.sum(axis=1), 1.0)
        counts = sample.measured.X.toarray()
        assert (counts == np.round(counts)).all()
    assert study.genes.index.str.lower().is_unique
    assert study.genes.index.str.startswith("mt-").sum() == 8


def test_same_seed_same_study(study):
    again, other = simulate(SMALL, seed=3), simulate(SMALL, seed=4)
    assert (study.reference.X != again.reference.X).nnz == 0
    assert (study.samples["sample_a"].measured.X != again.samples["sample_a"].measured.X).nnz == 0
    assert (study.reference.X != other.reference.X).nnz > 0


def test_counts_follow_the_truth(study):
    sample = study.samples["sample_b"]
    counts = sample.measured.X.toarray()
    assert counts.mean() == pytest.approx(sample.expected.mean(), rel=0.05)
    structured = study.genes["structure"].isin(["marker", "gradient"]).to_numpy()
    library = counts.sum(axis=1)
    agreement = metrics.score(counts, sample.expected, library)["pcc_normalised"]
    assert np.median(agreement[structured]) > np.median(agreement[~structured]) + 0.1


def test_structure_differs_between_genes(study):
    sample = study.samples["sample_a"]
    weights = row_weights(neighbours(sample.measured.obsm["spatial"], 8))
    structure = study.genes["structure"].to_numpy()
    morans = morans_i(np.log(sample.proportions), weights)
    assert np.median(morans[structure == "gradient"]) > np.median(morans[structure == "state"])
    # Within neurons of one type the gradient varies over space; within glia the state does not.
    within = {}
    for cell_type, name in ((0, "gradient"), (3, "state")):
        members = sample.composition[:, cell_type] == 1
        own = row_weights(neighbours(sample.measured.obsm["spatial"][members], 8))
        genes = np.log(sample.proportions[np.ix_(members, structure == name)])
        within[name] = np.median(morans_i(genes, own))
    assert within["gradient"] > 0.3
    assert abs(within["state"]) < 0.15


def test_type_that_the_reference_lacks():
    with_patch = simulate(SMALL, seed=3).samples["sample_a"].measured.obs["cell_type"]
    assert TISSUE_ONLY_TYPE in set(with_patch)
    plain = simulate(
        Settings(n_cells=300, n_spots=150, n_reference=400, tissue_only_type=False), seed=3
    )
    assert TISSUE_ONLY_TYPE not in set(plain.samples["sample_a"].measured.obs["cell_type"])


@pytest.mark.parametrize("settings", [Settings(n_genes=200), Settings(n_panel=999)])
def test_impossible_sizes(settings):
    with pytest.raises(ValueError, match="genes"):
        simulate(settings)


def test_demo_is_what_the_simulator_writes(tmp_path):
    outcome = CliRunner().invoke(
        simulate_tissue.main, ["--output-dir", str(tmp_path), "--seed", "0"]
    )
    assert outcome.exit_code == 0, outcome.output
    assert (tmp_path / "samplesheet.csv").read_text() == (DEMO / "samplesheet.csv").read_text()
    for name in ("reference", "sample_a", "sample_b"):
        new, old = (anndata.read_h5ad(folder / f"{name}.h5ad") for folder in (tmp_path, DEMO))
        assert list(new.var_names) == list(old.var_names)
        assert new.obs.equals(old.obs)
        # Libraries of numerical functions may differ in the last digit, and so in single draws.
        assert (new.X != old.X).nnz < 1e-3 * old.X.nnz


def test_demo_is_small_and_its_sheet_points_to_it():
    assert sum(path.stat().st_size for path in DEMO.iterdir()) < 5_000_000
    with (DEMO / "samplesheet.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["sample"] for row in rows] == ["sample_a", "sample_b"]
    for row in rows:
        assert (DEMO / row["spatial"]).is_file()
        reference = anndata.read_h5ad(DEMO / row["reference"], backed="r")
        assert {row["batch_key"], row["label_key"]} <= set(reference.obs)


def test_truth_on_request(tmp_path):
    arguments = [
        "--output-dir",
        str(tmp_path),
        "--truth",
        "--n-cells",
        "50",
        "--n-spots",
        "40",
        "--n-reference",
        "60",
    ]
    assert CliRunner().invoke(simulate_tissue.main, arguments).exit_code == 0
    truth = anndata.read_h5ad(tmp_path / "sample_a.truth.h5ad")
    assert truth.shape == (50, 1000)
    assert set(slots.layers(truth)) == {"proportions"}
