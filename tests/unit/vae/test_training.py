from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from stlatent.vae import training
from stlatent.vae.interface import Run, TrainingOptions
from stlatent.vae.training import EarlyStopping, fit, kl_weight, warmup_epochs

OPTIONS = TrainingOptions(max_epochs=60, kl_warmup_epochs=5, batch_size=8)


class GaussianVAE(nn.Module):
    """A small variational autoencoder with batch norm."""

    def __init__(self, n_columns: int, n_latent: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(n_columns, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2 * n_latent)
        )
        self.decoder = nn.Linear(n_latent, n_columns)
        self.weights: list[float] = []

    def encode(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, logvar = self.encoder(batch).chunk(2, dim=1)
        return mean, logvar

    def loss(self, batch: torch.Tensor, kl_weight: float) -> torch.Tensor:
        if self.training:
            self.weights.append(kl_weight)
        mean, logvar = self.encode(batch)
        z = mean + torch.randn_like(mean) * (logvar / 2).exp()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1)
        return ((self.decoder(z) - batch).square().sum(1) + kl_weight * kl).mean()


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """Two kinds of cells, 20 columns."""
    rng = np.random.default_rng(0)
    kind = np.repeat([0.0, 1.0], 97)[:, None]
    return (kind * rng.normal(0, 2, 20) + rng.normal(0, 0.3, (194, 20))).astype(np.float32)


def build() -> GaussianVAE:
    return GaussianVAE(20, 2)


def test_a_model_learns_the_structure_of_its_data(values: np.ndarray) -> None:
    found = fit(build, values, OPTIONS, Run())
    assert found.history["validation_loss"][-1] < 0.5 * found.history["validation_loss"][0]
    assert not found.model.training
    with torch.no_grad():
        z = found.model.encode(torch.as_tensor(values))[0].numpy()
    between = np.linalg.norm(z[:97].mean(0) - z[97:].mean(0))
    assert between > 3 * z[:97].std(0).max()


def test_the_seed_alone_decides_the_result_and_sparse_data_are_as_good(values: np.ndarray) -> None:
    torch.manual_seed(99)
    first = fit(build, values, OPTIONS, Run(seed=1))
    again = fit(build, sparse.csr_matrix(values), OPTIONS, Run(seed=1))
    other = fit(build, values, OPTIONS, Run(seed=2))
    assert first.history == again.history
    assert first.history != other.history
    for name, weights in first.model.state_dict().items():
        assert torch.equal(weights, again.model.state_dict()[name])


def test_the_weights_are_those_of_the_best_epoch_after_the_warm_up(
    values: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Drifting(nn.Module):
        """Every step adds 1 to its weight; the loss is lowest at 12 steps."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def loss(self, batch: torch.Tensor, kl_weight: float) -> torch.Tensor:
            if self.training:
                return -self.weight.sum()
            return (self.weight - 12).square().sum() + 1

    monkeypatch.setattr(
        torch.optim, "Adam", lambda parameters, lr: torch.optim.SGD(parameters, 1.0)
    )
    found = fit(Drifting, values, TrainingOptions(100, 5, 1000), Run())
    assert found.best_epoch == 11
    assert found.model.weight.item() == 12
    assert len(found.history["validation_loss"]) == 12 + training.PATIENCE


def test_the_kl_weight_rises_over_the_warm_up(values: np.ndarray) -> None:
    found = fit(build, values, TrainingOptions(8, 4, 1000), Run())
    expected = [0, 0.25, 0.5, 0.75, 1, 1, 1, 1]
    assert found.history["kl_weight"] == found.model.weights == expected
    assert kl_weight(0, 0) == 1
    assert warmup_epochs(TrainingOptions(10, 50, 1)) == 5


def test_early_stopping_asks_for_a_relative_gain() -> None:
    stopping = EarlyStopping(warmup=1)
    assert not stopping.should_stop(0, -math.inf)
    losses = [1000.0] + [999.5] * training.PATIENCE
    ends = [stopping.should_stop(epoch, loss) for epoch, loss in enumerate(losses, start=1)]
    assert ends == [False] * training.PATIENCE + [True]


def test_no_batch_of_a_single_cell_remains(values: np.ndarray) -> None:
    # 175 cells are trained on: 4 batches of 44 would leave one.
    fit(build, values, TrainingOptions(1, 0, 58), Run())


def test_a_loss_that_is_no_number_ends_the_training(values: np.ndarray) -> None:
    broken = np.where(values > 0, np.nan, values)
    with pytest.raises(FloatingPointError, match="validation loss of epoch 0 is nan"):
        fit(build, broken, OPTIONS, Run())
