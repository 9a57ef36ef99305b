#!/usr/bin/env python3
"""Train the VAE of one reference and freeze it."""

from __future__ import annotations

from pathlib import Path

import click

from stlatent import devices, slots, task
from stlatent.failures import reading
from stlatent.vae import registry, storage
from stlatent.vae.interface import Run


@click.command(help=__doc__)
@click.option("--reference", type=click.Path(exists=True), required=True, help="QC'd reference.")
@click.option("--hvg", type=click.Path(exists=True), required=True, help="Genes, one a line.")
@click.option("--vae", type=click.Choice(registry.names()), required=True)
@click.option("--n-latent", type=int, required=True)
@click.option("--max-epochs", type=int, required=True)
@click.option("--kl-warmup-epochs", type=int, required=True)
@click.option("--batch-size", type=int, required=True)
@click.option("--seed", type=int, required=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "gpu"]), required=True)
@click.option("--threads", type=int, required=True)
@click.option("--settings", default="", help="Key of the settings up to this step.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder.")
@click.option("--history", type=click.Path(path_type=Path), required=True)
@click.option("--failure", type=click.Path(path_type=Path), required=True)
@task.exit_codes("TRAIN_VAE")
def main(
    reference: str,
    hvg: str,
    vae: str,
    seed: int,
    device: devices.Device,
    threads: int,
    settings: str,
    output: Path,
    history: Path,
    failure: Path,
    **options: int,
) -> None:
    """Train the VAE of one reference and freeze it."""
    cells = slots.read(reference, slots.INGESTED_REFERENCE)
    with task.step(
        "TRAIN_VAE", slots.facts(cells)["source"], "reference", failure, settings=settings
    ):
        with reading(hvg):
            genes = Path(hvg).read_text().splitlines()
        devices.make_deterministic(seed, threads)
        backend = registry.get(vae)
        run = Run(seed, devices.resolve(device))
        training = backend.train(cells, genes, backend.select(options), run)
        storage.save(output, cells, training, settings).write(history)


if __name__ == "__main__":
    main()
