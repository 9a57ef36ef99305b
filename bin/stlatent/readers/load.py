"""From a user's file to AnnData."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from stlatent import slots
from stlatent.failures import DataError
from stlatent.readers.contents import Contents, as_names
from stlatent.readers.coordinates import Coordinates, check_finite, match, read_coordinates
from stlatent.readers.errors import CoordinatesError, as_data_errors
from stlatent.readers.registry import detect
from stlatent.readers.symbols import merge_repeated, with_line_breaks

if TYPE_CHECKING:
    from anndata import AnnData


def read(
    path: str | Path,
    kind: slots.Kind,
    coordinates: str | Path | None = None,
    keys: Collection[str] = (),
) -> AnnData:
    """Read one input through the registry.

    Parameters
    ----------
    path
        File or folder in a known format.
    kind
        ``spatial`` inputs must have coordinates; of a ``reference`` they are not kept.
    coordinates
        Table of coordinates; it wins over those in the file.
    keys
        Columns of ``obs`` to keep whatever their names; others that start with ``_`` are left out.

    Returns
    -------
    AnnData with ``X`` (CSR float32, ``n_obs x n_vars``), unique names, all columns of ``obs``
    that can be written, ``obsm['spatial']`` (``n_obs x 2`` or 3) and the facts ``kind``,
    ``counts`` and ``matrix`` (where in the file ``X`` was).

    Raises
    ------
    DataError
        When the format is unknown or the content does not make sense.
    """
    with as_data_errors(Path(path).name):
        positions = None if coordinates is None else read_coordinates(Path(coordinates))
        with detect(path).open(Path(path), positions) as contents:
            adata = _to_anndata(contents, keys, Path(path).name)
            if kind == "spatial":
                adata = _locate(adata, contents, positions)
    slots.note(adata, kind=kind, counts=contents.facts.counts, matrix=contents.slot)
    adata.obs_names_make_unique()
    return adata


def located(contents: Contents, positions: Coordinates | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the mask of observations in tissue (``n_obs``) and their coordinates.

    Those are ``n x 2``, or 3 where a third is known.

    Raises
    ------
    CoordinatesError
        When there are none, or they are unusable.
    """
    if positions is None and contents.coordinates_file is not None:
        positions = read_coordinates(contents.coordinates_file)
    if positions is not None:
        kept, found = match(as_names(contents.obs.index), positions)
    elif contents.coordinates is not None:
        kept, found = np.ones(len(contents.obs), dtype=bool), contents.coordinates
    else:
        msg = "no coordinates"
        raise CoordinatesError(msg)
    return kept, check_finite(found)


def _to_anndata(contents: Contents, keys: Collection[str], name: str) -> AnnData:
    import anndata

    matrix, genes = merge_repeated(_to_csr(contents.matrix), contents.genes, contents.facts.counts)
    var = pd.DataFrame(index=as_names(genes))
    broken = with_line_breaks(var.index)
    if broken:
        msg = f"{len(broken)} gene names of '{name}' hold a line break (such as {broken[0]!r})"
        raise DataError(f"{msg}. Cure: rename these genes")
    return anndata.AnnData(X=matrix, obs=_plain(contents.obs, keys), var=var)


def _locate(adata: AnnData, contents: Contents, positions: Coordinates | None) -> AnnData:
    kept, found = located(contents, positions)
    adata = adata if kept.all() else adata[kept].copy()
    adata.obsm[slots.SPATIAL] = found
    return adata


def _to_csr(matrix: Any) -> sparse.csr_matrix:
    if isinstance(matrix, h5py.Group | h5py.Dataset):
        from anndata.io import read_elem

        matrix = read_elem(matrix)
    csr = sparse.csr_matrix(matrix, dtype=np.float32)
    csr.sum_duplicates()
    csr.eliminate_zeros()
    return csr


def _plain(obs: pd.DataFrame, keys: Collection[str]) -> pd.DataFrame:
    """Return ``obs`` with text as categories of strings and numbers as they are."""
    plain = obs.set_axis(as_names(obs.index)).rename_axis(None)
    plain.columns = plain.columns.astype(str)
    texts = [name for name, kind in plain.dtypes.items() if kind.kind not in "biuf"]
    private = [name for name in plain.columns if name.startswith("_") and name not in keys]
    plain = plain.drop(columns=private)
    return plain.assign(**{str(name): as_labels(plain[name]) for name in texts if name in plain})


def as_labels(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column as categories of strings; missing values are the empty string."""
    return column.astype(object).where(column.notna(), "").astype(str).astype("category")
