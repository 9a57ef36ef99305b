"""What is left of a run when something breaks in the middle of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from builders.project import QUICK_PARAMETERS, ROOT, copy_project, damage_inside, edit, tasks
from stlatent import slots
from stlatent.simulate import Settings, simulate

SIZES = Settings(n_genes=620, n_panel=60, n_cells=200, n_spots=60, n_reference=200)
PARAMETERS = QUICK_PARAMETERS | {
    "baselines": "knn",
    "inner_folds": 0,
    "reference_min_counts": 50,
    "reference_min_genes": 20,
}
HOSTILE = 'it\'s "50%" $(touch title) `touch tick` \\n {x} & <b>'
QUOTED = 'it\'s a "tissue" (50%) `touch tick`; touch semicolon & x.h5ad'
KEY = 'it\'s "b" $(touch key) `touch key`'
FINISHING = ("one", "retried", "quoted")


@pytest.fixture(scope="session")
def compiled(tmp_path_factory) -> list[str]:
    """Let numba compile once for all tasks: that is most of what small samples cost."""
    folder = tmp_path_factory.mktemp("numba")
    config = folder / "numba.config"
    config.write_text(f"env.NUMBA_CACHE_DIR = '{folder}'\n")
    return ["-c", str(config)]


def options(parameters: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in parameters.items()]


@dataclass(frozen=True)
class Broken:
    """A run of seven samples in which four are lost, each in its own way."""

    folder: Path
    output: str

    @property
    def results(self) -> Path:
        return self.folder / "out it's"

    @property
    def attempts(self) -> dict[str, list[dict[str, str]]]:
        """Return the attempts of every task by its name, in the order of their end."""
        newest = max((self.results / "pipeline_info").glob("trace_*.txt"))
        table = pd.read_csv(newest, sep="\t", dtype=str)
        found: dict[str, list[dict[str, str]]] = {}
        for row in table.to_dict("records"):
            found.setdefault(row["name"].split(":")[-1], []).append(row)
        return found

    @property
    def lost(self) -> dict[str, dict[str, str]]:
        headline = json.loads((self.results / "evaluation" / "headline.json").read_text())
        return {failure["id"]: failure for failure in headline["failed"]}


@pytest.fixture(scope="module")
def broken(run_pipeline, compiled, tmp_path_factory) -> Broken:
    folder = tmp_path_factory.mktemp("broken")
    data = folder / "my 'data'"
    data.mkdir()
    study = simulate(SIZES, seed=1)
    reference = study.reference
    reference.obs[KEY] = reference.obs["batch"]
    reference.write_h5ad(data / "the reference's.h5ad", compression="gzip")
    study.samples["sample_a"].measured.write_h5ad(data / "one.h5ad", compression="gzip")
    for name in ("retried", "killed", "crashed", "inside"):
        shutil.copy(data / "one.h5ad", data / f"{name}.h5ad")
    shutil.copy(data / "one.h5ad", data / QUOTED)
    content = (data / "one.h5ad").read_bytes()
    (data / "cut.h5ad").write_bytes(content[: len(content) // 2])
    damage_inside(data / "inside.h5ad")
    files = {name: f"{name}.h5ad" for name in (*FINISHING, "killed", "crashed", "cut", "inside")}
    sheet = pd.DataFrame(
        {"sample": list(files), "spatial": list((files | {"quoted": QUOTED}).values())}
    )
    sheet["reference"], sheet["batch_key"] = "the reference's.h5ad", KEY
    sheet.to_csv(data / "my sheet's.csv", index=False)

    project = copy_project(folder / "a user's project")
    # Folds are what takes longest, and are not what this is about.
    schema = project / "nextflow_schema.json"
    content = json.loads(schema.read_text())
    content["$defs"]["imputation"]["properties"]["n_folds"]["minimum"] = 0
    schema.write_text(json.dumps(content))
    start = '    script:\n    """\n'
    killed_once = "    [[ ${meta.id} != retried || ${task.attempt} -gt 1 ]] || kill -9 \\$\\$\n"
    aligned = '    def settings = meta.settings\n    """\n'
    edit(project, "align", aligned, aligned + killed_once)
    edit(project, "impute", start, f"{start}    [[ ${{meta.id}} != killed ]] || exit 137\n")
    calibrated = '    """\n    calibrate.py'
    killed = "    [[ ${meta.id} != one || ${task.attempt} -gt 3 ]] || exit 137\n    calibrate.py"
    edit(project, "calibrate", calibrated, f'    """\n{killed}')
    edit(project, "split_genes", start, f"{start}    [[ ${{meta.id}} != crashed ]] || exit 1\n")
    run = run_pipeline(
        "--input", data / "my sheet's.csv", "--outdir", folder / "out it's",
        *options(PARAMETERS | {"n_folds": 0, "multiqc_title": HOSTILE}), *compiled,
        folder=folder, project=project,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    return Broken(folder, run.stdout)


def test_the_samples_that_broke_are_listed_and_all_others_finish(broken):
    assert set(broken.lost) == {"cut", "inside", "killed", "crashed"}
    for sample in FINISHING:
        assert (broken.results / "samples" / sample / f"{sample}.imputed.h5ad").exists()
        assert (broken.results / "evaluation" / sample / f"{sample}.evaluation.json").exists()
    for sample, failure in broken.lost.items():
        assert f"Failed: {sample} in {failure['step']}: {failure['reason']}" in broken.output


@pytest.mark.parametrize("sample", ["cut", "inside"])
def test_a_truncated_or_damaged_file_is_read_once(broken, sample):
    failure = broken.lost[sample]
    assert failure["step"] == "CHECK_INPUT"
    assert (
        f"spatial file '{sample}.h5ad' cannot be read: the file is cut short" in (failure["reason"])
    )
    assert "Cure: copy or download the file again" in failure["reason"]
    reads = [name for name in broken.attempts if name.startswith("DESCRIBE_INPUT")]
    assert len(reads) == 8
    assert all(len(broken.attempts[name]) == 1 for name in reads)
    assert f"INGEST ({sample})" not in broken.attempts


def test_a_killed_task_gets_more_memory_and_its_sample_finishes(broken):
    first, second = broken.attempts["ALIGN (retried fold all seed 0)"]
    assert (first["status"], first["exit"], first["memory"]) == ("FAILED", "137", "3 GB")
    assert (second["status"], second["attempt"], second["memory"]) == ("COMPLETED", "2", "6 GB")


def test_a_task_that_is_killed_for_good_is_listed_with_what_it_had(broken):
    tried = broken.attempts["IMPUTE (killed fold all seed 0)"]
    assert [row["memory"] for row in tried] == ["2 GB", "4 GB", "8 GB"]
    failure = broken.lost["killed"]
    assert failure["step"] == "IMPUTE"
    assert failure["reason"].startswith(
        "out of memory, or killed 3 times (exit status 137), at last with 8 GB. Cure: "
    )
    log = re.search(r"Log: (.*)$", failure["reason"])
    assert log and Path(log[1]).parent.is_dir()


def test_a_calibration_that_is_killed_for_good_leaves_the_imputed_file(broken):
    tried = broken.attempts["CALIBRATE (one)"]
    assert [row["exit"] for row in tried] == ["137"] * 3 + ["0"]
    assert [row["memory"] for row in tried] == ["2 GB", "4 GB", "8 GB", "2 GB"]
    said = "sample one failed in CALIBRATE: gave up after 3 attempts (exit status of the last: 137)"
    assert said in broken.output
    path = broken.results / "samples" / "one" / "one.imputed.h5ad"
    assert "reliability" not in anndata.read_h5ad(path, backed="r").var
    assert not list((broken.results / "evaluation" / "one").glob("*.calibration.json"))


def test_a_bug_is_not_tried_again(broken):
    assert len(broken.attempts["SPLIT_GENES (crashed)"]) == 1
    assert broken.lost["crashed"]["step"] == "SPLIT_GENES"
    assert "crashed (exit status 1): a bug" in broken.lost["crashed"]["reason"]


def test_text_and_names_reach_no_shell(broken):
    made = {"title", "tick", "key", "semicolon"}
    assert not [path for path in broken.folder.rglob("*") if path.name in made]
    report = (broken.results / "multiqc" / "multiqc_report.html").read_text()
    shown = HOSTILE.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    quoted = shown.replace("'", "&#39;").replace('"', "&#34;")
    assert any(text in report for text in (HOSTILE, shown, quoted))
    saved = broken.results / "references"
    (stored,) = saved.rglob("*.vae/latent.h5ad")
    facts = anndata.read_h5ad(stored, backed="r").uns["stlatent"]
    assert facts["batch_key"] == KEY


@pytest.mark.parametrize("name", ["dollar$HOME.h5ad", "brace{a,b}.h5ad", "new\nline.h5ad"])
def test_a_name_that_nextflow_cannot_quote_is_turned_down(name, run_pipeline, tmp_path):
    (tmp_path / name).touch()
    sheet = pd.DataFrame({"sample": ["s"], "spatial": [name], "reference": ["r.h5ad"]})
    sheet.to_csv(tmp_path / "sheet.csv", index=False)
    run = run_pipeline("--input", tmp_path / "sheet.csv", "-stub-run", folder=tmp_path)
    assert run.returncode != 0
    assert "which Nextflow cannot hand to a task. Cure: rename the file" in run.stdout, run.stdout


def start_and_kill(arguments: list[str], folder: Path, at: str) -> subprocess.Popen[str]:
    """Start the pipeline and kill its head with SIGKILL a few seconds after a line of its log."""
    log = (folder / "first.log").open("w")
    head = subprocess.Popen(
        [ROOT / ".nextflow-runtime" / "nextflow", "run", ROOT, *arguments],
        cwd=folder,
        env=os.environ
        | {"NXF_ANSI_LOG": "false", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    for _ in range(3000):
        if at in (folder / "first.log").read_text() or head.poll() is not None:
            break
        time.sleep(0.2)
    # The cache is written behind the run; TRAIN_VAE alone imports for longer than this.
    time.sleep(3)
    head.kill()
    head.wait()
    return head


def same(one: Path, other: Path) -> None:
    """Compare all that was computed, but not how long it took."""
    for path in sorted(one.rglob("*.h5ad")):
        first, second = anndata.read_h5ad(path), anndata.read_h5ad(other / path.relative_to(one))
        for values, others in (
            (slots.layers(first), slots.layers(second)),
            (first.obsm, second.obsm),
        ):
            assert set(values) == set(others)
            for name, value in values.items():
                np.testing.assert_array_equal(np.asarray(value), others[name])
        pd.testing.assert_frame_equal(first.obs, second.obs)
        pd.testing.assert_frame_equal(first.var, second.var)
        if first.X is not None:
            assert abs(first.X - second.X).max() == 0
    scores = [pd.read_csv(folder / "evaluation" / "scores.csv") for folder in (one, other)]
    assert len(scores[0])
    pd.testing.assert_frame_equal(*[table.drop(columns="seconds") for table in scores])


@pytest.mark.slow
def test_a_killed_head_resumes_to_the_same_results(run_pipeline, compiled, tmp_path):
    study = simulate(SIZES, seed=1)
    study.reference.write_h5ad(tmp_path / "reference.h5ad")
    study.samples["sample_a"].measured.write_h5ad(tmp_path / "s.h5ad")
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("sample,spatial,reference\ns,s.h5ad,reference.h5ad\n")
    arguments = ["--input", str(sheet), *options(PARAMETERS), *compiled]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir()
    whole.mkdir()
    head = start_and_kill(arguments, killed, "Submitted process > STLATENT:REFERENCE:TRAIN_VAE")
    try:
        before = {task["name"]: task for task in tasks(killed)}
        assert head.returncode == -signal.SIGKILL
        assert {task["status"] for task in before.values()} == {"COMPLETED"}
        assert not (killed / "results" / "samples" / "s" / "s.imputed.h5ad").exists()

        again = run_pipeline(*arguments, "-resume", folder=killed)
        assert again.returncode == 0, again.stdout
    finally:
        # What the head had started lives on without it.
        kill_group(head.pid)
    after = {task["name"]: task["status"] for task in tasks(killed)}
    uncached = ("CHECK_DEVICE",)
    expected = {name for name in before if not any(process in name for process in uncached)}
    assert {name for name, status in after.items() if status == "CACHED"} == expected
    assert Counter(after.values())["COMPLETED"] >= 8

    unbroken = run_pipeline(*arguments, folder=whole)
    assert unbroken.returncode == 0, unbroken.stdout
    same(whole / "results", killed / "results")


def kill_group(leader: int) -> None:
    """Kill what is left of the process group of a head that is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
