#!/usr/bin/env python3
"""Predict the hidden genes of a fold by a published method."""

from __future__ import annotations

import time
from pathlib import Path

import click

from stlatent import failures, slots
from stlatent.baselines import PEERS, on_tissue_scale
from stlatent.baselines.output import write_baselines
from stlatent.records import Fold


@click.command(help=__doc__)
@click.option(
    "--spatial", "spatial_path", required=True, type=click.Path(exists=True, dir_okay=False)
)
@click.option(
    "--reference", "reference_path", required=True, type=click.Path(exists=True, dir_okay=False)
)
@click.option("--fold", "fold_path", required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--method", required=True, type=click.Choice(list(PEERS)))
@click.option("--seed", default=0, show_default=True)
@click.option("--output", required=True, type=click.Path(path_type=Path))
@click.option("--failure", required=True, type=click.Path(path_type=Path))
@failures.exit_codes("PEER")
def main(
    spatial_path: str,
    reference_path: str,
    fold_path: str,
    method: str,
    seed: int,
    output: Path,
    failure: Path,
) -> None:
    fold = Fold.read(fold_path)
    if not fold.hidden:
        raise click.UsageError(f"fold '{fold.name}' hides no gene: there is nothing to predict")
    with failures.step("PEER", fold.sample, "sample", failure, fold.name, method):
        spatial = slots.read(spatial_path, slots.INGESTED_SPATIAL)
        reference = slots.read(reference_path, slots.INGESTED_REFERENCE)
        start = time.perf_counter()
        prediction = PEERS[method](spatial, reference, fold.panel, fold.hidden, seed)
        values = on_tissue_scale(prediction, spatial, reference, fold.panel, fold.hidden, seed)
        seconds = round(time.perf_counter() - start, 3)
        write_baselines(output, spatial, fold, {method: values}, {method: seconds})


if __name__ == "__main__":
    main()
