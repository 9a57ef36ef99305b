#!/usr/bin/env python3
"""Judge the latent spaces of a sample and its reference."""

from __future__ import annotations

import json
from pathlib import Path

import click

from stlatent import failures, slots
from stlatent.evaluation.alignment_quality import evaluate, labels_of
from stlatent.evaluation.domains import tissue_spaces
from stlatent.records import Fold
from stlatent.vae import storage


@click.command(help=__doc__)
@click.option(
    "--aligned", "aligned_path", required=True, type=click.Path(exists=True, dir_okay=False)
)
@click.option(
    "--spatial", "spatial_path", required=True, type=click.Path(exists=True, dir_okay=False)
)
@click.option(
    "--reference",
    "reference_path",
    required=True,
    type=click.Path(exists=True, dir_okay=False),
    help="QC'd reference.",
)
@click.option("--vae", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--fold", "fold_path", required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--seed", default=0, show_default=True)
@click.option("--output", required=True, type=click.Path(path_type=Path))
@click.option("--failure", required=True, type=click.Path(path_type=Path))
@failures.exit_codes("EVALUATE")
def main(
    aligned_path: str,
    spatial_path: str,
    reference_path: str,
    vae: Path,
    fold_path: str,
    seed: int,
    output: Path,
    failure: Path,
) -> None:
    fold = Fold.read(fold_path)
    with failures.step("EVALUATE", fold.sample, "sample", failure):
        aligned = slots.read(aligned_path, slots.ALIGNED)
        spatial = slots.read(spatial_path, slots.INGESTED_SPATIAL)
        saved = storage.load(vae)
        reference = storage.attach(slots.read(reference_path, slots.INGESTED_REFERENCE), saved)
        labels = labels_of(spatial)
        n_neighbors = int(slots.facts(aligned)["n_neighbors"])
        spaces = (
            None
            if labels is None
            else tissue_spaces(aligned, spatial, fold.panel, n_neighbors, seed)
        )
        result = {
            "sample": fold.sample,
            "arm": str(slots.facts(aligned).get("arm", "default")),
            **evaluate(aligned, reference, labels, saved.genes, seed, spaces),
            "n_shared_genes": len(fold.panel),
        }
        output.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
