#!/usr/bin/env python3
"""One table of the spaces of a tissue: how well each holds its labelled regions.

    benchmarks/latent_spaces.py --data DIR --cache DIR [--pairs a,b] [--seeds 3]

DIR and CACHE are those of alignment.py, and so are QC, genes, VAE and at most 2000 locations. Every
pair is aligned with several seeds; fits are kept in the cache and not made again. Spaces are judged
as EVALUATE judges them, followed by other ways to build the joint one. A cell is ARI of k-means /
macro-F1 of 15 nearest neighbours, the mean over seeds; the last column is the mean over pairs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import numpy as np
import scipy.sparse as sp
from anndata import AnnData

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "bin"), str(Path(__file__).parent)]

from alignment import Pair, labels_of, read_pair
from pairs import N_NEIGHBORS, alignment_settings

from stlatent import devices, graph, slots
from stlatent.alignment.inputs import panel_expression
from stlatent.alignment.joint import joint_space, scaled, smoothed
from stlatent.arrays import Array
from stlatent.evaluation import latent
from stlatent.evaluation.domains import N_COMPONENTS, domain_scores, tissue_spaces
from stlatent.records.base import FULL_FIT
from stlatent.records.inputs import Fold
from stlatent.steps.align import align_tissue

Spaces = dict[str, Array]
PAIRS = "osmfish_ssp,pdac_a,mob"
LABELS = ("region",)


def fit(pair: Pair, seed: int, cache: Path) -> AnnData:
    """Return what ALIGN gives of a pair, made at first use."""
    path = cache / f"{pair.name}.{seed}.aligned.h5ad"
    if not path.exists():
        settings = alignment_settings(seed=seed, judge_warm_up=False)
        fold = Fold(pair.name, FULL_FIT, [], pair.panel)
        aligned, _ = align_tissue(pair.spatial, pair.reference, fold, settings, N_NEIGHBORS, 0)
        slots.write(aligned, path, slots.ALIGNED)
    return slots.read(path, slots.ALIGNED)


def alternatives(aligned: AnnData, pair: Pair, adjacency: sp.csr_matrix) -> Spaces:
    """Return other joint spaces than the pipeline's, and PCA of what is smoothed more."""
    before, after = aligned.obsm[slots.X_UNALIGNED], aligned.obsm[slots.X_ALIGNED]
    spatial = aligned.obsm[slots.X_SPATIAL]
    values = panel_expression(pair.spatial, pair.panel, [])
    twice = smoothed(smoothed(values, adjacency), adjacency)
    return {
        "[after, spatial] as they are": np.hstack([after, spatial]),
        "[after, spatial] scaled": np.hstack([scaled(after), scaled(spatial)]),
        "[before, spatial] scaled": np.hstack([scaled(before), scaled(spatial)]),
        "[after smoothed, spatial] scaled": joint_space(after, spatial, adjacency),
        "[before smoothed, spatial] scaled": joint_space(before, spatial, adjacency),
        "all of [before, spatial] scaled, smoothed": smoothed(
            np.hstack([scaled(before), scaled(spatial)]), adjacency
        ),
        "before, smoothed": smoothed(before, adjacency),
        "before, smoothed twice": smoothed(smoothed(before, adjacency), adjacency),
        "pca, smoothed twice": latent.principal_components(twice, N_COMPONENTS, 0),
        "pca, smoothed three times": latent.principal_components(
            smoothed(twice, adjacency), N_COMPONENTS, 0
        ),
    }


def scores_of(pair: Pair, seed: int, cache: Path) -> dict[str, tuple[float, float]]:
    """Return ARI and macro-F1 of every space under one seed."""
    aligned = fit(pair, seed, cache)
    adjacency = graph.adjacency(graph.spatial_neighbours(pair.spatial, N_NEIGHBORS))
    spaces = tissue_spaces(aligned, pair.spatial, pair.panel, N_NEIGHBORS, seed)
    labels = labels_of(pair.spatial, LABELS)
    if labels is None:
        msg = f"{pair.name}: the tissue has no column {LABELS[0]}"
        raise click.ClickException(msg)
    judged = {}
    for name, space in (spaces | alternatives(aligned, pair, adjacency)).items():
        scores = domain_scores(space, labels, seed)
        assert scores is not None
        judged[name] = (scores.ari, scores.macro_f1)
    return judged


def cell(scores: Array) -> str:
    """Return ``ARI / macro-F1``, the means of seeds x 2."""
    ari, macro_f1 = scores.mean(axis=0)
    return f"{ari:.3f} / {macro_f1:.3f}"


def table(found: dict[str, list[dict[str, tuple[float, float]]]]) -> str:
    """Return the table in Markdown from the scores of every pair's seeds."""
    lines = [f"| space | {' | '.join(found)} | mean |", "|---" * (len(found) + 2) + "|"]
    for space in next(iter(found.values()))[0]:
        by_pair = [np.array([scores[space] for scores in seeds]) for seeds in found.values()]
        mean = np.mean([scores.mean(axis=0) for scores in by_pair], axis=0, keepdims=True)
        lines.append("| " + " | ".join([space, *map(cell, by_pair), cell(mean)]) + " |")
    return "\n".join(lines)


@click.command(help=__doc__)
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--cache", required=True, type=click.Path(path_type=Path))
@click.option("--pairs", default=PAIRS, show_default=True, help="Of the folders.")
@click.option("--seeds", default=3, show_default=True, help="Of the alignment.")
@click.option("--max-spots", default=2000, show_default=True)
def main(data: Path, cache: Path, pairs: str, seeds: int, max_spots: int) -> None:
    devices.make_deterministic(0, 1)
    cache.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in pairs.split(","):
        pair = read_pair(data, name, cache, max_spots)
        found[name] = [scores_of(pair, seed, cache) for seed in range(seeds)]
    click.echo(table(found))


if __name__ == "__main__":
    main()
