#!/usr/bin/env python3
"""Calibrate the imputed values of a sample on its held-out genes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click

from stlatent import failures, slots
from stlatent.records import Fold
from stlatent.trust import calibration, reliability
from stlatent.trust.intervals import LEVELS

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW = click.Path(path_type=Path)


@click.command(help=__doc__)
@click.option("--sample", required=True)
@click.option("--arm", default="default", show_default=True)
@click.option("--imputed", required=True, type=FILE, help="Of the run that hides nothing.")
@click.option("--spatial", "spatial_path", required=True, type=FILE, help="QC'd tissue.")
@click.option("--fold", "fold_paths", multiple=True, type=FILE, help="Once for each file.")
@click.option(
    "--held-out", "held_out_paths", multiple=True, type=FILE, help="IMPUTE's files of folds."
)
@click.option(
    "--interval-level",
    default="90",
    show_default=True,
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
@failures.exit_codes("CALIBRATE")
def main(
    sample: str,
    arm: str,
    imputed: Path,
    spatial_path: Path,
    fold_paths: tuple[Path, ...],
    held_out_paths: tuple[Path, ...],
    interval_level: str,
    output: Path,
    table: Path,
    summary: Path,
    failure: Path,
    keep_only: str | None,
) -> None:
    def keep_imputed() -> None:
        """Leave the imputed file as it is, without anything of an unfinished calibration."""
        shutil.copyfile(imputed, output)
        for path in (table, summary):
            path.unlink(missing_ok=True)

    level = int(interval_level)
    with failures.step("CALIBRATE", sample, "sample", failure, rescue=keep_imputed):
        if keep_only is not None:
            # Without the folder Nextflow would take this attempt's output for that of a calibration.
            msg = (
                f"{keep_only}. Cure: ask for more memory or time for CALIBRATE, or make room on the "
                f"disk (docs/failures.md), remove the folder {Path.cwd()}, then start the run again "
                "with -resume"
            )
            raise failures.GaveUpError(msg)
        folds = {fold.name: fold for fold in map(Fold.read, fold_paths) if fold.hidden}
        spatial = slots.read(spatial_path, slots.INGESTED_SPATIAL)
        counts = bool(slots.facts(spatial)["counts"])
        held_out = []
        for path in sorted(held_out_paths):
            file = calibration.read_without_layers(path)
            name = str(slots.facts(file).get("fold"))
            if name not in folds:
                raise click.UsageError(f"{path} is of fold '{name}', of which no --fold was given")
            held_out.append(calibration.hold_out(spatial, folds[name], file))
        found = calibration.calibrate(held_out, reliability.read_prior(), counts)
        var = calibration.read_var(imputed)
        panel = calibration.is_panel(var, spatial.n_vars)
        var = calibration.gene_table(var, found, counts, panel)
        shutil.copyfile(imputed, output)
        calibration.write_calibration(output, var, found.intervals, level)
        published = calibration.published_table(var, found.held_out)
        published.to_csv(table, float_format="%.5g")
        population = next(iter(folds.values())).population if folds else None
        about = {"sample": sample, "arm": arm, "population": population}
        content = about | calibration.summary(var, found, level, panel)
        summary.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
