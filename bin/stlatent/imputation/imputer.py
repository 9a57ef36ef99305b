"""The imputer: candidates, their combination, and the scale they are given on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from stlatent import slots
from stlatent.expression import REFERENCE_TARGET, library_size, linear, visible_library
from stlatent.imputation.candidates import CANDIDATES, TRANSFER, Candidates
from stlatent.imputation.predictors import Problem, to_intensities
from stlatent.imputation.stack import Weights
from stlatent.sampling import reference_cells

if TYPE_CHECKING:
    from stlatent.vae.decoder import LatentDecoder

Array = np.ndarray

GENES_PER_BLOCK = 1000
STACK, DECODER = "stack", "decoder"
METHODS = (STACK, DECODER, *CANDIDATES)


def gene_blocks(genes: list[str], size: int = GENES_PER_BLOCK) -> Iterator[list[str]]:
    """Yield ``genes`` in blocks of at most ``size``."""
    for start in range(0, len(genes), size):
        yield genes[start : start + size]


@dataclass
class Imputer:
    """Imputes any gene of the reference at every spot, by every method.

    Attributes
    ----------
    candidates
        What is combined.
    stack
        Weights of the combination.
    decoder, decoder_genes
        The frozen VAE decoder and its genes.
    seconds
        Time spent so far, by method.
    """

    candidates: Candidates
    stack: Weights
    decoder: LatentDecoder
    decoder_genes: list[str]
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(METHODS, 0.0))

    @cached_property
    def counts(self) -> bool:
        """Whether the tissue holds counts, and so does the output."""
        return bool(slots.facts(self.candidates.spatial)["counts"])

    @cached_property
    def mean_share(self) -> dict[str, float]:
        """Expected share of every gene in the tissue's library, by the mean attention."""
        reference = self.candidates.reference
        values = linear(reference)[reference_cells(reference.n_obs, self.candidates.seed)]
        attention = np.asarray(self.candidates.weights.mean(axis=0)).ravel()
        shares = (attention / library_size(values)) @ values
        return dict(zip(reference.var_names, np.asarray(shares).ravel(), strict=True))

    @cached_property
    def library(self) -> Array:
        """Expected whole library of every spot.

        The observed total of the genes that the reference has, over the share that they capture.
        That share is estimated once per tissue, so that it does not add noise of its own.
        """
        spatial, hidden = self.candidates.spatial, set(self.candidates.hidden)
        known = [g for g in spatial.var_names if g in self.mean_share and g not in hidden]
        captured = sum(self.mean_share[gene] for gene in known)
        unknown = spatial.var_names.difference(known).tolist()
        observed = visible_library(spatial, unknown)
        return np.asarray(observed) / min(max(captured, 1e-6), 1.0)

    def predict(
        self, genes: list[str], methods: list[str], problem: Problem | None = None
    ) -> dict[str, Array]:
        """Return predictions on the working scale, spots x genes, by method.

        The decoder gives NaN for genes it does not know. ``problem`` is that of ``genes``, where it
        is known already.
        """
        problem = problem or self.candidates.problem(genes)
        stacked = self.stack.by_candidate
        needed = {name for name in methods if name in CANDIDATES}
        if STACK in methods:
            needed |= {name for name, weight in stacked.items() if weight > 0}
        found: dict[str, Array] = {}
        for name in CANDIDATES:
            if name in needed:
                began = time.perf_counter()
                found[name] = self.candidates.predict(name, problem)
                self.seconds[name] += time.perf_counter() - began
        if STACK in methods:
            parts = [weight * found[name] for name, weight in stacked.items() if weight > 0]
            found[STACK] = np.asarray(np.sum(parts, axis=0, dtype=np.float32))
        if DECODER in methods:
            began = time.perf_counter()
            found[DECODER] = self._decode(genes)
            self.seconds[DECODER] += time.perf_counter() - began
        return {name: found[name] for name in methods}

    def share(self, predicted: Array, genes: list[str]) -> Array:
        """Return shares of the library from predictions on the working scale.

        Candidates average logarithms, which falls below the logarithm of the average: every gene is
        scaled to its `mean_share`.
        """
        share = np.expm1(np.maximum(predicted, 0))
        mean = share.mean(0)
        expected = np.array([self.mean_share[gene] for gene in genes])
        return (share * (expected / np.where(mean > 0, mean, 1))).astype(np.float32)

    def on_count_scale(self, predicted: Array, genes: list[str]) -> Array:
        """Return expected counts; without counts the working scale is all there is."""
        if not self.counts:
            return to_intensities(predicted)
        return (self.share(predicted, genes) * self.library[:, None]).astype(np.float32)

    def normalised(self, predicted: Array, genes: list[str]) -> Array:
        """Return log(1 + expected counts per 10,000)."""
        if not self.counts:
            return to_intensities(predicted)
        return np.log1p(REFERENCE_TARGET * self.share(predicted, genes)).astype(np.float32)

    def _decode(self, genes: list[str]) -> Array:
        position = {gene: column for column, gene in enumerate(self.decoder_genes)}
        known = [i for i, gene in enumerate(genes) if gene in position]
        predicted = np.full((len(self.candidates.z), len(genes)), np.nan, dtype=np.float32)
        columns = [position[genes[i]] for i in known]
        predicted[:, known] = self._decoded[:, columns]
        return predicted

    @cached_property
    def _decoded(self) -> Array:
        with torch.no_grad():
            shares = self.decoder(torch.as_tensor(self.candidates.z)).numpy()
        covered = sum(self.mean_share[gene] for gene in self.decoder_genes)
        return np.log1p(REFERENCE_TARGET * covered * shares).astype(np.float32)

    def total_seconds(self, alignment: float, learning: float) -> dict[str, float]:
        """Return seconds by method.

        The alignment is included where a method needs it, and ``learning`` the weights in the stack.
        """
        total = {name: self.seconds[name] for name in CANDIDATES}
        total[STACK] = alignment + learning + sum(total.values())
        total[TRANSFER] += alignment
        total[DECODER] = alignment + self.seconds[DECODER]
        return total
