"""Scales of expression that reference and tissue share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from stlatent import slots

if TYPE_CHECKING:
    from anndata import AnnData

CLIP = 5.0
# What a location's few counts say of its library is noise, which prediction and truth would share.
MIN_VISIBLE_COUNTS = 5
# Larger values are no logarithms of expression.
LARGEST_LOGARITHM = 30.0
REFERENCE_TARGET = 1e4


def dense(matrix: sp.csr_matrix | np.ndarray) -> np.ndarray:
    """Return ``matrix`` as a float32 array."""
    return np.asarray(matrix.toarray() if sp.issparse(matrix) else matrix, dtype=np.float32)


def library_size(matrix: sp.csr_matrix | np.ndarray) -> np.ndarray:
    """Return every observation's total, at least 1, as an n vector."""
    return np.maximum(np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel(), 1)


def log_normalise(values: np.ndarray, library: np.ndarray, target: float) -> np.ndarray:
    """Return log(1 + values / library * target), shaped like ``values`` (n x genes)."""
    return np.log1p(values * (target / library)[:, None]).astype(np.float32)


def standardise(values: np.ndarray) -> np.ndarray:
    """Return z-scores per gene (column), clipped at +-5; constant genes become 0."""
    centred = values - values.mean(0)
    spread = values.std(0)
    return np.clip(centred / np.where(spread > 0, spread, 1), -CLIP, CLIP).astype(np.float32)


def visible_library(adata: AnnData, hidden: list[str]) -> np.ndarray | None:
    """Return every observation's total over the genes outside ``hidden``; None for intensities."""
    if not slots.facts(adata)["counts"]:
        return None
    visible = ~adata.var_names.isin(hidden)
    # A product with the mask spares a copy of the matrix.
    return np.asarray(adata.X @ visible.astype(np.float64), dtype=np.float64).ravel()


def enough_counts(library: np.ndarray | None, n: int) -> np.ndarray:
    """Return the mask (n) of the locations whose library can be divided out.

    Parameters
    ----------
    library
        Of `visible_library`: locations with fewer than `MIN_VISIBLE_COUNTS` are left out.
    n
        Number of locations.
    """
    return np.ones(n, dtype=bool) if library is None else np.asarray(library) >= MIN_VISIBLE_COUNTS


def linear(adata: AnnData) -> sp.csr_matrix:
    """Return expression that adds up over genes: counts as they are, logarithms undone.

    Values of a reference that are no counts are taken for log(1 + x) as long as none exceeds
    `LARGEST_LOGARITHM`, and for linear expression (TPM, ...) otherwise.
    """
    values = sp.csr_matrix(adata.X)
    if slots.facts(adata)["counts"] or values.max() > LARGEST_LOGARITHM:
        return values
    return values.expm1()


def like_counts(adata: AnnData) -> sp.csr_matrix:
    """Return counts as they are, other values as shares of the row's total * `REFERENCE_TARGET`.

    n x genes. Whatever a reference without counts holds (TPM, or logarithms of other totals), genes
    are so ranked and modelled as those of counts are.
    """
    if slots.facts(adata)["counts"]:
        return sp.csr_matrix(adata.X)
    values = linear(adata)
    total = np.asarray(values.sum(axis=1), dtype=np.float64).ravel()
    scale = sp.diags(REFERENCE_TARGET / np.where(total > 0, total, 1.0))
    return (scale @ values).tocsr().astype(np.float32)


def reference_expression(reference: AnnData, cells: np.ndarray, genes: list[str]) -> np.ndarray:
    """Return `log_shares` of some cells, cells x genes float32."""
    return dense(log_shares(reference, genes, cells))


def log_shares(
    reference: AnnData, genes: list[str], cells: np.ndarray | slice = slice(None)
) -> sp.csr_matrix:
    """Return log(1 + share of the cell's expression * `REFERENCE_TARGET`), cells x genes, sparse."""
    values = linear(reference)
    library = library_size(values)[cells]
    shares = values[:, reference.var_names.get_indexer(genes)][cells]
    shares.sum_duplicates()
    stored = shares.data.astype(np.float32)[:, None]
    # Zeros stay zeros.
    row_library = np.repeat(library, np.diff(shares.indptr))
    shares.data = log_normalise(stored, row_library, REFERENCE_TARGET).ravel()
    return shares
