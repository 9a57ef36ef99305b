"""Losses of the alignment, each the mean over a batch."""

from __future__ import annotations

import torch
from torch.nn import functional


def correlation(predicted: torch.Tensor, truth: torch.Tensor, dim: int) -> torch.Tensor:
    """Return the Pearson correlation along ``dim``; constant vectors give about 0."""
    predicted = predicted - predicted.mean(dim, keepdim=True)
    truth = truth - truth.mean(dim, keepdim=True)
    norm = predicted.norm(dim=dim) * truth.norm(dim=dim)
    return (predicted * truth).sum(dim) / (norm + 1e-6)


def transfer_loss(
    predicted: torch.Tensor, truth: torch.Tensor, hidden: torch.Tensor
) -> torch.Tensor:
    """Score transferred expression against the panel as it is scored later.

    Parameters
    ----------
    predicted, truth
        Spots x genes, standardised per gene.
    hidden
        Genes hidden from the encoder in this step, boolean.

    Returns
    -------
    Mean of (1 - correlation) over hidden genes, plus half of the same over visible genes and over
    spots.
    """
    by_gene = 1 - correlation(predicted, truth, dim=0)
    by_spot = 1 - correlation(predicted, truth, dim=1)
    loss = 0.5 * by_spot.mean() + 0.5 * by_gene[~hidden].mean()
    return loss + by_gene[hidden].mean() if hidden.any() else loss


def graph_loss(z: torch.Tensor, edges: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of the inner-product decoder on edges and on sampled non-edges.

    Half each; a side without pairs counts 0.

    Parameters
    ----------
    z
        Spatial latent positions, spots x dimensions.
    edges, negatives
        2 x n positions in ``z``.
    """
    found = z.sum() * 0
    for pairs, sign in ((edges, -1), (negatives, 1)):
        if pairs.shape[1]:
            logits = (z[pairs[0]] * z[pairs[1]]).sum(1)
            found = found + 0.5 * functional.softplus(sign * logits).mean()
    return found


def kl_divergence(mean: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """KL(N(mean, exp(logvar)) || N(0, 1)), the sum over dimensions, mean over spots."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1).mean()


def discriminator_loss(reference: torch.Tensor, tissue: torch.Tensor) -> torch.Tensor:
    """-E log D(z_reference) - E log(1 - D(z_tissue)), on logits."""
    return functional.softplus(-reference).mean() + functional.softplus(tissue).mean()


def generator_loss(tissue: torch.Tensor) -> torch.Tensor:
    """-E log D(z_tissue): the non-saturating loss of the encoder that fools the discriminator."""
    return functional.softplus(-tissue).mean()


def balanced_accuracy(reference: torch.Tensor, tissue: torch.Tensor) -> float:
    """Mean share of reference logits above 0 and tissue logits at or below 0."""
    return float(0.5 * ((reference > 0).float().mean() + (tissue <= 0).float().mean()))
