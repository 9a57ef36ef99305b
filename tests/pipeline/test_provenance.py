"""Checksums of inputs, and what the report and the record say of inputs and images."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from builders.crate import action, read_crate
from builders.project import DEMO, ROOT
from builders.report_inputs import SHA, write_run
from stlatent.records.inputs import InputFile
from stlatent.records.run import Provenance
from stlatent.report import write_report
from stlatent.report.chapters import about
from stlatent.report.run import provenance
from stlatent.report.run.model import Run
from stlatent.report.run.read import load


def given(folder: Path) -> Run:
    write_run(folder, samples=2)
    paths = [folder / name for name in ("input.json", "settings.json", "tasks.tsv")]
    files = [*folder.glob("*.checksums.json"), *folder.glob("*.vae_history.json")]
    return load(files, *paths)


def test_the_record_tells_which_file_became_what(tmp_path: Path) -> None:
    found = provenance.record(given(tmp_path))
    reference, spatial = found.inputs
    assert (reference.path, reference.used_by) == ("/data/atlas.h5ad", ["atlas_a"])
    assert spatial.used_by == ["embryo_1"]
    assert [file.sha256 for file in spatial.files] == [SHA, SHA]
    assert found.samples == ["embryo_1", "embryo_2", "liver_bad"]
    # No VAE of the other one: what may lie in its folder is not of this run.
    assert found.references == ["atlas_a"]
    assert found.failed and found.resources is not None and found.resources.tasks == 4
    assert found.resources.processes[2].peak_memory_gb is None
    found.write(tmp_path / "provenance.json")


def test_the_report_shows_inputs_and_images(tmp_path: Path) -> None:
    run = given(tmp_path)
    shown = {block.id: block.body for block in about.overview(run)}
    files = shown["about_inputs"]
    assert files.count(SHA) == 3 and "3.3 MB" in files
    assert "embryo 1/matrix.mtx" in files and ">atlas.h5ad<" in files
    assert f"sha256:{SHA}" in shown["about_images"]
    assert "not known" in shown["about_images"] and "named by tag" in shown["about_images"]
    assert "not a checkout" in shown["about_run"]
    # The fingerprint of the code in full.
    assert re.search(r"<code>3f9a1c0d2b7e</code>", shown["about_run"])

    run.facts["container_engine"], run.images = None, []
    shown = {block.id: block.body for block in about.overview(run)}
    assert "without containers" in shown["about_images"]
    assert [block.id for block in about.overview(Run())] == ["about_method"]


def test_many_files_are_cut_in_the_report_alone(tmp_path: Path) -> None:
    run = given(tmp_path)
    chunks = [InputFile("chunk", 10, None)] * 300
    run.checksums["spatial_2"] = replace(run.checksums["spatial_2"], data=chunks)
    (shown,) = about.input_files(run)
    assert "101 more are in" in shown.body and "not read" in shown.body
    write_report(run, tmp_path / "out", tmp_path / "out")
    written = Provenance.read(tmp_path / "out" / "provenance.json")
    assert len(written.inputs[1].files) == 300


# As COLLATE tells it: b failed, and the last input is damaged beyond description.
TOLD = f"""
include {{ sheetEntities ; writeCrate }} from '{ROOT}/functions/crate'
include {{ containerEngine }} from '{ROOT}/functions/engine'
include {{ imageRecords }} from '{ROOT}/functions/images'
include {{ costTable ; readTrace }} from '{ROOT}/functions/trace'
workflow {{
    def options = [outdir: 'results', n_folds: 5, mad_outliers: 2.5d, use_gpu: true, trace_report_suffix: 'x']
    def sheets = sheetEntities(file('my sheet.csv'), null)
    file('my sheet.csv').delete()
    def lines = readTrace(file('trace.txt'), [file("${{workflow.workDir}}/ab/cdef0123456789/a.qc.json")])
    def images = imageRecords(costTable(lines, containerEngine()))
    def input = [kind: 'spatial', path: 's3://bucket/embryo 1', used_by: ['a'], coordinates_files: []]
    def inputs = [
        input + [files: [[name: 'matrix 1.mtx', bytes: 1, sha256: 'aa'], [name: 'big.bam', bytes: 2, sha256: null]]],
        input + [path: 'https://host/a%20b.h5ad', files: [[name: 'a%20b.h5ad', bytes: 1, sha256: 'aa']]],
        input + [path: 's3://bucket/broken', files: [null]],
    ]
    def process = [process: 'ALIGN', tasks: 2, cpu_hours: 0.5d, gpu_hours: 0, peak_memory_gb: 1.5d]
    def told = [
        inputs: inputs, images: images, samples: ['a', 'b'], references: ['r'],
        failed: [[id: 'b', step: 'ALIGN', reason: 'no']],
        resources: [cpu_hours: 1.5d, tasks: 2, processes: [process]],
    ]
    writeCrate(options, [code_fingerprint: 'f', container_engine: containerEngine()], sheets, told, '')
}}
"""
IMAGES = ("registry.example:5000/stlatent:cpu", f"lab/stlatent@sha256:{SHA}", "stlatent:0.1.0-cpu")


@pytest.mark.parametrize(("profile", "parser"), [("awsbatch", "v1"), ("standard", "v2")])
def test_the_record_of_a_cloud_and_of_hard_names(nextflow, tmp_path, profile, parser) -> None:
    (tmp_path / "main.nf").write_text(TOLD)
    (tmp_path / "subworkflows").mkdir()
    (tmp_path / "nextflow.config").write_text("profiles { awsbatch { } }")
    (tmp_path / "my sheet.csv").write_text("sample\n")
    table = ["task_id\thash\tprocess\tname\tstatus\tcontainer"]
    table += [f"{x}\tab/cdef0{x + 1}\tALIGN\tALIGN\tCOMPLETED\t{y}" for x, y in enumerate(IMAGES)]
    (tmp_path / "trace.txt").write_text("\n".join(table).replace("cdef02", "cdef01") + "\n")
    for name in ("samples/a", "samples/b", "samples/old", "evaluation/maps", "references/r"):
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "b.png").write_text("")
    run = nextflow("run", "main.nf", "-profile", profile, folder=tmp_path, parser=parser)
    assert run.returncode == 0, run.stdout
    told = read_crate(tmp_path / "results")
    assert [link["@id"] for link in action(told)["result"]] == [
        "samples/a/b.png", "references/r/b.png",
    ]  # fmt: skip

    # What was there at the start, and what can be told of the inputs.
    sheet = told[f"file://{tmp_path}/my%20sheet.csv"]
    assert sheet["sha256"] == hashlib.sha256(b"sample\n").hexdigest()
    assert "s3://bucket/broken is not in ro-crate-metadata.json" in run.stdout
    assert told["s3://bucket/embryo%201/matrix%201.mtx"]["sha256"] == "aa"
    assert "sha256" not in told["s3://bucket/embryo%201/big.bam"]
    assert "https://host/a%20b.h5ad" in told

    types = {
        name: told[f"#formal-{name}"]["additionalType"]
        for name in ("outdir", "n_folds", "mad_outliers", "use_gpu")
    }
    assert types == {
        "outdir": "Text",
        "n_folds": "Integer",
        "mad_outliers": "Float",
        "use_gpu": "Boolean",
    }
    units = {
        name: told[f"#usage-{name}"]["unitCode"].rpartition("/")[2]
        for name in ("cpu_hours", "ALIGN-peak_memory_gb", "tasks")
    }
    assert list(units.values()) == ["HR", "GibiBYTE", "NUM"]

    images = [entity for entity in told.values() if entity["@type"] == "ContainerImage"]
    if profile == "standard":
        assert not images
        return
    assert {image["additionalType"]["@id"].rpartition("#")[2] for image in images} == {
        "DockerImage"
    }
    found = {
        (image.get("registry"), image["name"], image.get("tag"), image.get("sha256"))
        for image in images
    }
    assert found == {
        ("registry.example:5000", "stlatent", "cpu", None),
        ("docker.io", "lab/stlatent", None, SHA),
        (None, "stlatent", "0.1.0-cpu", None),
    }


@pytest.mark.slow
def test_gpus_of_a_process_that_died_and_its_attempts_are_counted_once(
    run_pipeline, tmp_path
) -> None:
    config, sheet = tmp_path / "killed.config", tmp_path / "sheet.csv"
    config.write_text(
        "profiles { awsbatch { env.PROBE = 1 } }\n"
        "process.beforeScript = { task.process.endsWith('TRAIN_VAE') ? 'exit 137' : '' }\n"
        # In the wrapper script of COLLATE, which as a stub leaves nothing to read.
        "process.afterScript = { task.process.endsWith('COLLATE') ? \"# told: ${settings}\" : '' }\n"
    )
    sheet.write_text(f"sample,spatial,reference\na,{DEMO}/sample_a.h5ad,{DEMO}/reference.h5ad\n")
    arguments = (
        "-profile awsbatch --region r --queue cpu --gpu_queue gpu --container_image r.io/a:cpu "
    )
    arguments += "--gpu_container_image r.io/a:gpu -process.executor local -stub-run"
    run = run_pipeline(*arguments.split(), "-c", config, "--input", sheet, folder=tmp_path)
    assert run.returncode == 0, run.stdout
    told = read_crate(tmp_path / "results")
    assert told["#container_engine"]["value"] == "docker"
    assert told["#usage-this_run_tasks_failed"]["value"] == 3
    wrappers = [path.read_text() for path in (tmp_path / "work").glob("*/*/.command.run")]
    lines = [line for text in wrappers for line in text.splitlines() if "# told: " in line]
    settings = json.loads(lines[0].split("# told: ")[1])
    assert settings["accelerators"] == {"TRAIN_VAE": 1}
    images = {image["name"]: image["processes"] for image in settings["images"]}
    assert images["r.io/a:gpu"] == ["TRAIN_VAE"] and "SPLIT_GENES" in images["r.io/a:cpu"]
