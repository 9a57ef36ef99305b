"""A format is whole once it is registered: detection, coordinates, checksums and checks know it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from builders.project import ROOT
from stlatent.inputs import check, samplesheet
from stlatent.inputs.checksums import checksums
from stlatent.readers import registry
from stlatent.readers.contents import Contents
from stlatent.readers.describe import describe
from stlatent.readers.load import read
from stlatent.readers.positions import TABLES
from stlatent.readers.registry import coordinates_candidates, detect, register
from stlatent.readers.values import scan

COLUMNS = samplesheet.Columns.read(ROOT / "assets" / "schema_input.json")
TITLE = "toy (.toy, or a folder with a toy)"
CURE = "draw a map"


def is_toy(path: Path) -> bool:
    return path.suffix == ".toy" or (path / "toy.txt").is_file()


@pytest.fixture
def toy() -> Iterator[None]:
    """Register a format, which is tried before all others."""

    @register(
        "toy",
        TITLE,
        rank=1,
        suffixes=(".toy",),
        recognises=is_toy,
        members=lambda folder: [folder / "toy.txt"],
        positions=lambda path: [f"{path}.map", f"{path}.plan"],
        coordinates_cure=CURE,
    )
    @contextmanager
    def open_toy(path: Path, _coordinates: object) -> Iterator[Contents]:
        matrix = np.ones((3, 20), dtype=np.float32)
        obs = pd.DataFrame(index=pd.Index(["a", "b", "c"]))
        yield Contents(obs, pd.Index([f"G{n}" for n in range(20)]), matrix, scan(matrix), "toy")

    yield
    del registry.FORMATS["toy"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "brain"
    path.mkdir()
    for name in ("toy.txt", "matrix.mtx", "image.tif"):
        (path / name).write_text("x")
    return path


@pytest.mark.usefixtures("toy")
def test_a_registered_format_is_detected_in_its_rank_and_named_in_messages(folder: Path) -> None:
    assert detect(folder).name == "toy"
    assert read(folder, "reference").shape == (3, 20)
    reason = describe(folder / "image.tif", "reference").unknown_format
    assert reason and reason.startswith(
        f"'image.tif' is in no known format. Known: {TITLE}; AnnData (.h5ad)"
    )


@pytest.mark.usefixtures("toy")
def test_checksums_are_of_the_files_that_a_registered_format_opens(folder: Path) -> None:
    summed = {file.name: file.sha256 is not None for file in checksums(folder)}
    assert summed == {"image.tif": False, "matrix.mtx": False, "toy.txt": True}


@pytest.mark.usefixtures("toy")
def test_sheet_and_checks_know_a_registered_format(tmp_path: Path) -> None:
    (tmp_path / "a.toy").write_text("x")
    sheet = b"sample,spatial,reference\ns,d/a.toy,atlas/cells.TOY\n"
    (row,) = samplesheet.parse(sheet, "sheet.csv", COLUMNS).rows
    assert row.coordinates_candidates == ["d/a.toy.map", "d/a.toy.plan"]
    kinds = ("spatial", "reference")
    descriptions = {f"{kind}_2": describe(tmp_path / "a.toy", kind) for kind in kinds}
    inputs = check.Inputs([row], descriptions, {(kind, 2): f"{kind}_2" for kind in kinds})
    (problem,) = check.check(inputs)
    assert (problem.problem, problem.cure) == ("no coordinates", CURE)
    assert list(check.reference_names(inputs).values()) == ["atlas_cells"]


def test_formats_have_ranks_of_their_own_and_suffixes_in_lower_case() -> None:
    known = registry.ranked()
    first = ["h5ad", "10x_h5", "mtx", "table"]
    assert [form.name for form in known if form.name in first] == first
    assert len({form.rank for form in known}) == len(known)
    assert all(suffix == suffix.lower() for form in known for suffix in form.suffixes)


def test_coordinates_of_a_file_lie_beside_it_and_of_a_folder_within_it_first() -> None:
    beside = [f"d/{table}" for table in TABLES]
    own = ["d/counts_coordinates.csv", "d/counts.coordinates.csv"]
    for name in ("counts.csv", "counts.TSV.gz", "counts.h5"):
        assert coordinates_candidates(f"d/{name}") == own + beside
    assert coordinates_candidates("d/outs/") == [f"d/outs/{table}" for table in TABLES] + beside
    assert "coordinates.csv" not in coordinates_candidates("coordinates.csv")
    assert coordinates_candidates("s3://b/a.h5ad") == []


@pytest.mark.parametrize("name", TABLES)
def test_a_folder_is_read_with_every_table_that_the_samplesheet_looks_for(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "matrix.mtx").write_text(
        "%%MatrixMarket matrix coordinate integer general\n2 1 1\n1 1 3\n"
    )
    (tmp_path / "barcodes.tsv").write_text("a\n")
    (tmp_path / "genes.tsv").write_text("id1\tActb\nid2\tSst\n")
    places = pd.DataFrame({"barcode": ["a"], "x": [1.5], "y": [2.5]})
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    write = {
        ".parquet": places.to_parquet,
        ".tsv": lambda to, index: places.to_csv(to, sep="\t", index=index),
    }
    write.get(path.suffix, places.to_csv)(path, index=False)
    assert read(tmp_path, "spatial").obsm["spatial"].tolist() == [[1.5, 2.5]]
    assert name in [file.name for file in checksums(tmp_path) if file.sha256]


def test_parsing_a_samplesheet_loads_no_library_that_reads_files() -> None:
    heavy = {"anndata", "h5py", "numpy", "pandas", "scipy"}
    code = f"import sys, parse_sheet; print(*({heavy} & set(sys.modules)))"
    run = [sys.executable, "-c", code]
    found = subprocess.run(run, cwd=ROOT / "bin", capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
