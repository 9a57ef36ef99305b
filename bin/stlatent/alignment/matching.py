"""The ways to match a tissue to its reference, and what each asks of the training.

A new way is one entry of `MATCHINGS` (and one value of ``alignment`` in nextflow_schema.json).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from stlatent.alignment.adversary import Adversary
from stlatent.alignment.divergences import mmd, sinkhorn_divergence

Divergence = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Matching:
    """One way to match a tissue to its reference.

    Attributes
    ----------
    phase
        Its name in the history of the training.
    adversarial_weight
        Of the loss of an encoder that fools the discriminator; 0 where they do not play.
    divergence, divergence_weight
        Distance between the positions of locations and of cells, both whitened, and its weight.
    anchored
        Whether shared genes tie the VGAE to the reference: anchor, transfer (and so genes hidden
        from the encoder), and a reference that is weighed by the composition of the tissue.
    """

    phase: str
    adversarial_weight: float = 0.0
    divergence: Divergence | None = None
    divergence_weight: float = 0.0
    anchored: bool = True

    @property
    def has_adversary(self) -> bool:
        """Whether the encoder plays against the discriminator."""
        return self.adversarial_weight > 0

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each of its losses; none where the tissue is not matched at all."""
        weights = {}
        if self.has_adversary:
            weights["adversarial"] = self.adversarial_weight
        if self.divergence is not None:
            weights["divergence"] = self.divergence_weight
        return weights

    @property
    def moves_tissue(self) -> bool:
        """Whether there is anything to match by, and so a discriminator to warm up before it."""
        return bool(self.weights)

    def losses(
        self, positions: torch.Tensor, adversary: Adversary, draw: Callable[[], torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return its losses by the names of `weights`.

        Parameters
        ----------
        positions
            Whitened, locations x dimensions.
        adversary
            The discriminator of the game.
        draw
            Returns whitened positions of cells of the reference.
        """
        losses = {}
        if self.has_adversary:
            losses["adversarial"] = adversary.loss(positions)
        if self.divergence is not None:
            losses["divergence"] = self.divergence(positions, draw())
        return losses


MATCHINGS = {
    "adversarial": Matching(
        "adversarial", adversarial_weight=0.5, divergence=mmd, divergence_weight=30.0
    ),
    "paper": Matching("paper", adversarial_weight=0.5, anchored=False),
    "sinkhorn": Matching("sinkhorn", divergence=sinkhorn_divergence, divergence_weight=10.0),
    "mmd": Matching("mmd", divergence=mmd, divergence_weight=30.0),
    # The VGAE trains on for as many epochs, so that every way takes as many steps.
    "none": Matching("continued"),
}
