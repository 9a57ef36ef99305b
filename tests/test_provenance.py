"""Checksums of inputs, and what the report and the record say of inputs and images."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from click.testing import CliRunner

from describe_input import main as describe_input
from report_inputs import SHA, write_run
from stlatent.checksums import checksums
from stlatent.report import about, provenance, write_report
from stlatent.report.inputs import Run, load


def given(folder: Path) -> Run:
    write_run(folder, samples=2)
    paths = [folder / name for name in ("input.json", "params.json", "tasks.tsv")]
    return load(sorted(folder.glob("*.checksums.json")), *paths)


def test_files_are_summed_and_folders_file_by_file(tmp_path: Path) -> None:
    inside = tmp_path / "data" / "spatial"
    inside.mkdir(parents=True)
    (inside / "positions.csv").write_bytes(b"x" * 3_000_000)
    (tmp_path / "data" / "matrix.mtx").write_bytes(b"")
    expected = hashlib.sha256(b"x" * 3_000_000).hexdigest()
    first, second = checksums(tmp_path / "data")
    assert (first["name"], first["bytes"]) == ("matrix.mtx", 0)
    assert second == {"name": "spatial/positions.csv", "bytes": 3_000_000, "sha256": expected}
    (tmp_path / "link.csv").symlink_to(inside / "positions.csv")
    assert checksums(tmp_path / "link.csv") == [{**second, "name": "link.csv"}]


def test_a_file_that_cannot_be_read_has_no_checksum(tmp_path: Path) -> None:
    (tmp_path / "gone.h5ad").symlink_to(tmp_path / "nowhere")
    gone = {"name": "gone.h5ad", "bytes": None, "sha256": None}
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
    told = provenance.record(given(tmp_path))
    reference, spatial = told["inputs"]
    assert (reference["path"], reference["used_by"]) == ("/data/atlas.h5ad", ["atlas_a"])
    assert spatial["used_by"] == ["embryo_1"]
    assert [file["sha256"] for file in spatial["files"]] == [SHA, SHA]
    assert told["samples"] == ["embryo_1", "embryo_2", "liver_bad"]
    assert told["references"] == ["atlas_a", "atlas_b"]
    assert told["failed"] and told["resources"]["tasks"] == 4
    assert told["resources"]["processes"][2]["peak_memory_gb"] is None
    json.dumps(told, allow_nan=False)


def test_the_report_shows_inputs_and_images(tmp_path: Path) -> None:
    run = given(tmp_path)
    shown = {fragment.id: fragment.data for fragment in about.sections(run)}
    files = shown["about_inputs"]
    assert files.count(SHA) == 3 and "3.3 MB" in files
    assert "embryo 1/matrix.mtx" in files and ">atlas.h5ad<" in files
    assert f"sha256:{SHA}" in shown["about_images"]
    assert "not known" in shown["about_images"] and "named by tag" in shown["about_images"]
    assert "not a checkout" in shown["about_run"]
    # The fingerprint of the code in full.
    assert re.search(r"<code>3f9a1c0d2b7e</code>", shown["about_run"])

    run.facts["container_engine"], run.images = None, []
    shown = {fragment.id: fragment.data for fragment in about.sections(run)}
    assert "without containers" in shown["about_images"]
    assert not provenance.sections(Run())


def test_many_files_are_cut_in_the_report_alone(tmp_path: Path) -> None:
    run = given(tmp_path)
    file = {"name": "chunk", "bytes": 10, "sha256": None}
    run.checksums["spatial_2"]["data"] = [file] * 300
    (shown,) = provenance.input_files(run)
    assert "101 more are in" in shown.data and "not read" in shown.data
    write_report(run, tmp_path / "out")
    told = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert len(told["inputs"][1]["files"]) == 300
