"""What maps of the report are drawn of: some locations of a tissue, in few digits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stlatent import slots
from stlatent.records.base import Point
from stlatent.sampling import subset

if TYPE_CHECKING:
    from anndata import AnnData

MAX_LOCATIONS = 3000


def some_locations(spatial: AnnData, seed: int) -> tuple[np.ndarray, list[Point]]:
    """Return positions of at most `MAX_LOCATIONS` locations, and their first two coordinates."""
    chosen = subset(spatial.n_obs, MAX_LOCATIONS, seed)
    places = np.asarray(spatial.obsm[slots.SPATIAL], dtype=float)[chosen, :2]
    return chosen, [(rounded(x), rounded(y)) for x, y in places]


def rounded(value: float) -> float:
    """Return five significant digits."""
    return float(f"{value:.5g}")
