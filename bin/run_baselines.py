#!/usr/bin/env python3
"""Predict the hidden genes of a fold by plain methods."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from stlatent import failures, slots
from stlatent.baselines.output import write_baselines
from stlatent.imputation.predictors import predictor
from stlatent.imputation.problem import build_problem, on_tissue_scale
from stlatent.records import Fold

if TYPE_CHECKING:
    from anndata import AnnData


def predict(
    spatial: AnnData, reference: AnnData, fold: Fold, methods: list[str], seed: int
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return spots x hidden genes on the count scale, and seconds, by method."""
    problem = build_problem(spatial, reference, fold.panel, fold.hidden, fold.hidden, seed)
    layers, seconds = {}, {}
    for method in methods:
        start = time.perf_counter()
        predicted = predictor(method)(problem)
        layers[method] = on_tissue_scale(predicted, problem, spatial, fold.panel, fold.hidden)
        seconds[method] = round(time.perf_counter() - start, 3)
    return layers, seconds


def parse_methods(context: click.Context, option: click.Parameter, value: str) -> list[str]:
    """Split a comma-separated list and check its names."""
    methods = list(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    if not methods:
        raise click.BadParameter("name at least one method")
    for method in methods:
        try:
            predictor(method)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
    return methods


@click.command(help=__doc__)
@click.option(
    "--spatial", "spatial_path", required=True, type=click.Path(exists=True, dir_okay=False)
)
@click.option(
    "--reference", "reference_path", required=True, type=click.Path(exists=True, dir_okay=False)
)
@click.option("--fold", "fold_path", required=True, type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--methods", default="null,ridge,kernel_ridge,knn", show_default=True, callback=parse_methods
)
@click.option("--seed", default=0, show_default=True)
@click.option("--output", required=True, type=click.Path(path_type=Path))
@click.option("--failure", required=True, type=click.Path(path_type=Path))
@failures.exit_codes("BASELINES")
def main(
    spatial_path: str,
    reference_path: str,
    fold_path: str,
    methods: list[str],
    seed: int,
    output: Path,
    failure: Path,
) -> None:
    fold = Fold.read(fold_path)
    if not fold.hidden:
        raise click.UsageError(f"fold '{fold.name}' hides no gene: there is nothing to predict")
    with failures.step("BASELINES", fold.sample, "sample", failure, fold.name):
        spatial = slots.read(spatial_path, slots.INGESTED_SPATIAL)
        reference = slots.read(reference_path, slots.INGESTED_REFERENCE)
        layers, seconds = predict(spatial, reference, fold, methods, seed)
        write_baselines(output, spatial, fold, layers, seconds)


if __name__ == "__main__":
    main()
