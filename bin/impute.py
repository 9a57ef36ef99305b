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
@click.option("--imputer", default="stack", show_default=True, help="The method of X.")
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--summary", type=click.Path(path_type=Path), required=True)
@click.option("--failure", type=click.Path(path_type=Path), required=True)
def main(
    aligned: str,
    spatial: str,
    vae: str,
    fold: Path,
    genes: str,
    imputer: str,
    seed: int,
    threads: int,
    output: Path,
    summary: Path,
    failure: Path,
) -> None:
    """Impute genes of the reference at every location of one tissue."""
    split = json.loads(fold.read_text())
    with step("IMPUTE", split["sample"], "sample", failure):
        from stlatent import devices
        from stlatent.imputation import inner_folds
        from stlatent.imputation.candidates import CANDIDATES, Candidates
        from stlatent.imputation.imputer import DECODER, METHODS, Imputer
        from stlatent.imputation.output import gene_table, note, write_imputed
        from stlatent.vae import storage

        if imputer not in METHODS:
            raise click.BadParameter(f"unknown imputer {imputer!r}: choose {', '.join(METHODS)}")
        devices.make_deterministic(seed, threads)
        positions = slots.read(aligned, slots.ALIGNED)
        tissue = slots.read(spatial, slots.INGESTED_SPATIAL)
        saved = storage.load(vae)
        noted = slots.facts(positions)
        latent = np.asarray(saved.reference.obsm[slots.X_VAE], dtype=np.float32)

        def see(panel: list[str], hidden: list[str], place: inner_folds.InnerFold) -> Candidates:
            return Candidates(
                tissue, saved.reference, panel, hidden, place.z, latent, place.precision, seed
            )

        z = np.asarray(positions.obsm[noted["imputation_space"]], dtype=np.float32)
        outer = inner_folds.InnerFold([], z, float(noted["precision"]))
        weights = inner_folds.stack_weights(
            inner_folds.load(positions), split["panel"], split["hidden"], see
        )
        predictor = Imputer(
            see(split["panel"], split["hidden"], outer), weights, saved.decoder, saved.genes
        )
        names = genes_to_impute(genes, split, saved.reference.var_names.tolist(), saved.genes)
        complete = split["fold"] == "all"
        skeleton = anndata.AnnData(
            obs=tissue.obs,
            var=gene_table(names, imputer, set(tissue.var_names), set(saved.genes)),
            uns={slots.UNS: {name: noted[name] for name in noted if name != "inner_folds"}},
        )
        kept = inner_folds.without_inner(list(positions.obsm)) if complete else [slots.SPATIAL]
        for slot in kept:
            skeleton.obsm[slot] = positions.obsm[slot]
        # Folds carry every candidate, so that each is scored; the full run the paper's two ways.
        layers = ["transfer", DECODER] if complete else [*CANDIDATES, DECODER]
        write_imputed(
            output,
            skeleton,
            predictor,
            names,
            imputer,
            [name for name in layers if name != imputer],
            normalised=complete,
        )
        seconds = predictor.total_seconds(float(noted["seconds"]))
        note(output, "seconds", {**seconds, "stlatent": seconds[imputer]})
        note(output, "weights", weights.by_candidate)
        learned = {
            "sample": split["sample"],
            "arm": noted["arm"],
            "fold": split["fold"],
            "default_method": imputer,
            "weights": weights.by_candidate,
            "inner_correlation": weights.correlation,
        }
        summary.write_text(json.dumps(learned, indent=1) + "\n")


if __name__ == "__main__":
    main()
