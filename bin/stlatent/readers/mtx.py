"""Folders in 10x's matrix market layout, versions 2 and 3, gzipped or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import io, sparse

from stlatent.failures import DataError
from stlatent.readers.contents import Contents
from stlatent.readers.coordinates import Coordinates
from stlatent.readers.registry import register
from stlatent.readers.tenx_h5 import GENE_EXPRESSION
from stlatent.readers.values import scan

INSIDE = (
    "coordinates.csv",
    "coordinates.csv.gz",
    "tissue_positions.csv",
    "tissue_positions_list.csv",
    "spatial/tissue_positions.csv",
    "spatial/tissue_positions_list.csv",
)


def _is_mtx_folder(path: Path) -> bool:
    return path.is_dir() and any(path.glob("*matrix.mtx*"))


@register("mtx", "10x folder (matrix.mtx, features.tsv or genes.tsv, barcodes.tsv)", _is_mtx_folder)
@contextmanager
def open_mtx(path: Path, _coordinates: Coordinates | None) -> Iterator[Contents]:
    """Open a folder of matrix, features and barcodes; gene expression is kept."""
    features = _read_names(_find(path, "features.tsv", "genes.tsv"))
    barcodes = _read_names(_find(path, "barcodes.tsv"))[0]
    matrix = _matrix(_find(path, "matrix.mtx"), len(barcodes), len(features))
    kept = _is_expression(features)
    genes = features[1] if features.shape[1] > 1 else features[0]
    matrix = matrix[:, kept]
    yield Contents(
        obs=pd.DataFrame(index=pd.Index(barcodes, dtype=object)),
        genes=pd.Index(genes[kept], dtype=object),
        matrix=matrix,
        facts=scan(matrix),
        slot="matrix.mtx",
        coordinates_file=next((path / name for name in INSIDE if (path / name).exists()), None),
    )


def _find(folder: Path, *names: str) -> Path:
    for name in names:
        found = sorted(folder.glob(f"*{name}")) + sorted(folder.glob(f"*{name}.gz"))
        if len(found) > 1:
            msg = f"'{folder.name}' holds several files {name}; keep one data set a folder"
            raise DataError(msg)
        if found:
            return found[0]
    msg = f"'{folder.name}' lacks {' or '.join(names)}"
    raise DataError(msg)


def _read_names(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False)


def _matrix(path: Path, n_observations: int, n_genes: int) -> sparse.csr_matrix:
    stored = io.mmread(path)
    if stored.shape != (n_genes, n_observations):
        msg = (
            f"'{path.name}' is {stored.shape[0]} x {stored.shape[1]}, but there are {n_genes}"
            f" features and {n_observations} barcodes"
        )
        raise DataError(msg)
    return sparse.csr_matrix(stored.T)


def _is_expression(features: pd.DataFrame) -> np.ndarray:
    if features.shape[1] < 3:
        return np.ones(len(features), dtype=bool)
    return features[2].eq(GENE_EXPRESSION).to_numpy(dtype=bool)
