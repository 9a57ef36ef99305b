from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stlatent.alignment import losses


def test_correlation_by_hand() -> None:
    x = torch.tensor([[1.0, 5], [2, 5], [3, 5]])
    y = torch.tensor([[3.0, 1], [2, 2], [1, 3]])
    torch.testing.assert_close(
        losses.correlation(x, y, dim=0), torch.tensor([-1.0, 0]), atol=1e-5, rtol=0
    )


def test_kl_of_the_prior_is_zero_and_of_a_shifted_unit_normal_is_half_the_square() -> None:
    zeros = torch.zeros(4, 3)
    assert losses.kl_divergence(zeros, zeros) == 0
    # A location's KL is the sum over its three dimensions.
    assert losses.kl_divergence(zeros + 2, zeros) == pytest.approx(3 * 2.0)
    expected = 0.5 * 3 * (np.e - 1 - 1)
    assert losses.kl_divergence(zeros, zeros + 1) == pytest.approx(expected)


def test_graph_loss_is_log_2_without_information_and_falls_with_it() -> None:
    edges, negatives = torch.tensor([[0], [1]]), torch.tensor([[0], [2]])
    assert losses.graph_loss(torch.zeros(3, 2), edges, negatives) == pytest.approx(np.log(2))
    informed = torch.tensor([[3.0, 0], [3, 0], [-3, 0]])
    assert losses.graph_loss(informed, edges, negatives) < 0.01


@pytest.mark.parametrize("missing", ["edges", "negatives", "both"])
def test_graph_loss_without_pairs_counts_nothing_and_has_a_gradient(missing: str) -> None:
    z = torch.ones(3, 2, requires_grad=True)
    pairs, none = torch.tensor([[0], [1]]), torch.zeros(2, 0, dtype=torch.long)
    edges = none if missing in ("edges", "both") else pairs
    negatives = none if missing in ("negatives", "both") else pairs
    loss = losses.graph_loss(z, edges, negatives)
    loss.backward()
    assert torch.isfinite(z.grad).all()
    expected = {"edges": 0.5 * math.log1p(math.e**2), "negatives": 0.5 * math.log1p(math.e**-2)}
    assert float(loss.detach()) == pytest.approx(expected.get(missing, 0.0), abs=1e-6)


def test_balanced_accuracy() -> None:
    assert losses.balanced_accuracy(torch.tensor([1.0, 1, -1, 1]), torch.tensor([-1.0])) == 0.875


def test_transfer_loss_weighs_hidden_genes() -> None:
    truth = torch.eye(3)
    perfect = losses.transfer_loss(truth, truth, torch.tensor([True, False, False]))
    assert perfect == pytest.approx(0, abs=1e-4)
    wrong = truth.clone()
    wrong[:, 0] = -truth[:, 0]
    hidden = losses.transfer_loss(wrong, truth, torch.tensor([True, False, False]))
    seen = losses.transfer_loss(wrong, truth, torch.tensor([False, True, False]))
    assert hidden > seen > 0
