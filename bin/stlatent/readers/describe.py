"""A description of a user's file, for the checks before any task runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from stlatent import slots
from stlatent.failures import is_transient
from stlatent.readers.contents import Contents
from stlatent.readers.coordinates import Coordinates, read_coordinates
from stlatent.readers.errors import UnknownFormatError, cure, explain
from stlatent.readers.load import located
from stlatent.readers.overlap import overlapping_sections
from stlatent.readers.registry import detect
from stlatent.records.inputs import Description, Overlap


def describe(
    path: str | Path,
    kind: slots.Kind,
    coordinates: str | Path | None = None,
    identifier: str = "",
) -> Description:
    """Describe one input without loading an h5ad's matrix; never raises on bad data."""
    description = Description(identifier, kind)
    try:
        description = replace(description, format=detect(path).name)
        return _describe(
            description, Path(path), None if coordinates is None else Path(coordinates)
        )
    except UnknownFormatError as error:
        return replace(description, unknown_format=str(error))
    except Exception as error:
        if is_transient(error):
            raise
        return replace(description, unreadable=f"{explain(error)}. Cure: {cure(error)}")


def _describe(description: Description, path: Path, coordinates: Path | None) -> Description:
    positions, problem = _positions(coordinates)
    with detect(path).open(path, positions) as contents:
        description = _with_contents(description, contents)
        if description.kind == "reference":
            return description
        overlap = None
        if problem is None:
            problem, overlap = _coordinates(contents, positions)
    return replace(
        description,
        has_coordinates=problem is None,
        coordinates_problem=problem,
        overlap=overlap,
    )


def _positions(path: Path | None) -> tuple[Coordinates | None, str | None]:
    if path is None:
        return None, None
    try:
        return read_coordinates(path), None
    except Exception as error:
        if is_transient(error):
            raise
        return None, explain(error)


def _coordinates(
    contents: Contents, positions: Coordinates | None
) -> tuple[str | None, Overlap | None]:
    """Return what is wrong with the coordinates, and the sign of an overlap of sections."""
    try:
        kept, found = located(contents, positions)
    except Exception as error:
        if is_transient(error):
            raise
        return explain(error), None
    return None, overlapping_sections(contents.obs[kept], found)


def _with_contents(description: Description, contents: Contents) -> Description:
    facts = contents.facts
    return replace(
        description,
        n_obs=len(contents.obs),
        n_vars=len(contents.genes),
        genes=list(pd.unique(contents.genes.astype(str))),
        columns={str(name): int(contents.obs[name].nunique()) for name in contents.obs},
        matrix=contents.slot,
        counts=facts.counts,
        finite=facts.finite,
        negative=facts.negative,
        empty=not facts.nonzero or 0 in (len(contents.obs), len(contents.genes)),
    )
