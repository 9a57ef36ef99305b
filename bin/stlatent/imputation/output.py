"""Writing imputed expression block by block, so that memory does not grow with the genes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd

from stlatent import slots
from stlatent.imputation.imputer import DEFAULT_METHOD, Imputer, Scale, gene_blocks

if TYPE_CHECKING:
    from anndata import AnnData

SPOTS_PER_CHUNK = 1000


def _matrix(group: h5py.Group, name: str, shape: tuple[int, int], block: int) -> h5py.Dataset:
    data = group.create_dataset(
        name,
        shape=shape,
        dtype="float32",
        chunks=(min(SPOTS_PER_CHUNK, shape[0]), min(block, shape[1])),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
    )
    data.attrs["encoding-type"] = "array"
    data.attrs["encoding-version"] = "0.2.0"
    return data


def write_imputed(
    path: str | Path,
    skeleton: AnnData,
    imputer: Imputer,
    scale: Scale,
    genes: list[str],
    normalised: bool,
) -> dict[str, float]:
    """Impute ``genes`` with every method and write them.

    Parameters
    ----------
    path
        The h5ad file to write.
    skeleton
        Without ``X``: obs, var (one row per gene), obsm and uns of the output.
    imputer, scale
        What predicts, and on which scale.
    genes
        Genes to impute, the columns of the output.
    normalised
        Whether to add ``layers['normalised']``.

    Returns
    -------
    Seconds spent by each method.
    """
    seconds = dict.fromkeys(imputer.methods, 0.0)
    slots.check(skeleton, slots.Contract("IMPUTE", obsm=(slots.SPATIAL,), has_x=False), str(path))
    skeleton.write_h5ad(path, compression="gzip")
    shape = (skeleton.n_obs, len(genes))
    with h5py.File(path, "r+") as file:
        if "X" in file:
            del file["X"]
        layers = file["layers"]
        block = next((len(names) for names in gene_blocks(genes)), 1)
        targets = {
            method: _matrix(file, "X", shape, block)
            if method == DEFAULT_METHOD
            else _matrix(layers, method, shape, block)
            for method in imputer.methods
        }
        if normalised:
            targets[slots.NORMALISED] = _matrix(layers, slots.NORMALISED, shape, block)
        start = 0
        for names in gene_blocks(genes):
            columns = slice(start, start + len(names))
            start += len(names)
            for method, predict in imputer.methods.items():
                began = time.perf_counter()
                share = predict(names)
                seconds[method] += time.perf_counter() - began
                targets[method][:, columns] = scale.on_count_scale(share)
                if normalised and method == DEFAULT_METHOD:
                    targets[slots.NORMALISED][:, columns] = scale.normalised(share)
    return seconds


def gene_table(genes: list[str], measured: set[str], decoded: set[str]) -> pd.DataFrame:
    """Return ``var`` of the output: whether a gene was measured, and the methods that give it."""
    index = pd.Index(genes, dtype=str)
    return pd.DataFrame(
        {
            "measured": np.array([gene in measured for gene in genes], dtype=bool),
            "method": DEFAULT_METHOD,
            "in_decoder": np.array([gene in decoded for gene in genes], dtype=bool),
        },
        index=index,
    )
