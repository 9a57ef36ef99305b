"""Parse the samplesheet and find everything that is wrong with it at once."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from stlatent.readers.registry import coordinates_candidates
from stlatent.records.inputs import Problem, Sheet, SheetRow

DELIMITER_NAMES = {";": "semicolons", "\t": "tabs"}
OPTIONAL = ("batch_key", "label_key", "spatial_label_key", "section_key", "coordinates")


@dataclass(frozen=True)
class Columns:
    """The columns that a sheet may have, from the schema."""

    properties: dict[str, dict[str, Any]]
    required: list[str]

    @classmethod
    def read(cls, schema: Path) -> Columns:
        """Read the JSON schema of a row."""
        content = json.loads(schema.read_text())
        return cls(content["properties"], content["required"])


@dataclass(frozen=True)
class Row:
    """One row that is not blank: its line in the file and its values by column."""

    line: int
    values: dict[str, str]


def parse(content: bytes, name: str, columns: Columns) -> Sheet:
    """Parse a samplesheet.

    Parameters
    ----------
    content
        The file.
    name
        Its name, for messages.
    columns
        From the schema.
    """
    rows, problems = _read_rows(content, columns)
    for row in rows:
        problems += _value_problems(row, columns)
    problems += _name_problems(rows)
    usable = [row for row in rows if row.values.get("spatial") and row.values.get("reference")]
    return Sheet(
        sheet=name,
        rows=[_record(row) for row in usable],
        problems=sorted(problems, key=lambda problem: problem.line),
    )


def format_problems(problems: Sequence[Problem], sheet: str) -> str:
    """Write problems for people: a header, then one line each; the same on several lines is one."""
    lines: dict[tuple[Any, ...], list[int]] = {}
    firsts: dict[tuple[Any, ...], Problem] = {}
    for problem in sorted(problems, key=lambda found: found.line):
        key = (problem.column, problem.value, problem.problem, problem.cure)
        lines.setdefault(key, []).append(problem.line)
        firsts.setdefault(key, problem)
    if not firsts:
        return ""
    header = f"{len(firsts)} problem{'s' if len(firsts) > 1 else ''} in {sheet}:"
    items = [
        f"{found.where(lines[key])}: {found.problem}. Cure: {found.cure}"
        for key, found in firsts.items()
    ]
    return "\n".join([header, *items]) + "\n"


def _read_rows(content: bytes, columns: Columns) -> tuple[list[Row], list[Problem]]:
    text, problem = _decode(content)
    if problem:
        return [], [problem]
    records, problems = _records(text)
    broken = bool(problems)
    if not records:
        return [], problems or [_empty_sheet(columns)]
    line, header = records[0]
    names = [name.strip() for name in header]
    while names and not names[-1]:
        names.pop()
    wrong = _wrong_delimiter(line, names)
    if wrong:
        return [], [wrong]
    problems += _header_problems(line, names, columns)
    names = _corrected(names, columns)
    rows = []
    for number, fields in records[1:]:
        row, found = _row(number, fields, names)
        rows += row
        problems += found
    if len(records) == 1 and not broken:
        problems.append(
            Problem(
                line,
                None,
                None,
                "the sheet has a header but no rows",
                "add one row for each sample",
            )
        )
    return rows, problems


def _decode(content: bytes) -> tuple[str, Problem | None]:
    if content.startswith(b"PK\x03\x04"):
        return "", Problem(
            1,
            None,
            None,
            "the sheet is a spreadsheet, not text",
            "export it as CSV (comma separated)",
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return "", _not_utf8(line)
    return (text, None) if "\0" not in text else ("", _not_utf8(1))


def _not_utf8(line: int) -> Problem:
    return Problem(line, None, None, "the sheet is not text in UTF-8", "save it as CSV in UTF-8")


def _records(text: str) -> tuple[list[tuple[int, list[str]]], list[Problem]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    records: list[tuple[int, list[str]]] = []
    start = 1
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                records.append((start, fields))
            start = reader.line_num + 1
    except csv.Error as error:
        cure = "quote a value as a whole, and write a quote within it twice"
        return records, [Problem(start, None, None, f"broken quoting ({error})", cure)]
    return records, []


def _empty_sheet(columns: Columns) -> Problem:
    cure = f"start with the header {','.join(columns.required)}, then one row for each sample"
    return Problem(1, None, None, "the sheet is empty", cure)


def _wrong_delimiter(line: int, names: list[str]) -> Problem | None:
    used = next((symbol for symbol in DELIMITER_NAMES if symbol in "".join(names)), None)
    if used is None or len(names) > 1:
        return None
    kind = DELIMITER_NAMES[used]
    return Problem(line, None, None, f"columns are separated by {kind}", "separate them by commas")


def _header_problems(line: int, names: list[str], columns: Columns) -> Iterator[Problem]:
    known = list(columns.properties)
    for position, name in enumerate(names, start=1):
        if name in names[: position - 1]:
            yield Problem(line, name, None, "the column is there twice", "keep one of them")
        elif not name:
            yield Problem(
                line,
                None,
                None,
                f"column {position} has no name",
                f"name or remove it; columns are {', '.join(known)}",
            )
        elif name not in known:
            nearest = get_close_matches(name.lower(), known, n=1)
            rename = f"rename it to '{nearest[0]}' (the nearest known one) or " if nearest else ""
            yield Problem(
                line,
                name,
                None,
                "unknown column",
                f"{rename}remove it; columns are {', '.join(known)}",
            )
    for name in columns.required:
        if name not in _corrected(names, columns):
            yield Problem(line, name, None, "the column is missing", f"add a column '{name}'")


def _corrected(names: list[str], columns: Columns) -> list[str]:
    """Replace unknown names by the absent columns that they resemble, so that rows are checked."""
    corrected = list(names)
    for position, name in enumerate(names):
        absent = [known for known in columns.properties if known not in corrected]
        nearest = get_close_matches(name.lower(), absent, n=1)
        if nearest and name not in columns.properties:
            corrected[position] = nearest[0]
    return corrected


def _row(line: int, fields: list[str], names: list[str]) -> tuple[list[Row], list[Problem]]:
    values = [field.strip() for field in fields]
    while len(values) > len(names) and not values[-1]:
        values.pop()
    if len(values) == len(names):
        return [Row(line, dict(zip(names, values, strict=True)))], []
    few_or_many = "few" if len(values) < len(names) else "many"
    cure = f"give every row {len(names)} values, with empty ones where there is nothing to say"
    if few_or_many == "many":
        cure += "; a value that holds a comma needs quotes"
    elif _wrong_delimiter(line, values):
        cure = "separate values by commas"
    text = f"too {few_or_many} values: {len(values)} under {len(names)} columns"
    return [], [Problem(line, None, None, text, cure)]


def _value_problems(row: Row, columns: Columns) -> Iterator[Problem]:
    for name, rule in columns.properties.items():
        value = row.values.get(name, "")
        if not value:
            if name in columns.required and name in row.values:
                yield Problem(
                    row.line, name, None, "no value", f"fill it in ({rule['description']})"
                )
        elif not re.search(rule.get("pattern", ""), value):
            yield Problem(row.line, name, value, rule["errorMessage"], rule["cure"])
    spatial = row.values.get("spatial")
    if spatial and spatial == row.values.get("reference"):
        yield Problem(
            row.line,
            "reference",
            spatial,
            "the same file as in column spatial",
            "give the single-cell reference here",
        )


def _name_problems(rows: Sequence[Row]) -> Iterator[Problem]:
    firsts: dict[str, Row] = {}
    for row in rows:
        name = row.values.get("sample", "")
        first = firsts.setdefault(name.lower(), row)
        if not name or first is row:
            continue
        same = name == first.values["sample"]
        text = "is already the name of" if same else "differs only in case from the name of"
        yield Problem(
            row.line,
            "sample",
            name,
            f"{text} the sample in line {first.line}",
            "give every sample a name of its own",
        )


def _record(row: Row) -> SheetRow:
    optional = {name: row.values.get(name) or None for name in OPTIONAL}
    path = row.values["spatial"]
    return SheetRow(
        line=row.line,
        sample=row.values.get("sample", ""),
        spatial=path,
        reference=row.values["reference"],
        **optional,
        coordinates_candidates=[] if optional["coordinates"] else coordinates_candidates(path),
    )
