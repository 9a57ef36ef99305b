"""The candidates that impute expression, and the scale they are given on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch

from stlatent import expression
from stlatent.imputation.transfer import transfer, transfer_weights

if TYPE_CHECKING:
    from anndata import AnnData

    from stlatent.vae.decoder import LatentDecoder

TARGET_SUM = 1e4
GENES_PER_BLOCK = 500
DEFAULT_METHOD = "transfer"


@dataclass(frozen=True)
class Scale:
    """What turns shares of the library into the tissue's own scale.

    Attributes
    ----------
    counts
        Whether the tissue holds counts. Intensities have no library: their imputed values stay on
        the reference's log-normalised scale.
    library
        Expected size of every spot's whole library: the observed total over the share of the
        library that the measured genes capture.
    """

    counts: bool
    library: np.ndarray

    def on_count_scale(self, share: np.ndarray) -> np.ndarray:
        """Return expected counts (or log-normalised expression) from shares, spots x genes."""
        if not self.counts:
            return self.normalised(share)
        return (share * self.library[:, None]).astype(np.float32)

    def normalised(self, share: np.ndarray) -> np.ndarray:
        """Return log(1 + 10,000 * share)."""
        return np.log1p(TARGET_SUM * share).astype(np.float32)


@dataclass
class Imputer:
    """Everything needed to impute any gene of the reference at any spot.

    Attributes
    ----------
    z
        Aligned latent positions, spots x n_latent.
    precision
        Of the latent attention.
    reference
        QC'd reference with its latent space.
    latent
        Latent positions of its cells.
    decoder, decoder_genes
        The frozen VAE decoder and its genes.
    """

    z: np.ndarray
    precision: float
    reference: AnnData
    latent: np.ndarray
    decoder: LatentDecoder
    decoder_genes: list[str]

    @cached_property
    def weights(self) -> sp.csr_matrix:
        """Attention weights, spots x cells."""
        return transfer_weights(self.z, self.latent, self.precision)

    @cached_property
    def _mean_weights(self) -> sp.csr_matrix:
        return sp.csr_matrix(self.weights.mean(axis=0))

    @cached_property
    def _reference_library(self) -> np.ndarray:
        return expression.library_size(self.reference.X)

    @cached_property
    def _decoder_position(self) -> dict[str, int]:
        return {gene: position for position, gene in enumerate(self.decoder_genes)}

    def transfer(self, genes: list[str]) -> np.ndarray:
        """Return every spot's share of ``genes`` in the library by latent transfer.

        Reference cells are averaged on the log scale, where single deep counts do not dominate,
        and every gene is scaled back to the mean that averaging the shares themselves gives.
        """
        values = expression.dense(self.reference[:, genes].X)
        shares = values / self._reference_library[:, None].astype(np.float32)
        transferred = np.expm1(transfer(self.weights, np.log1p(TARGET_SUM * shares)))
        mean = transfer(self._mean_weights, shares).ravel()
        found = transferred.mean(0)
        return (transferred * (mean / np.where(found > 0, found, 1))).astype(np.float32)

    def decode(self, genes: list[str]) -> np.ndarray:
        """Return the shares of ``genes`` by the VAE's decoder; NaN for genes it does not know."""
        known = [i for i, gene in enumerate(genes) if gene in self._decoder_position]
        shares = np.full((len(self.z), len(genes)), np.nan, dtype=np.float32)
        if known:
            columns = [self._decoder_position[genes[i]] for i in known]
            shares[:, known] = self._decoded[:, columns]
        return shares

    @cached_property
    def _decoded(self) -> np.ndarray:
        with torch.no_grad():
            shares = self.decoder(torch.as_tensor(self.z)).numpy()
        covered = self.reference[:, self.decoder_genes].X.sum() / self.reference.X.sum()
        return shares * np.float32(covered)

    @property
    def methods(self) -> dict[str, Callable[[list[str]], np.ndarray]]:
        """Candidates by name, the default first."""
        return {"transfer": self.transfer, "decoder": self.decode}


def gene_blocks(genes: list[str], size: int = GENES_PER_BLOCK) -> Iterator[list[str]]:
    """Yield ``genes`` in blocks of at most ``size``."""
    for start in range(0, len(genes), size):
        yield genes[start : start + size]


def whole_library(
    imputer: Imputer, measured_total: np.ndarray, measured: list[str]
) -> np.ndarray:
    """Return the expected whole library of every spot.

    Parameters
    ----------
    imputer
        Knows the shares of genes.
    measured_total
        Every spot's total over ``measured``.
    measured
        Measured genes that are also in the reference.

    Notes
    -----
    A panel captures a part of the transcriptome only. The part is estimated once per tissue, as
    the mean over spots, so that it does not add noise of its own.
    """
    captured = sum(float(imputer.transfer(block).sum(1).mean()) for block in gene_blocks(measured))
    return measured_total / min(max(captured, 1e-6), 1.0)
