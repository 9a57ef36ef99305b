#!/usr/bin/env python3
"""Calibrate the imputed values of a sample on its held-out genes."""

from __future__ import annotations

from pathlib import Path

import click

from stlatent import slots, task
from stlatent.records.inputs import Fold
from stlatent.steps import calibrate
from stlatent.trust.calibration import read_without_layers
from stlatent.trust.intervals import LEVELS

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW = click.Path(path_type=Path)


@click.command(help=__doc__)
@click.option("--sample", required=True)
@click.option("--arm", default="default", show_default=True)
@click.option("--imputed", required=True, type=FILE, help="Of the run that hides nothing.")
@click.option("--spatial", required=True, type=FILE, help="QC'd tissue.")
@click.option("--fold", "fold_paths", multiple=True, type=FILE, help="Once for each file.")
@click.option("--held-out", multiple=True, type=FILE, help="IMPUTE's files of folds.")
@click.option(
    "--interval-level",
    required=True,
    type=click.Choice(["0", *map(str, LEVELS)]),
    help="Of the layers that are written; 0: none.",
)
@click.option("--output", required=True, type=NEW)
@click.option("--table", required=True, type=NEW)
@click.option("--summary", required=True, type=NEW)
@click.option("--failure", required=True, type=NEW)
@click.option(
    "--keep-only",
    metavar="REASON",
    help="Why not to calibrate: the imputed file is kept as it is.",
)
@task.exit_codes("CALIBRATE")
def main(
    sample: str,
    arm: str,
    imputed: Path,
    spatial: Path,
    fold_paths: tuple[Path, ...],
    held_out: tuple[Path, ...],
    interval_level: str,
    output: Path,
    table: Path,
    summary: Path,
    failure: Path,
    keep_only: str | None,
) -> None:
    def keep() -> None:
        calibrate.keep(imputed, output, (table, summary))

    with task.step("CALIBRATE", sample, "sample", failure, settings=arm, rescue=keep):
        if keep_only is not None:
            raise calibrate.given_up(keep_only)
        genes, record = calibrate.calibrate(
            imputed,
            slots.read(spatial, slots.INGESTED_SPATIAL),
            [fold for fold in map(Fold.read, fold_paths) if fold.hidden],
            map(read_without_layers, sorted(held_out)),
            int(interval_level),
            sample,
            arm,
            output,
        )
        genes.to_csv(table, float_format="%.5g")
        record.write(summary)


if __name__ == "__main__":
    main()
