"""Writing imputed expression block by block, so that the file never has to be held in memory."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np
import pandas as pd

from stlatent import slots
from stlatent.imputation.candidates import location_blocks
from stlatent.imputation.imputer import Block

if TYPE_CHECKING:
    from anndata import AnnData

# Blocks of locations are whole chunks.
SPOTS_PER_CHUNK = 1024
GENES_PER_CHUNK = 200


def create_matrix(group: h5py.Group, name: str, shape: tuple[int, int]) -> h5py.Dataset:
    """Make an empty float32 matrix of an h5ad file, compressed and chunked by spots and genes."""
    data = group.create_dataset(
        name,
        shape=shape,
        dtype="float32",
        chunks=(min(SPOTS_PER_CHUNK, shape[0]), min(GENES_PER_CHUNK, shape[1])),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
    )
    data.attrs["encoding-type"] = "array"
    data.attrs["encoding-version"] = "0.2.0"
    return data


class ImputedFile:
    """An h5ad file that is filled with blocks of genes, from the first gene to the last.

    Parameters
    ----------
    path
        The file to write.
    skeleton
        Without ``X``: obs, var (one row per gene), obsm and uns of the output.
    default
        The method of ``X``, on the count scale.
    layers
        Methods to add as layers, on the count scale.
    normalised
        Whether to add ``layers['normalised']`` of the default method.
    """

    def __init__(
        self,
        path: str | Path,
        skeleton: AnnData,
        default: str,
        layers: list[str],
        normalised: bool,
    ) -> None:
        with slots.plain_text():
            skeleton.write_h5ad(path, compression="gzip")
        self.file = h5py.File(path, "r+")
        if "X" in self.file:
            del self.file["X"]
        self.default, self.n_written = default, 0
        shape, group = (skeleton.n_obs, skeleton.n_vars), self.file["layers"]
        self.counts = {default: create_matrix(self.file, "X", shape)}
        self.counts |= {name: create_matrix(group, name, shape) for name in layers}
        self.normalised = create_matrix(group, slots.NORMALISED, shape) if normalised else None

    def __enter__(self) -> Self:
        """Return the open file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.file.close()

    def write(self, block: Block) -> None:
        """Write the next block of genes."""
        columns = slice(self.n_written, self.n_written + len(block.targets.names))
        for rows in location_blocks(block.view.n_locations):
            for method, data in self.counts.items():
                data[rows, columns] = block.counts(method, rows)
            if self.normalised is not None:
                self.normalised[rows, columns] = block.normalised(self.default, rows)
        self.n_written = columns.stop

    def replace_var(self, var: pd.DataFrame) -> None:
        """Write ``var`` anew."""
        replace_var(self.file, var)

    def note(self, **values: dict[str, Any]) -> None:
        """Add dictionaries to ``uns['stlatent']``."""
        import anndata

        group = self.file[f"uns/{slots.UNS}"]
        for name, value in values.items():
            if name in group:
                del group[name]
            anndata.io.write_elem(group, name, value)


def replace_var(file: h5py.File, var: pd.DataFrame) -> None:
    """Write ``var`` of an open h5ad file anew."""
    import anndata

    del file["var"]
    with slots.plain_text():
        anndata.io.write_elem(file, "var", var)


def gene_table(
    genes: list[str], method: str, measured: set[str], decoded: set[str]
) -> pd.DataFrame:
    """Return ``var`` of the output: the method of ``X``, whether a gene was measured or decoded."""
    index = pd.Index(genes, dtype=str)
    return pd.DataFrame(
        {
            slots.MEASURED: np.array([gene in measured for gene in genes], dtype=bool),
            slots.METHOD: method,
            slots.IN_DECODER: np.array([gene in decoded for gene in genes], dtype=bool),
        },
        index=index,
    )
