#!/usr/bin/env python3
"""Split the genes of one sample into folds and choose the panel of each."""

from __future__ import annotations

from pathlib import Path

import click

from stlatent import slots, task
from stlatent.inputs import genes
from stlatent.records.inputs import Population


@click.command()
@click.option("--spatial", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--reference", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--hvg", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--n-folds", type=click.IntRange(min=0), required=True)
@click.option("--genes", "choice", required=True, help="As for impute.py.")
@click.option("--evaluation-genes", type=click.IntRange(min=0), required=True)
@click.option("--n-alignment-genes", type=click.IntRange(min=1), required=True)
@click.option("--settings", default="", help="Key of the settings of this step.")
@click.option("--seed", type=int, required=True)
@click.option("--output-dir", type=click.Path(path_type=Path), required=True)
@click.option("--failure", type=click.Path(path_type=Path), required=True)
@task.exit_codes("SPLIT_GENES")
def main(
    spatial: Path,
    reference: Path,
    hvg: Path,
    n_folds: int,
    choice: str,
    evaluation_genes: int,
    n_alignment_genes: int,
    settings: str,
    seed: int,
    output_dir: Path,
    failure: Path,
) -> None:
    """Write fold_all.json, and fold_1.json to fold_k.json."""
    tissue = slots.read(spatial, slots.INGESTED_SPATIAL)
    cells = slots.read(reference, slots.INGESTED_REFERENCE)
    sample = slots.facts(tissue)["source"]
    with task.step("SPLIT_GENES", sample, "sample", failure, settings=settings):
        ranking = hvg.read_text().splitlines()
        shared = genes.shared_genes(tissue, cells)
        delivered, _ = genes.delivered_genes(choice, cells.var_names.tolist(), ranking)
        name, members = genes.population(shared, delivered, ranking)
        scored = genes.evaluation_genes(members, genes.abundance(cells), evaluation_genes, seed)
        folds = genes.make_folds(
            tissue,
            shared,
            ranking,
            scored,
            Population(name, len(members), len(scored)),
            n_folds=n_folds,
            n_alignment_genes=n_alignment_genes,
            seed=seed,
        )
        output_dir.mkdir(parents=True, exist_ok=True)
        for fold in folds:
            fold.write(output_dir / fold.file_name)


if __name__ == "__main__":
    main()
