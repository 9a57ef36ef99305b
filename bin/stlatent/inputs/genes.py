"""Selection of genes, and the folds that hide some of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from scipy import sparse

from stlatent import slots
from stlatent.expression import LARGEST_LOGARITHM, like_counts
from stlatent.failures import DataError
from stlatent.records.base import FULL_FIT
from stlatent.records.inputs import Fold, Population, PopulationName

if TYPE_CHECKING:
    from anndata import AnnData

MIN_BATCH = 50
MIN_SHARED_GENES = 3
MIN_FITTED_GENES = 10
# Fewer held-out genes say little of the others.
MIN_SCORED_GENES = 150
ROUNDING = 1e-8
POOLED = "pooled"
DELIVERED: Final = "delivered"
VARIABLE: Final = "variable"
SHARED: Final = "shared"


def rank_genes(adata: AnnData, n_top: int | None = None) -> list[str]:
    """Rank all genes by how much they vary for their abundance, best first.

    As by scanpy's ``seurat_v3``: the variance of counts, or of a reference's other values made
    `like_counts`, is standardised by a fit over genes; the median rank over batches counts. Where
    the fit fails, as on small panels, the variance of log-normalised values decides.

    Parameters
    ----------
    adata
        ``X``: ``n_obs x n_vars``, raw counts or other values of a reference, CSR.
    n_top
        How many genes are ranked within each batch; all by default.
    """
    values = like_counts(adata)
    try:
        return _rank_by_seurat_v3(values, adata.var_names, batches(adata), n_top or adata.n_vars)
    except (ValueError, ZeroDivisionError, np.linalg.LinAlgError) as error:
        warnings.warn(f"ranking genes by log-normalised variance: {error}", stacklevel=2)
        return _sorted_by(variances(log_normalised(values)), adata.var_names)


def rank_by_signal(adata: AnnData) -> list[str]:
    """Rank all genes of a tissue by the variance of log-normalised counts or of intensities.

    Sparse tissues make a variance that is standardised by the mean favour genes hardly detected.
    Intensities too large for logarithms are logged, or the brightest gene would always vary most;
    nothing divides them, as intensities of different genes do not add up to a library.
    """
    values = adata.X
    if slots.facts(adata)["counts"]:
        values = log_normalised(values)
    elif values.max() > LARGEST_LOGARITHM:
        values = values.log1p()
    return _sorted_by(variances(values), adata.var_names)


def batches(adata: AnnData) -> pd.Series[str] | None:
    """Return the batch of each observation for gene selection, or None without batches.

    Batches of fewer than 50 observations are too small for a fit of their own and are pooled; a
    pool that stays too small joins the largest batch.
    """
    column = slots.label_column(adata, "batch_key")
    if column is None:
        return None
    labels = column.astype(str)
    sizes = labels.value_counts()
    small = sizes.index[sizes < MIN_BATCH]
    joins = POOLED if sizes[small].sum() >= MIN_BATCH else sizes.index[0]
    pooled = labels.where(~labels.isin(small), joins)
    return pooled if pooled.nunique() > 1 else None


def variances(matrix: sparse.csr_matrix) -> np.ndarray:
    """Return the variance of each of the ``n_vars`` columns of a CSR matrix, in double precision.

    Variances that are rounding errors of a constant column are zero.
    """
    n_obs, n_vars = matrix.shape
    values = matrix.data.astype(float)
    mean = np.bincount(matrix.indices, values, n_vars) / n_obs
    square = np.bincount(matrix.indices, values**2, n_vars) / n_obs
    found = square - mean**2
    return np.where(found > ROUNDING * square, found, 0.0)


def log_normalised(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Scale rows to the median of their sums and take log(1 + x)."""
    sums = np.asarray(matrix.sum(axis=1), dtype=float).ravel()
    target = np.median(sums[sums > 0]) if (sums > 0).any() else 1.0
    factors = np.divide(target, sums, out=np.zeros_like(sums), where=sums > 0)
    return (sparse.diags(factors) @ matrix).tocsr().log1p()


def shared_genes(spatial: AnnData, reference: AnnData) -> list[str]:
    """Return the genes that vary in both, in the order of the spatial data.

    Raises
    ------
    DataError
        When there are fewer than three.
    """
    varying = set(reference.var_names[variances(reference.X) > 0])
    candidates = spatial.var_names[variances(spatial.X) > 0]
    shared = [gene for gene in candidates if gene in varying]
    if len(shared) < MIN_SHARED_GENES:
        msg = (
            f"only {len(shared)} genes are expressed and vary both in the sample and in the"
            f" reference after quality control; at least {MIN_SHARED_GENES} are needed."
            " Check that the gene names agree, and that the filters keep enough genes"
        )
        raise DataError(msg)
    return shared


def delivered_genes(
    choice: str, known: Sequence[str], hvg: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the genes that a run imputes, and those asked for that cannot be.

    Parameters
    ----------
    choice
        ``hvg``, ``all``, or the path of a file with one gene a line.
    known
        Genes that can be imputed.
    hvg
        Genes the VAE is trained on.

    Raises
    ------
    DataError
        When none of the genes asked for can be imputed.
    """
    if choice in {"hvg", "all"}:
        return list(hvg if choice == "hvg" else known), []
    lines = (line.strip() for line in Path(choice).read_text().splitlines())
    asked = list(dict.fromkeys(line for line in lines if line))
    present = set(known)
    found = [gene for gene in asked if gene in present]
    if not found:
        msg = (
            f"none of the {len(asked)} genes of {Path(choice).name} is in the reference after "
            "quality control; check the names, or lower reference_min_cells"
        )
        raise DataError(msg)
    return found, sorted(set(asked) - set(found))


def population(
    shared: Sequence[str], delivered: Sequence[str], hvg: Sequence[str]
) -> tuple[PopulationName, list[str]]:
    """Return the name and the members of the population that scored genes are drawn from.

    What is promised of the genes that are delivered has to be measured on such genes: `DELIVERED` are
    the shared genes among them. Where these are fewer than `MIN_SCORED_GENES` (a short list), the
    reference's most variable genes join them, `VARIABLE`, and at last all that are shared, `SHARED`.
    """
    delivered_set = set(delivered)
    pools: dict[PopulationName, set[str]] = {
        DELIVERED: delivered_set,
        VARIABLE: delivered_set | set(hvg),
    }
    for name, pool in pools.items():
        members = [gene for gene in shared if gene in pool]
        if len(members) >= min(MIN_SCORED_GENES, len(shared)):
            return name, members
    return SHARED, list(shared)


def abundance(reference: AnnData) -> pd.Series[float]:
    """Return each gene's mean over cells of its log-normalised counts (`like_counts`)."""
    values = log_normalised(like_counts(reference))
    return pd.Series(np.asarray(values.mean(axis=0)).ravel(), index=reference.var_names)


def evaluation_genes(
    members: Sequence[str], abundance: pd.Series[float], n_genes: int, seed: int
) -> list[str]:
    """Draw the genes that are scored: a random one from each of ``n_genes`` strata of abundance.

    The strata hold equally many genes, so that the sample is as abundant and as rare as the
    population.

    Parameters
    ----------
    members
        Of the population.
    abundance
        Of `abundance`.
    n_genes
        How many; all when 0 or when there are no more.
    seed
        Of the draw.

    Returns
    -------
    Sorted by name.
    """
    if not n_genes or len(members) <= n_genes:
        return sorted(members)
    ordered = np.array(sorted(members, key=lambda gene: (abundance[gene], gene)), dtype=object)
    rng = np.random.default_rng(seed)
    return sorted(str(rng.choice(stratum)) for stratum in np.array_split(ordered, n_genes))


def partition(genes: Sequence[str], n_folds: int, seed: int) -> list[list[str]]:
    """Shuffle genes and split them into folds of about equal size.

    There are at most as many folds as genes, and none with fewer than two genes, since each fold
    has to leave something to align by.
    """
    n_folds = min(n_folds, len(genes))
    if n_folds < 2:
        return []
    shuffled = np.array(genes, dtype=object)
    np.random.default_rng(seed).shuffle(shuffled)
    return [part.tolist() for part in np.array_split(shuffled, n_folds)]


def alignment_panel(
    spatial: AnnData, visible: Sequence[str], reference_ranking: Sequence[str], n_genes: int
) -> list[str]:
    """Choose the genes to align by, from visible genes alone.

    Parameters
    ----------
    spatial
        Spatial data; only the columns of ``visible`` are looked at.
    visible
        Shared genes that are not hidden.
    reference_ranking
        Genes of the reference, most variable first; genes that are not in it come last.
    n_genes
        Size of the panel; a smaller number of visible genes is used whole.

    Returns
    -------
    Genes by the mean of their ranks in the reference and in the spatial data, best first.
    """
    spatial_rank = _ranks(rank_by_signal(spatial[:, list(visible)].copy()))
    known = set(visible)
    reference_rank = _ranks([gene for gene in reference_ranking if gene in known])
    last = len(known)

    def mean_rank(gene: str) -> tuple[float, int]:
        return spatial_rank[gene] + reference_rank.get(gene, last), spatial_rank[gene]

    return sorted(visible, key=mean_rank)[:n_genes]


def make_folds(
    spatial: AnnData,
    shared: Sequence[str],
    reference_ranking: Sequence[str],
    scored: Sequence[str],
    population: Population | None = None,
    *,
    n_folds: int,
    n_alignment_genes: int,
    seed: int,
) -> Iterator[Fold]:
    """Yield the fold ``all``, which hides nothing, and folds ``1`` to ``k`` of the ``scored`` genes.

    ``population`` says what those were drawn from.

    The panel of each fold is chosen anew without the values of its hidden genes. Where few genes are
    shared there are more folds, so that each leaves enough of them, or none at all.
    """
    sample = slots.facts(spatial)["source"]
    panel = alignment_panel(spatial, shared, reference_ranking, n_alignment_genes)
    yield Fold(sample, FULL_FIT, [], panel, population)
    if n_folds == 0:
        return
    room = len(shared) - MIN_SHARED_GENES
    if room < 1:
        return
    n_folds = max(n_folds, math.ceil(len(scored) / room))
    for number, hidden in enumerate(partition(scored, n_folds, seed), start=1):
        away = set(hidden)
        visible = [gene for gene in shared if gene not in away]
        panel = alignment_panel(spatial, visible, reference_ranking, n_alignment_genes)
        yield Fold(sample, str(number), hidden, panel, population)


def _rank_by_seurat_v3(
    matrix: sparse.csr_matrix, names: pd.Index[str], groups: pd.Series[str] | None, n_top: int
) -> list[str]:
    import anndata
    import scanpy

    _refuse_small_fit(matrix, groups)
    rows = [str(number) for number in range(matrix.shape[0])]
    obs = pd.DataFrame({"batch": POOLED if groups is None else groups.to_numpy()}, index=rows)
    counts = anndata.AnnData(X=matrix, obs=obs, var=pd.DataFrame(index=names))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = scanpy.pp.highly_variable_genes(
            counts,
            flavor="seurat_v3",
            n_top_genes=min(n_top, len(names)),
            inplace=False,
            batch_key=None if groups is None else "batch",
        )
    if not np.isfinite(table["variances_norm"]).all():
        msg = "the fit of variances gave values that are not finite"
        raise ValueError(msg)
    table["n_batches"] = table.get("highly_variable_nbatches", 0)
    order = ["highly_variable_rank", "n_batches", "variances_norm"]
    table = table.set_axis(names).sort_values(
        order, ascending=[True, False, False], na_position="last", kind="stable"
    )
    return table.index.tolist()


def _refuse_small_fit(matrix: sparse.csr_matrix, groups: pd.Series[str] | None) -> None:
    # The local regression that scanpy calls ends the process on two or three points.
    parts = (
        [matrix]
        if groups is None
        else [matrix[(groups == name).to_numpy()] for name in groups.unique()]
    )
    fewest = min(int((variances(part) > 0).sum()) for part in parts)
    if fewest < MIN_FITTED_GENES:
        msg = f"{fewest} varying genes are too few for a fit"
        raise ValueError(msg)


def _sorted_by(values: np.ndarray, names: pd.Index[str]) -> list[str]:
    return names[np.argsort(-values, kind="stable")].tolist()


def _ranks(ranking: Sequence[str]) -> dict[str, int]:
    return {gene: rank for rank, gene in enumerate(ranking)}
