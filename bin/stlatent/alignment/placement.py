"""Where a tissue lies among the cells of its reference: all that imputation takes from ALIGN."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Placement:
    """Positions of a tissue's locations in the latent space of its reference.

    Attributes
    ----------
    z
        Posterior means, locations x n_latent, float32.
    precision
        Of the latent attention that transfers expression from the cells around each location.
    """

    z: np.ndarray
    precision: float
