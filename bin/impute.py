#!/usr/bin/env python3
"""Impute genes of the reference at every location of one tissue."""

from __future__ import annotations

import json
import time
from pathlib import Path

import anndata
import click
import numpy as np

from stlatent import slots
from stlatent.failures import exit_codes, reading, step
from stlatent.inputs.genes import delivered_genes


@click.command()
@click.option("--aligned", type=click.Path(exists=True), required=True)
@click.option("--spatial", type=click.Path(exists=True), required=True, help="QC'd tissue.")
@click.option("--reference", type=click.Path(exists=True), required=True, help="QC'd reference.")
@click.option("--vae", type=click.Path(exists=True), required=True, help="Folder of TRAIN_VAE.")
@click.option("--fold", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--genes", default="hvg", show_default=True, help="hvg, all, or a file of genes.")
@click.option("--imputer", default="stack", show_default=True, help="The method of X.")
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--summary", type=click.Path(path_type=Path), required=True)
@click.option("--failure", type=click.Path(path_type=Path), required=True)
@exit_codes("IMPUTE")
def main(
    aligned: str,
    spatial: str,
    reference: str,
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
    with reading(fold):
        split = json.loads(fold.read_text())
    with step("IMPUTE", split["sample"], "sample", failure, split["fold"]):
        from stlatent import devices
        from stlatent.alignment.placement import Placement
        from stlatent.imputation import inner_folds
        from stlatent.imputation.candidates import CANDIDATES, Candidates
        from stlatent.imputation.imputer import DECODER, METHODS, Imputer
        from stlatent.imputation.output import gene_table, note, write_imputed
        from stlatent.trust import reference_coverage
        from stlatent.vae import storage

        if imputer not in METHODS:
            raise click.BadParameter(f"unknown imputer {imputer!r}: choose {', '.join(METHODS)}")
        devices.make_deterministic(seed, threads)
        positions = slots.read(aligned, slots.ALIGNED)
        tissue = slots.read(spatial, slots.INGESTED_SPATIAL)
        saved = storage.load(vae)
        cells = storage.attach(slots.read(reference, slots.INGESTED_REFERENCE), saved)
        noted = slots.facts(positions)

        def see(panel: list[str], hidden: list[str], place: Placement) -> Candidates:
            return Candidates(
                tissue, cells, panel, hidden, place.z, saved.latent, place.precision, seed
            )

        z = np.asarray(positions.obsm[noted["imputation_space"]], dtype=np.float32)
        outer = Placement(z, float(noted["precision"]))
        began = time.perf_counter()
        weights = inner_folds.stack_weights(
            inner_folds.load(positions), split["panel"], split["hidden"], see
        )
        learning = time.perf_counter() - began
        predictor = Imputer(
            see(split["panel"], split["hidden"], outer), weights, saved.decoder, saved.genes
        )
        every = saved.genes if imputer == DECODER else cells.var_names.tolist()
        complete = split["fold"] == "all"
        names, unknown = (
            delivered_genes(genes, every, saved.genes) if complete else (split["hidden"], [])
        )
        skeleton = anndata.AnnData(
            obs=tissue.obs,
            var=gene_table(names, imputer, set(tissue.var_names), set(saved.genes)),
            uns={slots.UNS: {name: noted[name] for name in noted if name != "inner_folds"}},
        )
        kept = (
            [name for name in positions.obsm if not slots.is_inner_slot(name)]
            if complete
            else [slots.SPATIAL]
        )
        for slot in kept:
            skeleton.obsm[slot] = positions.obsm[slot]
        covered = None
        if complete:
            judged = reference_coverage.assess(tissue, cells, split["panel"], z, saved.latent, seed)
            covered = reference_coverage.summarise(judged, tissue, seed)
            # What was not judged is left out: readers differ in how they take missing truth values.
            skeleton.obs = tissue.obs.assign(**judged.dropna(axis=1, how="all"))
        unseen = []
        for inner in inner_folds.load(positions) if complete else []:
            visible = [gene for gene in split["panel"] if gene not in set(inner.hidden)]
            blind = see(visible, inner.hidden, inner.placement)
            unseen.append((Imputer(blind, weights, saved.decoder, saved.genes), inner.hidden))
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
            features=True,
            unseen=unseen,
        )
        seconds = predictor.total_seconds(float(noted["seconds"]), learning)
        note(output, slots.SECONDS, {**seconds, "stlatent": seconds[imputer]})
        note(output, slots.WEIGHTS, weights.by_candidate)
        learned = {
            "sample": split["sample"],
            "arm": noted.get("arm", "default"),
            "fold": split["fold"],
            "seed": seed,
            "default_method": imputer,
            "weights": weights.by_candidate,
            "inner_correlation": weights.correlation,
            "genes_not_in_reference": unknown,
            "coverage": covered,
        }
        summary.write_text(json.dumps(learned, indent=1) + "\n")


if __name__ == "__main__":
    main()
