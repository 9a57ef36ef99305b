#!/usr/bin/env python3
"""Judge the latent spaces of a sample and its reference."""

from __future__ import annotations

from pathlib import Path

import click

from stlatent import slots, task
from stlatent.records.inputs import Fold
from stlatent.steps.evaluate import evaluate
from stlatent.vae import storage

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
NEW = click.Path(path_type=Path)


@click.command(help=__doc__)
@click.option("--aligned", required=True, type=FILE)
@click.option("--spatial", required=True, type=FILE, help="QC'd tissue.")
@click.option("--reference", required=True, type=FILE, help="QC'd reference.")
@click.option("--vae", required=True, type=FOLDER)
@click.option("--fold", "fold_path", required=True, type=FILE, help="Of the full run.")
@click.option("--settings", default="", help="Key of the settings of the alignment.")
@click.option("--seed", required=True, type=int)
@click.option("--output", required=True, type=NEW)
@click.option("--failure", required=True, type=NEW)
@task.exit_codes("EVALUATE")
def main(
    aligned: Path,
    spatial: Path,
    reference: Path,
    vae: Path,
    fold_path: Path,
    settings: str,
    seed: int,
    output: Path,
    failure: Path,
) -> None:
    fold = Fold.read(fold_path)
    with task.step("EVALUATE", fold.sample, "sample", failure, settings=settings):
        saved = storage.load(vae)
        cells = storage.attach(slots.read(reference, slots.INGESTED_REFERENCE), saved)
        evaluate(
            slots.read(aligned, slots.ALIGNED),
            slots.read(spatial, slots.INGESTED_SPATIAL),
            cells,
            saved.genes,
            fold,
            settings,
            seed,
        ).write(output)


if __name__ == "__main__":
    main()
