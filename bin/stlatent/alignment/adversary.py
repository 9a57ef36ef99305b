"""The discriminator, its training, and the cells that it is trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from stlatent.alignment import losses
from stlatent.alignment.model import Discriminator

# In units of the whitened space, whose spread is 1: the discriminator tells nothing finer apart.
NOISE = 0.1
GRADIENT_PENALTY = 1.0


class Adversary:
    """A discriminator of whitened positions, with its optimiser."""

    def __init__(self, n_latent: int, learning_rate: float, device: str) -> None:
        self.discriminator = Discriminator(n_latent).to(device)
        self.optimiser = torch.optim.Adam(
            self.discriminator.parameters(), lr=learning_rate, betas=(0.5, 0.9)
        )

    def learn(self, tissue: torch.Tensor, reference: torch.Tensor) -> float:
        """Update the discriminator on positions of both and return its loss.

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
        return float(loss.detach())

    def loss(self, tissue: torch.Tensor) -> torch.Tensor:
        """Return what an encoder that fools the discriminator makes small."""
        return losses.generator_loss(self.discriminator(_noised(tissue)))

    @torch.no_grad()
    def logits(self, positions: torch.Tensor) -> torch.Tensor:
        """Return one logit per position, without noise: above 0 for the reference."""
        return self.discriminator(positions)


def _noised(positions: torch.Tensor) -> torch.Tensor:
    return positions + NOISE * torch.randn_like(positions)


@dataclass(frozen=True)
class Cells:
    """Whitened positions of reference cells and the share that each has in what is drawn.

    Attributes
    ----------
    positions
        Cells x dimensions.
    shares
        One per cell, sum 1.
    """

    positions: torch.Tensor
    shares: np.ndarray

    def draw(self, n: int, rng: np.random.Generator) -> torch.Tensor:
        """Return ``n`` positions, drawn by their shares with replacement."""
        chosen = rng.choice(len(self.shares), size=n, p=self.shares)
        return self.positions[torch.as_tensor(chosen, device=self.positions.device)]

    def part(self, chosen: np.ndarray) -> Cells:
        """Return the cells of a boolean mask, their shares among themselves."""
        shares = self.shares[chosen]
        return Cells(self.positions[mask(chosen, self.positions)], shares / shares.sum())


def mask(chosen: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """Return a boolean array on the device of ``like``."""
    return torch.as_tensor(chosen, device=like.device)
