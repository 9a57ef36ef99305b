"""Check the content of every input of the samplesheet, and plan what the run will do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Any, Literal

from stlatent.readers.formats import h5ad
from stlatent.readers.registry import COORDINATES_CURE, FORMATS, without_suffix
from stlatent.readers.symbols import looks_like_ensembl, with_line_breaks
from stlatent.records.failure import Failure
from stlatent.records.inputs import Description, InputWarning, Problem, Request, Sample, SheetRow

MIN_SHARED_GENES = 5
NAMES_SHOWN = 3
Kind = Literal["reference", "spatial"]
KEYS: dict[Kind, dict[str, str]] = {
    "reference": {"batch_key": "batch_key", "label_key": "label_key"},
    "spatial": {"label_key": "spatial_label_key", "section_key": "section_key"},
}


@dataclass
class Inputs:
    """All that is known of the files of a sheet.

    Attributes
    ----------
    rows
        Rows of the sheet, as parsed.
    descriptions
        By id, ``<kind>_<line of the first row that uses the file>``.
    sources
        Id of the file that a row uses, by kind and line. A file with other coordinates has another id.
    missing
        Ids of files that do not exist.
    """

    rows: list[SheetRow]
    descriptions: Mapping[str, Description]
    sources: Mapping[tuple[str, int], str]
    missing: frozenset[str] = field(default=frozenset())

    def source(self, row: SheetRow, kind: Kind) -> str:
        """Return the id of the file that a row uses."""
        return self.sources[kind, row.line]

    def reference(self, row: SheetRow) -> tuple[Any, ...]:
        """Return what sets a row's reference apart: its file, batch key and label key."""
        return self.source(row, "reference"), row.batch_key, row.label_key

    def unreadable(self, row: SheetRow, kind: Kind) -> str | None:
        """Return why a file that exists cannot be read, or None."""
        identifier = self.source(row, kind)
        if identifier in self.missing:
            return None
        if identifier not in self.descriptions:
            return "the attempt to read it ended without a result"
        return self.descriptions[identifier].unreadable

    def unread(self, row: SheetRow) -> str | None:
        """Return the id of a file whose reading never finished, if any."""
        used = [self.source(row, kind) for kind in KEYS]
        return next((s for s in used if s not in {*self.descriptions, *self.missing}), None)

    def described(self, row: SheetRow, kind: Kind) -> Description | None:
        """Return the description of a file that could be read, or None."""
        found = self.descriptions.get(self.source(row, kind))
        unusable = found is None or found.unreadable or found.format is None
        return None if unusable else found


def check(inputs: Inputs) -> list[Problem]:
    """Return all problems of the files, by line; unreadable files are no problems but failures."""
    return [problem for row in inputs.rows for problem in _row_problems(row, inputs)]


def absent(inputs: Inputs) -> list[Problem]:
    """Return the problems of files that do not exist, without looking into the others."""
    uses = [(row, kind) for row in inputs.rows for kind in KEYS]
    return [
        _not_found(row, kind) for row, kind in uses if inputs.source(row, kind) in inputs.missing
    ]


def failures(inputs: Inputs) -> list[Failure]:
    """Return a failure for each sample that uses a file that cannot be read."""
    found = []
    for row in inputs.rows:
        reasons = [
            f"{kind} file '{row.path(kind)}' cannot be read: {reason}"
            for kind in KEYS
            if (reason := inputs.unreadable(row, kind))
        ]
        if reasons:
            reason = "; ".join(reasons)
            source = inputs.unread(row)
            found.append(Failure(row.sample, "sample", "CHECK_INPUT", reason, source=source))
    return found


def warnings(inputs: Inputs) -> list[InputWarning]:
    """Return what a user should look at although the sample can run, once for each file and use."""
    found: dict[tuple[str, str], InputWarning] = {}
    for row in inputs.rows:
        for kind in KEYS:
            described = inputs.described(row, kind)
            for reason in _doubts(row, kind, described) if described else ():
                warning = InputWarning(row.sample, "CHECK_INPUT", reason)
                found.setdefault((inputs.source(row, kind), reason), warning)
    return list(found.values())


def plan(inputs: Inputs) -> tuple[list[Sample], dict[str, Request]]:
    """Return the samples to run, and what INGEST has to keep of each sample and reference.

    References that share file, batches and labels are one.
    """
    failed = {failure.id for failure in failures(inputs)}
    rows = [row for row in inputs.rows if row.sample not in failed]
    names = reference_names(inputs)
    samples = [
        Sample(
            row.sample,
            inputs.source(row, "spatial"),
            inputs.source(row, "reference"),
            names[inputs.reference(row)],
        )
        for row in rows
    ]
    requests = {row.sample: _request(row, row.sample, "spatial") for row in rows}
    used = [(row, names[inputs.reference(row)]) for row in rows]
    requests |= {name: _request(row, name, "reference") for row, name in used}
    return samples, requests


def reference_names(inputs: Inputs) -> dict[tuple[Any, ...], str]:
    """Name every distinct reference (file, batch key, label key).

    The name is ``<folder>_<file>`` without suffixes, so that it stays the same when rows are added
    to the sheet; a number sets apart names that would otherwise meet each other or a sample's.
    """
    taken = {row.sample.lower() for row in inputs.rows}
    names: dict[tuple[Any, ...], str] = {}
    for row in inputs.rows:
        key = inputs.reference(row)
        if key in names:
            continue
        names[key] = _untaken(_readable(row.reference), taken)
        taken.add(names[key].lower())
    return names


def _row_problems(row: SheetRow, inputs: Inputs) -> Iterator[Problem]:
    for kind in KEYS:
        yield from _file_problems(row, kind, inputs)
    spatial, reference = inputs.described(row, "spatial"), inputs.described(row, "reference")
    if spatial and reference and not spatial.empty and not reference.empty:
        yield from _gene_problems(row, spatial.genes, reference.genes)


def _file_problems(row: SheetRow, kind: Kind, inputs: Inputs) -> Iterator[Problem]:
    line, path = row.line, row.path(kind)
    if inputs.source(row, kind) in inputs.missing:
        yield _not_found(row, kind)
    described = inputs.descriptions.get(inputs.source(row, kind))
    if described is None or described.unreadable:
        return
    if described.unknown_format:
        yield Problem(line, kind, path, described.unknown_format, "convert it to one of these")
        return
    yield from _value_problems(line, kind, path, described)
    if kind == "spatial" and described.coordinates_problem:
        yield _no_coordinates(row, described, described.coordinates_problem)
    for column in KEYS[kind].values():
        key = row.key(column)
        if key and key not in described.columns:
            yield _no_column(row, kind, column, key, described)


def _doubts(row: SheetRow, kind: Kind, found: Description) -> Iterator[str]:
    name = _file(row.path(kind))
    # Counts are right wherever they are.
    if found.matrix in (h5ad.LAYER, h5ad.RAW) and not found.counts:
        yield (
            f"{kind} file '{name}': X holds negative values, as scaled data do, and no matrix holds"
            f" counts, so the run uses {found.matrix}. Cure: none if it holds logarithms; raw"
            " counts (in X, layers['counts'] or raw.X) are better"
        )
    overlap = found.overlap
    if kind == "spatial" and overlap and not row.section_key:
        cure = (
            f"set section_key to '{overlap.column}'"
            if overlap.column
            else "add a column of obs with the section of each location, and name it in section_key"
        )
        yield (
            f"spatial file '{name}': {overlap.sign}; the file may hold several sections. Without"
            f" section_key the run takes such locations for neighbours. Cure: if it does, {cure}"
        )


def _not_found(row: SheetRow, kind: Kind) -> Problem:
    cure = "correct the path; relative paths start at the folder of the sheet"
    text = "file not found"
    if kind == "spatial" and row.coordinates:
        text = f"file not found, or its coordinates '{row.coordinates}' not found"
    return Problem(row.line, kind, row.path(kind), text, cure)


def _value_problems(line: int, kind: Kind, path: str, found: Description) -> Iterator[Problem]:
    slot = found.matrix
    if found.empty:
        shape = f"{found.n_obs} observations x {found.n_vars} genes"
        yield Problem(
            line, kind, path, f"the matrix is empty ({shape} in {slot})", "give a file with counts"
        )
    broken = with_line_breaks(found.genes)
    if broken:
        text = f"{len(broken)} gene names hold a line break (such as {broken[0]!r})"
        yield Problem(line, kind, path, text, "rename these genes")
    if not found.finite:
        yield Problem(
            line,
            kind,
            path,
            f"{slot} holds values that are missing or infinite",
            "replace them, or give raw counts",
        )
    if found.negative:
        yield Problem(
            line,
            kind,
            path,
            f"{slot} holds negative values, as scaled data do",
            "give raw counts (in X, layers['counts'] or raw.X) or intensities",
        )


def _no_coordinates(row: SheetRow, found: Description, problem: str) -> Problem:
    if row.coordinates:
        return Problem(
            row.line,
            "coordinates",
            row.coordinates,
            problem,
            "list every observation of the spatial file once, by its name, with columns x and y",
        )
    known = FORMATS.get(found.format or "")
    cure = known.coordinates_cure if known else COORDINATES_CURE
    return Problem(row.line, "spatial", row.spatial, problem, cure)


def _no_column(row: SheetRow, kind: Kind, column: str, key: str, found: Description) -> Problem:
    available = found.columns
    text = f"'{_file(row.path(kind))}' has no such column in obs"
    if not available:
        return Problem(
            row.line,
            column,
            key,
            text,
            "leave it empty, as there are no columns, or give an h5ad that has them",
        )
    nearest = get_close_matches(key.lower(), [name.lower() for name in available], n=1)
    hint = [f"'{name}'" for name in available if nearest and name.lower() == nearest[0]]
    listed = ", ".join(f"{name} ({n} values)" for name, n in available.items())
    cure = f"use {hint[0]}; columns are {listed}" if hint else f"use one of {listed}"
    return Problem(row.line, column, key, text, cure)


def _gene_problems(row: SheetRow, spatial: list[str], reference: list[str]) -> Iterator[Problem]:
    mismatch = gene_mismatch(spatial, reference)
    if mismatch is not None:
        text, cure = mismatch
        about = f"{text} (spatial has {_some(spatial)}; reference has {_some(reference)})"
        yield Problem(row.line, "reference", row.reference, about, cure)


def gene_mismatch(spatial: list[str], reference: list[str]) -> tuple[str, str] | None:
    """Return what is wrong between the genes of two files and the cure, or None."""
    n_shared = len(set(spatial) & set(reference))
    n_folded = len(_folded(spatial) & _folded(reference))
    ids = {"spatial": looks_like_ensembl(spatial), "reference": looks_like_ensembl(reference)}
    few = n_shared < MIN_SHARED_GENES
    if few and ids["spatial"] != ids["reference"]:
        kind = "spatial" if ids["spatial"] else "reference"
        other = "reference" if ids["spatial"] else "spatial"
        return (
            f"{n_shared} genes in common: {kind} names genes by ids, {other} by symbols",
            f"give the symbols in a column gene_symbols of {kind}'s var",
        )
    if few and len(_unversioned(spatial) & _unversioned(reference)) >= MIN_SHARED_GENES:
        return (
            f"{n_shared} genes in common: ids with and without versions",
            "remove the versions (.1, .2, ..) from the ids",
        )
    if n_folded >= MIN_SHARED_GENES and n_folded > 2 * n_shared:
        return (
            f"{n_shared} genes in common, but {n_folded} when upper and lower case are one:"
            " human and mouse symbols, or another spelling",
            "spell the genes the same way in both files",
        )
    if few:
        return (
            f"{n_shared} genes in common with the spatial file; at least {MIN_SHARED_GENES}"
            " are needed",
            "check the species and the gene names; a table has genes in columns",
        )
    return None


def _folded(genes: list[str]) -> set[str]:
    return {gene.casefold() for gene in genes}


def _unversioned(genes: list[str]) -> set[str]:
    return {gene.partition(".")[0] for gene in genes}


def _some(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:NAMES_SHOWN])


def _file(path: str) -> str:
    return PurePosixPath(path).name


def _readable(path: str) -> str:
    pure = PurePosixPath(path)
    stem = without_suffix(pure.name)
    folder = pure.parent.name
    name = f"{folder}_{stem}" if folder.strip(".") else stem
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip("._-")
    return safe or "reference"


def _untaken(name: str, taken: set[str]) -> str:
    number, candidate = 1, name
    while candidate.lower() in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate


def _request(row: SheetRow, identifier: str, kind: Kind) -> Request:
    keys = {key: row.key(column) for key, column in KEYS[kind].items()}
    return Request(identifier, kind, **keys)
