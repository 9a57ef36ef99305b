"""What a reader yields, before anything is loaded or checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stlatent.readers.values import Facts


def as_names(index: pd.Index[Any]) -> pd.Index[str]:
    """Return names as text; a missing one is ``nan``."""
    return pd.Index(np.where(index.isna(), "nan", index.astype(str)), dtype="str")


@dataclass
class Contents:
    """What a reader found in one input.

    Attributes
    ----------
    obs
        Annotations of the ``n_obs`` observations, indexed by their names.
    genes
        Gene symbols in the order of the matrix's ``n_vars`` columns; duplicates allowed.
    matrix
        ``n_obs x n_vars``: in memory, or an open HDF5 dataset or sparse group.
    facts
        What a scan of the matrix found.
    slot
        Where in the file the matrix was found.
    coordinates
        ``n_obs x 2`` (or 3) when the file itself holds coordinates.
    coordinates_file
        Table of coordinates within an input that is a folder.
    """

    obs: pd.DataFrame
    genes: pd.Index[str]
    matrix: Any
    facts: Facts
    slot: str = "X"
    coordinates: np.ndarray | None = None
    coordinates_file: Path | None = None
