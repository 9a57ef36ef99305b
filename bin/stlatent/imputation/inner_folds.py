"""Inner folds over the panel: what the candidates predict when some of it is hidden."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stlatent import slots
from stlatent.alignment.placement import Placement
from stlatent.expression import dense, log_normalise, visible_library
from stlatent.imputation.candidates import CANDIDATES, Candidates
from stlatent.imputation.stack import Weights, equal_weights, learn_weights, moments

if TYPE_CHECKING:
    from anndata import AnnData

Array = np.ndarray

MIN_PANEL = 9
MIN_HIDDEN = 3


@dataclass(frozen=True)
class InnerFold:
    """Genes of the panel that one alignment did not see, and where it placed the tissue."""

    hidden: list[str]
    placement: Placement


def split_panel(panel: list[str], n_folds: int, seed: int) -> list[list[str]]:
    """Cut the panel into random parts to hide; none when it is too small to spare them."""
    if n_folds < 2 or len(panel) < MIN_PANEL:
        return []
    n_folds = min(n_folds, len(panel) // MIN_HIDDEN)
    shuffled = np.random.default_rng(seed).permutation(np.array(panel, dtype=object))
    return [part.tolist() for part in np.array_split(shuffled, n_folds)]


def store(adata: AnnData, folds: list[InnerFold]) -> None:
    """Put inner folds into an output of ALIGN."""
    for number, fold in enumerate(folds):
        adata.obsm[slots.inner_slot(number)] = fold.placement.z
    noted = {
        str(number): slots.InnerFoldFacts(hidden=fold.hidden, precision=fold.placement.precision)
        for number, fold in enumerate(folds)
    }
    if noted:
        slots.note(adata, inner_folds=noted)


def load(adata: AnnData) -> list[InnerFold]:
    """Read what `store` put."""
    noted = slots.facts(adata).get("inner_folds", {})
    return [
        InnerFold(
            hidden=[str(gene) for gene in noted[number]["hidden"]],
            placement=Placement(
                np.asarray(adata.obsm[slots.inner_slot(int(number))], dtype=np.float32),
                float(noted[number]["precision"]),
            ),
        )
        for number in sorted(noted)
    ]


def measured_values(spatial: AnnData, genes: list[str], library: Array | None) -> Array:
    """Return measured values on the working scale, normalised by the library of visible genes."""
    values = dense(spatial[:, genes].X)
    if library is None:
        return values
    return log_normalise(values, np.maximum(library, 1), max(float(np.median(library)), 1))


def stack_weights(
    folds: list[InnerFold],
    panel: list[str],
    hidden: list[str],
    see: Callable[[list[str], list[str], Placement], Candidates],
    names: tuple[str, ...] = CANDIDATES,
) -> Weights:
    """Learn the stack's weights from inner folds, or take equal ones without any.

    Parameters
    ----------
    folds
        Inner folds of the panel.
    panel, hidden
        Of the outer fold.
    see
        (panel, hidden, placement) -> the candidates that see no more than that panel.
    names
        Candidates to combine.
    """
    if not folds:
        return equal_weights(list(names))
    found = []
    for fold in folds:
        away = set(fold.hidden)
        candidates = see(
            [gene for gene in panel if gene not in away], [*hidden, *fold.hidden], fold.placement
        )
        problem = candidates.problem(fold.hidden)
        predicted = [candidates.predict(name, problem) for name in names]
        library = visible_library(candidates.spatial, candidates.hidden)
        measured = measured_values(candidates.spatial, fold.hidden, library)
        found.append(moments(predicted, measured, library))
    return learn_weights(names, found)
