#!/usr/bin/env python3
"""Train the VAE of one reference and freeze it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import click

from stlatent import devices, slots
from stlatent.failures import exit_codes, reading, step


@click.command()
@click.option("--reference", type=click.Path(exists=True), required=True, help="QC'd reference.")
@click.option("--hvg", type=click.Path(exists=True), required=True, help="Genes, one a line.")
@click.option("--vae", default="scvi", show_default=True)
@click.option("--n-latent", default=10, show_default=True)
@click.option("--max-epochs", default=400, show_default=True)
@click.option("--kl-warmup-epochs", default=50, show_default=True)
@click.option("--batch-size", default=128, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "gpu"]), default="auto")
@click.option("--threads", default=1, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder.")
@click.option("--failure", type=click.Path(path_type=Path), required=True)
@exit_codes("TRAIN_VAE")
def main(
    reference: str,
    hvg: str,
    vae: str,
    n_latent: int,
    max_epochs: int,
    kl_warmup_epochs: int,
    batch_size: int,
    seed: int,
    device: devices.Device,
    threads: int,
    output: Path,
    failure: Path,
) -> None:
    """Train the VAE of one reference and freeze it."""
    adata = slots.read(reference, slots.INGESTED_REFERENCE)
    identifier = slots.facts(adata)["source"]
    with step("TRAIN_VAE", identifier, "reference", failure):
        from stlatent.smaller_batches import with_smaller_batches
        from stlatent.vae import registry, storage
        from stlatent.vae.interface import VAESettings

        devices.make_deterministic(seed, threads)
        settings = VAESettings(
            n_latent=n_latent,
            max_epochs=max_epochs,
            kl_warmup_epochs=kl_warmup_epochs,
            batch_size=batch_size,
            seed=seed,
            device=devices.resolve(device),
        )
        with reading(hvg):
            genes = Path(hvg).read_text().splitlines()
        start = time.perf_counter()
        train = registry.trainer(vae)
        trained, sizes = with_smaller_batches(
            lambda size: train(adata, genes, replace(settings, batch_size=size)), batch_size
        )
        facts = {
            "id": identifier,
            "vae": vae,
            "seconds": time.perf_counter() - start,
            "batch_sizes": sizes,
        }
        storage.save(output, trained, adata, replace(settings, batch_size=sizes[-1]), facts)


if __name__ == "__main__":
    main()
