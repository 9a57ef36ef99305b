"""Cell Ranger's HDF5 matrices, versions 2 and 3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stlatent.failures import DataError
from stlatent.readers import positions
from stlatent.readers.registry import register

if TYPE_CHECKING:
    import h5py
    import numpy as np
    from scipy import sparse

    from stlatent.readers.contents import Contents
    from stlatent.readers.coordinates import Coordinates

GENE_EXPRESSION = "Gene Expression"


@register(
    "10x_h5",
    "Cell Ranger matrix (.h5)",
    rank=20,
    suffixes=(".h5",),
    positions=positions.of_file,
)
@contextmanager
def open_tenx_h5(path: Path, _coordinates: Coordinates | None) -> Iterator[Contents]:
    """Open a Cell Ranger matrix; of several kinds of features, gene expression is kept."""
    import h5py
    import numpy as np
    import pandas as pd
    from scipy import sparse

    from stlatent.readers.contents import Contents
    from stlatent.readers.values import scan

    with h5py.File(path, "r") as file:
        groups = [file["matrix"]] if "matrix" in file else list(_genomes(file))
        if not groups:
            msg = f"'{path.name}' is no Cell Ranger matrix: it has no group 'matrix'"
            raise DataError(msg)
        matrix = sparse.hstack([_matrix(group) for group in groups], format="csr")
        genes = np.concatenate([_genes(group) for group in groups])
        kept = np.concatenate([_is_expression(group) for group in groups])
        barcodes = groups[0]["barcodes"].asstr()[:]
    matrix = matrix if kept.all() else matrix[:, kept]
    yield Contents(
        obs=pd.DataFrame(index=pd.Index(barcodes)),
        genes=pd.Index(genes[kept]),
        matrix=matrix,
        facts=scan(matrix),
        slot="matrix",
    )


def _genomes(file: h5py.File) -> Iterator[h5py.Group]:
    import h5py

    for group in file.values():
        if isinstance(group, h5py.Group) and "gene_names" in group:
            yield group


def _matrix(group: h5py.Group) -> sparse.csr_matrix:
    from scipy import sparse

    n_genes, n_observations = group["shape"][:]
    parts = (group["data"][:], group["indices"][:], group["indptr"][:])
    return sparse.csr_matrix(parts, shape=(n_observations, n_genes))


def _genes(group: h5py.Group) -> np.ndarray:
    import numpy as np

    names = group["features/name"] if "features" in group else group["gene_names"]
    return np.asarray(names.asstr()[:], dtype=object)


def _is_expression(group: h5py.Group) -> np.ndarray:
    import numpy as np

    if "features/feature_type" not in group:
        return np.ones(len(_genes(group)), dtype=bool)
    return np.asarray(group["features/feature_type"].asstr()[:] == GENE_EXPRESSION)
