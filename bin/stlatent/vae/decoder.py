"""A frozen decoder in plain torch, so that later steps need not import scvi (17 s)."""

from __future__ import annotations

import torch
from torch import nn


class LatentDecoder(nn.Module):
    """One hidden ReLU layer and a softmax over genes, averaged over the reference's batches.

    Parameters
    ----------
    hidden_weight
        n_hidden x n_latent.
    hidden_bias
        n_batches x n_hidden: the batch enters as an offset of the hidden layer.
    output_weight
        n_genes x n_hidden.
    output_bias
        n_genes.
    """

    hidden_weight: torch.Tensor
    hidden_bias: torch.Tensor
    output_weight: torch.Tensor
    output_bias: torch.Tensor

    def __init__(
        self,
        hidden_weight: torch.Tensor,
        hidden_bias: torch.Tensor,
        output_weight: torch.Tensor,
        output_bias: torch.Tensor,
    ) -> None:
        super().__init__()
        self.register_buffer("hidden_weight", hidden_weight)
        self.register_buffer("hidden_bias", hidden_bias)
        self.register_buffer("output_weight", output_weight)
        self.register_buffer("output_bias", output_bias)

    @classmethod
    def from_state(cls, state: dict[str, torch.Tensor]) -> LatentDecoder:
        """Rebuild a decoder from its ``state_dict``."""
        return cls(**state)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Return the expected share of every gene in the library, cells x genes, rows sum to 1."""
        linear = z @ self.hidden_weight.T
        shares = [
            torch.softmax(
                torch.relu(linear + bias) @ self.output_weight.T + self.output_bias, dim=-1
            )
            for bias in self.hidden_bias
        ]
        return torch.stack(shares).mean(0)
