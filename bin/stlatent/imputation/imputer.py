"""The imputer: candidates, their combination, and the scale they are given on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from stlatent.arrays import Array
from stlatent.expression import REFERENCE_TARGET
from stlatent.imputation.candidates import (
    CANDIDATES,
    Candidates,
    all_genes,
    location_blocks,
    stacked,
)
from stlatent.imputation.scale import undershoot
from stlatent.imputation.stack import Weights
from stlatent.imputation.view import Targets, View

GENES_PER_BLOCK = 1000
STACK = "stack"
METHODS = (STACK, *CANDIDATES)
EVERYWHERE = slice(None)


def gene_blocks(genes: list[str], size: int = GENES_PER_BLOCK) -> Iterator[list[str]]:
    """Yield ``genes`` in blocks of at most ``size``."""
    for start in range(0, len(genes), size):
        yield genes[start : start + size]


@dataclass(frozen=True)
class Block:
    """A block of genes, predicted at all locations.

    Attributes
    ----------
    targets
        The genes.
    view
        What they were predicted from.
    predicted
        By method, locations x genes on the working scale; NaN for genes that a method does not know.
    """

    targets: Targets
    view: View
    predicted: dict[str, Array]
    _factors: dict[str, Array] = field(default_factory=dict, repr=False)

    def counts(self, method: str, locations: slice = EVERYWHERE) -> Array:
        """Return expected counts; without counts the working scale, from 0, is all there is."""
        library = self.view.expected_library
        if library is None:
            return self._intensities(method, locations)
        shares = self.shares(method, locations)
        return (shares * library[locations, None]).astype(np.float32)

    def normalised(self, method: str, locations: slice = EVERYWHERE) -> Array:
        """Return log(1 + expected counts per 10,000)."""
        if not self.view.counts:
            return self._intensities(method, locations)
        return np.log1p(REFERENCE_TARGET * self.shares(method, locations)).astype(np.float32)

    def shares(self, method: str, locations: slice = EVERYWHERE) -> Array:
        """Return shares of the library.

        Candidates average logarithms, which falls below the logarithm of the average: every gene is
        scaled to its `View.mean_share`.
        """
        shares = np.expm1(np.maximum(self.predicted[method][locations], 0))
        return (shares * self._factor(method)).astype(np.float32)

    def _factor(self, method: str) -> Array:
        """By gene: what scales its predicted shares to the expected mean over all locations."""
        if method not in self._factors:
            mean = np.expm1(np.maximum(self.predicted[method], 0)).mean(0)
            expected = np.array([self.view.mean_share[gene] for gene in self.targets.names])
            self._factors[method] = expected / np.where(mean > 0, mean, 1)
        return self._factors[method]

    def _intensities(self, method: str, locations: slice) -> Array:
        if method not in self._factors:
            self._factors[method] = undershoot(self.predicted[method])
        shifted = self.predicted[method][locations] - self._factors[method]
        return np.asarray(shifted, dtype=np.float32)


@dataclass
class Imputer:
    """Imputes any gene of the reference at every location, by every method.

    Attributes
    ----------
    candidates
        What is combined.
    stack
        Weights of the combination.
    """

    candidates: Candidates
    stack: Weights

    @property
    def view(self) -> View:
        """What the imputer looks at."""
        return self.candidates.view

    def genes(self, method: str) -> list[str]:
        """Return the genes that a method can predict."""
        known = all_genes if method == STACK else CANDIDATES[method].genes
        return known(self.view)

    def predict(self, genes: list[str], methods: list[str]) -> Block:
        """Return ``genes`` as ``methods`` predict them."""
        targets = self.view.targets(genes)
        weights = {name: weight for name, weight in self.stack.by_candidate.items() if weight > 0}
        needed = {*methods, *(weights if STACK in methods else ())}
        found = {
            name: self.candidates.predict(name, targets) for name in CANDIDATES if name in needed
        }
        if STACK in methods:
            found[STACK] = self._combined(found, weights)
        return Block(targets, self.view, {name: found[name] for name in methods})

    def _combined(self, found: dict[str, Array], weights: dict[str, float]) -> Array:
        combined = np.empty_like(found[next(iter(weights))])
        for rows in location_blocks(len(combined)):
            parts = [weight * found[name][rows] for name, weight in weights.items()]
            combined[rows] = np.sum(parts, axis=0, dtype=np.float32)
        return combined

    def seconds(self, alignment: float, learning: float) -> dict[str, float]:
        """Return seconds by method.

        The alignment is included where a method needs it, and ``learning`` the weights in the stack.
        """
        own = {name: self.candidates.seconds[name] for name in CANDIDATES}
        total = {
            name: own[name] + (alignment if candidate.needs_alignment else 0.0)
            for name, candidate in CANDIDATES.items()
        }
        total[STACK] = alignment + learning + sum(own[name] for name in stacked())
        return total
