"""Predictions of methods to compare with, as SCORE reads them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stlatent import slots
from stlatent.records import Fold

if TYPE_CHECKING:
    from anndata import AnnData


def write_baselines(
    path: str | Path,
    spatial: AnnData,
    fold: Fold,
    layers: dict[str, np.ndarray],
    seconds: dict[str, float],
) -> None:
    """Write an imputed file of arm ``baseline`` with one layer a method; ``X`` is the first.

    Parameters
    ----------
    spatial
        The QC'd sample.
    layers
        Spots x hidden genes on the count scale, by method.
    seconds
        By method.
    """
    import anndata

    first = next(iter(layers))
    result = anndata.AnnData(
        X=layers[first].copy(),
        obs=spatial.obs,
        var=pd.DataFrame({slots.METHOD: first}, index=fold.hidden),
        layers=layers,
        obsm={slots.SPATIAL: spatial.obsm[slots.SPATIAL]},
        uns={slots.UNS: slots.facts(spatial)},
    )
    slots.note(result, source=fold.sample, fold=fold.name, arm="baseline", seconds=seconds)
    slots.write(result, path, slots.IMPUTED)
