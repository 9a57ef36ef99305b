"""What an alignment ends with: where the tissue lies before and after the matching, and how."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from stlatent import slots
from stlatent.alignment.joint import joint_space
from stlatent.alignment.placement import Placement

SERIES = (
    "reconstruction",
    "transfer",
    "anchor",
    "graph",
    "kl",
    "adversarial",
    "divergence",
    "discriminator_loss",
    "discriminator_accuracy",
)


@dataclass
class History:
    """One row per epoch; values that a phase does not compute, or not finite, are None."""

    phase: list[str] = field(default_factory=list)
    series: dict[str, list[float | None]] = field(default_factory=lambda: {s: [] for s in SERIES})

    def add(self, phase: str, steps: list[dict[str, float]]) -> None:
        """Append the mean over the steps of one epoch."""
        self.phase.append(phase)
        for name in SERIES:
            values = [step[name] for step in steps if name in step]
            mean = float(np.mean(values)) if values else math.nan
            self.series[name].append(mean if math.isfinite(mean) else None)


@dataclass(frozen=True)
class State:
    """The tissue's placement at one moment of the training, and how well it transfers.

    ``validation`` is the mean correlation of panel genes transferred while hidden from the encoder.
    """

    placement: Placement
    validation: float


@dataclass(frozen=True)
class Alignment:
    """The tissue before and after the matching, posterior means of the spatial space, history.

    ``warm_up_accuracy`` is that of discriminators trained alone, on locations and cells that they
    were not trained on; None without a warm-up, or with too few of either to keep any out.
    """

    before: State
    after: State
    spatial: np.ndarray
    history: History
    warm_up_accuracy: float | None

    @property
    def states(self) -> dict[str, State]:
        """Both states by the slots that hold their positions."""
        return {slots.X_UNALIGNED: self.before, slots.X_ALIGNED: self.after}

    @property
    def imputation_space(self) -> str:
        """The slot of the state that imputation and the joint latent space take.

        It is the state that predicts panel genes hidden from the encoder better.
        """
        better = self.after.validation > self.before.validation
        return slots.X_ALIGNED if better else slots.X_UNALIGNED

    @property
    def chosen(self) -> State:
        """The state in the slot `imputation_space`."""
        return self.states[self.imputation_space]

    def joint(self, adjacency: sp.csr_matrix) -> np.ndarray:
        """Return the joint latent space of the chosen state (`joint_space`)."""
        return joint_space(self.chosen.placement.z, self.spatial, adjacency)
