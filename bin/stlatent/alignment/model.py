"""The spatial VGAE (after SEDR, Xu et al. 2024), the latent attention and the discriminator."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

LOGIT_BOUND = 5.0


class Encoded(NamedTuple):
    """Posterior parameters of both latent spaces, spots x dimensions each."""

    aligned_mean: torch.Tensor
    aligned_logvar: torch.Tensor
    spatial_mean: torch.Tensor
    spatial_logvar: torch.Tensor

    @property
    def joint_mean(self) -> torch.Tensor:
        """Both side by side, as the decoder reads them."""
        return torch.cat([self.aligned_mean, self.spatial_mean], dim=1)

    def head(self, n: int) -> Encoded:
        """Return the first ``n`` spots: a batch without its halo."""
        return Encoded(*(part[:n] for part in self))


def _block(n_in: int, n_out: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, n_out), nn.LayerNorm(n_out), nn.ELU(), nn.Dropout(dropout))


class SpatialVGAE(nn.Module):
    """Variational graph autoencoder with an expression branch and a graph branch.

    The expression branch h = f(x) and its graph convolution g = ELU(A h W) together give the
    aligned latent space, which lives in the reference VAE's space. A second convolution of g gives
    the spatial latent space. The panel is reconstructed from the concatenation of both.

    Parameters
    ----------
    n_genes
        Genes of the panel.
    n_latent
        Dimensions of the reference VAE's latent space.
    n_spatial
        Dimensions of the spatial latent space.
    n_hidden
        Width of the expression branch; the graph branch is half as wide.
    dropout
        Share of hidden units dropped in training.
    """

    def __init__(
        self,
        n_genes: int,
        n_latent: int,
        n_spatial: int = 16,
        n_hidden: int = 128,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        half = n_hidden // 2
        self.expression = nn.Sequential(
            _block(n_genes, n_hidden, dropout), _block(n_hidden, half, dropout)
        )
        self.graph = nn.Linear(half, half, bias=False)
        self.aligned = nn.Linear(2 * half, 2 * n_latent)
        self.spatial = nn.Linear(half, 2 * n_spatial, bias=False)
        self.decoder = nn.Sequential(
            _block(n_latent + n_spatial, n_hidden, dropout), nn.Linear(n_hidden, n_genes)
        )

    def forward(self, x: torch.Tensor, operator: torch.Tensor | None) -> Encoded:
        """Encode spots.

        Parameters
        ----------
        x
            Standardised expression, spots x genes.
        operator
            Sparse normalised adjacency; None treats every spot as its own only neighbour, which is
            how cells of the reference are encoded.
        """
        hidden = self.expression(x)
        smoothed = nn.functional.elu(_propagate(operator, self.graph(hidden)))
        aligned = self.aligned(torch.cat([hidden, smoothed], dim=1)).chunk(2, dim=1)
        spatial = _propagate(operator, self.spatial(smoothed)).chunk(2, dim=1)
        return Encoded(aligned[0], _bounded(aligned[1]), spatial[0], _bounded(spatial[1]))

    def reconstruct(self, joint: torch.Tensor) -> torch.Tensor:
        """Return the standardised panel decoded from both latent spaces side by side."""
        return self.decoder(joint)


def _propagate(operator: torch.Tensor | None, values: torch.Tensor) -> torch.Tensor:
    return values if operator is None else torch.sparse.mm(operator, values)


def _bounded(logvar: torch.Tensor) -> torch.Tensor:
    return logvar.clamp(-10, 5)


class LatentAttention(nn.Module):
    """Transfers expression from reference cells by their distance in the latent space.

    The weight of cell r for spot s is softmax_r(-|z_s - z_r|^2 exp(log_precision)).
    """

    def __init__(self, log_precision: float) -> None:
        super().__init__()
        self.log_precision = nn.Parameter(torch.tensor(log_precision))

    def forward(self, z: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
        """Return weights, spots x cells, rows summing to 1."""
        # |z|^2 is the same for every anchor and leaves the softmax as it is.
        scores = 2 * z @ anchors.T - anchors.square().sum(1)
        return torch.softmax(scores * self.log_precision.exp(), dim=1)


class Discriminator(nn.Module):
    """Scores latent positions: positive for the reference, negative for the tissue.

    Logits are bounded (as in Portal, Zhao et al. 2022), so that populations found in one modality
    alone do not pull without end.
    """

    def __init__(self, n_latent: int, n_hidden: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_latent, n_hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(n_hidden, n_hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(n_hidden, 1),
        )

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Return one logit per row of ``z``."""
        return LOGIT_BOUND * torch.tanh(self.layers(z).squeeze(1) / LOGIT_BOUND)
