#!/usr/bin/env python3
"""Impute genes of the reference at every location of one tissue."""

from __future__ import annotations

from pathlib import Path

import click

from stlatent import slots, task
from stlatent.records.inputs import Fold


@click.command()
@click.option("--aligned", type=click.Path(exists=True), required=True)
@click.option("--spatial", type=click.Path(exists=True), required=True, help="QC'd tissue.")
@click.option("--reference", type=click.Path(exists=True), required=True, help="QC'd reference.")
@click.option("--vae", type=click.Path(exists=True), required=True, help="Folder of TRAIN_VAE.")
@click.option("--fold", type=click.Path(exists=True, path_type=Path), required=True)
@click.option(
    "--settings", default="", help="Key of the settings of this step and the ones before."
)
@click.option("--genes", required=True, help="hvg, all, or a file of genes.")
@click.option("--imputer", required=True, help="The method of X.")
@click.option("--seed", type=int, required=True)
@click.option("--threads", type=int, required=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--summary", type=click.Path(path_type=Path), required=True)
@click.option("--failure", type=click.Path(path_type=Path), required=True)
@task.exit_codes("IMPUTE")
def main(
    aligned: str,
    spatial: str,
    reference: str,
    vae: str,
    fold: Path,
    settings: str,
    genes: str,
    imputer: str,
    seed: int,
    threads: int,
    output: Path,
    summary: Path,
    failure: Path,
) -> None:
    """Impute genes of the reference at every location of one tissue."""
    split = Fold.read(fold)
    with task.step("IMPUTE", split.sample, "sample", failure, split.name, settings=settings):
        from stlatent import devices
        from stlatent.imputation.imputer import METHODS
        from stlatent.steps.impute import Options, impute
        from stlatent.vae import storage

        if imputer not in METHODS:
            raise click.BadParameter(f"unknown imputer {imputer!r}: choose {', '.join(METHODS)}")
        devices.make_deterministic(seed, threads)
        saved = storage.load(vae)
        learned = impute(
            slots.read(spatial, slots.INGESTED_SPATIAL),
            storage.attach(slots.read(reference, slots.INGESTED_REFERENCE), saved),
            saved,
            slots.read(aligned, slots.ALIGNED),
            split,
            Options(genes, imputer, seed, settings),
            output,
        )
        learned.write(summary)


if __name__ == "__main__":
    main()
