"""Coordinates of observations: from a table of their own, or among the columns of another."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from stlatent.readers.delimited import Layout, is_number, sniff
from stlatent.readers.errors import CoordinatesError

COLUMN_PAIRS = (
    ("pxl_col_in_fullres", "pxl_row_in_fullres"),
    ("x_centroid", "y_centroid"),
    ("centerx_global_px", "centery_global_px"),
    ("center_x", "center_y"),
    ("x", "y"),
    ("imagecol", "imagerow"),
    ("spatial_x", "spatial_y"),
    ("x_coord", "y_coord"),
    ("xcoord", "ycoord"),
    ("pos_x", "pos_y"),
    ("x_um", "y_um"),
    ("array_col", "array_row"),
)
ID_COLUMNS = (
    "barcode",
    "barcodes",
    "cell_id",
    "cellid",
    "cell",
    "spot",
    "spot_id",
    "id",
    "entityid",
    "index",
    "name",
    "unnamed: 0",
    "",
)
VISIUM_COLUMNS = (
    "barcode",
    "in_tissue",
    "array_row",
    "array_col",
    "pxl_row_in_fullres",
    "pxl_col_in_fullres",
)
NAMES_SHOWN = 3


@dataclass(frozen=True)
class Coordinates:
    """Positions by observation name.

    Attributes
    ----------
    positions
        Columns ``x`` and ``y``, and ``z`` where the file has it, indexed by observation.
    off_tissue
        Names that the file lists as outside the tissue.
    name
        Name of the file, for messages.
    """

    positions: pd.DataFrame
    off_tissue: frozenset[str] = field(default=frozenset())
    name: str = "coordinates"


def third_column(columns: pd.Index[str], pair: tuple[str, str]) -> str | None:
    """Return the column that is called as the two of ``pair`` are, with z, or None."""
    by_name = {str(column).strip().lower(): str(column) for column in columns}
    x, y = (name.strip().lower() for name in pair)
    for place, letter in enumerate(x):
        name = f"{x[:place]}z{x[place + 1 :]}"
        if letter == "x" and name.replace("z", "y", 1) == y and name in by_name:
            return by_name[name]
    return None


def column_pair(columns: pd.Index[str]) -> tuple[str, str] | None:
    """Return the columns that hold x and y, by their common names, or None."""
    by_name = {str(column).strip().lower(): str(column) for column in columns}
    for x, y in COLUMN_PAIRS:
        if x in by_name and y in by_name:
            return by_name[x], by_name[y]
    return None


def read_coordinates(path: Path) -> Coordinates:
    """Read a table of observation names and coordinates.

    Understands CSV and TSV (gzipped or not) and parquet, with common column names, and Visium's
    ``tissue_positions`` with and without a header, of which spots in tissue are kept. A column z
    that is not empty is the third coordinate.

    Raises
    ------
    CoordinatesError
        When it has no columns of names or of coordinates, or names repeat.
    """
    table = _read_table(path)
    pair = column_pair(table.columns)
    if pair is None:
        found = ", ".join(map(str, table.columns))
        msg = f"'{path.name}' has no columns x and y (it has: {found})"
        raise CoordinatesError(msg)
    ids = table[_id_column(table, pair, path.name)].astype(str)
    _refuse_repeats(ids, path.name)
    third = third_column(table.columns, pair)
    positions = table[[*pair, third] if third else [*pair]]
    positions = positions.apply(pd.to_numeric, errors="coerce").astype(float)
    positions = positions.set_axis(["x", "y", "z"][: positions.shape[1]], axis=1)
    positions = positions.set_axis(ids.to_numpy(), axis=0)
    if third and positions["z"].isna().all():
        positions = positions.drop(columns="z")
    inside = _inside_tissue(table)
    return Coordinates(positions[inside], frozenset(ids[~inside]), path.name)


def match(names: pd.Index[str], coordinates: Coordinates) -> tuple[np.ndarray, np.ndarray]:
    """Match observations to coordinates by name.

    Returns
    -------
    Mask of the observations that are in tissue (``n_obs``), and the coordinates of those
    (``n_kept x 2`` or 3).

    Raises
    ------
    CoordinatesError
        Naming observations without coordinates, or with one name.
    """
    kept = ~names.isin(list(coordinates.off_tissue))
    inside = names[kept]
    repeated = inside[inside.duplicated()].unique()
    if len(repeated):
        msg = (
            f"{len(repeated)} names belong to several observations of the spatial file (such as"
            f" {_some(repeated)}), so '{coordinates.name}' cannot tell these apart; give every"
            " observation a name of its own in both files"
        )
        raise CoordinatesError(msg)
    unmatched = inside.difference(coordinates.positions.index, sort=False)
    if len(unmatched):
        msg = (
            f"{len(unmatched)} of {len(inside)} observations are not in '{coordinates.name}'"
            f" (such as {_some(unmatched)}; the file has {_some(coordinates.positions.index)})"
        )
        raise CoordinatesError(msg)
    return kept, coordinates.positions.loc[inside].to_numpy(dtype=float)


def check_finite(coordinates: np.ndarray) -> np.ndarray:
    """Return ``n_obs x 2`` (or 3) coordinates when all are numbers.

    Raises
    ------
    CoordinatesError
        When some are not, or their number of columns is not 2 or 3.
    """
    if coordinates.ndim != 2 or coordinates.shape[1] not in (2, 3):
        msg = f"coordinates have shape {coordinates.shape} instead of two or three columns"
        raise CoordinatesError(msg)
    broken = int((~np.isfinite(coordinates)).any(axis=1).sum())
    if broken:
        msg = f"{broken} of {len(coordinates)} coordinates are missing or not finite"
        raise CoordinatesError(msg)
    return coordinates


def _read_table(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    layout = sniff(path)
    names = _names_without_header(layout, path.name)
    return pd.read_csv(
        path,
        sep=layout.delimiter,
        header=0 if names is None else None,
        names=names,
        index_col=False,
        # As text: names may be numbers with leading zeros, or read like missing values.
        dtype=str,
        keep_default_na=False,
        encoding="utf-8-sig",
    )


def _names_without_header(layout: Layout, name: str) -> list[str] | None:
    if not all(is_number(value) for value in layout.first[1:]) or len(layout.first) < 2:
        return None
    if len(layout.first) == len(VISIUM_COLUMNS):
        return list(VISIUM_COLUMNS)
    if len(layout.first) == 3:
        return ["id", "x", "y"]
    msg = f"'{name}' has no header; add one that names the columns, such as id,x,y"
    raise CoordinatesError(msg)


def _id_column(table: pd.DataFrame, pair: tuple[str, str], name: str) -> str:
    by_name = {str(column).strip().lower(): str(column) for column in table.columns}
    for known in ID_COLUMNS:
        if known in by_name:
            return by_name[known]
    first = str(table.columns[0])
    if first in pair:
        msg = f"'{name}' has no column of observation names beside {pair[0]} and {pair[1]}"
        raise CoordinatesError(msg)
    return first


def _inside_tissue(table: pd.DataFrame) -> np.ndarray:
    if "in_tissue" not in table.columns:
        return np.ones(len(table), dtype=bool)
    return pd.to_numeric(table["in_tissue"], errors="coerce").eq(1).to_numpy(dtype=bool)


def _refuse_repeats(ids: pd.Series[str], name: str) -> None:
    repeated = pd.Index(ids[ids.duplicated()].unique())
    if len(repeated):
        msg = f"'{name}' lists {len(repeated)} observations more than once ({_some(repeated)})"
        raise CoordinatesError(msg)


def _some(names: pd.Index[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:NAMES_SHOWN])
