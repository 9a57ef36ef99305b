"""A study of several arms: what belongs to which, and what one of them that fails costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from builders.report_inputs import DEFAULT, PLAIN, SMALL, TWIN, settings, write_study
from stlatent.records.failure import Failure
from stlatent.records.run import DeadTask
from stlatent.report.run.model import Run
from stlatent.report.run.outcome import SILENT, outcome, outcomes
from stlatent.report.run.read import load


def read(folder: Path, *without: str) -> Run:
    apart = ("input.json", "settings.json", "tasks.tsv")
    files = [path for path in folder.iterdir() if path.name not in (*apart, *without)]
    return load(files, *(folder / name for name in apart[:2]))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_study(tmp_path)
    return tmp_path


def test_arms_with_the_same_key_share_what_a_step_left(study: Path) -> None:
    run = read(study)
    assert run.arm == DEFAULT
    assert run.vae("s1", PLAIN) is run.vae("s1") is not None
    assert run.alignment("s1", PLAIN) is run.alignment("s1") is not None
    assert run.imputation("s1", PLAIN) is not run.imputation("s1")
    small = run.vae("s1", SMALL)
    assert small is not None and small.settings == "v2"
    assert list(run.vaes_of(SMALL)) == ["atlas"] and run.vaes_of(SMALL)["atlas"] is small


def test_an_arm_without_tasks_of_its_own_shows_those_of_its_equal(study: Path) -> None:
    run = read(study)
    assert run.evaluation("s1", TWIN) is run.evaluation("s1") is not None
    assert run.calibration("s1", TWIN) is run.calibration("s1") is not None
    assert run.scores_of(TWIN).equals(run.scores_of())
    assert not run.scores_of(SMALL).equals(run.scores_of())
    assert set(run.scores_of(SMALL)["arm"]) == {"small", "baseline"}
    assert outcome(run, "s1", TWIN).status == "finished"


def test_each_arm_has_the_baselines_of_its_own_folds(study: Path) -> None:
    run = read(study)
    for arm in (DEFAULT, PLAIN, SMALL):
        written = pd.read_csv(study / f"s1.{arm.name}.scores.csv", keep_default_na=False)
        ridge = written[written["method"] == "ridge"].set_index("gene")["pcc"]
        shown = run.scores_of(arm)
        shown = shown[shown["method"] == "ridge"].set_index("gene")["pcc"]
        assert shown.to_dict() == pytest.approx(ridge.to_dict())


def test_what_failed_under_one_arm_is_a_warning_that_names_it(study: Path) -> None:
    gone = ("s1.a2.evaluation.json", "s1.small.calibration.json", "s1.a2.alignment_history.json")
    run = read(study, *gone)
    run.add(Failure("s1", "sample", "ALIGN", "too few genes", settings="a2"))
    assert [outcome(run, "s1", arm).status for arm in run.arms] == [
        "finished", "finished", "failed", "finished"
    ]  # fmt: skip
    ended = outcomes(run)["s1"]
    assert (ended.status, ended.step) == ("warning", "ALIGN")
    assert ended.reason == "arm small failed: too few genes"


def test_a_sample_that_fails_under_every_arm_has_failed(study: Path) -> None:
    run = read(study, "s1.qc.json")
    assert outcomes(run)["s1"].status == "failed"
    run.add(Failure("s1", "sample", "INGEST", "empty"))
    assert (outcomes(run)["s1"].status, outcomes(run)["s1"].reason) == ("failed", "empty")


def test_the_reference_of_one_arm_fails_that_arm_alone(study: Path) -> None:
    gone = ("v2.vae_history.json", "s1.a2.alignment_history.json", "s1.i3.imputation.json")
    run = read(study, *gone)
    assert outcome(run, "s1", SMALL).reason == SILENT
    run.add(Failure("atlas", "reference", "TRAIN_VAE", "no variable gene", settings="v2"))
    ended = outcome(run, "s1", SMALL)
    assert (ended.step, ended.reason) == (
        "TRAIN_VAE", "its reference atlas failed: no variable gene"
    )  # fmt: skip
    assert outcome(run, "s1", DEFAULT).status == "finished"


def test_a_step_that_knows_the_arm_fails_it_by_its_name(study: Path) -> None:
    run = read(study, "s1.plain.calibration.json")
    run.add(Failure("s1", "sample", "CALIBRATE", "bad file", settings="plain"))
    assert "bad file" in outcome(run, "s1", PLAIN).reason
    assert outcome(run, "s1", DEFAULT).status == "finished"
    assert outcomes(run)["s1"].reason.startswith("arm plain: the imputed genes are there")


def test_a_task_that_was_given_up_belongs_to_the_arms_of_its_tag(study: Path) -> None:
    DeadTask(
        process="IMPUTE", tag="s1 fold all seed 0 arm plain,small", exit=1, cause=None, attempts=1,
        memory="2 GB", memory_requested="2 GB", time="4h", time_requested="4h", accelerator=None,
        folder="/w",
    ).write(study / "abc.dead.json")  # fmt: skip
    run = read(study, "s1.i2.imputation.json", "s1.i3.imputation.json")
    assert [outcome(run, "s1", arm).status for arm in run.arms] == [
        "finished", "failed", "failed", "finished"
    ]  # fmt: skip
    reason = outcomes(run)["s1"].reason
    assert reason.startswith("arm plain, small failed: crashed (exit status 1)")


def test_a_calibration_that_was_given_up_leaves_no_imputed_file(study: Path) -> None:
    DeadTask(
        process="CALIBRATE", tag="s1 arm default", exit=127, cause=None, attempts=1, memory="2 GB",
        memory_requested="2 GB", time="4h", time_requested="4h", accelerator=None, folder="/w",
    ).write(study / "abc.dead.json")  # fmt: skip
    run = read(study, "s1.default.calibration.json")
    assert outcome(run, "s1", DEFAULT).status == "failed"
    assert outcome(run, "s1", PLAIN).status == "finished"


def test_a_run_that_names_no_arm_owns_every_file(tmp_path: Path) -> None:
    write_study(tmp_path, [SMALL])
    replace(settings(), arms=[]).write(tmp_path / "settings.json")
    run = read(tmp_path)
    assert run.arm.name == "default"
    assert run.imputation("s1") is not None and run.evaluation("s1") is not None
    assert outcomes(run)["s1"].status == "finished"
