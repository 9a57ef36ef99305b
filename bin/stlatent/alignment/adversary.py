"""The discriminator and its training."""

from __future__ import annotations

import torch

from stlatent.alignment import losses
from stlatent.alignment.model import Discriminator

# In units of the whitened space, whose spread is 1: below it the discriminator sees nothing.
NOISE = 0.1
GRADIENT_PENALTY = 1.0


class Adversary:
    """A discriminator of whitened positions, with its optimiser."""

    def __init__(self, n_latent: int, learning_rate: float, device: str) -> None:
        self.discriminator = Discriminator(n_latent).to(device)
        self.optimiser = torch.optim.Adam(
            self.discriminator.parameters(), lr=learning_rate, betas=(0.5, 0.9)
        )

    def learn(self, tissue: torch.Tensor, reference: torch.Tensor) -> dict[str, float]:
        """Update the discriminator on positions of both and return its loss and accuracy.

        The squared gradient at the reference is penalised (R1, Mescheder et al., ICML 2018), which
        keeps the game from circling.
        """
        real = _noised(reference).requires_grad_(True)
        on_real = self.discriminator(real)
        on_fake = self.discriminator(_noised(tissue.detach()))
        (slope,) = torch.autograd.grad(on_real.sum(), real, create_graph=True)
        penalty = 0.5 * GRADIENT_PENALTY * slope.square().sum(1).mean()
        loss = losses.discriminator_loss(on_real, on_fake)
        self.optimiser.zero_grad()
        (loss + penalty).backward()
        self.optimiser.step()
        return {
            "discriminator_loss": float(loss.detach()),
            "discriminator_accuracy": losses.balanced_accuracy(on_real.detach(), on_fake.detach()),
        }

    def loss(self, tissue: torch.Tensor) -> torch.Tensor:
        """Return what an encoder that fools the discriminator makes small."""
        return losses.generator_loss(self.discriminator(_noised(tissue)))


def _noised(positions: torch.Tensor) -> torch.Tensor:
    return positions + NOISE * torch.randn_like(positions)
