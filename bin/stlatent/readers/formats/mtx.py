"""Folders in 10x's matrix market layout, versions 2 and 3, gzipped or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stlatent.failures import DataError
from stlatent.readers import positions
from stlatent.readers.formats.tenx_h5 import GENE_EXPRESSION
from stlatent.readers.registry import register

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from scipy import sparse

    from stlatent.readers.contents import Contents
    from stlatent.readers.coordinates import Coordinates

MATRIX, BARCODES, FEATURES = "matrix.mtx", "barcodes.tsv", ("features.tsv", "genes.tsv")


def _is_mtx_folder(path: Path) -> bool:
    return path.is_dir() and any(path.glob(f"*{MATRIX}*"))


def _members(folder: Path) -> Iterator[Path]:
    for name in (MATRIX, BARCODES, *FEATURES):
        yield from _named(folder, name)
    yield from positions.within(folder)


@register(
    "mtx",
    "10x folder (matrix.mtx, features.tsv or genes.tsv, barcodes.tsv)",
    rank=30,
    recognises=_is_mtx_folder,
    members=_members,
    positions=positions.of_folder,
)
@contextmanager
def open_mtx(path: Path, _coordinates: Coordinates | None) -> Iterator[Contents]:
    """Open a folder of matrix, features and barcodes; gene expression is kept."""
    import pandas as pd

    from stlatent.readers.contents import Contents
    from stlatent.readers.values import scan

    features = _read_names(_find(path, *FEATURES))
    barcodes = _read_names(_find(path, BARCODES))[0]
    matrix = _matrix(_find(path, MATRIX), len(barcodes), len(features))
    kept = _is_expression(features)
    genes = features[1] if features.shape[1] > 1 else features[0]
    matrix = matrix[:, kept]
    yield Contents(
        obs=pd.DataFrame(index=pd.Index(barcodes, dtype=object)),
        genes=pd.Index(genes[kept], dtype=object),
        matrix=matrix,
        facts=scan(matrix),
        slot=MATRIX,
        coordinates_file=next(positions.within(path), None),
    )


def _named(folder: Path, name: str) -> list[Path]:
    return sorted(folder.glob(f"*{name}")) + sorted(folder.glob(f"*{name}.gz"))


def _find(folder: Path, *names: str) -> Path:
    for name in names:
        found = _named(folder, name)
        if len(found) > 1:
            msg = f"'{folder.name}' holds several files {name}; keep one data set a folder"
            raise DataError(msg)
        if found:
            return found[0]
    msg = f"'{folder.name}' lacks {' or '.join(names)}"
    raise DataError(msg)


def _read_names(path: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False)


def _matrix(path: Path, n_observations: int, n_genes: int) -> sparse.csr_matrix:
    from scipy import io, sparse

    stored = io.mmread(path)
    if stored.shape != (n_genes, n_observations):
        msg = (
            f"'{path.name}' is {stored.shape[0]} x {stored.shape[1]}, but there are {n_genes}"
            f" features and {n_observations} barcodes"
        )
        raise DataError(msg)
    return sparse.csr_matrix(stored.T)


def _is_expression(features: pd.DataFrame) -> np.ndarray:
    import numpy as np

    if features.shape[1] < 3:
        return np.ones(len(features), dtype=bool)
    return features[2].eq(GENE_EXPRESSION).to_numpy(dtype=bool)
