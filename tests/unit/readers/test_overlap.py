"""Sections that lie on each other are noticed, and single sections left alone."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import click
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from builders.project import ROOT
from check_input import main as check_input
from describe_input import main as describe_input
from parse_sheet import main as parse_sheet
from stlatent.readers.describe import describe
from stlatent.readers.overlap import overlapping_sections
from stlatent.records.inputs import Overlap
from stlatent.report.chapters import summary
from stlatent.report.page.markup import escape
from stlatent.report.run.read import load

SCHEMA = ROOT / "assets" / "schema_input.json"
REAL = (
    "cerebellum_rctd",
    "drosophila_bdtnp",
    "hypothalamus_poa",
    "hypothalamus_rctd",
    "mob",
    "osmfish_ssp",
    "pdac_a",
)


def grid(shift: tuple[float, float] = (0, 0)) -> np.ndarray:
    """Return 400 spots a hexagon's width apart."""
    x, y = np.meshgrid(np.arange(20), np.arange(20))
    return np.column_stack([(x + y % 2 / 2).ravel(), y.ravel() * 3**0.5 / 2]) + np.array(shift)


def cells(n: int = 600, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 100, (n, 2))


def table(n: int, **columns: object) -> pd.DataFrame:
    return pd.DataFrame(columns, index=[f"cell_{number}" for number in range(n)])


SHIFTS = {"whole": (0.3, 0.2), "half": (10, 0)}


@pytest.mark.parametrize("shift", SHIFTS.values(), ids=SHIFTS)
@pytest.mark.parametrize("name", ["slice", "Sample.ID", "orig.ident", "Bregma"])
def test_a_column_of_sections_that_overlap_is_named(shift: tuple[float, float], name: str) -> None:
    places = np.vstack([grid(), grid(shift)])
    found = overlapping_sections(table(800, **{name: np.repeat([-0.24, 0.26], 400)}), places)
    assert found.column == name and f"column '{name}'" in found.sign


@pytest.mark.parametrize(
    "columns",
    [
        {"slice": np.repeat(["a", "b"], 400)},
        {"cell_type": np.tile(["a", "b"], 400), "sample": ["s"] * 800},
        {"sample": [f"s{number}" for number in range(800)]},
        {"batch": ["a"] * 798 + ["b"] * 2},
    ],
    ids=["beside", "types", "names", "stray"],
)
def test_columns_of_one_section_or_of_sections_apart_are_left_alone(columns: dict) -> None:
    places = np.vstack([grid(), grid((21, 0))])
    assert overlapping_sections(table(800, **columns), places) is None


def barcoded(suffixes: tuple[str, str]) -> pd.DataFrame:
    letters = np.random.default_rng(0).choice(list("ACGT"), (400, 16))
    barcodes = ["".join(row) for row in letters]
    return pd.DataFrame(index=[f"{code}-1{end}" for end in suffixes for code in barcodes])


def test_barcodes_that_two_sections_share_are_a_sign() -> None:
    obs = barcoded(("_1", "_2"))
    found = overlapping_sections(obs, np.vstack([grid(), grid((0.3, 0.2))]))
    assert found.column is None
    assert f"such as '{obs.index[0]}' and '{obs.index[400]}'" in found.sign
    assert overlapping_sections(obs, np.vstack([grid(), grid((21, 0))])) is None
    assert overlapping_sections(obs[:400], grid()) is None


def test_sections_on_the_same_places_are_a_sign() -> None:
    found = overlapping_sections(table(800), np.vstack([grid(), grid() + 0.001]))
    assert found == Overlap("100% of the locations lie on another one", None)
    many = np.vstack([grid()] * 8)
    assert overlapping_sections(table(len(many)), many).sign.startswith("100%")


@pytest.mark.parametrize("seed", range(3))
def test_irregular_cells_are_left_alone(seed: int) -> None:
    places = cells(seed=seed)
    assert overlapping_sections(table(600), places) is None
    # Doublets of the segmentation, as many as in osmFISH.
    places[:60] = places[60:120] + 1e-4
    assert overlapping_sections(table(600), places) is None


def test_sections_apart_in_the_third_coordinate_are_left_alone() -> None:
    flat = np.vstack([grid(), grid()])
    deep = np.column_stack([flat, np.repeat([0, 50], 400)])
    assert overlapping_sections(table(800, slice=np.repeat(["a", "b"], 400)), deep) is None


@pytest.mark.parametrize("name", REAL)
def test_real_sections_are_left_alone_and_two_of_them_are_not(
    name: str, real_data, tmp_path
) -> None:
    path = real_data(name) / "spatial.h5ad"
    assert describe(path, "spatial").overlap is None
    one = anndata.read_h5ad(path)
    two = one.copy()
    two.obsm["spatial"] = two.obsm["spatial"] + np.ptp(one.obsm["spatial"], axis=0) / 50
    joined = anndata.concat([one, two], label="sample", keys=["one", "two"], index_unique="-")
    joined.write_h5ad(tmp_path / "joined.h5ad")
    assert describe(tmp_path / "joined.h5ad", "spatial").overlap.column == "sample"


def run(command: click.Command, *arguments: object) -> None:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("key", ["", "slice"])
def test_the_scripts_warn_of_an_overlap_without_a_section_key(key: str, tmp_path: Path) -> None:
    names = [f"g{number}" for number in range(10)]
    values = np.random.default_rng(0).poisson(2, (800, 10)).astype(np.float32)
    obs = table(800, slice=np.repeat(["a", "b"], 400))
    for name in ("tissue", "cells"):
        adata = anndata.AnnData(values, obs, pd.DataFrame(index=names))
        adata.obsm["spatial"] = np.vstack([grid(), grid((0.3, 0.2))])
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
    (tmp_path / "sheet.csv").write_text(
        f"sample,spatial,reference,section_key\ns1,tissue.h5ad,cells.h5ad,{key}\n"
    )
    run(parse_sheet, "--sheet", tmp_path / "sheet.csv", "--schema", SCHEMA, "--output",
        tmp_path / "rows.json")  # fmt: skip
    for kind, name in (("spatial", "tissue"), ("reference", "cells")):
        run(describe_input, "--id", f"{kind}_2", "--kind", kind, "--input",
            tmp_path / f"{name}.h5ad", "--output", tmp_path / f"{kind}.json", "--checksums",
            tmp_path / "sums.json")  # fmt: skip
    used = [
        {"id": f"{kind}_2", "kind": kind, "lines": [2], "exists": True}
        for kind in ("spatial", "reference")
    ]
    (tmp_path / "sources.json").write_text(json.dumps(used))
    run(check_input, "--rows", tmp_path / "rows.json", "--sources", tmp_path / "sources.json",
        "--output-dir", tmp_path, tmp_path / "spatial.json", tmp_path / "reference.json")  # fmt: skip
    checked = json.loads((tmp_path / "input.json").read_text())
    assert checked["valid"] and [row["sample"] for row in checked["samples"]] == ["s1"]
    assert len(checked["warnings"]) == (0 if key else 1)
    report = "".join(
        str(block) for block in summary.overview(load([], tmp_path / "input.json", None))
    )
    assert ("To check in the input" in report) == (not key)
    if not key:
        (warning,) = checked["warnings"]
        assert (warning["id"], warning["step"]) == ("s1", "CHECK_INPUT")
        assert "'tissue.h5ad'" in warning["reason"]
        assert warning["reason"].endswith("Cure: if it does, set section_key to 'slice'")
        assert escape(warning["reason"]) in report
