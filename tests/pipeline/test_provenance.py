"""Checksums of inputs, and what the report and the record say of inputs and images."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from builders.crate import action, read_crate
from builders.project import DEMO, ROOT
from builders.report_inputs import SHA, write_run
from describe_input import main as describe_input
from stlatent.inputs.checksums import checksums
from stlatent.records import InputFile, Provenance
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


def test_files_are_summed_and_folders_file_by_file(tmp_path: Path) -> None:
    inside = tmp_path / "data" / "spatial"
    inside.mkdir(parents=True)
    (inside / "tissue_positions.csv").write_bytes(b"x" * 3_000_000)
    (tmp_path / "data" / "matrix.mtx").write_bytes(b"")
    expected = hashlib.sha256(b"x" * 3_000_000).hexdigest()
    first, second = checksums(tmp_path / "data")
    assert (first.name, first.bytes) == ("matrix.mtx", 0)
    assert second == InputFile("spatial/tissue_positions.csv", 3_000_000, expected)
    (tmp_path / "link.csv").symlink_to(inside / "tissue_positions.csv")
    assert checksums(tmp_path / "link.csv") == [replace(second, name="link.csv")]


def test_of_a_folder_only_what_is_opened_is_summed(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    for folder in (data / "raw", elsewhere):
        folder.mkdir(parents=True)
    for name in ("GSM1_matrix.mtx.gz", "features.tsv", "coordinates.csv", "possorted.bam"):
        (data / name).write_text("x")
    for name in ("barcodes.tsv", "matrix.mtx"):
        (data / "raw" / name).write_text("xyz")
    (elsewhere / "tissue_positions.csv").write_text("x")
    (elsewhere / "image.tif").write_text("xy")
    (data / "spatial").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(data)
    found = {file.name: (file.bytes, file.sha256 is not None) for file in checksums(data)}
    assert found == {
        "GSM1_matrix.mtx.gz": (1, True),
        "coordinates.csv": (1, True),
        "features.tsv": (1, True),
        "possorted.bam": (1, False),
        "raw/barcodes.tsv": (3, False),
        "raw/matrix.mtx": (3, False),
        "spatial/image.tif": (2, False),
        "spatial/tissue_positions.csv": (1, True),
    }


def test_a_file_that_cannot_be_read_has_no_checksum(tmp_path: Path) -> None:
    (tmp_path / "gone.h5ad").symlink_to(tmp_path / "nowhere")
    gone = InputFile("gone.h5ad", None, None)
    assert checksums(tmp_path / "gone.h5ad") == [gone]


def test_describing_an_input_sums_it_but_nothing_of_unknown_format(tmp_path: Path) -> None:
    for name in ("broken.h5ad", "notes.docx"):
        (tmp_path / name).write_text("x")
        output, sums = tmp_path / "description.json", tmp_path / "sums.json"
        asked = ["--id", "spatial_2", "--kind", "spatial", "--input", str(tmp_path / name),
                 "--output", str(output), "--checksums", str(sums)]  # fmt: skip
        done = CliRunner().invoke(describe_input, asked)
        assert done.exit_code == 0, done.output
        listed = [file["name"] for file in json.loads(sums.read_text())["data"]]
        assert listed == (["broken.h5ad"] if name == "broken.h5ad" else [])


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
include {{ sheetEntity ; writeCrate }} from '{ROOT}/functions/crate'
include {{ containerEngine }} from '{ROOT}/functions/engine'
include {{ imageRecords }} from '{ROOT}/functions/images'
include {{ costTable ; readTrace }} from '{ROOT}/functions/trace'
workflow {{
    def options = [outdir: 'results', n_folds: 5, mad_outliers: 2.5d, use_gpu: true, trace_report_suffix: 'x']
    def sheet = sheetEntity(file('my sheet.csv'))
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
    writeCrate(options, [code_fingerprint: 'f', container_engine: containerEngine()], sheet, told, '')
}}
"""
IMAGES = ("registry.example:5000/stlatent:cpu", f"lab/stlatent@sha256:{SHA}", "stlatent:0.1.0-cpu")


@pytest.mark.parametrize(("profile", "parser"), [("awsbatch", "v1"), ("standard", "v2")])
def test_the_record_of_a_cloud_and_of_hard_names(nextflow, tmp_path, profile, parser) -> None:
    (tmp_path / "main.nf").write_text(TOLD)
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
