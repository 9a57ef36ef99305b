"""AnnData files, of current and of old versions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stlatent.failures import DataError
from stlatent.readers.registry import register

if TYPE_CHECKING:
    import h5py
    import numpy as np
    import pandas as pd

    from stlatent.readers.contents import Contents
    from stlatent.readers.coordinates import Coordinates

LAYER, RAW = "layers['counts']", "raw.X"
OBSM_KEYS = ("spatial", "X_spatial")


@register(
    "h5ad",
    "AnnData (.h5ad)",
    rank=10,
    suffixes=(".h5ad",),
    coordinates_cure="add obsm['spatial'] or columns x and y of obs, or "
    "name a table in column coordinates",
)
@contextmanager
def open_h5ad(path: Path, _coordinates: Coordinates | None) -> Iterator[Contents]:
    """Open an h5ad file without loading its matrices.

    The first of ``X``, ``layers['counts']`` and ``raw.X`` that holds counts is taken; when none
    does, ``X``, or the first without negative values when ``X`` holds some.
    """
    import h5py

    with h5py.File(path, "r") as file:
        if "obs" not in file or "var" not in file:
            msg = "the file is HDF5 but no AnnData: it has no obs or no var"
            raise DataError(msg)
        if isinstance(file["obs"], h5py.Group):
            yield _contents(_parts_on_disk(file))
            return
    yield _contents(_parts_of_old_version(path))


def _parts_on_disk(file: h5py.File) -> dict[str, Any]:
    import numpy as np
    from anndata.io import read_elem

    matrices = {
        "X": file.get("X"),
        LAYER: file.get("layers/counts"),
        RAW: file.get("raw/X"),
    }
    var = read_elem(file["var"])
    raw_var = read_elem(file["raw/var"]) if "raw/var" in file else var
    stored = [key for key in OBSM_KEYS if f"obsm/{key}" in file]
    return {
        "matrices": {name: matrix for name, matrix in matrices.items() if matrix is not None},
        "obs": read_elem(file["obs"]),
        "var": var,
        "raw_var": raw_var,
        "obsm": {key: np.asarray(read_elem(file[f"obsm/{key}"])) for key in stored},
    }


def _parts_of_old_version(path: Path) -> dict[str, Any]:
    import anndata
    import numpy as np

    adata = anndata.read_h5ad(path)
    raw = adata.raw
    matrices = {
        "X": adata.X,
        LAYER: adata.layers.get("counts"),
        RAW: None if raw is None else raw.X,
    }
    return {
        "matrices": {name: matrix for name, matrix in matrices.items() if matrix is not None},
        "obs": adata.obs,
        "var": adata.var,
        "raw_var": adata.var if raw is None else raw.var,
        "obsm": {key: np.asarray(adata.obsm[key]) for key in OBSM_KEYS if key in adata.obsm},
    }


def _contents(parts: dict[str, Any]) -> Contents:
    from stlatent.readers.contents import Contents
    from stlatent.readers.symbols import symbols
    from stlatent.readers.values import choose

    if not parts["matrices"]:
        msg = "the file holds no matrix (neither X, layers['counts'] nor raw.X)"
        raise DataError(msg)
    slot, facts = choose(parts["matrices"])
    var = parts["raw_var"] if slot == RAW else parts["var"]
    return Contents(
        obs=parts["obs"],
        genes=symbols(var),
        matrix=parts["matrices"][slot],
        facts=facts,
        slot=slot,
        coordinates=_coordinates(parts["obs"], parts["obsm"]),
    )


def _coordinates(obs: pd.DataFrame, obsm: dict[str, np.ndarray]) -> np.ndarray | None:
    import numpy as np

    from stlatent.readers.coordinates import column_pair

    for key in OBSM_KEYS:
        if key in obsm:
            return np.asarray(obsm[key], dtype=float)
    pair = column_pair(obs.columns)
    return None if pair is None else obs[list(pair)].to_numpy(dtype=float)
