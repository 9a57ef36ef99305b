#!/usr/bin/env python3
"""Align one tissue to the frozen latent space of its reference."""

from __future__ import annotations

from pathlib import Path

import click

from stlatent import devices, slots, task
from stlatent.alignment.matching import MATCHINGS
from stlatent.alignment.settings import AlignmentSettings
from stlatent.records.inputs import Fold
from stlatent.steps.align import align_tissue
from stlatent.vae import storage

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--spatial", type=FILE, required=True, help="QC'd tissue.")
@click.option("--reference", type=FILE, required=True, help="QC'd reference.")
@click.option("--vae", type=click.Path(exists=True), required=True, help="Folder of TRAIN_VAE.")
@click.option("--fold", "fold_path", type=FILE, required=True)
@click.option("--settings", "key", default="", help="Key of this step's settings and the earlier.")
@click.option("--method", type=click.Choice(list(MATCHINGS)), required=True)
@click.option("--n-neighbors", type=int, required=True)
@click.option("--pretrain-epochs", type=int, required=True)
@click.option("--discriminator-epochs", type=int, required=True)
@click.option("--epochs", type=int, required=True)
@click.option("--inner-folds", type=int, required=True, help="Of the panel; 0: none.")
@click.option("--seed", type=int, required=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "gpu"]), required=True)
@click.option("--threads", type=int, required=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--history", type=click.Path(path_type=Path), required=True)
@click.option("--failure", type=click.Path(path_type=Path), required=True)
@task.exit_codes("ALIGN")
def main(
    spatial: Path,
    reference: Path,
    vae: str,
    fold_path: Path,
    key: str,
    method: str,
    n_neighbors: int,
    pretrain_epochs: int,
    discriminator_epochs: int,
    epochs: int,
    inner_folds: int,
    seed: int,
    device: devices.Device,
    threads: int,
    output: Path,
    history: Path,
    failure: Path,
) -> None:
    """Align one tissue to the frozen latent space of its reference."""
    fold = Fold.read(fold_path)
    with task.step("ALIGN", fold.sample, "sample", failure, fold.name, settings=key):
        devices.make_deterministic(seed, threads)
        settings = AlignmentSettings(
            matching=MATCHINGS[method],
            pretrain_epochs=pretrain_epochs,
            discriminator_epochs=discriminator_epochs,
            epochs=epochs,
            seed=seed,
            device=devices.resolve(device),
        )
        aligned, trained = align_tissue(
            slots.read(spatial, slots.INGESTED_SPATIAL),
            storage.attach(slots.read(reference, slots.INGESTED_REFERENCE), storage.load(vae)),
            fold,
            settings,
            n_neighbors,
            inner_folds,
            key,
        )
        slots.write(aligned, output, slots.ALIGNED)
        trained.write(history)


if __name__ == "__main__":
    main()
