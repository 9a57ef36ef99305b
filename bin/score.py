#!/usr/bin/env python3
"""Compare predictions of hidden genes with their measurements."""

from __future__ import annotations

from pathlib import Path

import click

from stlatent import slots, task
from stlatent.records.inputs import Fold
from stlatent.steps.score import score

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW = click.Path(path_type=Path)


@click.command(help=__doc__)
@click.option("--spatial", required=True, type=FILE, help="QC'd tissue.")
@click.option("--arm", default="default", show_default=True)
@click.option("--n-neighbors", required=True, type=click.IntRange(min=1), help="For Moran's I.")
@click.option(
    "--fold", "fold_paths", required=True, multiple=True, type=FILE, help="Once for each file."
)
@click.option(
    "--imputed", "imputed_paths", required=True, multiple=True, type=FILE, help="Likewise."
)
@click.option("--output", required=True, type=NEW)
@click.option("--maps", "maps_path", required=True, type=NEW)
@click.option("--failure", required=True, type=NEW)
@task.exit_codes("SCORE")
def main(
    spatial: Path,
    arm: str,
    n_neighbors: int,
    fold_paths: tuple[Path, ...],
    imputed_paths: tuple[Path, ...],
    output: Path,
    maps_path: Path,
    failure: Path,
) -> None:
    folds = [fold for fold in map(Fold.read, fold_paths) if fold.hidden]
    if not folds:
        raise click.UsageError("none of the folds hides a gene")
    with task.step("SCORE", folds[0].sample, "sample", failure, settings=arm):
        scores, maps = score(
            slots.read(spatial, slots.INGESTED_SPATIAL),
            folds,
            [slots.read(path, slots.IMPUTED) for path in sorted(imputed_paths)],
            arm,
            n_neighbors,
        )
        scores.to_csv(output, index=False, float_format="%.6g")
        maps.write(maps_path)


if __name__ == "__main__":
    main()
