"""What tells a believable prediction of a gene from one that is not, for any gene of the reference.

Nothing here looks at a measurement of the gene in the tissue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial import cKDTree

from stlatent import slots
from stlatent.arrays import Array
from stlatent.correlation import pcc
from stlatent.expression import standardise
from stlatent.graph import morans_i, neighbour_mean, row_weights
from stlatent.imputation.candidates import KERNEL_RIDGE, KERNEL_SCALE
from stlatent.imputation.view import Targets, View
from stlatent.sampling import subset

# Linear, smooth, local and over genes: where these agree, the panel decides and not the method.
COMPARED = ("ridge", "kernel_ridge", "knn", "gene_kernel")
MAX_CELLS = 1500
MAX_SPOTS = 10_000
N_LATENT_NEIGHBORS = 15
PANEL_PENALTY = 0.3
PANEL_MIXING = 0.5
MAX_FISHER = 0.99
_WIDTH_VALUES = 10_000_000


def fisher(correlation: Array) -> Array:
    """Return Fisher's z, atanh(r), of correlations bounded at +-`MAX_FISHER`."""
    return np.arctanh(np.clip(correlation, -MAX_FISHER, MAX_FISHER))


@dataclass
class GeneFeatures:
    """Computes `slots.FEATURES` block by block.

    Attributes
    ----------
    view
        What the genes are predicted from; its seed is that of the subsets of cells and spots.
    latent
        Latent positions of the reference cells of ``view``, or None without a latent space.
    library
        Expected library of every spot; None for intensities.
    """

    view: View
    latent: Array | None
    library: Array | None

    def table(
        self,
        targets: Targets,
        predicted: Array,
        compared: list[Array],
        normalised: Array,
        counts: Array,
    ) -> pd.DataFrame:
        """Return the features of ``targets``, one row a gene.

        Parameters
        ----------
        targets
            Of ``view``.
        predicted
            By the method in question on the working scale, spots x genes.
        compared
            By the methods of `COMPARED`.
        normalised, counts
            ``predicted`` on the normalised and on the count scale.

        Returns
        -------
        `slots.FEATURES`, and mean and sd of the normalised prediction, which intervals need. Without counts
        the features of sampling are NaN, and so is the latent one without a latent space.
        """
        target = targets.expression
        n, spread = target.shape[1], targets.spread
        standard = targets.standardised.astype(np.float32)
        found = {
            "panel_predictability": self._from_panel(standard),
            "latent_predictability": self._from_latent(standard),
            "reference_detection": (target > 0).mean(0),
            "reference_mean": target.mean(0, dtype=np.float64),
            "prediction_spread": predicted[self._spots].std(0, dtype=np.float64) / spread,
            "morans_i": self._morans_i(normalised),
            "candidate_agreement": self._agreement(compared, n),
            **self._sampling(counts),
            "panel_context": self._context(standard),
            slots.NORMALISED_MEAN: normalised.mean(0, dtype=np.float64),
            slots.NORMALISED_SD: normalised.std(0, dtype=np.float64),
        }
        return pd.DataFrame({name: np.asarray(values, float) for name, values in found.items()})

    @cached_property
    def _spots(self) -> Array:
        return subset(len(self.view.tissue_panel), MAX_SPOTS, self.view.seed)

    @cached_property
    def _cells(self) -> tuple[Array, Array]:
        """Cells to learn from and cells to predict, halves of a subset."""
        chosen = np.random.default_rng(self.view.seed).permutation(len(self.view.reference_panel))
        half = min(MAX_CELLS, len(chosen) // 2)
        return chosen[:half], chosen[half : 2 * half]

    @cached_property
    def _panel_kernel(self) -> tuple[tuple[Array, bool], Array]:
        """Factor of the kernel of the learning cells, and the kernel of the others with them."""
        learn, test = self._cells
        values = standardise(self.view.reference_panel).astype(np.float64)
        values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
        gram = np.exp(KERNEL_SCALE * (values[learn] @ values[learn].T - 1.0))
        gram[np.diag_indices(len(learn))] += KERNEL_RIDGE
        return cho_factor(gram), np.exp(KERNEL_SCALE * (values[test] @ values[learn].T - 1.0))

    def _from_panel(self, standard: Array) -> Array:
        """Correlation in reference cells that a kernel ridge on the panel did not learn from."""
        learn, test = self._cells
        factor, kernel = self._panel_kernel
        return pcc(kernel @ cho_solve(factor, standard[learn]), standard[test])

    @cached_property
    def _latent_mean(self) -> tuple[Array, sp.csr_matrix] | None:
        if self.latent is None:
            return None
        cells = np.concatenate(self._cells)
        k = min(N_LATENT_NEIGHBORS, len(cells) - 1)
        found = cKDTree(self.latent[cells]).query(self.latent[cells], k=np.arange(2, k + 2))
        nearest = np.asarray(found[1])
        rows = np.repeat(np.arange(len(cells)), k)
        weights = np.full(nearest.size, 1.0 / k, dtype=np.float32)
        shape = (len(cells), len(cells))
        return cells, sp.csr_matrix((weights, (rows, nearest.ravel())), shape=shape)

    def _from_latent(self, standard: Array) -> Array:
        """Correlation of reference cells with the mean of their neighbours in the latent space."""
        if self._latent_mean is None:
            return np.full(standard.shape[1], np.nan)
        cells, mean = self._latent_mean
        return pcc(mean @ standard[cells], standard[cells])

    def _morans_i(self, values: Array) -> Array:
        """Moran's I, NaN without neighbours."""
        if self.view.nearest is None:
            return np.full(values.shape[1], np.nan)
        weights = row_weights(self.view.nearest)
        parts = [morans_i(values[:, columns], weights) for columns in _column_chunks(values)]
        return np.concatenate(parts)

    def _agreement(self, compared: list[Array], n: int) -> Array:
        """Mean pairwise correlation of the methods' predictions."""
        pairs = [
            pcc(one[self._spots], other[self._spots]) for one, other in combinations(compared, 2)
        ]
        return np.mean(pairs, axis=0) if pairs else np.full(n, np.nan)

    def _sampling(self, counts: Array) -> dict[str, Array]:
        """How far sampling of molecules lets a true prediction correlate, and the library's part.

        If the predicted counts were the expected ones, Poisson sampling would leave a correlation of
        sqrt(var(mu) / (var(mu) + mean(mu))).
        """
        names = (
            slots.SAMPLING_CEILING,
            slots.SAMPLING_CEILING_NORMALISED,
            slots.LIBRARY_CORRELATION,
        )
        if self.library is None:
            return {name: np.full(counts.shape[1], np.nan) for name in names}
        library = np.maximum(self.library[self._spots], 1.0)[:, None]
        values = counts[self._spots].astype(np.float64)
        middle = float(np.median(library))
        even = values / library * middle
        found = (
            _ceiling(values, values.mean(0)),
            _ceiling(even, (even * middle / library).mean(0)),
            pcc(values, np.broadcast_to(library, values.shape)),
        )
        return dict(zip(names, found, strict=True))

    @cached_property
    def _panel_accuracy(self) -> Array:
        """How well each panel gene is predicted in the tissue from the others, Fisher's z.

        Leave-one-out in one step: with the reference's covariance C of the z-scored panel and
        Theta = (C + penalty I)^-1, the ridge prediction of gene p from the others is
        ``x_p - (Theta x)_p / Theta_pp``.
        """
        reference = standardise(self.view.reference_panel).astype(np.float64)
        tissue = standardise(self.view.tissue_panel)
        mixed = tissue
        if self.view.nearest is not None:
            mean = neighbour_mean(tissue, self.view.nearest)
            mixed = (1 - PANEL_MIXING) * tissue + PANEL_MIXING * mean
        mixed, tissue = mixed[self._spots].astype(np.float64), tissue[self._spots]
        covariance = reference.T @ reference / len(reference)
        theta = np.linalg.inv(covariance + PANEL_PENALTY * np.eye(len(covariance)))
        return fisher(pcc(mixed - mixed @ theta / np.diag(theta), tissue))

    def _context(self, standard: Array) -> Array:
        """How much better than the panel's average the panel genes related to a gene are predicted.

        Weights are squared correlations in the reference.
        """
        reference = standardise(self.view.reference_panel)
        weights = (reference.T @ standard / len(reference)) ** 2
        total = weights.sum(0)
        mean = self._panel_accuracy @ weights / np.where(total > 0, total, 1.0)
        return np.where(total > 0, mean - self._panel_accuracy.mean(), 0.0)


def _ceiling(expected: Array, noise: Array) -> Array:
    variance = expected.var(0)
    return np.sqrt(variance / np.maximum(variance + noise, 1e-12))


def _column_chunks(values: Array) -> Iterator[slice]:
    width = max(1, _WIDTH_VALUES // max(len(values), 1))
    for start in range(0, values.shape[1], width):
        yield slice(start, start + width)
