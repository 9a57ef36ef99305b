"""Distances between the tissue's cloud of latent positions and the reference's.

Both clouds are points x dimensions, whitened by `Whitening`: the mean squared distance between two
reference cells is then twice the number of dimensions, so that scales given per dimension fit every
latent space.
"""

from __future__ import annotations

import math

import torch

KERNEL_SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
BLUR = 0.3
REACH = 1.0
TRANSPORT_STEPS = 20
SELF_STEPS = 8


class Whitening:
    """Turns latent positions into ones of mean 0 and unit covariance over the reference."""

    def __init__(self, latent: torch.Tensor) -> None:
        self.mean = latent.mean(0)
        centred = (latent - self.mean).double()
        variance, axes = torch.linalg.eigh(centred.T @ centred / len(latent))
        # A dimension that the VAE does not use would be blown up to noise.
        floor = 1e-4 * variance.max()
        self.matrix = (axes / variance.clamp_min(floor).sqrt()).to(latent.dtype)

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """Return ``z`` (points x dimensions) whitened."""
        return (z - self.mean) @ self.matrix


def costs(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Half the squared distance per dimension, first x second; about 1 between random cells."""
    squared = first.square().sum(1)[:, None] + second.square().sum(1) - 2 * first @ second.T
    return squared.clamp_min(0) / (2 * first.shape[1])


def mmd(tissue: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Squared maximum mean discrepancy, unbiased (Gretton et al., JMLR 2012, eq. 3).

    The kernel is the mean of inverse multiquadrics 1 / (1 + cost / scale) of several scales, whose
    heavy tails pull on far points too.
    """
    within = _without_diagonal(_kernel(tissue, tissue)) + _without_diagonal(
        _kernel(reference, reference)
    )
    return within - 2 * _kernel(tissue, reference).mean()


def _kernel(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    cost = costs(first, second)
    return torch.stack([1 / (1 + cost / scale) for scale in KERNEL_SCALES]).mean(0)


def _without_diagonal(kernel: torch.Tensor) -> torch.Tensor:
    n = len(kernel)
    return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))


def sinkhorn_divergence(
    tissue: torch.Tensor, reference: torch.Tensor, blur: float = BLUR, reach: float = REACH
) -> torch.Tensor:
    """Entropic transport cost without its bias, unbalanced in the reference.

    ``<P, C> - <P_tt, C_tt> / 2 - <P_rr, C_rr> / 2`` (Feydy et al., AISTATS 2019), where every
    location of the tissue has to be transported, and reference cells may stay without a location
    at a price of ``reach * KL`` of their marginal (Séjourné et al. 2019). ``P_rr`` is that of the
    marginal that was reached. Plans are found in the log domain, and gradients flow through the
    costs alone (envelope theorem).

    Parameters
    ----------
    tissue, reference
        Points x dimensions.
    blur
        Entropic regularisation, on the scale of `costs`.
    reach
        Strength of the reference's marginal, on the same scale; infinity gives the balanced one.
    """
    cost, own = costs(tissue, reference), costs(tissue, tissue)
    with torch.no_grad():
        plan = _plan(cost, blur, reach)
        own_plan = _self_plan(own, torch.full_like(own[0], -math.log(len(own))), blur)
        other = costs(reference, reference)
        other_plan = _self_plan(other, plan.sum(0).clamp_min(1e-30).log(), blur)
        constant = 0.5 * (other_plan * other).sum()
    return (plan * cost).sum() - 0.5 * (own_plan * own).sum() - constant


def _plan(cost: torch.Tensor, blur: float, reach: float) -> torch.Tensor:
    """Plan (rows x columns) with uniform marginals, that of the columns relaxed."""
    log_row, log_column = (-math.log(n) for n in cost.shape)
    softness = 1.0 if math.isinf(reach) else reach / (reach + blur)
    kernel = -cost / blur
    rows = torch.zeros_like(cost[:, 0])
    for _ in range(TRANSPORT_STEPS):
        columns = -softness * torch.logsumexp(kernel + (rows + log_row)[:, None], 0)
        rows = -torch.logsumexp(kernel + (columns + log_column), 1)
    return (kernel + (rows + log_row)[:, None] + (columns + log_column)).exp()


def _self_plan(cost: torch.Tensor, log_mass: torch.Tensor, blur: float) -> torch.Tensor:
    """Plan of points onto themselves; averaged steps converge in a few."""
    kernel = -cost / blur
    potential = torch.zeros_like(log_mass)
    for _ in range(SELF_STEPS):
        potential = 0.5 * (potential - torch.logsumexp(kernel + potential + log_mass, 1))
    both = potential + log_mass
    return (kernel + both[:, None] + both).exp()
