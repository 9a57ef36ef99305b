"""Inner folds over the panel: parts of it hidden in turn, and the tissue placed without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stlatent import slots
from stlatent.alignment.placement import Placement

if TYPE_CHECKING:
    from anndata import AnnData

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
