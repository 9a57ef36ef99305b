"""What CALIBRATE writes, and what it leaves of the imputed file when it fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from click.testing import CliRunner, Result

import calibrate as script
from stlatent import slots
from stlatent.failures import DAMAGED_EXIT, OUT_OF_MEMORY_EXIT, DamagedFileError, DataError
from stlatent.records.inputs import Fold
from stlatent.trust import calibration, intervals, reliability

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
    features = {name: rng.uniform(0.05, 0.9, len(genes)) for name in slots.FEATURES}
    var = pd.DataFrame(features, index=genes)
    var["candidate_agreement"] = np.clip(1 - noise / 1.5, 0.05, 0.95)
    normalised = np.log1p(1e4 * expected / library[:, None])
    var[slots.NORMALISED_MEAN], var[slots.NORMALISED_SD] = normalised.mean(0), normalised.std(0)
    var["measured"], var["method"], var["in_decoder"] = True, "stack", True
    adata = anndata.AnnData(
        X=expected.astype(np.float32),
        obs=pd.DataFrame(
            {slots.EXPECTED_LIBRARY: library}, index=[f"s{i}" for i in range(len(library))]
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


def invoke(folder: Path, numbers: list[int], *options: str) -> Result:
    arguments = ["--sample", "s", "--imputed", folder / "all.h5ad"]
    arguments += ["--spatial", folder / "s.qc.h5ad"]
    for number in numbers:
        arguments += ["--fold", folder / f"fold_{number}.json"]
        arguments += ["--held-out", folder / f"{number}.h5ad"]
    arguments += ["--output", folder / "out.h5ad", "--table", folder / "out.csv"]
    arguments += ["--summary", folder / "out.json", "--failure", folder / "failure.json"]
    if "--interval-level" not in options:
        arguments += ["--interval-level", 90]
    return CliRunner().invoke(script.main, [str(a) for a in (*arguments, *options)])


def run(folder: Path, numbers: list[int], *options: str) -> dict[str, Any]:
    result = invoke(folder, numbers, *options)
    assert result.exit_code == 0, result.output
    assert not (folder / "failure.json").exists()
    content: dict[str, Any] = json.loads((folder / "out.json").read_text())
    return content


def run_and_keep(folder: Path, *options: str) -> str:
    """Return the reason why the sample is not calibrated; the imputed file is there as it was."""
    result = invoke(folder, [1], *options)
    assert result.exit_code == 0, result.output
    assert (folder / "out.h5ad").read_bytes() == (folder / "all.h5ad").read_bytes()
    assert not (folder / "out.json").exists() and not (folder / "out.csv").exists()
    failure = json.loads((folder / "failure.json").read_text())
    (folder / "failure.json").unlink()
    assert (failure["id"], failure["kind"], failure["step"]) == ("s", "sample", "CALIBRATE")
    return str(failure["reason"])


def test_a_sample_is_calibrated_on_its_folds(sample: Path) -> None:
    content = run(sample, [1, 2, 3])
    written = anndata.read_h5ad(sample / "out.h5ad")
    lower, upper = intervals.interval(written, 90)
    np.testing.assert_allclose(written.layers["lower_90"], lower, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(written.layers["upper_90"], upper, rtol=1e-4, atol=1e-5)
    assert set(slots.CALIBRATED) <= set(written.var)
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


def test_data_at_fault_leave_the_imputed_file(sample: Path, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise DataError("no such gene")

    monkeypatch.setattr(calibration, "hold_out", fail)
    assert run_and_keep(sample) == "no such gene"


def test_a_bug_leaves_the_imputed_file_and_is_called_one(sample: Path, monkeypatch) -> None:
    def fail(path: Path, *_: object) -> None:
        path.write_bytes(b"half of it")
        raise KeyError("x")

    monkeypatch.setattr(calibration, "write_calibration", fail)
    reason = run_and_keep(sample)
    assert reason.startswith("crashed (KeyError: 'x'): a bug") and "Log: " in reason


@pytest.mark.parametrize(
    ("error", "status"),
    [(MemoryError(), OUT_OF_MEMORY_EXIT), (DamagedFileError("x"), DAMAGED_EXIT)],
)
def test_what_may_pass_is_left_to_the_next_attempt(
    error: Exception, status: int, sample: Path, monkeypatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(calibration, "hold_out", fail)
    assert invoke(sample, [1]).exit_code == status
    assert not (sample / "failure.json").exists()


def test_the_last_attempt_only_keeps_the_imputed_file(sample: Path, monkeypatch) -> None:
    monkeypatch.setattr(slots, "read", None)
    reason = run_and_keep(sample, "--keep-only", "gave up after 3 attempts")
    assert reason.startswith("gave up after 3 attempts. Cure: ask for more memory")
    assert f"remove the folder {Path.cwd()}" in reason
