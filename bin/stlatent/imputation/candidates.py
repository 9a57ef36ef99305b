"""The candidates: ways to predict any gene of the reference at every location of a tissue.

A candidate is fitted to the view of a fold, once; then to the targets of a block of genes; and then
predicts them, on the working scale, at any block of locations. Panels alone decide for all but
`transfer` and `decoder`, from the smooth to the local, and from cells or from genes as samples, so
that their errors differ.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_matrix

from stlatent.arrays import Array
from stlatent.expression import CLIP
from stlatent.imputation.regression import KernelRidge, Ridge, chunks
from stlatent.imputation.view import Targets, View, known

MAX_LANDMARKS = 2000
KERNEL_SCALE = 2.0
KERNEL_RIDGE = 5.0
RIDGE_PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(2, 11))
GENE_KERNEL_SCALE = 2.0
GENE_KERNEL_NOISE = 0.1
N_TRANSFER_NEIGHBORS = 50
TRANSFER_SHARPNESS = 5.0
# Counts per REFERENCE_TARGET below which abundances no longer differ.
LOG_MEAN_OFFSET = 1e-2
# A multiple of the rows that kernels are evaluated at, and of the rows of a chunk in files.
LOCATIONS_PER_BLOCK = 16_384
_CHUNK_VALUES = 20_000_000

# Locations -> their predictions, locations x targets float32.
Predict = Callable[[slice], Array]
# A candidate fitted to a view: learns the targets of a block of genes.
Fitted = Callable[[Targets], Predict]
Fit = Callable[[View], Fitted]


def all_genes(view: View) -> list[str]:
    """Return the genes of the reference."""
    return known(view.cells).reference.var_names.tolist()


@dataclass(frozen=True)
class Candidate:
    """A way to predict genes.

    Attributes
    ----------
    fit
        Computes what depends on the view alone.
    needs_alignment
        Whether it takes the tissue's placement in the latent space.
    in_stack
        Whether the stack combines it.
    genes
        Of a view: the genes it can predict. It gives NaN for others.
    """

    fit: Fit
    needs_alignment: bool = False
    in_stack: bool = True
    genes: Callable[[View], list[str]] = all_genes


CANDIDATES: dict[str, Candidate] = {}


def register[F: Fit](
    name: str,
    *,
    needs_alignment: bool = False,
    in_stack: bool = True,
    genes: Callable[[View], list[str]] = all_genes,
) -> Callable[[F], F]:
    """Register a function as the `Candidate` called ``name``."""

    def add(fit: F) -> F:
        CANDIDATES[name] = Candidate(fit, needs_alignment, in_stack, genes)
        return fit

    return add


def stacked(needs_alignment: bool | None = None) -> tuple[str, ...]:
    """Return the names of what the stack combines; of those that need the alignment, or do not."""
    return tuple(
        name
        for name, candidate in CANDIDATES.items()
        if candidate.in_stack and needs_alignment in (None, candidate.needs_alignment)
    )


@dataclass
class Candidates:
    """All candidates for one view, each fitted at its first use.

    Attributes
    ----------
    view
        What they look at.
    seconds
        Spent so far, by candidate.
    """

    view: View
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _fitted: dict[str, Fitted] = field(default_factory=dict, repr=False)

    def predict(self, name: str, targets: Targets) -> Array:
        """Return what candidate ``name`` predicts, all locations x targets."""
        began = time.perf_counter()
        if name not in self._fitted:
            self._fitted[name] = CANDIDATES[name].fit(self.view)
        predict = self._fitted[name](targets)
        found = np.empty((self.view.n_locations, len(targets.names)), dtype=np.float32)
        for locations in location_blocks(self.view.n_locations):
            found[locations] = predict(locations)
        self.seconds[name] += time.perf_counter() - began
        return found


def location_blocks(n: int) -> list[slice]:
    """Return slices of at most `LOCATIONS_PER_BLOCK` that cover ``n`` locations."""
    return chunks(n, LOCATIONS_PER_BLOCK)


@register("transfer", needs_alignment=True)
def transfer(view: View) -> Fitted:
    """Mean of the reference cells around a location in the latent space, weighted by attention."""
    attention = view.attention

    def fitted(targets: Targets) -> Predict:
        return lambda locations: np.asarray(
            attention[locations] @ targets.expression, dtype=np.float32
        )

    return fitted


@register("ridge")
def ridge(view: View, mixing: float = 0.5) -> Fitted:
    """Ridge regression of z-scored targets on the z-scored panel, penalty by leave-one-out."""
    model = Ridge(view.standard_reference, RIDGE_PENALTIES)
    tissue = view.standard_tissue(mixing)

    def fitted(targets: Targets) -> Predict:
        weights, intercept, _ = model.fit(targets.standardised)
        weights, intercept = weights.astype(np.float32), intercept.astype(np.float32)
        return lambda locations: targets.restored(tissue[locations] @ weights + intercept)

    return fitted


@register("kernel_ridge")
def kernel_ridge(
    view: View,
    scale: float = KERNEL_SCALE,
    penalty: float = KERNEL_RIDGE,
    mixing: float = 0.3,
    max_landmarks: int = MAX_LANDMARKS,
) -> Fitted:
    """Kernel ridge regression with k(x, y) = exp(scale (cos(x, y) - 1)) on z-scored panels.

    See `stlatent.imputation.regression.KernelRidge`.
    """
    panel = unit_rows(view.standard_reference)
    model = KernelRidge(panel, scale, penalty, max_landmarks, view.seed)
    tissue = view.standard_tissue(mixing)

    def fitted(targets: Targets) -> Predict:
        weights = model.fit(targets.standardised)
        return lambda locations: targets.restored(
            model.predict(unit_rows(tissue[locations]), weights)
        )

    return fitted


register("kernel_ridge_sharp")(partial(kernel_ridge, scale=6.0, penalty=2.0))


@register("knn")
def knn(view: View, n_neighbors: int = N_TRANSFER_NEIGHBORS, mixing: float = 0.3) -> Fitted:
    """Weighted mean of the targets of the reference cells nearest by cosine of z-scored panels.

    Weights are proportional to ``exp(TRANSFER_SHARPNESS * cosine)``.
    """
    weights = cosine_weights(
        unit_rows(view.standard_reference), view.standard_tissue(mixing), n_neighbors
    )

    def fitted(targets: Targets) -> Predict:
        return lambda locations: np.asarray(weights[locations] @ targets.expression)

    return fitted


def cosine_weights(reference: Array, tissue: Array, n_neighbors: int) -> csr_matrix:
    """Return weights of the cells nearest by cosine, locations x cells, rows sum to 1.

    Parameters
    ----------
    reference
        Cells x panel, rows of length 1.
    tissue
        Locations x panel.
    n_neighbors
        Cells per location; all when the reference has fewer.
    """
    n_cells = len(reference)
    k = min(n_neighbors, n_cells)
    nearest = np.empty((len(tissue), k), dtype=np.int32)
    weights = np.empty((len(tissue), k), dtype=np.float32)
    for rows in chunks(len(tissue), max(1, _CHUNK_VALUES // n_cells)):
        cosine = unit_rows(tissue[rows]) @ reference.T
        found = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
        nearest[rows] = found
        weights[rows] = np.exp(TRANSFER_SHARPNESS * np.take_along_axis(cosine, found, axis=1))
    weights /= weights.sum(axis=1, keepdims=True)
    pointers = np.arange(0, nearest.size + 1, k)
    return csr_matrix((weights.ravel(), nearest.ravel(), pointers), (len(tissue), n_cells))


@register("gene_kernel")
def gene_kernel(
    view: View,
    scale: float = GENE_KERNEL_SCALE,
    noise: float = GENE_KERNEL_NOISE,
    mixing: float = 0.3,
    abundance: bool = False,
) -> Fitted:
    """Gaussian process over genes: the tissue's own panel is the data, the reference the kernel.

    Each gene of the panel is a sample whose value is its whole map, so that a target's map is
    ``T (K_pp + noise I)^-1 K_pt`` with T the z-scored tissue panel (Rasmussen and Williams 2006,
    eq. 2.23). k(g, h) = exp(scale (corr(g, h) - 1)), the correlation over the reference's cells.
    Regressions trust the reference for how genes act together; this trusts it only for which genes
    are alike.

    Parameters
    ----------
    view
        Of the fold.
    scale, noise
        Of the kernel, and the variance of what is a gene's own.
    mixing
        Share of every location that is replaced by the mean of its spatial neighbours.
    abundance
        Whether genes must also be alike in their mean: a factor exp(-d^2 / 2), d the difference of
        log means in units of the panel's standard deviation. Genes detected alike share errors.
    """
    reference, tissue = view.standard_reference, view.standard_tissue(mixing)
    panel_units, panel_level = (
        unit_columns(reference),
        log_mean(view.reference_panel[:, view.varying]),
    )
    width = max(float(panel_level.std()), 1e-6)

    def kernel(units: Array, level: Array) -> Array:
        correlation = np.asarray(panel_units.T @ units, dtype=np.float64)
        values = np.exp(scale * (correlation - 1))
        return values * _gaussian(panel_level, level, width) if abundance else values

    # A copy, as the product of an array with itself is rounded otherwise.
    gram = kernel(panel_units.copy(), panel_level)
    gram[np.diag_indices(len(gram))] += noise
    factor = cho_factor(gram, lower=True)

    def fitted(targets: Targets) -> Predict:
        units = unit_columns(np.clip(targets.standardised, -CLIP, CLIP))
        weights = cho_solve(factor, kernel(units, log_mean(targets.expression))).astype(np.float32)
        return lambda locations: targets.restored(tissue[locations] @ weights)

    return fitted


register("gene_kernel_abundance")(partial(gene_kernel, abundance=True))


def decoded_genes(view: View) -> list[str]:
    """Return the genes of the decoder, in its order; none where the latent space has no decoder."""
    space = known(view.space)
    return [] if space.decoder is None else space.genes


@register("decoder", needs_alignment=True, in_stack=False, genes=decoded_genes)
def decoder(view: View) -> Fitted:
    """The decoder of the VAE at every location's place in the latent space."""
    space, z = known(view.space), known(view.placement).z
    column_of = {gene: column for column, gene in enumerate(decoded_genes(view))}
    covered = sum(view.mean_share[gene] for gene in space.genes)

    def fitted(targets: Targets) -> Predict:
        decoded = [number for number, gene in enumerate(targets.names) if gene in column_of]
        columns = [column_of[targets.names[number]] for number in decoded]

        def predict(locations: slice) -> Array:
            found = np.full((len(z[locations]), len(targets.names)), np.nan, dtype=np.float32)
            if columns:
                found[:, decoded] = known(space.decoder).decode(z[locations], covered)[:, columns]
            return found

        return predict

    return fitted


def unit_rows(values: Array) -> Array:
    """Return rows scaled to length 1, float32; rows of zeros stay."""
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.where(length > 0, length, 1.0), dtype=np.float32)


def unit_columns(values: Array) -> Array:
    """Return centred columns scaled to length 1; constant columns become 0.

    The product of two such matrices is the Pearson correlation of their columns.
    """
    centred = values - values.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    return np.asarray(centred / np.where(length > 0, length, 1.0))


def log_mean(expression: Array) -> Array:
    """Return the log of every gene's mean linear expression, from logarithms (cells x genes)."""
    return np.log(np.expm1(expression).mean(axis=0) + LOG_MEAN_OFFSET)


def _gaussian(x: Array, y: Array, width: float) -> Array:
    return np.exp(-0.5 * ((x[:, None] - y[None, :]) / width) ** 2)
