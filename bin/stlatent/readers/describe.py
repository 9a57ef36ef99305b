"""A description of a user's file, for the checks before any task runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from stlatent import slots
from stlatent.failures import is_transient
from stlatent.readers.contents import Contents
from stlatent.readers.coordinates import Coordinates, read_coordinates
from stlatent.readers.errors import UnknownFormatError, cure, explain
from stlatent.readers.load import located
from stlatent.readers.overlap import overlapping_sections
from stlatent.readers.registry import detect


def describe(
    path: str | Path, kind: slots.Kind, coordinates: str | Path | None = None
) -> dict[str, Any]:
    """Describe one input without loading an h5ad's matrix; never raises on bad data.

    Returns
    -------
    ``format`` (None when unknown), ``n_obs``, ``n_vars``, ``genes``, ``columns`` (of ``obs``, with
    their numbers of values), ``has_coordinates``, ``coordinates_problem``, ``overlap`` (of sections,
    see `overlapping_sections`), ``matrix`` (where in the file), ``counts``, ``finite``, ``negative``, ``empty`` and ``unreadable``: the last one
    None, or the reason in plain words.
    """
    description = _blank()
    try:
        description["format"] = detect(path).name
        description |= _describe(
            Path(path), kind, None if coordinates is None else Path(coordinates)
        )
    except UnknownFormatError as error:
        description["unknown_format"] = str(error)
    except Exception as error:
        if is_transient(error):
            raise
        description["unreadable"] = f"{explain(error)}. Cure: {cure(error)}"
    return description


def _describe(path: Path, kind: slots.Kind, coordinates: Path | None) -> dict[str, Any]:
    positions, problem = _positions(coordinates)
    with detect(path).open(path, positions) as contents:
        description = _facts(contents)
        if kind == "spatial":
            overlap = None
            if problem is None:
                problem, overlap = _coordinates(contents, positions)
            description["has_coordinates"] = problem is None
            description["coordinates_problem"] = problem
            description["overlap"] = overlap
    return description


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
) -> tuple[str | None, dict[str, Any] | None]:
    """Return what is wrong with the coordinates, and the sign of an overlap of sections."""
    try:
        kept, found = located(contents, positions)
    except Exception as error:
        if is_transient(error):
            raise
        return explain(error), None
    return None, overlapping_sections(contents.obs[kept], found)


def _facts(contents: Contents) -> dict[str, Any]:
    facts = contents.facts
    return {
        "n_obs": len(contents.obs),
        "n_vars": len(contents.genes),
        "genes": list(pd.unique(contents.genes.astype(str))),
        "columns": {str(name): int(contents.obs[name].nunique()) for name in contents.obs},
        "matrix": contents.slot,
        "counts": facts.counts,
        "finite": facts.finite,
        "negative": facts.negative,
        "empty": not facts.nonzero or 0 in (len(contents.obs), len(contents.genes)),
    }


def _blank() -> dict[str, Any]:
    return {
        "format": None,
        "n_obs": 0,
        "n_vars": 0,
        "genes": [],
        "columns": {},
        "has_coordinates": False,
        "coordinates_problem": None,
        "overlap": None,
        "matrix": None,
        "counts": False,
        "finite": True,
        "negative": False,
        "empty": False,
        "unknown_format": None,
        "unreadable": None,
    }
