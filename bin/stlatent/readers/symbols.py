"""Gene symbols: where a table of genes keeps them, and what happens when they repeat."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from stlatent.readers.contents import as_names

ENSEMBL = re.compile(r"^(ENS[A-Z]*G\d{6,}|FBgn\d{7}|WBGene\d{8})(\.\d+)?$")
SYMBOL_COLUMNS = (
    "gene_symbols",
    "gene_symbol",
    "gene_name",
    "gene_names",
    "feature_name",
    "symbol",
    "symbols",
    "gene_short_name",
    "name",
    "gene",
)
SAMPLED = 1000


def looks_like_ensembl(genes: pd.Index[str] | list[str]) -> bool:
    """Whether most of the (first thousand) names are ids of Ensembl, FlyBase or WormBase."""
    sample = list(genes[:SAMPLED])
    return sum(bool(ENSEMBL.match(gene)) for gene in sample) > len(sample) / 2


def with_line_breaks(genes: Iterable[str]) -> list[str]:
    """Return the names that hold a line break, which lists of one gene a line cannot keep."""
    return [gene for gene in genes if gene and gene.splitlines() != [gene]]


def symbols(var: pd.DataFrame) -> pd.Index[str]:
    """Return the gene symbols of ``n_vars`` genes.

    They are the names of the rows, unless those are ids and a column of symbols exists; a gene
    without a symbol keeps its id.
    """
    names = as_names(var.index)
    columns = {str(column).lower(): column for column in var.columns}
    known = [columns[name] for name in SYMBOL_COLUMNS if name in columns]
    if not known or not looks_like_ensembl(names):
        return names
    found = var[known[0]].astype("string").str.strip()
    return pd.Index(np.where(found.fillna("") == "", names, found.fillna("")), dtype=object)


def merge_repeated(matrix: Any, genes: pd.Index[str], counts: bool) -> tuple[Any, pd.Index[str]]:
    """Merge the columns of genes that share a symbol: counts are summed, intensities averaged.

    Parameters
    ----------
    matrix
        ``n_obs x n_vars``, CSR.
    genes
        The ``n_vars`` symbols.
    counts
        Whether the values are counts.

    Returns
    -------
    The ``n_obs x n_unique`` matrix and its symbols, in the order of their first appearance.
    """
    if genes.is_unique:
        return matrix, genes
    codes, unique = pd.factorize(genes)
    weights = np.ones(len(genes)) if counts else 1 / np.bincount(codes)[codes]
    shape = (len(genes), len(unique))
    merge = sparse.csr_matrix((weights, (np.arange(len(genes)), codes)), shape=shape)
    return (matrix @ merge).astype(np.float32).tocsr(), pd.Index(unique)
