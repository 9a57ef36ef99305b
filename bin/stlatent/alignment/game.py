"""The game of encoder and discriminator: what the discriminator learns on, and what judges it."""

from __future__ import annotations

import numpy as np
import torch

from stlatent.alignment import losses
from stlatent.alignment.adversary import Adversary, Cells, mask
from stlatent.alignment.divergences import Whitening
from stlatent.alignment.judging import cross_fitted_accuracy, folds
from stlatent.alignment.settings import AlignmentSettings


class Game:
    """A discriminator of the tissue's positions and of the reference's, in whitened space.

    A fifth of locations and of cells is kept out of its training, to judge it.

    Parameters
    ----------
    latent
        Positions of the reference, cells x n_latent.
    n_locations
        Of the tissue.
    settings
        Of the alignment; the game is the same whatever the matching.
    rng
        That of the training.
    """

    def __init__(
        self,
        latent: torch.Tensor,
        n_locations: int,
        settings: AlignmentSettings,
        rng: np.random.Generator,
    ) -> None:
        self.settings = settings
        self.rng = rng
        self.adversary = self._new_adversary(latent.shape[1])
        self.whiten = Whitening(latent)
        self.cells = Cells(self.whiten(latent), np.full(len(latent), 1 / len(latent)))
        self.judged_locations = folds(n_locations, rng) == 0
        self.judged_cells = folds(len(latent), rng) == 0

    def _new_adversary(self, n_latent: int) -> Adversary:
        s = self.settings
        return Adversary(n_latent, s.discriminator_learning_rate, s.device)

    def weigh_cells(self, weights: np.ndarray) -> None:
        """Draw cells in proportion to ``weights`` (one per cell) from now on."""
        weights = weights.astype(np.float64)
        self.cells = Cells(self.cells.positions, weights / weights.sum())

    def some(self, n: int) -> np.ndarray:
        """Return as many of ``n`` indices, in random order, as take part in one step."""
        return self.rng.permutation(n)[: self.settings.n_matched]

    def draw_cells(self) -> torch.Tensor:
        """Return whitened positions of as many cells as take part in one step."""
        return self.cells.draw(self.settings.n_matched, self.rng)

    def teach(self, positions: torch.Tensor, locations: np.ndarray) -> dict[str, float]:
        """Update the discriminator a few times, then judge it on what it is never trained on.

        Parameters
        ----------
        positions
            Whitened, locations x dimensions.
        locations
            Which locations of the tissue these are.

        Returns
        -------
        Its mean loss, and its accuracy where some of the locations were kept out of its training.
        """
        judged = self.judged_locations[locations]
        visible = positions[mask(~judged, positions)]
        if not len(visible):
            return {}
        cells = self.cells.part(~self.judged_cells)
        values = [
            self.adversary.learn(visible, cells.draw(len(visible), self.rng))
            for _ in range(self.settings.discriminator_steps)
        ]
        found = {"discriminator_loss": float(np.mean(values))}
        if judged.any() and self.judged_cells.any():
            kept = self.cells.part(self.judged_cells).draw(self.settings.n_matched, self.rng)
            found["discriminator_accuracy"] = losses.balanced_accuracy(
                self.adversary.logits(kept),
                self.adversary.logits(positions[mask(judged, positions)]),
            )
        return found

    def teach_some(self, positions: torch.Tensor) -> dict[str, float]:
        """Teach the discriminator some of the whole tissue's whitened ``positions`` (`teach`)."""
        some = self.some(len(positions))
        return self.teach(positions[torch.as_tensor(some, device=positions.device)], some)

    def separability(self, positions: torch.Tensor, epochs: int) -> float | None:
        """Return how well tissue and reference can be told apart (`cross_fitted_accuracy`).

        Others of the discriminator's kind say so, each trained for ``epochs`` without a fifth of
        both.
        """

        def train(tissue: torch.Tensor, cells: Cells) -> Adversary:
            return self.trained(tissue, cells, epochs)

        return cross_fitted_accuracy(positions, self.cells, train, self.rng)

    def trained(self, tissue: torch.Tensor, cells: Cells, epochs: int) -> Adversary:
        """Return a new discriminator, trained as that of the game is warmed up."""
        adversary = self._new_adversary(tissue.shape[1])
        for _ in range(epochs):
            some = tissue[torch.as_tensor(self.some(len(tissue)), device=tissue.device)]
            for _ in range(self.settings.discriminator_steps):
                adversary.learn(some, cells.draw(len(some), self.rng))
        return adversary
