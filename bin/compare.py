#!/usr/bin/env python3
"""Predict the hidden genes of a fold by methods to compare with."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import click

from stlatent import slots, task
from stlatent.baselines.registry import parse_names
from stlatent.failures import DataError
from stlatent.records.inputs import Fold
from stlatent.steps.compare import compare


def methods_of(context: click.Context, option: click.Parameter, value: str) -> list[str]:
    """Return the methods that the command line names."""
    try:
        return parse_names(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(help=__doc__)
@click.option(
    "--spatial", "spatial_path", required=True, type=click.Path(exists=True, dir_okay=False)
)
@click.option(
    "--reference", "reference_path", required=True, type=click.Path(exists=True, dir_okay=False)
)
@click.option("--fold", "fold_path", required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--method", "methods", required=True, callback=methods_of, metavar="NAME[,NAME..]")
@click.option("--n-neighbors", required=True, type=click.IntRange(min=1))
@click.option("--settings", default="", help="Key of the settings of this step.")
@click.option("--seed", required=True, type=int)
@click.option("--output", required=True, type=click.Path(path_type=Path))
@click.option("--failure", required=True, type=click.Path(path_type=Path))
@task.exit_codes("COMPARE")
def main(
    spatial_path: str,
    reference_path: str,
    fold_path: str,
    methods: list[str],
    n_neighbors: int,
    settings: str,
    seed: int,
    output: Path,
    failure: Path,
) -> None:
    fold = Fold.read(fold_path)
    if not fold.hidden:
        raise click.UsageError(f"fold '{fold.name}' hides no gene: there is nothing to predict")

    def step(names: list[str]) -> AbstractContextManager[None]:
        return task.step(
            "COMPARE", fold.sample, "sample", failure, fold.name, ",".join(names), settings
        )

    with step(methods):
        spatial = slots.read(spatial_path, slots.INGESTED_SPATIAL)
        reference = slots.read(reference_path, slots.INGESTED_REFERENCE)
        compared = compare(spatial, reference, fold, methods, seed, n_neighbors)
        if compared.predicted is not None:
            slots.write(compared.predicted, output, slots.IMPUTED)
    if compared.failed:
        with step(list(compared.failed)):
            raise DataError(compared.reason)


if __name__ == "__main__":
    main()
