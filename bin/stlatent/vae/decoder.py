"""A frozen decoder in plain torch: layers and a head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from stlatent.expression import REFERENCE_TARGET

Activation = Literal["relu", "identity"]
Head = Literal["softmax", "exp", "sigmoid", "identity"]
Scale = Literal["share", "log"]
Function = Callable[[torch.Tensor], torch.Tensor]


def _identity(x: torch.Tensor) -> torch.Tensor:
    return x


def _softmax(x: torch.Tensor) -> torch.Tensor:
    return torch.softmax(x, dim=-1)


ACTIVATIONS: dict[Activation, Function] = {"relu": torch.relu, "identity": _identity}
HEADS: dict[Head, Function] = {
    "softmax": _softmax,
    "exp": torch.exp,
    "sigmoid": torch.sigmoid,
    "identity": _identity,
}


@dataclass(frozen=True)
class Layer:
    """A linear layer and what follows it.

    Attributes
    ----------
    weight
        n_out x n_in.
    bias
        n_out, or n_batches x n_out where the batch of a cell enters as an offset.
    activation
        Of the layer's output.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    activation: Activation = "identity"

    def __call__(self, x: torch.Tensor, batch: int) -> torch.Tensor:
        """Return n x n_out from n x n_in."""
        bias = self.bias[batch] if self.bias.ndim == 2 else self.bias
        return ACTIVATIONS[self.activation](x @ self.weight.T + bias)


@dataclass(frozen=True)
class Decoder:
    """Layers, then a head; where layers know batches, the mean of all batches.

    Attributes
    ----------
    layers
        From the latent space to the genes.
    head
        Of the last layer's output.
    scale
        What the head gives. ``share``: shares of the genes' total, so that rows sum to 1. ``log``:
        log(1 + counts per `REFERENCE_TARGET`).
    """

    layers: tuple[Layer, ...]
    head: Head
    scale: Scale

    @property
    def n_batches(self) -> int:
        """Batches that the layers know, at least 1."""
        return max(len(layer.bias) if layer.bias.ndim == 2 else 1 for layer in self.layers)

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """Return expression on the decoder's own scale, cells x genes."""
        return torch.stack([self._decode(z, batch) for batch in range(self.n_batches)]).mean(0)

    def _decode(self, z: torch.Tensor, batch: int) -> torch.Tensor:
        for layer in self.layers:
            z = layer(z, batch)
        return HEADS[self.head](z)

    def decode(self, z: np.ndarray, covered: float) -> np.ndarray:
        """Return expression on the working scale, log(1 + share of library * `REFERENCE_TARGET`).

        Parameters
        ----------
        z
            Positions, cells x n_latent.
        covered
            Share of a whole library that the decoder's genes have. Without need for ``log``.

        Returns
        -------
        Cells x genes, float32.
        """
        with torch.no_grad():
            decoded = self(torch.as_tensor(z)).numpy()
        if self.scale == "share":
            decoded = np.log1p(REFERENCE_TARGET * covered * decoded)
        return decoded.astype(np.float32)

    def to_state(self) -> dict[str, Any]:
        """Return tensors and names alone, which torch loads without pickle."""
        return {
            "layers": [vars(layer) for layer in self.layers],
            "head": self.head,
            "scale": self.scale,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Decoder:
        """Rebuild a decoder from `to_state`."""
        return cls(
            tuple(Layer(**layer) for layer in state["layers"]), state["head"], state["scale"]
        )
