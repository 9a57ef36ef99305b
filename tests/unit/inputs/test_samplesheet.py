"""The samplesheet: every problem at once, each with line, column, value and cure."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import jsonschema
import pytest

from builders.project import ROOT
from stlatent.inputs import check
from stlatent.inputs.samplesheet import Columns, format_problems, parse
from stlatent.readers.registry import coordinates_candidates
from stlatent.records.inputs import Description, Overlap, Problem, Request, Sheet, SheetRow

SCHEMA = ROOT / "assets" / "schema_input.json"
COLUMNS = Columns.read(SCHEMA)
HEADER = "sample,spatial,reference"
GENES = [f"Gene{number}" for number in range(20)]


def parsed(text: str | bytes) -> Sheet:
    content = text.encode() if isinstance(text, str) else text
    return parse(content, "sheet.csv", COLUMNS)


def problems(text: str | bytes) -> list[Problem]:
    return parsed(text).problems


def description(**changes: Any) -> Description:
    whole = Description(
        "spatial_2",
        "spatial",
        "h5ad",
        10,
        20,
        GENES,
        {"cell_type": 4},
        True,
        matrix="X",
        counts=True,
    )
    return replace(whole, **changes)


def inputs(text: str, missing: tuple[str, ...] = (), **changed: Description) -> check.Inputs:
    rows = parsed(text).rows
    ids = [f"{kind}_{row.line}" for row in rows for kind in ("spatial", "reference")]
    described = {name: description() for name in ids} | changed
    return check.Inputs(rows, described, sources(rows), frozenset(missing))


def sources(rows: list[SheetRow]) -> dict[tuple[str, int], str]:
    """Name inputs as the pipeline does: by the first line with the same file and coordinates."""
    found, first = {}, {}
    for row in rows:
        for kind in ("spatial", "reference"):
            used = (kind, row.path(kind), row.coordinates if kind == "spatial" else None)
            found[kind, row.line] = first.setdefault(used, f"{kind}_{row.line}")
    return found


def test_schema_is_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(SCHEMA.read_text()))


def test_good_sheet() -> None:
    found = parsed(f"{HEADER},label_key\ns1,a.h5ad,b.h5ad,\n")
    assert found.problems == []
    assert found.rows == [SheetRow(2, "s1", "a.h5ad", "b.h5ad", None, None, None, None, None, [])]


def test_rows_have_the_columns_of_the_schema() -> None:
    names = {field.name for field in fields(SheetRow)}
    assert names == {*COLUMNS.properties, "line", "coordinates_candidates"}


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfsample,spatial,reference\ns1,a.h5ad,b.h5ad\n",
        f"{HEADER}\r\ns1,a.h5ad,b.h5ad\r\n",
        f"{HEADER}\n\n,,\ns1,a.h5ad,b.h5ad\n   \n",
        f'{HEADER}\n"s1","a.h5ad","b.h5ad"\n',
        f"{HEADER},,\ns1 , a.h5ad,b.h5ad,,\n",
    ],
    ids=["bom", "crlf", "blank lines", "quotes", "trailing commas"],
)
def test_tolerated(text: str | bytes) -> None:
    found = parsed(text)
    assert found.problems == []
    assert [(row.sample, row.spatial) for row in found.rows] == [("s1", "a.h5ad")]


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("", "line 1", "the sheet is empty"),
        (f"{HEADER}\n", "line 1", "a header but no rows"),
        ("sample;spatial;reference\na;b;c\n", "line 1", "separated by semicolons"),
        ("sample\tspatial\treference\na\tb\tc\n", "line 1", "separated by tabs"),
        (b"PK\x03\x04xyz", "line 1", "a spreadsheet"),
        (b"sample,spatial,reference\ns\xe9,a,b\n", "line 2", "not text in UTF-8"),
        (f"{HEADER},lable_key\ns,a,b,c\n", "line 1, column lable_key", "unknown column"),
        ("sample,spatial\ns,a\n", "line 1, column reference", "the column is missing"),
        (f"{HEADER},sample\ns,a,b,s\n", "line 1, column sample", "there twice"),
        (f"{HEADER}\n\ns,a\n", "line 3", "too few values: 2 under 3 columns"),
        (f"{HEADER}\ns,a,b,c\n", "line 2", "too many values: 4 under 3 columns"),
        (f"{HEADER}\ns,,b\n", "line 2, column spatial", "no value"),
        (f"{HEADER}\n-s,a,b\n", "line 2, column sample, value '-s'", "not a safe name"),
        (f"{HEADER}\na b,a,b\n", "line 2, column sample, value 'a b'", "not a safe name"),
        (f"{HEADER}\n../s,a,b\n", "line 2, column sample, value '../s'", "not a safe name"),
        (f"{HEADER}\ns,a,b\ns,c,b\n", "line 3, column sample, value 's'", "sample in line 2"),
        (f"{HEADER}\ns,a,b\nS,c,b\n", "line 3, column sample, value 'S'", "differs only in case"),
        (f"{HEADER}\ns,a,a\n", "line 2, column reference, value 'a'", "the same file"),
        (f'{HEADER}\n"s,a,b\n', "line 2", "broken quoting"),
    ],
)
def test_one_problem(text: str | bytes, place: str, says: str) -> None:
    (found,) = problems(text)
    assert found.where() == place
    assert says in found.problem
    assert found.cure


def test_nearest_known_column_is_named() -> None:
    (found,) = problems("sample,spatail,reference\ns,a,b\n")
    assert found.cure.startswith("rename it to 'spatial' (the nearest known one)")


def test_all_problems_at_once_sorted_by_line() -> None:
    found = problems("sample,spatail,reference\na b,x,y\n\nok,x,x\nOK,,y\n")
    assert [problem.line for problem in found] == [1, 2, 4, 5, 5]


def test_report_is_for_people() -> None:
    one = Problem(4, "spatial", "x.h5ad", "file not found", "correct the path")
    assert format_problems([one], "sheet.csv") == (
        "1 problem in sheet.csv:\n"
        "line 4, column spatial, value 'x.h5ad': file not found. Cure: correct the path\n"
    )
    assert format_problems([], "sheet.csv") == ""


def test_same_problem_on_several_lines_is_listed_once() -> None:
    same = [Problem(line, "reference", "r.h5ad", "file not found", "c") for line in (5, 2)]
    text = format_problems(same, "s.csv")
    assert text.startswith("1 problem in s.csv:\nlines 2, 5, column reference")


def test_coordinates_candidates_keep_the_form_of_the_path() -> None:
    assert coordinates_candidates("d/a.h5ad") == []
    assert coordinates_candidates("d/counts.csv.gz")[:3] == [
        "d/counts_coordinates.csv",
        "d/counts.coordinates.csv",
        "d/coordinates.csv",
    ]
    assert "counts.csv" not in coordinates_candidates("counts.csv")
    assert "s3://b/outs/spatial/tissue_positions.csv" in coordinates_candidates(
        "s3://b/outs/filtered_feature_bc_matrix/"
    )


KEYED = f"{HEADER},label_key\ns,a.h5ad,d/b.h5ad,cell_type\n"
LOWER = [gene.upper() for gene in GENES]
ENSEMBL = [f"ENSMUSG{number:011d}" for number in range(20)]


@pytest.mark.parametrize(
    ("kind", "changes", "place", "says"),
    [
        ("spatial", {"finite": False}, "column spatial, value 'a.h5ad'", "missing or infinite"),
        ("spatial", {"negative": True}, "column spatial, value 'a.h5ad'", "negative values"),
        ("reference", {"negative": True}, "column reference, value 'd/b.h5ad'", "negative"),
        ("reference", {"genes": [*GENES, "Act\nb"]}, "column reference, value 'd/b.h5ad'",
         r"1 gene names hold a line break (such as 'Act\nb')"),
        ("spatial", {"empty": True}, "column spatial, value 'a.h5ad'", "empty (10 observations"),
        ("spatial", {"coordinates_problem": "no coordinates"}, "column spatial", "no coordinates"),
        ("reference", {"columns": {"Cell_Type": 3}}, "column label_key, value", "no such column"),
        ("reference", {"genes": LOWER}, "column reference", "20 when upper and lower case"),
        ("reference", {"genes": ENSEMBL}, "column reference", "names genes by ids"),
        ("reference", {"genes": ["x", "y"]}, "column reference", "0 genes in common"),
        ("reference", {"format": None, "unknown_format": "in no known format"}, "column reference",
         "in no known format"),
    ],
)  # fmt: skip
def test_one_problem_of_content(kind: str, changes: dict, place: str, says: str) -> None:
    (found,) = check.check(inputs(KEYED, **{f"{kind}_2": description(**changes)}))
    assert found.where().startswith(f"line 2, {place}")
    assert says in found.problem
    assert found.cure


def test_nearest_column_of_obs_is_named() -> None:
    described = description(columns={"Cell_Type": 3, "donor": 2})
    (found,) = check.check(inputs(KEYED, reference_2=described))
    assert found.cure == "use 'Cell_Type'; columns are Cell_Type (3 values), donor (2 values)"


def test_missing_file() -> None:
    checked = inputs(KEYED, missing=("reference_2",))
    checked.descriptions.pop("reference_2")
    found = check.check(checked)
    assert [problem.problem for problem in found] == ["file not found"]


def test_unreadable_file_loses_only_its_samples() -> None:
    sheet = f"{HEADER}\none,a.h5ad,r.h5ad\ntwo,b.h5ad,r.h5ad\n"
    checked = inputs(sheet, spatial_3=description(unreadable="it is cut short"))
    checked.descriptions.pop("reference_3")
    assert check.check(checked) == []
    (failure,) = check.failures(checked)
    assert (failure.id, failure.kind, failure.step) == ("two", "sample", "CHECK_INPUT")
    assert failure.reason.startswith("spatial file 'b.h5ad' cannot be read: it is cut short")
    samples, requests = check.plan(checked)
    assert [sample.sample for sample in samples] == ["one"]
    assert set(requests) == {"one", "r"}


def test_file_without_description_is_unreadable() -> None:
    checked = inputs(KEYED)
    checked.descriptions.pop("spatial_2")
    assert check.check(checked) == []
    assert "ended without a result" in check.failures(checked)[0].reason


def test_shared_reference_is_one_and_other_keys_make_another() -> None:
    sheet = (
        f"{HEADER},label_key\na,a.h5ad,d/r.h5ad,x\nb,b.h5ad,d/r.h5ad,x\nc,c.h5ad,d/r.h5ad,\n"
        "d_r,e.h5ad,e/r.h5ad,\n"
    )
    samples, requests = check.plan(inputs(sheet))
    assert [sample.reference for sample in samples] == ["d_r_2", "d_r_2", "d_r_3", "e_r"]
    assert [sample.reference_source for sample in samples[:2]] == ["reference_2"] * 2
    assert requests["d_r_2"] == Request("d_r_2", "reference", label_key="x")


def test_sources_are_those_of_the_pipeline_however_paths_are_written() -> None:
    sheet = f"{HEADER}\na,a.csv,r.h5ad\nb,a.csv,./r.h5ad\n"
    checked = inputs(sheet)
    checked.sources = {
        ("spatial", 2): "spatial_2", ("spatial", 3): "spatial_3",
        ("reference", 2): "reference_2", ("reference", 3): "reference_2",
    }  # fmt: skip
    samples, requests = check.plan(checked)
    assert [sample.spatial_source for sample in samples] == ["spatial_2", "spatial_3"]
    assert [sample.reference for sample in samples] == ["r", "r"]
    assert set(requests) == {"a", "b", "r"}


def test_spatial_label_key_becomes_the_label_key_of_the_request() -> None:
    sheet = f"{HEADER},spatial_label_key,section_key\ns,a.h5ad,r.h5ad,cell_type,cell_type\n"
    _, requests = check.plan(inputs(sheet))
    assert requests["s"].label_key == requests["s"].section_key == "cell_type"


SIGN = "locations of different values of column 'slice' lie among each other"


@pytest.mark.parametrize(
    ("column", "cure"),
    [("slice", "set section_key to 'slice'"), (None, "add a column of obs with")],
)
def test_sections_that_overlap_are_warned_of_without_a_section_key(
    column: str | None, cure: str
) -> None:
    described = description(overlap=Overlap(SIGN, column))
    sheet = f"{HEADER},section_key\none,d/a.h5ad,r.h5ad,\ntwo,d/a.h5ad,r.h5ad,cell_type\n"
    checked = inputs(sheet, spatial_2=described)
    assert check.check(checked) == []
    (warning,) = check.warnings(checked)
    assert warning.id == "one"
    assert warning.reason.startswith("spatial file 'a.h5ad': locations of different values")
    assert cure in warning.reason


def test_a_matrix_taken_instead_of_scaled_values_is_listed_once_a_file() -> None:
    described = description(matrix="raw.X", counts=False)
    sheet = f"{HEADER}\none,a.h5ad,r.h5ad\ntwo,b.h5ad,r.h5ad\n"
    checked = inputs(sheet, reference_2=described)
    (warning,) = check.warnings(checked)
    assert "reference file 'r.h5ad': X holds negative values" in warning.reason
    assert "the run uses raw.X" in warning.reason
    assert check.warnings(inputs(sheet, reference_2=description(matrix="raw.X"))) == []
