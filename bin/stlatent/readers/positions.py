"""Where tables of coordinates lie, within folders and beside files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stlatent.readers.registry import without_suffix

TABLES = (
    "coordinates.csv",
    "coordinates.tsv",
    "spatial/tissue_positions.csv",
    "spatial/tissue_positions_list.csv",
    "spatial/tissue_positions.parquet",
    "tissue_positions.csv",
    "tissue_positions_list.csv",
    "tissue_positions.parquet",
    "coordinates.csv.gz",
)


def of_file(path: str) -> list[str]:
    """Return where coordinates of a file may lie: under its own name, then beside it."""
    stem = without_suffix(path.rstrip("/"))
    return [f"{stem}_coordinates.csv", f"{stem}.coordinates.csv", *_beside(path)]


def of_folder(path: str) -> list[str]:
    """Return where coordinates of a folder may lie: within it, then beside it."""
    folder = path.rstrip("/")
    return [*(f"{folder}/{table}" for table in TABLES), *_beside(path)]


def within(folder: Path) -> Iterator[Path]:
    """Yield the tables of coordinates that a folder holds, likeliest first."""
    return (folder / table for table in TABLES if (folder / table).exists())


def _beside(path: str) -> list[str]:
    folder, slash, _ = path.rstrip("/").rpartition("/")
    return [f"{folder}{slash}{table}" for table in TABLES]
