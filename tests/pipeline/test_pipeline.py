"""The pipeline as a user starts it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from builders.crate import action, read_crate
from builders.project import (
    ALWAYS,
    DEMO,
    PROCESSES,
    QUICK,
    ROOT,
    SCRIPTS,
    copy_project,
    edit,
    process,
    repeated,
    tasks,
)


def files(folder: Path) -> set[str]:
    results = folder / "results"
    found = {path.relative_to(results) for path in results.rglob("*") if path.is_file()}
    return {str(path) for path in found if path.parts[0] != "pipeline_info"}


def check_encoding(name: str, encoding: str) -> None:
    assert encoding != "nullable-string-array", name


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Copy the pipeline into a folder whose name needs quotes."""
    return copy_project(tmp_path / "a user's project")


def test_a_stub_run_and_what_each_change_repeats(run_pipeline, project, tmp_path):
    demo = project / "assets" / "demo"
    sheet = demo / "sample_a.csv"
    sheet.write_text("".join((demo / "samplesheet.csv").read_text().splitlines(True)[:2]))
    arguments = ("-profile", "test", "-stub-run", "--input", sheet)
    first = run_pipeline(*arguments, folder=tmp_path, project=project)
    assert first.returncode == 0, first.stdout
    assert {process(task) for task in tasks(tmp_path)} == PROCESSES
    assert "Report: " in first.stdout
    versions, *_ = (tmp_path / "work").rglob("stlatent_mqc_versions.yml")
    assert {"python", "multiqc", "torch"} <= set(
        re.findall(r"^  ([\w-]+):", versions.read_text(), re.M)
    )

    # What counts is the content of the package, not when it was written.
    (project / "bin" / "stlatent" / "slots.py").touch()
    again = run_pipeline(*arguments, "-resume", folder=tmp_path, project=project)
    assert again.returncode == 0, again.stdout
    # All of them: where Nextflow's cache cannot be written, it says so nowhere and repeats everything.
    cached = {process(task) for task in tasks(tmp_path) if task["status"] == "CACHED"}
    assert cached == PROCESSES - ALWAYS and not repeated(tmp_path)

    other = run_pipeline(
        *arguments, "-resume", "--imputer", "knn", folder=tmp_path, project=project
    )
    assert other.returncode == 0, other.stdout
    new = {process(task) for task in repeated(tmp_path)}
    assert new == {"IMPUTE", "SCORE", "CALIBRATE", "COLLATE", "MULTIQC"}

    before = tasks(tmp_path)
    n_scored = "    [[ ${imputed.size()} == 6 ]]\n    touch "
    edit(project, "score", '    stub:\n    """\n    touch ', f'    stub:\n    """\n{n_scored}')
    seeds = (*arguments, "-resume", "--n_seeds", "2", "--seed", "0")
    more = run_pipeline(*seeds, folder=tmp_path, project=project)
    assert more.returncode == 0, more.stdout
    new = repeated(tmp_path)
    names = {task["name"].split(":")[-1] for task in new}
    assert {name for name in names if name.startswith(("ALIGN", "IMPUTE"))} == {
        f"{step} (sample_a fold {fold} seed 1)" for step in ("ALIGN", "IMPUTE") for fold in (1, 2)
    }
    assert {process(task) for task in new} == {"ALIGN", "IMPUTE", "SCORE", "COLLATE", "MULTIQC"}
    assert len(tasks(tmp_path)) == len(before) + 4

    with (project / "bin" / "stlatent" / "slots.py").open("a") as module:
        module.write("# changed\n")
    changed = run_pipeline(*arguments, "-resume", folder=tmp_path, project=project)
    assert changed.returncode == 0, changed.stdout
    cached = {process(task) for task in tasks(tmp_path) if task["status"] == "CACHED"}
    assert cached <= {"MULTIQC"}


def test_stub_run_of_a_sheet_with_the_strict_parser(run_pipeline, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("tissue.csv", "tissue_coordinates.csv", "other.csv", "reference.h5ad"):
        (data / name).write_text("x\n")
    (data / "sheet.csv").write_text(
        "sample,spatial,reference,coordinates\n"
        "named,tissue.csv,reference.h5ad,other.csv\n"
        "found,./tissue.csv,../data/reference.h5ad,\n"
        f"same,{data}/tissue.csv,./reference.h5ad,tissue_coordinates.csv\n"
    )
    arguments = ("--input", data / "sheet.csv", "-stub-run", "-ansi-log", "false")
    run = run_pipeline(*arguments, folder=tmp_path, parser="v2")
    assert run.returncode == 0, run.stdout
    done = tasks(tmp_path)
    assert {process(task) for task in done} == PROCESSES
    (trained,) = [task["name"] for task in done if process(task) == "TRAIN_VAE"]
    assert trained.endswith("(reference)")
    (checked,) = (tmp_path / "work").glob("*/*/checked/input.json")
    samples = json.loads(checked.read_text())["samples"]
    assert [(sample["sample"], sample["spatial_source"]) for sample in samples] == [
        ("named", "spatial_2"), ("found", "spatial_3"), ("same", "spatial_3"),
    ]  # fmt: skip


@pytest.mark.slow
def test_what_fails_alone_costs_nothing_else(run_pipeline, project, tmp_path):
    stub, at = '    stub:\n    """\n', "${meta.id}${meta.fold}"
    edit(project, "align", stub, f"{stub}    [[ {at} != sample_a1 ]]\n")
    edit(project, "compare", stub, f"{stub}    [[ {at}${{meta.name}} != sample_a1tangram ]]\n")
    killed = "    [[ ${meta.id} != sample_b || ${task.attempt} -gt 3 ]] || exit 137\n"
    edit(project, "calibrate", stub, f"{stub}{killed}")
    edit(
        project,
        "score",
        f"{stub}    touch ",
        f"{stub}    [[ '${{imputed.size()}}' == ${{meta.id == 'sample_a' ? 6 : 8}} ]]\n    touch ",
    )
    arguments = ("-profile", "test", "-stub-run", "--baselines", "null,tangram,knn,gimvi")
    run = run_pipeline(*arguments, folder=tmp_path, project=project)
    assert run.returncode == 0, run.stdout
    status = {task["name"].split(":")[-1]: task["status"] for task in tasks(tmp_path)}
    assert {name for name, found in status.items() if found == "FAILED"} == {
        "ALIGN (sample_a fold 1 seed 0)", "COMPARE (sample_a method tangram fold 1)",
    }  # fmt: skip

    # A published method is a task a fold, the plain ones are one together.
    assert {name for name in status if name.startswith("COMPARE")} == {
        f"COMPARE ({sample} method {methods} fold {fold})"
        for sample in ("sample_a", "sample_b")
        for methods in ("null,knn", "tangram", "gimvi")
        for fold in (1, 2)
    }
    assert status["SCORE (sample_a)"] == status["SCORE (sample_b)"] == "COMPLETED"
    assert status["CALIBRATE (sample_a)"] == status["MULTIQC (1)"] == "COMPLETED"

    # After three attempts to calibrate one is left for the imputed file.
    calibrated = [task for task in tasks(tmp_path) if task["name"].endswith("CALIBRATE (sample_b)")]
    assert [task["status"] for task in calibrated] == ["FAILED"] * 3 + ["COMPLETED"]
    assert files(tmp_path) >= {f"samples/{s}/{s}.imputed.h5ad" for s in ("sample_a", "sample_b")}


@pytest.mark.slow
def test_a_single_prediction_is_scored_and_a_run_without_samples_fails(
    run_pipeline, project, tmp_path
):
    stub, at = '    stub:\n    """\n', "${meta.id}${meta.fold}"
    edit(project, "align", stub, f"{stub}    [[ {at} != sample_a[12] ]]\n")
    edit(project, "compare", stub, f"{stub}    [[ {at} != sample_a1 ]]\n")
    edit(
        project,
        "score",
        f"{stub}    touch ",
        f"{stub}    ls -L ${{folds.join(' ')}} ${{imputed.join(' ')}}\n"
        "    [[ ${meta.id} == sample_b || '${imputed.size()}' == 1 ]]\n    touch ",
    )
    edit(project, "collate", '"finished": 1', '"finished": 0')
    run = run_pipeline("-profile", "test", "-stub-run", folder=tmp_path, project=project)
    status = {task["name"].split(":")[-1]: task["status"] for task in tasks(tmp_path)}
    assert status["SCORE (sample_a)"] == status["SCORE (sample_b)"] == "COMPLETED", run.stdout
    assert run.returncode != 0
    assert "No sample finished. The reasons: " in run.stdout, run.stdout
    assert files(tmp_path) >= {"multiqc/multiqc_report.html", "evaluation/headline.json"}


def test_real_run_with_a_broken_sample(run_pipeline, tmp_path):
    data = tmp_path / "my data"
    data.mkdir()
    for name in ("reference.h5ad", "sample_a.h5ad"):
        shutil.copy(DEMO / name, data / name)
    (data / "broken.h5ad").write_bytes((DEMO / "sample_b.h5ad").read_bytes()[:20000])
    sheet = data / "sheet.csv"
    sheet.write_text(
        "sample,spatial,reference,batch_key,label_key\n"
        "good,sample_a.h5ad,reference.h5ad,batch,cell_type\n"
        "bad,broken.h5ad,reference.h5ad,batch,cell_type\n"
    )
    first = run_pipeline("--input", sheet, *QUICK, folder=tmp_path)
    assert first.returncode == 0, first.stdout
    assert re.search(r"sample bad failed in \w+: ", first.stdout), first.stdout
    assert "Failed: bad" in first.stdout
    headline = json.loads((tmp_path / "results" / "evaluation" / "headline.json").read_text())
    assert [sample["id"] for sample in headline["failed"]] == ["bad"]
    assert len(headline["headline"]) == 3
    assert all(item["name"] in first.stdout for item in headline["headline"])
    found = {path for path in files(tmp_path) if "multiqc_report_data" not in path}
    reference = "references/reference"
    assert found >= {
        "evaluation/good/good.calibration.json",
        "evaluation/good/good.evaluation.json",
        "evaluation/good/good.reliability.csv",
        "evaluation/good/good.scores.csv",
        "evaluation/headline.json",
        "evaluation/scores.csv",
        "multiqc/multiqc_report.html",
        "ro-crate-metadata.json",
        f"{reference}/reference.hvg.txt",
        f"{reference}/reference.qc.json",
        f"{reference}/reference.vae/vae.pt",
        "samples/good/good.aligned.h5ad",
        "samples/good/good.alignment_history.json",
        "samples/good/good.folds/fold_all.json",
        "samples/good/good.imputed.h5ad",
        "samples/good/good.qc.json",
    }
    assert not [path for path in found if "bad" in path]
    # Text as anndata before 0.11 and readers in other languages know it.
    for path in (tmp_path / "results").rglob("*.h5ad"):
        with h5py.File(path) as file:
            file.visititems(
                lambda name, item: check_encoding(name, item.attrs.get("encoding-type", ""))
            )
    told = read_crate(tmp_path / "results")
    assert action(told)["actionStatus"].endswith("CompletedActionStatus")
    assert {entity["name"] for entity in told.values() if entity.get("sha256")} == {
        "sheet.csv", "reference.h5ad", "sample_a.h5ad", "broken.h5ad",
    }  # fmt: skip
    assert {"@id": "samples/good/good.imputed.h5ad"} in action(told)["result"]
    assert told["#usage-cpu_hours"]["value"] > 0 and told["#usage-tasks"]["value"] > 20

    again = run_pipeline("--input", sheet, *QUICK, "-resume", folder=tmp_path)
    assert again.returncode == 0, again.stdout
    assert not repeated(tmp_path)


def test_problems_of_the_sheet_end_the_run_before_any_work(run_pipeline, tmp_path):
    sheet = tmp_path / "sheet.csv"
    reference, spatial = DEMO / "reference.h5ad", DEMO / "sample_a.h5ad"
    sheet.write_text(
        f"sample,spatial,reference\na,{spatial},{reference}\na,{tmp_path}/none.h5ad,{reference}\n"
    )
    run = run_pipeline("--input", sheet, folder=tmp_path)
    assert run.returncode != 0
    assert "2 problems in sheet.csv:\n" in run.stdout, run.stdout
    assert (
        "line 3, column sample, value 'a': is already the name of the sample in line 2"
        in run.stdout
    )
    assert "line 3, column spatial" in run.stdout
    assert "Error executing process" not in run.stdout
    assert "INGEST" not in {process(task) for task in tasks(tmp_path)}
    # It was killed by the end of the run, and says nothing of GPUs.
    assert "CHECK_DEVICE, which asks for a GPU" not in run.stdout
    assert action(read_crate(tmp_path / "results"))["error"].startswith("2 problems in sheet.csv")


def test_a_sheet_without_its_columns(run_pipeline, tmp_path):
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("sample,spatail\na,b.h5ad\n")
    run = run_pipeline("--input", sheet, folder=tmp_path)
    assert run.returncode != 0
    assert (
        "column spatail" in run.stdout and "column reference: the column is missing" in run.stdout
    )


def test_parameters_are_checked_all_at_once(run_pipeline, tmp_path):
    site = tmp_path / "site.config"
    site.write_text(
        "params { config_profile_name = 'x'; igenomes_base = 'y'; custom_config_version = 'z'"
        "\n validate_params = true; monochrome_logs = false; genome = 'hg38'; max_cpus = null }\n"
    )
    arguments = "--n_hgv 10 --n_folds many --alignment sometimes --spatial_max_mito 200"
    run = run_pipeline(*arguments.split(), "--baselines=", "-c", site, folder=tmp_path)
    assert run.returncode != 0
    for message in (
        "--n_hgv: there is no such parameter; the nearest is --n_hvg",
        "--input: is needed: Samplesheet (CSV): one spatial sample a row",
        "--baselines: is needed: Methods to compare with",
        "--max_cpus: is needed: Most CPUs",
        "--genome: there is no such parameter",
        "--n_folds: 'many' is not an integer",
        "--alignment: 'sometimes' is not one of adversarial, paper, sinkhorn, mmd, none",
        "--spatial_max_mito: 200 is above the largest allowed value, 100",
    ):
        assert message in run.stdout, run.stdout
    for name in ("config_profile", "igenomes", "custom_config", "validate_params", "monochrome"):
        assert name not in run.stdout, run.stdout


def test_help_lists_every_parameter(run_pipeline, tmp_path):
    run = run_pipeline("--help", folder=tmp_path)
    assert run.returncode == 0, run.stdout
    assert all(f"--{name} " in run.stdout for name in schema_properties())


def schema_properties() -> dict[str, dict[str, object]]:
    schema = json.loads((ROOT / "nextflow_schema.json").read_text())
    groups = schema["$defs"].values()
    return {name: rule for group in groups for name, rule in group["properties"].items()}


def test_schema_and_config_agree(nextflow, tmp_path):
    run = nextflow("config", "-o", "json", ROOT, folder=tmp_path)
    params = json.loads(run.stdout[run.stdout.index("{") :])["params"]
    schema = schema_properties()
    assert set(params) == set(schema)
    for name, rule in schema.items():
        assert rule["description"]
        if "default" in rule:
            assert params[name] == rule["default"], name


def test_the_page_of_parameters_is_that_of_the_schema():
    command = [sys.executable, ROOT / "scripts" / "parameters_table.py", "--check"]
    assert subprocess.run(command, check=False).returncode == 0


def test_every_python_process_depends_on_the_code():
    for module in (ROOT / "modules").glob("*/main.nf"):
        text = module.read_text()
        assert "\n    stub:\n" in text
        assert ("val code" in text) == (".py " in text.split("script:")[1].split("stub:")[0]), (
            module
        )


def test_lint(nextflow):
    run = nextflow("lint", *SCRIPTS, folder=ROOT)
    assert run.returncode == 0 and "had no errors" in run.stdout, run.stdout
    assert "Warn" not in run.stdout, run.stdout
