"""How well tissue and reference can be told apart, judged on what no discriminator trained on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from stlatent.alignment.adversary import Adversary, Cells, mask

N_FOLDS = 5


def folds(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random fold, 0 to `N_FOLDS` - 1, for each of ``n``; sizes differ by at most 1.

    Fewer than two a fold are too few to keep any out: all are then -1, which is no fold.
    """
    return rng.permutation(n) % N_FOLDS if n >= 2 * N_FOLDS else np.full(n, -1)


def cross_fitted_accuracy(
    tissue: torch.Tensor,
    cells: Cells,
    train: Callable[[torch.Tensor, Cells], Adversary],
    rng: np.random.Generator,
) -> float | None:
    """Return the balanced accuracy of discriminators on what they were not trained on.

    `N_FOLDS` discriminators are each trained without a fifth of both, which they then judge, so
    that every location and every cell counts once. Cells count by their shares. Accuracy on a
    single fifth would have a standard error of .06 with 60 locations kept out; in the training
    sample it rises far above one half for small tissues that are drawn from the reference itself.

    Parameters
    ----------
    tissue
        Whitened positions, locations x dimensions.
    cells
        Of the reference.
    train
        Returns a discriminator trained on a part of both.
    rng
        Of the folds.

    Returns
    -------
    .5 for a tissue that cannot be told from the reference, 1 for one that always can; None with
    fewer than ``2 * N_FOLDS`` locations or cells.
    """
    locations, of_cells = folds(len(tissue), rng), folds(len(cells.shares), rng)
    if -1 in (locations[0], of_cells[0]):
        return None
    right_locations, right_cells = 0.0, 0.0
    for fold in range(N_FOLDS):
        adversary = train(tissue[mask(locations != fold, tissue)], cells.part(of_cells != fold))
        judged = adversary.logits(tissue[mask(locations == fold, tissue)])
        right_locations += float((judged <= 0).sum())
        kept = adversary.logits(cells.positions[mask(of_cells == fold, tissue)])
        right_cells += float(cells.shares[of_cells == fold] @ (kept > 0).cpu().numpy())
    return 0.5 * (right_locations / len(tissue) + right_cells)
