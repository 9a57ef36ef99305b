#!/usr/bin/env python3
"""One table of what the weight of the KL divergence does to the VGAE, before any matching.

    benchmarks/kl_weight.py --data DIR --cache DIR [--pairs a,b] [--weights 0,0.001] [--seeds 2]

DIR and CACHE are those of alignment.py. Values are those of the last epoch of the pretraining, means
over seeds.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "bin"), str(Path(__file__).parent)]

from alignment import read_pair
from pairs import N_NEIGHBORS, alignment_settings

from stlatent import devices
from stlatent.alignment.inputs import AlignmentInputs, prepare
from stlatent.alignment.trainer import pretrained

COLUMNS = {
    "share": "share of the loss", "kl": "KL, nats a location", "sd_aligned": "posterior sd, aligned",
    "sd_spatial": "spatial", "reconstruction": "reconstruction", "graph": "graph",
    "validation": "transfer of hidden genes",
}  # fmt: skip


def last_epoch(inputs: AlignmentInputs, weight: float, seed: int) -> dict[str, float]:
    """Return what pretraining with one weight of the KL ends with."""
    settings = alignment_settings(kl_weight=weight, seed=seed)
    trainer, state = pretrained(inputs, settings)
    encoded = trainer.encode()
    last = {name: values[-1] or 0.0 for name, values in trainer.history.series.items()}
    total = sum(factor * last[name] for name, factor in settings.weights(False).items())
    return {
        **last,
        "share": weight * last["kl"] / total,
        "sd_aligned": float((0.5 * encoded.aligned_logvar).exp().mean()),
        "sd_spatial": float((0.5 * encoded.spatial_logvar).exp().mean()),
        "validation": state.validation,
    }


@click.command(help=__doc__)
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--cache", required=True, type=click.Path(path_type=Path))
@click.option("--pairs", default="osmfish_ssp,pdac_a,mob", show_default=True)
@click.option("--weights", default="0,0.001,0.003,0.01", show_default=True)
@click.option("--seeds", default=2, show_default=True)
@click.option("--max-spots", default=2000, show_default=True)
def main(data: Path, cache: Path, pairs: str, weights: str, seeds: int, max_spots: int) -> None:
    devices.make_deterministic(0, 1)
    cache.mkdir(parents=True, exist_ok=True)
    click.echo(f"| pair | weight | {' | '.join(COLUMNS.values())} |")
    click.echo("|---" * (len(COLUMNS) + 2) + "|")
    for name in pairs.split(","):
        pair = read_pair(data, name, cache, max_spots)
        inputs = prepare(pair.spatial, pair.reference, pair.panel, [], N_NEIGHBORS)
        for weight in map(float, weights.split(",")):
            found = [last_epoch(inputs, weight, seed) for seed in range(seeds)]
            means = [float(np.mean([one[column] for one in found])) for column in COLUMNS]
            click.echo(f"| {name} | {weight:g} | " + " | ".join(f"{m:.3f}" for m in means) + " |")


if __name__ == "__main__":
    main()
