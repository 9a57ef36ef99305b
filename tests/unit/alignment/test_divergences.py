from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from stlatent.alignment import divergences


def cloud(n: int, shift: float = 0.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed)) + shift


def test_whitening_gives_zero_mean_and_unit_covariance() -> None:
    z = cloud(500) @ torch.tensor([[3.0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0.1, 0], [0, 2, 0, 5]]) + 7
    white = divergences.Whitening(z)(z)
    torch.testing.assert_close(white.mean(0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(white.T @ white / 500, torch.eye(4), atol=1e-3, rtol=0)


@pytest.mark.parametrize("divergence", [divergences.mmd, divergences.sinkhorn_divergence])
def test_divergences_see_shift_and_spread_and_pull_the_right_way(divergence: Any) -> None:
    reference, same = cloud(200), cloud(200, seed=1)
    alike = float(divergence(same, reference))
    assert abs(alike) < 0.05
    assert divergence(same + 2, reference) > alike + 0.3
    # Means of mixtures lie inside the cloud: that must cost too, and be pulled apart.
    narrow = (0.3 * same).requires_grad_(True)
    loss = divergence(narrow, reference)
    assert loss > alike + 0.03
    (slope,) = torch.autograd.grad(loss, narrow)
    assert (slope * narrow).sum() < 0


def test_transport_marginals() -> None:
    cost = divergences.costs(cloud(30), cloud(40, seed=1))
    plan = divergences._plan(cost, 0.3, math.inf)
    torch.testing.assert_close(plan.sum(1), torch.full((30,), 1 / 30), rtol=1e-4, atol=0)
    torch.testing.assert_close(plan.sum(0), torch.full((40,), 1 / 40), rtol=2e-2, atol=0)


def test_unbalanced_transport_leaves_out_what_the_tissue_lacks() -> None:
    tissue = cloud(100)
    reference = torch.cat([cloud(100, seed=1), cloud(60, shift=8.0, seed=2)])
    used = divergences._plan(divergences.costs(tissue, reference), 0.3, 0.3).sum(0)
    assert used[100:].sum() < 0.1
    balanced = divergences._plan(divergences.costs(tissue, reference), 0.3, math.inf).sum(0)
    assert balanced[100:].sum() > 0.3
