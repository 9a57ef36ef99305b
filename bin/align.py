#!/usr/bin/env python3
"""Align one tissue to the frozen latent space of its reference."""

from __future__ import annotations

import json
import time
from pathlib import Path

import anndata
import click

from stlatent import devices, slots
from stlatent.failures import exit_codes, reading, step

METHODS = ("adversarial", "paper", "sinkhorn", "mmd", "none")


@click.command()
@click.option("--spatial", type=click.Path(exists=True), required=True, help="QC'd tissue.")
@click.option("--reference", type=click.Path(exists=True), required=True, help="QC'd reference.")
@click.option("--vae", type=click.Path(exists=True), required=True, help="Folder of TRAIN_VAE.")
@click.option("--fold", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--arm", default="default", show_default=True)
@click.option("--alignment", type=click.Choice(METHODS), default="adversarial")
@click.option("--n-neighbors", default=8, show_default=True)
@click.option("--pretrain-epochs", default=150, show_default=True)
@click.option("--discriminator-epochs", default=50, show_default=True)
@click.option("--epochs", default=150, show_default=True)
@click.option("--inner-folds", default=3, show_default=True, help="Of the panel; 0: none.")
@click.option("--seed", default=0, show_default=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "gpu"]), default="auto")
@click.option("--threads", default=1, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--history", type=click.Path(path_type=Path), required=True)
@click.option("--failure", type=click.Path(path_type=Path), required=True)
@exit_codes("ALIGN")
def main(
    spatial: str,
    reference: str,
    vae: str,
    fold: Path,
    arm: str,
    alignment: str,
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
    with reading(fold):
        split = json.loads(fold.read_text())
    with step("ALIGN", split["sample"], "sample", failure, split["fold"]):
        from stlatent.alignment.inputs import prepare
        from stlatent.alignment.trainer import (
            BLOCK_SIZE,
            Alignment,
            AlignmentSettings,
            align,
            align_unmatched,
        )
        from stlatent.imputation.inner_folds import InnerFold, split_panel, store
        from stlatent.smaller_batches import with_smaller_batches
        from stlatent.vae import storage

        devices.make_deterministic(seed, threads)
        adata = slots.read(spatial, slots.INGESTED_SPATIAL)
        cells = storage.attach(slots.read(reference, slots.INGESTED_REFERENCE), storage.load(vae))
        start = time.perf_counter()
        inputs = prepare(adata, cells, split["panel"], split["hidden"], n_neighbors)
        settings = AlignmentSettings(
            alignment=alignment,
            pretrain_epochs=pretrain_epochs,
            discriminator_epochs=discriminator_epochs,
            epochs=epochs,
            # Only the full fit is judged in the report.
            judge_warm_up=not split["hidden"],
            seed=seed,
            device=devices.resolve(device),
        )

        def run(batch_size: int) -> tuple[Alignment, list[InnerFold]]:
            asked = settings.with_batch_size(batch_size)
            aligned = align(inputs, asked)
            inner = []
            for hidden in split_panel(split["panel"], inner_folds, seed):
                visible = [gene for gene in split["panel"] if gene not in set(hidden)]
                unseen = [*split["hidden"], *hidden]
                placement = align_unmatched(
                    prepare(adata, cells, visible, unseen, n_neighbors), asked
                )
                inner.append(InnerFold(hidden, placement))
            return aligned, inner

        (aligned, inner), sizes = with_smaller_batches(run, settings.batch_size, BLOCK_SIZE)
        seconds = time.perf_counter() - start
        result = anndata.AnnData(obs=adata.obs, uns={slots.UNS: slots.facts(adata)})
        result.obsm[slots.SPATIAL] = adata.obsm[slots.SPATIAL]
        result.obsm[slots.X_ALIGNED] = aligned.after.placement.z
        result.obsm[slots.X_UNALIGNED] = aligned.before.placement.z
        result.obsm[slots.X_SPATIAL] = aligned.spatial
        result.obsm[slots.X_JOINT] = aligned.joint(inputs.graph)
        states = {slots.X_UNALIGNED: aligned.before, slots.X_ALIGNED: aligned.after}
        # Imputation takes the same state as the joint latent space.
        space = slots.X_ALIGNED if aligned.chosen == "after" else slots.X_UNALIGNED
        slots.note(
            result,
            arm=arm,
            fold=split["fold"],
            seed=seed,
            seconds=seconds,
            imputation_space=space,
            precision=states[space].placement.precision,
            n_neighbors=n_neighbors,
        )
        store(result, inner)
        slots.write(result, output, slots.ALIGNED)
        trained = {
            "id": split["sample"],
            "arm": arm,
            "fold": split["fold"],
            "seed": seed,
            "phase": aligned.history.phase,
            "epoch": list(range(len(aligned.history.phase))),
            "series": aligned.history.series,
            "n_panel_genes": len(split["panel"]),
            "n_neighbors": n_neighbors,
            "warm_up_accuracy": aligned.warm_up_accuracy,
            "validation": {slot: state.validation for slot, state in states.items()},
            "imputation_space": space,
            "seconds": seconds,
            "batch_sizes": sizes,
        }
        history.write_text(json.dumps(trained, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
