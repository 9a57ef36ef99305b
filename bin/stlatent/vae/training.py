"""The training that all VAEs share; the loop is for those that are modules of our own."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import scipy.sparse as sp

from stlatent.expression import dense
from stlatent.failures import DataError

if TYPE_CHECKING:
    import torch
    from anndata import AnnData

    from stlatent.vae.interface import Run, TrainingOptions

MIN_CELLS = 20
VALIDATION_SHARE = 0.1
PATIENCE = 10
# Epochs that gain less than this share of the validation loss change nothing downstream.
MIN_RELATIVE_GAIN = 1e-3
LEARNING_RATE = 1e-3

Matrix = sp.csr_matrix | np.ndarray


class Model(Protocol):
    """A ``torch.nn.Module`` that the loop can train."""

    def loss(self, batch: torch.Tensor, kl_weight: float) -> torch.Tensor:
        """Return the mean loss of a batch, cells x columns, with a weight of the KL term."""


def check_cells(cells: AnnData, genes: list[str]) -> None:
    """Raise a DataError where a reference cannot be trained on."""
    if cells.n_obs < MIN_CELLS:
        msg = (
            f"the reference has {cells.n_obs} cells after quality control, at least {MIN_CELLS} are "
            "needed; lower reference_min_counts and reference_min_genes or use a larger reference"
        )
        raise DataError(msg)
    missing = [gene for gene in genes if gene not in cells.var_names]
    if missing:
        msg = f"the reference lacks {len(missing)} genes, among them {', '.join(missing[:5])}"
        raise DataError(msg)


@dataclass(frozen=True)
class Fit[M]:
    """A trained module, with the weights of its best epoch.

    Attributes
    ----------
    model
        In evaluation mode, on the device of the training.
    history
        ``train_loss``, ``validation_loss`` and ``kl_weight`` by epoch.
    best_epoch
        Of the lowest validation loss after the warm-up.
    """

    model: M
    history: dict[str, list[float]]
    best_epoch: int


@dataclass
class EarlyStopping:
    """Ends a training when `PATIENCE` epochs after the warm-up gain too little.

    The gain is relative: the scale of the loss grows with genes and depth.

    Attributes
    ----------
    warmup
        Epochs that are not judged.
    best
        Loss of the last epoch that gained enough.
    waited
        Epochs since.
    """

    warmup: int
    best: float = field(default=math.inf, init=False)
    waited: int = field(default=0, init=False)

    def should_stop(self, epoch: int, loss: float) -> bool:
        """Judge the validation loss of an epoch."""
        if epoch < self.warmup:
            return False
        if self.best == math.inf or self.best - loss > MIN_RELATIVE_GAIN * abs(self.best):
            self.best, self.waited = loss, 0
            return False
        self.waited += 1
        return self.waited >= PATIENCE


def warmup_epochs(options: TrainingOptions) -> int:
    """Return the epochs of the KL warm-up: at most half of all."""
    return min(options.kl_warmup_epochs, max(options.max_epochs // 2, 1))


def kl_weight(epoch: int, warmup: int) -> float:
    """Return the weight of the KL term in an epoch."""
    return min(epoch / warmup, 1.0) if warmup else 1.0


def fit[M: torch.nn.Module](
    build: Callable[[], M], values: Matrix, options: TrainingOptions, run: Run
) -> Fit[M]:
    """Train a module.

    Parameters
    ----------
    build
        Makes the module, a `Model`; called after the seed is set.
    values
        Its input, cells x columns.
    options
        Epochs, warm-up and cells a batch.
    run
        Seed and device.

    Raises
    ------
    FloatingPointError
        When the validation loss is no number.
    """
    import torch

    torch.manual_seed(run.seed)
    rng = np.random.default_rng(run.seed)
    order = rng.permutation(values.shape[0])
    n_validation = max(1, round(VALIDATION_SHARE * len(order)))
    validation, training = order[:n_validation], order[n_validation:]
    model = build().to(run.device)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    warmup = warmup_epochs(options)
    stopping = EarlyStopping(warmup)
    history: dict[str, list[float]] = {"train_loss": [], "validation_loss": [], "kl_weight": []}
    best_epoch, best_loss, best_weights = 0, math.inf, model.state_dict()
    for epoch in range(options.max_epochs):
        weight = kl_weight(epoch, warmup)
        batches = _batches(values, rng.permutation(training), options.batch_size, run.device)
        train_loss = _epoch(model, batches, weight, optimiser)
        # In full, so that epochs of the warm-up compare with later ones.
        batches = _batches(values, validation, options.batch_size, run.device)
        loss = _epoch(model, batches, 1.0, None)
        if not math.isfinite(loss):
            msg = f"the validation loss of epoch {epoch} is {loss}"
            raise FloatingPointError(msg)
        for name, value in zip(history, (train_loss, loss, weight), strict=True):
            history[name].append(value)
        if epoch <= warmup or loss < best_loss:
            best_epoch, best_loss = epoch, loss
            best_weights = copy.deepcopy(model.state_dict())
        if stopping.should_stop(epoch, loss):
            break
    model.load_state_dict(best_weights)
    return Fit(model.eval(), history, best_epoch)


def _batches(values: Matrix, rows: np.ndarray, size: int, device: str) -> Iterator[torch.Tensor]:
    import torch

    # Of nearly one size: batch norm cannot train on a last batch of a single cell.
    for part in np.array_split(rows, math.ceil(len(rows) / size)):
        yield torch.as_tensor(dense(values[part])).to(device)


def _epoch(
    model: torch.nn.Module,
    batches: Iterator[torch.Tensor],
    weight: float,
    optimiser: torch.optim.Optimizer | None,
) -> float:
    """Return the mean loss of a cell; without an optimiser nothing is learned."""
    import torch

    model.train(optimiser is not None)
    total, n_cells = 0.0, 0
    with torch.set_grad_enabled(optimiser is not None):
        for batch in batches:
            loss: torch.Tensor = model.loss(batch, weight)  # type: ignore[operator]
            if optimiser is not None:
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            total += loss.item() * len(batch)
            n_cells += len(batch)
    return total / n_cells
