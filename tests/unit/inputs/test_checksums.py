"""Checksums of inputs: a file, or the files of a folder that its reader opens."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner

from describe_input import main as describe_input
from stlatent.inputs.checksums import checksums
from stlatent.records.inputs import InputFile


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
        options = ["--id", "spatial_2", "--kind", "spatial", "--input", str(tmp_path / name),
                 "--output", str(output), "--checksums", str(sums)]  # fmt: skip
        done = CliRunner().invoke(describe_input, options)
        assert done.exit_code == 0, done.output
        listed = [file["name"] for file in json.loads(sums.read_text())["data"]]
        assert listed == (["broken.h5ad"] if name == "broken.h5ad" else [])
