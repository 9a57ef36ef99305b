"""Studies: several arms in one run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from builders.crate import read_crate
from builders.project import QUICK, copy_project, process, repeated, tasks

ARMS = "arm,imputer,alignment,n_hvg\ndefault,,,\nknn,knn,,\nunaligned,,none,\nfewer,,,80\n"


def write(folder: Path, text: str) -> Path:
    sheet = folder / "study.csv"
    sheet.write_text(text)
    return sheet


def count(folder: Path) -> Counter[str]:
    return Counter(process(task) for task in tasks(folder))


def results(folder: Path, kind: str) -> set[str]:
    place = folder / "results" / kind
    return {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}


def test_arms_share_what_they_ask_alike_and_keep_results_apart(run_pipeline, tmp_path):
    sheet = write(tmp_path, ARMS + "twin,,,2000\n")
    arguments = ("-profile", "test", "-stub-run", "--study", sheet, "--baselines", "null,knn")
    run = run_pipeline(*arguments, folder=tmp_path)
    assert run.returncode == 0, run.stdout
    done = count(tmp_path)
    # Two samples, two folds in a stub and the full fit; the default's twin is no task of its own.
    assert done["INGEST"] == 3 and done["QUALITY_CONTROL"] == 2
    assert done["SELECT_GENES"] == done["TRAIN_VAE"] == 2
    assert done["SPLIT_GENES"] == 4 and done["COMPARE"] == 8
    assert done["ALIGN"] == 3 * 6 and done["EVALUATE"] == 3 * 2
    assert done["IMPUTE"] == 4 * 6 and done["SCORE"] == done["CALIBRATE"] == 4 * 2
    names = {task["name"].split(":")[-1] for task in tasks(tmp_path)}
    assert "ALIGN (sample_a fold 1 seed 0 arm default,knn,twin)" in names
    assert "IMPUTE (sample_a fold 1 seed 0 arm knn)" in names
    assert {path for path in results(tmp_path, "samples") if path.startswith("sample_a")} == {
        "sample_a/sample_a.qc.json",
        *(f"sample_a/{arm}/sample_a.imputed.h5ad" for arm in ("default", "knn", "unaligned", "fewer")),
        *(
            f"sample_a/{arm}/sample_a.imputation.json"
            for arm in ("default", "knn", "unaligned", "fewer")
        ),
        *(f"sample_a/{arm}/sample_a.aligned.h5ad" for arm in ("default", "unaligned", "fewer")),
        *(
            f"sample_a/{arm}/sample_a.alignment_history.json"
            for arm in ("default", "unaligned", "fewer")
        ),
        *(
            f"sample_a/{arm}/sample_a.folds/fold_{fold}.json"
            for arm in ("default", "fewer")
            for fold in ("all", 1, 2)
        ),
    }  # fmt: skip
    assert "sample_b/knn/sample_b.scores.csv" in results(tmp_path, "evaluation")
    assert "reference/fewer/reference.vae/vae.pt" in results(tmp_path, "references")

    renamed = ARMS.replace("knn,knn", "nearest,knn").replace("default,", "first,")
    write(tmp_path, f"{renamed}more,,mmd,\n")
    again = run_pipeline(*arguments, "-resume", folder=tmp_path)
    assert again.returncode == 0, again.stdout
    new = Counter(process(task) for task in repeated(tmp_path))
    # A name is written by the last steps alone.
    assert new == {
        "ALIGN": 6, "EVALUATE": 2, "IMPUTE": 6, "SCORE": 2 * 3, "CALIBRATE": 2 * 3, "COLLATE": 1,
        "MULTIQC": 1,
    }  # fmt: skip


def test_what_is_wrong_with_a_study_is_told_at_once(run_pipeline, tmp_path):
    sheet = write(
        tmp_path,
        "arm,n_hvgs,outdir,imputer,n_hvg\n"
        "one,,,nearest,\n"
        "One,,,knn,many\n"
        "baseline,,,knn,5\n"
        "short,\n",
    )
    run = run_pipeline("-profile", "test", "--study", sheet, folder=tmp_path)
    assert run.returncode != 0
    for message in (
        " problems in study.csv:\n",
        "line 1, column n_hvgs: there is no such parameter. Cure: the nearest is n_hvg",
        "line 1, column outdir: is the same for all arms. Cure: set it on the command line",
        "line 2, column imputer: 'nearest' is not one of stack, transfer",
        "line 3, column n_hvg: 'many' is not an integer",
        "line 3, column arm, value 'One': is already the name of an arm",
        "line 4, column arm, value 'baseline': is not a valid name of an arm",
        "line 5: 2 values under 5 columns",
    ):
        assert message in run.stdout, run.stdout
    assert not (tmp_path / "work").exists() or not tasks(tmp_path)
    missing = run_pipeline("-profile", "test", "--study", "none.csv", folder=tmp_path)
    assert "--study: file not found: none.csv" in missing.stdout


@pytest.mark.slow
def test_a_study_of_the_demo(run_pipeline, tmp_path):
    project = copy_project(tmp_path / "project")
    sheet = write(tmp_path, ARMS)
    arguments = ("-profile", "test", *QUICK, "--study", sheet)
    first = run_pipeline(*arguments, folder=tmp_path, project=project)
    assert first.returncode == 0, first.stdout
    done = count(tmp_path)
    assert done["INGEST"] == 3 and done["TRAIN_VAE"] == 2 and done["ALIGN"] == 3 * 6
    before = scores(tmp_path)
    assert set(before["arm"]) == {"default", "knn", "unaligned", "fewer", "baseline"}

    # An arm that fails costs the others nothing, and repeats nothing of theirs.
    write(tmp_path, f"{ARMS}broken,,mmd,\n")
    module = project / "modules" / "align" / "main.nf"
    text = module.read_text()
    killed = text.replace("'process_gpu'", "'process_gpu'\n    beforeScript 'exit 3'")
    assert killed != text
    module.write_text(killed)
    again = run_pipeline(*arguments, "-resume", folder=tmp_path, project=project)
    assert again.returncode == 0, again.stdout
    new = Counter(process(task) for task in repeated(tmp_path))
    # SCORE has the predictions of the baselines.
    assert set(new) == {"ALIGN", "SCORE", "COLLATE", "MULTIQC"} and new["ALIGN"] == 6
    after = scores(tmp_path)
    kept = after[after["scored_for"].isin(set(before["scored_for"]))].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, before)
    headline = json.loads((tmp_path / "results" / "evaluation" / "headline.json").read_text())
    assert headline["failed"] == [] and headline["finished"] == 2
    report = (tmp_path / "results" / "multiqc" / "multiqc_report.html").read_text()
    assert "crashed (exit status 3)" in report
    names = {entity.get("name") for entity in read_crate(tmp_path / "results").values()}
    assert "study.csv" in names


def scores(folder: Path) -> pd.DataFrame:
    table = folder / "results" / "evaluation" / "scores.csv"
    return pd.read_csv(table, keep_default_na=False, dtype=str)


@pytest.mark.slow
def test_what_an_edit_of_the_code_repeats(run_pipeline, tmp_path):
    project = copy_project(tmp_path / "project")
    arguments = ("-profile", "test", "-stub-run", "-resume")
    first = run_pipeline(*arguments, folder=tmp_path, project=project)
    assert first.returncode == 0, first.stdout
    package = project / "bin" / "stlatent"
    report = {"COLLATE", "MULTIQC"}
    later = {"EVALUATE", "IMPUTE", "SCORE", "CALIBRATE"} | report
    for name, new, follows in (
        ("report/chapters/trust.py", {"COLLATE"}, report),
        ("alignment/trainer.py", {"ALIGN"}, later),
        ("vae/models/pca.py", {"TRAIN_VAE"}, later | {"ALIGN"}),
    ):
        with (package / name).open("a") as module:
            module.write("# changed\n")
        run = run_pipeline(*arguments, folder=tmp_path, project=project)
        assert run.returncode == 0, run.stdout
        found = {process(task) for task in repeated(tmp_path)}
        assert new <= found <= new | follows, (name, found)
