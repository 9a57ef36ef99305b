#!/usr/bin/env python3
"""Compare predictions of hidden genes with their measurements."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pandas as pd

from stlatent import failures, slots
from stlatent.evaluation.scoring import COLUMNS, build_maps, score_file, seed_of
from stlatent.graph import row_weights, spatial_neighbours
from stlatent.records import Fold

N_NEIGHBORS = 8


@click.command()
@click.option(
    "--spatial", "spatial_path", required=True, type=click.Path(exists=True, dir_okay=False)
)
@click.option("--arm", default="default", show_default=True)
@click.option("--output", required=True, type=click.Path(path_type=Path))
@click.option("--maps", required=True, type=click.Path(path_type=Path))
@click.option("--failure", required=True, type=click.Path(path_type=Path))
@click.option("--fold", "fold_paths", required=True, multiple=True, help="Once for each file.")
@click.option(
    "--imputed", "imputed_paths", required=True, multiple=True, help="Once for each file."
)
@click.argument("more", nargs=-1, metavar="[FILE]...")
@failures.exit_codes("SCORE")
def main(
    spatial_path: str,
    arm: str,
    output: Path,
    maps: Path,
    failure: Path,
    fold_paths: tuple[str, ...],
    imputed_paths: tuple[str, ...],
    more: tuple[str, ...],
) -> None:
    """Compare predictions of hidden genes with their measurements.

    Further FILEs count as folds (.json) or as predictions (.h5ad), so that a shell's pattern may
    follow --fold and --imputed.
    """
    fold_paths += tuple(path for path in more if path.endswith(".json"))
    imputed_paths += tuple(path for path in more if not path.endswith(".json"))
    folds = {fold.name: fold for fold in map(Fold.read, fold_paths) if fold.hidden}
    if not folds:
        raise click.UsageError("none of the folds hides a gene")
    sample = next(iter(folds.values())).sample
    with failures.step("SCORE", sample, "sample", failure):
        spatial = slots.read(spatial_path, slots.INGESTED_SPATIAL)
        weights = row_weights(spatial_neighbours(spatial, N_NEIGHBORS))
        files = [slots.read(path, slots.IMPUTED) for path in sorted(imputed_paths)]
        tables = []
        for path, file in zip(sorted(imputed_paths), files, strict=True):
            name = str(slots.facts(file).get("fold"))
            if name not in folds:
                raise click.UsageError(f"{path} is of fold '{name}', of which no --fold was given")
            tables.append(score_file(spatial, folds[name], file, weights, arm))
        scores = pd.concat(tables, ignore_index=True)[COLUMNS]
        scores = scores.sort_values(
            ["fold", "seed"], kind="stable", ignore_index=True, na_position="first"
        )
        scores.to_csv(output, index=False, float_format="%.6g")
        first = scores["seed"].min()
        shown = scores[scores["seed"].isna() | (scores["seed"] == first)]
        files = [file for file in files if seed_of(file) in (None, first)]
        maps.write_text(json.dumps(build_maps(spatial, folds, files, shown, arm)) + "\n")


if __name__ == "__main__":
    main()
