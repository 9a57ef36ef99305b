#!/usr/bin/env python3
"""Impute genes of the reference at every location of one tissue."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import click
import numpy as np

from stlatent import slots
from stlatent.failures import DataError, step


def genes_to_impute(
    choice: str, fold: dict[str, object], reference: list[str], hvg: list[str]
) -> list[str]:
    """Return the genes asked for, in the reference's order where it matters.

    Parameters
    ----------
    choice
        ``hvg``, ``all``, or the path of a file with one gene per line. A fold that hides genes
        imputes those, whatever the choice.
    fold
        The fold's split.
    reference
        Every gene of the QC'd reference.
    hvg
        Genes the VAE was trained on.
    """
    if fold["fold"] != "all":
        return list(fold["hidden"])  # type: ignore[call-overload]
    if choice in {"hvg", "all"}:
        return hvg if choice == "hvg" else reference
    asked = list(dict.fromkeys(Path(choice).read_text().split()))
    missing = [gene for gene in asked if gene not in set(reference)]
    if missing:
        msg = (
            f"{len(missing)} of {len(asked)} genes asked for are not in the reference after QC: "
            f"{', '.join(missing[:10])}. Remove them from {Path(choice).name} or lower "
            "reference_min_cells"
        )
        raise DataError(msg)
    return asked


@click.command()
@click.option("--aligned", type=click.Path(exists=True), required=True)
@click.option("--spatial", type=click.Path(exists=True), required=True, help="QC'd tissue.")
@click.option("--vae", type=click.Path(exists=True), required=True, help="Folder of TRAIN_VAE.")
@click.option("--fold", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--genes", default="hvg", show_default=True, help="hvg, all, or a file of genes.")
@click.option("--threads", default=1, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--failure", type=click.Path(path_type=Path), required=True)
def main(
    aligned: str,
    spatial: str,
    vae: str,
    fold: Path,
    genes: str,
    threads: int,
    output: Path,
    failure: Path,
) -> None:
    """Impute genes of the reference at every location of one tissue."""
    split = json.loads(fold.read_text())
    with step("IMPUTE", split["sample"], "sample", failure):
        from stlatent import devices
        from stlatent.alignment.inputs import visible_library
        from stlatent.imputation.imputer import Imputer, Scale, whole_library
        from stlatent.imputation.output import gene_table, write_imputed
        from stlatent.vae import storage

        devices.make_deterministic(0, threads)
        positions = slots.read(aligned, slots.ALIGNED)
        tissue = slots.read(spatial, slots.INGESTED_SPATIAL)
        saved = storage.load(vae)
        noted = slots.facts(positions)
        imputer = Imputer(
            z=np.asarray(positions.obsm[noted["imputation_space"]], dtype=np.float32),
            precision=float(noted["precision"]),
            reference=saved.reference,
            latent=np.asarray(saved.reference.obsm[slots.X_VAE], dtype=np.float32),
            decoder=saved.decoder,
            decoder_genes=saved.genes,
        )
        visible = tissue.var_names.difference(split["hidden"])
        measured = visible.intersection(saved.reference.var_names).tolist()
        total = visible_library(tissue, split["hidden"])
        scale = Scale(bool(noted["counts"]), whole_library(imputer, total, measured))
        names = genes_to_impute(genes, split, saved.reference.var_names.tolist(), saved.genes)
        complete = split["fold"] == "all"
        skeleton = anndata.AnnData(
            obs=tissue.obs,
            var=gene_table(names, set(tissue.var_names), set(saved.genes)),
            uns={slots.UNS: noted},
        )
        kept = positions.obsm if complete else {slots.SPATIAL: positions.obsm[slots.SPATIAL]}
        for slot, values in kept.items():
            skeleton.obsm[slot] = values
        seconds = write_imputed(output, skeleton, imputer, scale, names, normalised=complete)
        note_seconds(output, {m: s + float(noted["seconds"]) for m, s in seconds.items()})


def note_seconds(path: Path, seconds: dict[str, float]) -> None:
    """Add the seconds of each method (alignment included) to a written file."""
    import h5py

    with h5py.File(path, "r+") as file:
        group = file[f"uns/{slots.UNS}"]
        if "seconds" in group:
            del group["seconds"]
        anndata.io.write_elem(group, "seconds", seconds)


if __name__ == "__main__":
    main()
