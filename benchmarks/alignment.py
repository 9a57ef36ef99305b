#!/usr/bin/env python3
"""One table of the kinds of alignment: how well tissue and reference mix, and what it costs.

    benchmarks/alignment.py --data DIR --cache DIR [--pairs a,b] [--methods adversarial,none]

DIR has a folder a pair with ``scrna.h5ad`` and ``spatial.h5ad``. QC, genes and VAE are those of the
pipeline; VAEs are kept in the cache, and rows in ``CACHE/alignment.csv``, and are not made again.
Labels of tissue and reference are matched by ``label_matches.csv``. All methods start from the same
pretrained encoder, but the paper's, whose losses differ from the start; it is judged by the
composition that the others' encoder finds.
"""

from __future__ import annotations

import copy
import csv
import dataclasses
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from anndata import AnnData
from pairs import N_HVG, N_NEIGHBORS, SEED, SPLIT, alignment_settings, fit_vae
from pairs import REFERENCE_QC as REFERENCE_LIMITS
from pairs import SPATIAL_QC as SPATIAL_LIMITS
from sklearn.neighbors import NearestNeighbors

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bin"))

from stlatent import devices, slots
from stlatent.alignment.composition import composition_weights
from stlatent.alignment.inputs import prepare
from stlatent.alignment.matching import MATCHINGS
from stlatent.alignment.result import State
from stlatent.alignment.trainer import Trainer, matched, pretrained
from stlatent.arrays import Array
from stlatent.evaluation import latent
from stlatent.evaluation.alignment_quality import alignment_quality
from stlatent.inputs import genes, qc
from stlatent.inputs.ingestion import ingest
from stlatent.readers import load
from stlatent.records.inputs import Request, Thresholds
from stlatent.vae import storage

# The pipeline's defaults.
REFERENCE_QC = Thresholds(*REFERENCE_LIMITS.values())
SPATIAL_QC = Thresholds(*SPATIAL_LIMITS.values())
N_PANEL = SPLIT["n-alignment-genes"]
MATCHES = Path(__file__).with_name("label_matches.csv")
BATCH_COLUMN, LABEL_COLUMN = "sample", "cell_type"
TISSUE_LABELS = ("cell_type", "region")
KNN = 15
COLUMNS = {
    "pair": "pair", "method": "alignment", "spots": "spots", "panel": "panel",
    "warm_up": "D in warm-up", "auroc_before": "AUROC before", "auroc_after": "after",
    "auroc_all_after": "after, whole reference", "reference_used": "reference used",
    "clisi_before": "cLISI before", "clisi_after": "after",
    "label_purity_reference": "purity alone", "label_purity_joint": "joint",
    "knn_before": "kNN labels before", "knn_after": "after",
    "validation_before": "transfer before", "validation_after": "after", "seconds": "s",
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """A tissue and its reference with latent space, after QC, their labels, and the panel."""

    name: str
    spatial: AnnData
    reference: AnnData
    panel: list[str]
    tissue_labels: Array | None
    reference_labels: Array | None


def read(path: Path, kind: slots.Kind, name: str, columns: dict[str, str]) -> AnnData:
    """Read one modality as INGEST and QUALITY_CONTROL do, keeping the columns it has."""
    found = load.read(path, kind, None, list(columns.values()))
    adata = ingest(
        found, Request(name, kind, **{k: c for k, c in columns.items() if c in found.obs})
    )
    return qc.filter_data(adata, REFERENCE_QC if kind == "reference" else SPATIAL_QC)[0]


def with_vae(reference: AnnData, folder: Path) -> AnnData:
    """Return the reference with its latent space, the VAE trained at first use."""
    if not folder.exists():
        hvg = genes.rank_genes(reference, N_HVG)[:N_HVG]
        storage.save(folder, reference, fit_vae(reference, hvg))
    return storage.attach(reference, storage.load(folder))


def labels_of(adata: AnnData, columns: tuple[str, ...]) -> Array | None:
    """Labels of the first of the columns that is there."""
    for column in columns:
        if column in adata.obs:
            return adata.obs[column].astype(str).to_numpy().astype(str)
    return None


def classes(labels: Array | None, pair: str, modality: str) -> Array | None:
    """Labels as the classes that both modalities know, empty where there is none."""
    matches = pd.read_csv(MATCHES).query("pair == @pair and modality == @modality")
    if labels is None or matches.empty:
        return None
    result = np.full(len(labels), "", dtype=object)
    for pattern, name in zip(matches["pattern"], matches["class"], strict=True):
        result[pd.Series(labels).str.contains(pattern.replace("(", "(?:")).to_numpy()] = name
    return result.astype(str)


def read_pair(data: Path, name: str, cache: Path, max_spots: int) -> Pair:
    """Read a pair; of large tissues a random part."""
    spatial = load.read(data / name / "spatial.h5ad", "spatial", None, list(TISSUE_LABELS))
    spatial = qc.filter_data(ingest(spatial, Request(name, "spatial")), SPATIAL_QC)[0]
    spatial = spatial[latent.subset(spatial.n_obs, max_spots, SEED)].copy()
    keys = {"batch_key": BATCH_COLUMN, "label_key": LABEL_COLUMN}
    reference = read(data / name / "scrna.h5ad", "reference", name, keys)
    reference = with_vae(reference, cache / f"{name}.vae")
    shared = genes.shared_genes(spatial, reference)
    fold = next(
        iter(
            genes.make_folds(
                spatial,
                shared,
                genes.rank_genes(reference, N_HVG),
                [],
                n_folds=0,
                n_alignment_genes=N_PANEL,
                seed=SEED,
            )
        )
    )
    return Pair(
        name,
        spatial,
        reference,
        fold.panel,
        classes(labels_of(spatial, TISSUE_LABELS), name, "spatial"),
        labels_of(reference, (LABEL_COLUMN,)),
    )


def judge(pair: Pair, method: str, start: Trainer, before: State) -> dict[str, Any]:
    """Align by one method and return its row."""
    weights = composition_weights(start.inputs.latent, before.placement.z, SEED)
    settings = dataclasses.replace(start.settings, matching=MATCHINGS[method])
    if settings.matching.anchored == start.settings.matching.anchored:
        trainer = copy.deepcopy(start)
        trainer.settings = settings
    else:
        trainer, before = pretrained(start.inputs, settings)
    began = time.process_time()
    found = matched(trainer, before)
    seconds = time.process_time() - began
    space = trainer.inputs.latent
    tissue = {slot: state.placement.z for slot, state in found.states.items()}
    shared = classes(pair.reference_labels, pair.name, "reference")
    known = pair.reference_labels if shared is None else shared
    return {
        "pair": pair.name,
        "method": method,
        "spots": pair.spatial.n_obs,
        "panel": len(pair.panel),
        "warm_up": found.warm_up_accuracy,
        **dataclasses.asdict(
            alignment_quality(space, known, tissue, pair.tissue_labels, SEED, weights)
        ),
        "knn_before": knn_accuracy(pair, shared, space, before.placement.z),
        "knn_after": knn_accuracy(pair, shared, space, found.after.placement.z),
        "validation_before": before.validation,
        "validation_after": found.after.validation,
        "seconds": seconds,
    }


def knn_accuracy(pair: Pair, shared: Array | None, space: Array, tissue: Array) -> float | None:
    """Return the share of locations whose class the nearest cells tell."""
    if shared is None or pair.tissue_labels is None:
        return None
    found = latent.knn_cross_modal(space, shared, tissue, pair.tissue_labels, (KNN,))
    return None if found is None else found[0][str(KNN)].accuracy


def intrinsic_dimension(points: Array) -> float:
    """Return the TwoNN estimate (Facco et al., Scientific Reports 2017), a tenth discarded."""
    points = np.unique(points, axis=0)
    distances = NearestNeighbors(n_neighbors=3).fit(points).kneighbors(points)[0]
    ratio = np.sort(np.log(distances[:, 2] / np.maximum(distances[:, 1], 1e-12)))
    kept = int(0.9 * len(ratio))
    share = -np.log(1 - np.arange(1, kept + 1) / len(ratio))
    return float((ratio[:kept] * share).sum() / (ratio[:kept] ** 2).sum())


def dimensions(trainer: Trainer, before: State) -> str:
    """Return how many dimensions tissue and reference fill, as many observations of each."""
    inputs, rng = trainer.inputs, np.random.default_rng(SEED)
    n = min(len(inputs.tissue), len(inputs.reference))
    rows = [rng.permutation(len(x))[:n] for x in (inputs.tissue, inputs.reference)]
    found = {
        "panel": (inputs.tissue[rows[0]], inputs.reference[rows[1]]),
        "latent space": (before.placement.z[rows[0]], inputs.latent[rows[1]]),
    }
    return ", ".join(
        f"{name}: tissue {intrinsic_dimension(tissue):.1f}, reference {intrinsic_dimension(cells):.1f}"
        for name, (tissue, cells) in found.items()
    )


def shown(value: Any) -> str:
    """Return a cell of the table."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def table(rows: pd.DataFrame) -> str:
    """Return the rows in Markdown."""
    lines = ["| " + " | ".join(COLUMNS.values()) + " |", "|---" * len(COLUMNS) + "|"]
    for row in rows.to_dict("records"):
        row["seconds"] = round(row["seconds"])
        lines.append("| " + " | ".join(shown(row.get(name)) for name in COLUMNS) + " |")
    return "\n".join(lines)


@click.command(help=__doc__)
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--cache", required=True, type=click.Path(path_type=Path))
@click.option("--pairs", help="Of the folders; all by default.")
@click.option("--methods", default=",".join(MATCHINGS), show_default=True)
@click.option("--max-spots", default=2000, show_default=True)
def main(data: Path, cache: Path, pairs: str | None, methods: str, max_spots: int) -> None:
    devices.make_deterministic(SEED, 1)
    cache.mkdir(parents=True, exist_ok=True)
    results = cache / "alignment.csv"
    names = pairs.split(",") if pairs else sorted(p.name for p in data.iterdir() if p.is_dir())
    done = pd.read_csv(results) if results.exists() else pd.DataFrame(columns=["pair", "method"])
    finished = set(zip(done["pair"], done["method"], strict=True))
    for name in names:
        wanted = [m for m in methods.split(",") if (name, m) not in finished]
        if not wanted:
            continue
        pair = read_pair(data, name, cache, max_spots)
        inputs = prepare(pair.spatial, pair.reference, pair.panel, [], N_NEIGHBORS)
        trainer, before = pretrained(inputs, alignment_settings())
        click.echo(f"{name}, dimensions filled: {dimensions(trainer, before)}", err=True)
        for method in wanted:
            row = judge(pair, method, trainer, before)
            new = not results.exists()
            with results.open("a", newline="") as file:
                writer = csv.DictWriter(file, [*COLUMNS, "auroc_all_before"])
                if new:
                    writer.writeheader()
                writer.writerow(row)
    rows = pd.read_csv(results)
    order = {name: place for place, name in enumerate(names)}
    rows = rows[rows["pair"].isin(order)]
    click.echo(table(rows.sort_values("pair", key=lambda p: p.map(order), kind="stable")))


if __name__ == "__main__":
    main()
