"""Writing imputed expression block by block, so that memory does not grow with the genes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd

from stlatent import slots
from stlatent.imputation.imputer import Imputer, gene_blocks
from stlatent.sampling import reference_cells
from stlatent.trust.gene_features import COMPARED, GeneFeatures

if TYPE_CHECKING:
    from anndata import AnnData

SPOTS_PER_CHUNK = 1000
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


def write_imputed(
    path: str | Path,
    skeleton: AnnData,
    imputer: Imputer,
    genes: list[str],
    default: str,
    layers: list[str],
    normalised: bool,
    features: bool = False,
    unseen: Sequence[tuple[Imputer, list[str]]] = (),
) -> None:
    """Impute ``genes`` and write them.

    Where the tissue holds counts, ``obs`` gets every spot's expected library.

    Parameters
    ----------
    path
        The h5ad file to write.
    skeleton
        Without ``X``: obs, var (one row per gene), obsm and uns of the output.
    imputer
        What predicts.
    genes
        Genes to impute, the columns of the output.
    default
        The method of ``X``, on the count scale.
    layers
        Methods to add as layers, on the count scale.
    normalised
        Whether to add ``layers['normalised']`` of the default method.
    features
        Whether to add to ``var`` what `stlatent.trust.gene_features` says of the default method.
    unseen
        Imputers that see no measurement of some genes of the panel, and those genes. The features of
        a gene of the panel come from there, or it has none: predicted from itself, any gene looks
        reliable.
    """
    if imputer.counts:
        skeleton.obs = skeleton.obs.assign(**{slots.EXPECTED_LIBRARY: imputer.library})
    describer = describe_genes(imputer, genes) if features else None
    compared = list(COMPARED) if features else []
    described = []
    with slots.plain_text():
        skeleton.write_h5ad(path, compression="gzip")
    shape = (skeleton.n_obs, len(genes))
    methods = list(dict.fromkeys([default, *layers]))
    with h5py.File(path, "r+") as file:
        if "X" in file:
            del file["X"]
        group = file["layers"]
        targets = {
            name: create_matrix(file, "X", shape)
            if name == default
            else create_matrix(group, name, shape)
            for name in methods
        }
        scaled = create_matrix(group, slots.NORMALISED, shape) if normalised else None
        start = 0
        for names in gene_blocks(genes):
            columns = slice(start, start + len(names))
            start += len(names)
            block = Block(imputer, names, default, [*layers, *compared])
            for name in layers:
                targets[name][:, columns] = imputer.on_count_scale(block.predicted[name], names)
            targets[default][:, columns] = block.counts
            if scaled is not None:
                scaled[:, columns] = block.normalised
            if describer is not None:
                described.append(block.features(describer))
        if described:
            table = pd.concat(described)
            for other, hidden in unseen:
                _replace_features(table, other, hidden, default)
            blind = {gene for _, hidden in unseen for gene in hidden}
            seen = [g for g in imputer.candidates.panel if g in table.index and g not in blind]
            table.loc[seen, list(slots.FEATURES)] = np.nan
            replace_var(file, skeleton.var.join(table))


class Block:
    """A block of genes predicted by the default method and by others, each scale computed once."""

    def __init__(self, imputer: Imputer, names: list[str], default: str, others: list[str]) -> None:
        self.imputer, self.names, self.default = imputer, names, default
        self.problem = imputer.candidates.problem(names)
        methods = list(dict.fromkeys([default, *others]))
        self.predicted = imputer.predict(names, methods, self.problem)

    @cached_property
    def counts(self) -> np.ndarray:
        """The default method on the count scale."""
        return self.imputer.on_count_scale(self.predicted[self.default], self.names)

    @cached_property
    def normalised(self) -> np.ndarray:
        """The default method on the normalised scale."""
        return self.imputer.normalised(self.predicted[self.default], self.names)

    def features(self, describer: GeneFeatures) -> pd.DataFrame:
        """Return the features of the genes, one row a gene."""
        compared = [self.predicted[name] for name in COMPARED]
        default = self.predicted[self.default]
        table = describer.table(self.problem, default, compared, self.normalised, self.counts)
        return table.set_axis(self.names)


def _replace_features(
    table: pd.DataFrame, imputer: Imputer, hidden: list[str], default: str
) -> None:
    # The moments stay: intervals standardise the values that are written by them.
    columns = [name for name in table if name not in (slots.NORMALISED_MEAN, slots.NORMALISED_SD)]
    known = [gene for gene in hidden if gene in table.index]
    if not known:
        return
    describer = describe_genes(imputer, known)
    for names in gene_blocks(known):
        found = Block(imputer, names, default, list(COMPARED)).features(describer)
        table.loc[names, columns] = found[columns]


def describe_genes(imputer: Imputer, genes: list[str]) -> GeneFeatures:
    """Return what computes the features of genes that ``imputer`` imputes."""
    candidates = imputer.candidates
    cells = reference_cells(candidates.reference.n_obs, candidates.seed)
    return GeneFeatures(
        candidates.problem(genes[:1]),
        candidates.latent[cells],
        imputer.library if imputer.counts else None,
        candidates.seed,
    )


def replace_var(file: h5py.File, var: pd.DataFrame) -> None:
    """Write ``var`` of an open h5ad file anew."""
    import anndata

    del file["var"]
    with slots.plain_text():
        anndata.io.write_elem(file, "var", var)


def note(path: str | Path, name: str, value: dict[str, float]) -> None:
    """Add a dictionary to ``uns['stlatent']`` of a written file."""
    import anndata

    with h5py.File(path, "r+") as file:
        group = file[f"uns/{slots.UNS}"]
        if name in group:
            del group[name]
        anndata.io.write_elem(group, name, value)


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
