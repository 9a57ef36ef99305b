"""Delimited tables of expression: observations in rows, genes in columns, or the other way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stlatent.failures import DataError
from stlatent.readers import positions
from stlatent.readers.delimited import is_number, sniff
from stlatent.readers.registry import register

if TYPE_CHECKING:
    import pandas as pd
    from scipy import sparse

    from stlatent.readers.contents import Contents
    from stlatent.readers.coordinates import Coordinates

type Block = tuple[pd.DataFrame, sparse.csr_matrix, pd.Index[str]]

SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
ROWS_AT_ONCE = 2000
# Of values: a gene or an observation may be called so.
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "<NA>")


def _is_table(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


@register(
    "table",
    "table of counts (.csv, .tsv or .txt, gzipped or not)",
    rank=40,
    suffixes=SUFFIXES,
    recognises=_is_table,
    positions=positions.of_file,
)
@contextmanager
def open_table(path: Path, coordinates: Coordinates | None) -> Iterator[Contents]:
    """Open a table whose first column names its rows.

    Columns of text become annotations of the observations. A table with genes in rows is turned
    when its columns, rather than its rows, are named in the coordinates.
    """
    import pandas as pd
    from scipy import sparse

    from stlatent.readers.contents import Contents
    from stlatent.readers.coordinates import column_pair
    from stlatent.readers.values import scan

    rows = _read_blocks(path)
    annotations = pd.concat([block[0] for block in rows])
    matrix = sparse.vstack([block[1] for block in rows], format="csr")
    columns = rows[0][2]
    if _genes_in_rows(annotations.index, columns, coordinates):
        obs, genes, matrix = pd.DataFrame(index=columns), annotations.index, matrix.T.tocsr()
    else:
        obs, genes = annotations, columns
    pair = column_pair(obs.columns)
    yield Contents(
        obs=obs,
        genes=genes,
        matrix=matrix,
        facts=scan(matrix),
        slot="table",
        coordinates=None if pair is None else obs[list(pair)].to_numpy(dtype=float),
    )


def _read_blocks(path: Path) -> list[Block]:
    import pandas as pd

    layout = sniff(path)
    has_names, names_column = _names_column(layout.first, layout.second)
    columns = layout.first[1:] if names_column != 0 and has_names else layout.first
    reader = pd.read_csv(
        path,
        sep=layout.delimiter,
        chunksize=ROWS_AT_ONCE,
        encoding="utf-8-sig",
        index_col=0 if has_names else False,
        dtype={names_column: str} if has_names else None,
        keep_default_na=False,
        na_values=dict.fromkeys(columns, MISSING),
        low_memory=False,
    )
    blocks: list[Block] = []
    annotated: list[str] | None = None
    for chunk in reader:
        annotated = _annotations(chunk) if annotated is None else annotated
        blocks.append(_block(chunk, annotated, path.name))
    if not blocks:
        msg = f"'{path.name}' has a header but no rows"
        raise DataError(msg)
    return blocks


def _names_column(first: list[str], second: list[str]) -> tuple[bool, int | str]:
    """Tell whether the first column names the rows, and what pandas calls that column."""
    from stlatent.readers.coordinates import ID_COLUMNS

    if len(second) == len(first) + 1:
        return True, 0
    name = first[0].strip()
    named = name.lower() in ID_COLUMNS or not is_number(second[0] if second else "")
    return named, first[0] or "Unnamed: 0"


def _annotations(chunk: pd.DataFrame) -> list[str]:
    from stlatent.readers.coordinates import column_pair

    text = [str(name) for name, kind in chunk.dtypes.items() if not _is_numeric(kind)]
    pair = column_pair(chunk.columns)
    return text + [name for name in pair or () if name not in text]


def _block(chunk: pd.DataFrame, annotated: list[str], name: str) -> Block:
    import numpy as np
    from scipy import sparse

    from stlatent.readers.contents import as_names

    values = chunk.drop(columns=annotated)
    text = [column for column, kind in values.dtypes.items() if not _is_numeric(kind)]
    if text:
        msg = f"column '{text[0]}' of '{name}' holds numbers and text; counts must be numbers"
        raise DataError(msg)
    obs = chunk[annotated].set_axis(as_names(chunk.index))
    matrix = sparse.csr_matrix(values.to_numpy(dtype=np.float32))
    return obs, matrix, as_names(values.columns)


def _is_numeric(kind: Any) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(kind))


def _genes_in_rows(
    rows: pd.Index[str], columns: pd.Index[str], coordinates: Coordinates | None
) -> bool:
    if coordinates is None:
        return False
    known = coordinates.positions.index
    return int(columns.isin(known).sum()) > int(rows.isin(known).sum())
