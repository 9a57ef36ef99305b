"""Plain methods: predictors of a gene from the panel, learned on the reference."""

from __future__ import annotations

from functools import partial

from stlatent.baselines.interface import Inputs, Prediction
from stlatent.baselines.registry import register

NAMES = ("null", "ridge", "kernel_ridge", "knn")


def predict(name: str, inputs: Inputs) -> Prediction:
    """Predict the hidden genes by the predictor called ``name``."""
    from stlatent.imputation.predictors import predictor

    return Prediction(predictor(name)(inputs.problem), "log")


for _name in NAMES:
    register(_name, package="scikit-learn")(partial(predict, _name))
