"""COMPARE: hidden genes of a fold, predicted by methods to compare with."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from stlatent import slots
from stlatent.arrays import Array
from stlatent.baselines.interface import Inputs, on_tissue_scale
from stlatent.baselines.registry import METHODS
from stlatent.evaluation.score_table import BASELINE_ARM
from stlatent.failures import DataError

if TYPE_CHECKING:
    from anndata import AnnData

    from stlatent.records.inputs import Fold


@dataclass(frozen=True)
class Compared:
    """What became of the methods.

    Attributes
    ----------
    predicted
        The file that SCORE reads: one layer a method, on the tissue's scale; ``X`` is the first.
        None when every method failed.
    failed
        Why a method failed, by method.
    """

    predicted: AnnData | None
    failed: dict[str, str]

    @property
    def reason(self) -> str:
        """Every reason once, with the methods that failed for it where reasons differ."""
        by_reason: dict[str, list[str]] = {}
        for method, reason in self.failed.items():
            by_reason.setdefault(reason, []).append(method)
        if len(by_reason) == 1:
            return next(iter(by_reason))
        return "; ".join(f"{', '.join(methods)}: {text}" for text, methods in by_reason.items())


def compare(
    spatial: AnnData,
    reference: AnnData,
    fold: Fold,
    methods: Sequence[str],
    seed: int,
    n_neighbors: int,
) -> Compared:
    """Predict the hidden genes of ``fold`` by every method.

    A method that the data do not suit takes no other down. What several methods share is prepared
    once, and is in the seconds of none.

    Parameters
    ----------
    spatial, reference
        After QC.
    methods
        Names in `stlatent.baselines.registry.METHODS`.
    seed
        Of what the methods sample.
    n_neighbors
        Spatial neighbours of a location.
    """
    inputs = Inputs(spatial, reference, fold.panel, fold.hidden, seed, n_neighbors)
    if len(methods) > 1:
        _ = inputs.view, inputs.targets
    layers, seconds, failed = {}, {}, {}
    for method in methods:
        start = time.perf_counter()
        try:
            layers[method] = on_tissue_scale(METHODS[method].predict(inputs), inputs)
        except DataError as error:
            failed[method] = str(error)
        else:
            seconds[method] = round(time.perf_counter() - start, 3)
    return Compared(_file(spatial, fold, layers, seconds) if layers else None, failed)


def _file(
    spatial: AnnData, fold: Fold, layers: dict[str, Array], seconds: dict[str, float]
) -> AnnData:
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
    slots.note(result, source=fold.sample, fold=fold.name, arm=BASELINE_ARM, seconds=seconds)
    return result
