"""Plain methods: candidates of the imputer on their own, and the null that knows no location."""

from __future__ import annotations

from functools import partial

import numpy as np

from stlatent.arrays import Array
from stlatent.baselines.interface import Inputs, Prediction
from stlatent.baselines.registry import register

CANDIDATES = ("ridge", "kernel_ridge", "knn")


@register("null", package="scikit-learn")
def null(inputs: Inputs) -> Prediction:
    """Library size and nothing else.

    Counts: the reference's mean of each target at every location, so that on the count scale only
    the library varies. Intensities: the mean of the location's panel, relative to that over all.
    """
    view = inputs.view
    level: Array = np.ones(view.n_locations, dtype=np.float32)
    if not view.counts:
        level = view.tissue_panel.mean(axis=1)
        level = level / max(float(level.mean()), 1e-12)
    return Prediction(np.outer(level, inputs.targets.mean).astype(np.float32), "log")


def predict(name: str, inputs: Inputs) -> Prediction:
    """Predict the hidden genes by the candidate called ``name``."""
    from stlatent.imputation.candidates import Candidates

    return Prediction(Candidates(inputs.view).predict(name, inputs.targets), "log")


for _name in CANDIDATES:
    register(_name, package="scikit-learn")(partial(predict, _name))
