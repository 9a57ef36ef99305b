"""Realistic inputs of the report, for its tests: the files that a run would leave behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Json = dict[str, Any]

# Columns and spelling are those of a real run.
TASKS = """\
process	status	exit	attempt	cpus	%cpu	memory	peak_rss	time	realtime	queue	container
STLATENT:ALIGN	COMPLETED	0	1	1	98.4%	3 GB	1.2 GB	12h	1m 30s	gpu	stlatent:0.1.0-gpu
STLATENT:ALIGN	COMPLETED	0	2	1	97.0%	5 GB	3.3 GB	1d	4m	gpu	stlatent:0.1.0-gpu
STLATENT:ALIGN	FAILED	137	1	1	-	3 GB	-	12h	2m	gpu	stlatent:0.1.0-gpu
STLATENT:DESCRIBE_INPUT	COMPLETED	0	1	1	50.0%	2 GB	0	4h	451ms	-	stlatent:0.1.0-cpu
STLATENT:SCORE	COMPLETED	0	1	2	100.0%	2 GB	812.5 MB	4h	1h 30m	-	stlatent:0.1.0-cpu
"""
SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

SKILL = {"stlatent": 0.42, "ridge": 0.36, "kernel_ridge": 0.38, "knn": 0.29, "null": 0.0}
LABELLED = ("embryo_1", "embryo_2")
REASON = "no gene of the tissue is in reference atlas_b: are the names Ensembl ids in one of them?"


def write_run(
    folder: Path, samples: int = 3, failed: bool = True, n_spots: int = 1200, seed: int = 0
) -> list[Path]:
    """Write the files of a run with ``samples`` finished samples and return their paths.

    ``input.json``, ``params.json`` and ``tasks.tsv`` are among them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    names = [f"embryo_{place + 1}" for place in range(samples)]
    listed = [
        {"sample": name, "reference": "atlas_a", "spatial_source": f"spatial_{place + 2}",
         "reference_source": "reference_2"}
        for place, name in enumerate(names)
    ]  # fmt: skip
    listed += [{"sample": "liver_bad", "reference": "atlas_b"}] if failed else []
    _json(folder / "input.json", {"valid": True, "samples": listed, "failures": [], "problems": []})
    _json(folder / "params.json", settings())
    (folder / "tasks.tsv").write_text(TASKS)
    _json(folder / "reference_2.checksums.json", checksums("reference_2", "atlas.h5ad"))
    _json(folder / "spatial_2.checksums.json", checksums("spatial_2", "matrix.mtx", "genes.tsv"))
    _json(folder / "atlas_a.qc.json", quality("atlas_a", "reference", 9000, rng))
    _json(folder / "atlas_a.vae_history.json", vae_history("atlas_a", rng))
    for place, name in enumerate(names):
        troubled = place == 2
        write_sample(folder, name, troubled, n_spots, rng)
    if failed:
        _json(folder / "liver_bad.qc.json", quality("liver_bad", "spatial", 800, rng))
        failure = {"id": "liver_bad", "kind": "sample", "step": "SPLIT_GENES", "reason": REASON}
        _json(folder / "liver_bad.failure.json", failure)
    return sorted(folder.iterdir())


def write_sample(
    folder: Path, name: str, troubled: bool, n_spots: int, rng: np.random.Generator
) -> None:
    """Write every file of one sample; a ``troubled`` one trips several health checks."""
    _json(folder / f"{name}.qc.json", quality(name, "spatial", n_spots, rng))
    for fold in ("all", "1"):
        history = alignment_history(name, fold, troubled, rng)
        _json(folder / f"{name}.default.{fold}.alignment_history.json", history)
        chosen = imputation(name, fold, {"transfer": 0.6, "kernel_ridge": 0.4})
        if fold == "all":
            chosen["coverage"] = coverage(0.3 if troubled else 0.05)
        _json(folder / f"{name}.default.{fold}.imputation.json", chosen)
    table = scores(name, 60, 0.02 if troubled else 1.0, rng)
    table.to_csv(folder / f"{name}.default.scores.csv", index=False)
    _json(folder / f"{name}.default.maps.json", maps(name, table, n_spots, rng))
    _json(folder / f"{name}.default.evaluation.json", evaluation(name, troubled, rng))
    _json(folder / f"{name}.default.calibration.json", calibration(name, troubled))


def _json(path: Path, content: Json) -> None:
    path.write_text(json.dumps(content))


def settings() -> Json:
    """Return parameters and facts of a run."""
    return {
        "parameters": {"input": "samples.csv", "n_folds": 5, "n_latent": 10, "interval_level": 90, "genes": "all",
                       "alignment": "adversarial", "seed": 0, "max_epochs": 400, "email": None},
        "run": {"name": "nostalgic_turing", "pipeline_version": "0.1.0",
                "nextflow_version": "25.04.4", "code_fingerprint": "3f9a1c0d2b7e",
                "profile": "standard", "revision": None, "container_engine": "docker"},
        "accelerators": {"ALIGN": 1},
        "sources": [
            {"id": "reference_2", "kind": "reference", "path": "/data/atlas.h5ad", "coordinates": None},
            {"id": "spatial_2", "kind": "spatial", "path": "s3://bucket/embryo 1", "coordinates": None},
        ],
        "images": [
            {"name": "stlatent:0.1.0-cpu", "processes": ["SCORE"], "digest": f"sha256:{SHA}",
             "basis": "the registry"},
            {"name": "stlatent:0.1.0-gpu", "processes": ["ALIGN"], "digest": None,
             "basis": "named by tag, not by digest"},
        ],
    }  # fmt: skip


def checksums(identifier: str, *names: str) -> Json:
    """Return sizes and checksums of the files of one input."""
    files = [{"name": name, "bytes": 3_500_000, "sha256": SHA} for name in names]
    return {"id": identifier, "kind": identifier.split("_")[0], "data": files, "coordinates": []}


def quality(name: str, kind: str, size: int, rng: np.random.Generator) -> Json:
    """Return a QC summary."""
    few, shallow = int(size * rng.uniform(0.02, 0.08)), int(size * rng.uniform(0.01, 0.03))
    kept = size - few - shallow // 2
    deep = 6000.0 if kind == "reference" else 1200.0
    bins = np.linspace(0, 3 * deep, 40)

    def histogram(scale: float) -> list[list[float]]:
        x = np.log10(1 + bins * scale)
        shape = bins / (deep * 0.4)
        return [[float(a), int(size * b * np.exp(-b) / 10)] for a, b in zip(x, shape, strict=True)]

    def level(counts: float) -> Json:
        return {"median_counts": counts, "median_genes": counts / 2, "median_mito_percent": 3.1}

    return {
        "id": name, "kind": kind, "counts": True,
        "before": {"observations": size, "genes": 19738, **level(deep * 0.97)},
        "after": {"observations": kept, "genes": 17000, **level(deep)},
        "removed": {"observations": {"min_counts": few, "min_genes": shallow, "max_mito": 0,
                                     "mad_outlier": 0}, "genes": {"min_cells": 2738}},
        "thresholds": {"min_counts": 10, "min_genes": 3, "min_cells": 1, "max_mito_percent": 50,
                       "mad": 0},
        "histograms": {"counts": histogram(1.0), "genes": histogram(0.4)},
    }  # fmt: skip


def vae_history(name: str, rng: np.random.Generator) -> Json:
    """Return the training history of a VAE."""
    epochs = np.arange(1, 161)
    train = 900 * np.exp(-epochs / 25) + 1400 + rng.normal(0, 4, 160)
    validation = 880 * np.exp(-epochs / 25) + 1450 + 0.1 * epochs + rng.normal(0, 6, 160)
    return {
        "id": name, "epoch": epochs.tolist(), "best_epoch": 141, "seconds": 61.2,
        "series": {"train_loss": train.tolist(), "validation_loss": validation.tolist(),
                   "kl_weight": np.minimum(1, epochs / 80).tolist()},
    }  # fmt: skip


def alignment_history(name: str, fold: str, troubled: bool, rng: np.random.Generator) -> Json:
    """Return the history of one fit through its three phases."""
    phases = ["pretrain"] * 60 + ["discriminator"] * 20 + ["adversarial"] * 60
    epochs = np.arange(140)

    def falling(start: float, end: float, where: tuple[str, ...]) -> list[float | None]:
        values = end + (start - end) * np.exp(-epochs / 20) + rng.normal(0, start / 200, 140)
        return [float(v) if p in where else None for v, p in zip(values, phases, strict=True)]

    encoder = ("pretrain", "adversarial")
    top = 0.55 if troubled else 0.95
    warmup = 0.5 + (top - 0.5) * (1 - np.exp(-np.arange(20) / 4))
    fight = np.full(60, 0.93) if troubled else 0.55 + 0.38 * np.exp(-np.arange(60) / 12)
    accuracy = [None] * 60 + [*warmup.tolist(), *(fight + rng.normal(0, 0.02, 60)).tolist()]
    series = {
        "reconstruction": falling(1.0, 0.62, encoder),
        "transfer": falling(0.9, 0.55, encoder),
        "graph": falling(0.69, 0.685 if troubled else 0.41, encoder),
        "kl": falling(0.2, 0.05, encoder),
        "adversarial": [None] * 80 + (0.69 + rng.normal(0, 0.03, 60)).tolist(),
        "discriminator_loss": [None] * 60 + (0.6 + rng.normal(0, 0.03, 80)).tolist(),
        "discriminator_accuracy": accuracy,
    }
    return {"id": name, "arm": "default", "fold": fold, "phase": phases,
            "epoch": epochs.tolist(), "series": series, "n_panel_genes": 34 if troubled else 500,
            "n_neighbors": 8, "seconds": 12.0, "warm_up_accuracy": top}  # fmt: skip


def imputation(name: str, fold: str, weights: dict[str, float]) -> Json:
    """Return what the imputer chose in one fold."""
    return {"sample": name, "arm": "default", "fold": fold, "default_method": "stack",
            "weights": weights, "inner_correlation": dict.fromkeys(weights, 0.4)}  # fmt: skip


def coverage(share: float) -> Json:
    """Return the coverage of a tissue whose left edge the reference lacks."""
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 1000, (400, 2))
    lacking = places[:, 0] < 1000 * share
    values = np.where(lacking, 0.1, 0.98) + rng.uniform(0, 0.02, 400)
    groups = {"edge": {"n": 90, "uncovered": 0.8}, "middle": {"n": 310, "uncovered": 0.0}}
    return {"uncovered": float(lacking.mean()), "false_discovery_rate": 0.1, "by_label": groups,
            "map": {"coordinates": places.tolist(), "coverage": values.tolist()}}  # fmt: skip


def scores(name: str, genes: int, skill: float, rng: np.random.Generator) -> pd.DataFrame:
    """Return a table of scores of all methods on ``genes`` held-out genes in five folds."""
    ease = rng.normal(0, 0.2, genes)
    rows = []
    for method, middle in SKILL.items():
        normalised = np.clip(
            middle * skill + ease * (middle > 0) + rng.normal(0, 0.05, genes), -1, 0.97
        )
        raw = np.clip(0.25 + 0.6 * normalised + rng.normal(0, 0.06, genes), -1, 0.98)
        for place in range(genes):
            null = method == "null"
            rows.append(
                {"sample": name, "arm": "default", "method": method, "fold": place % 5 + 1,
                 "gene": f"Gene{place}", "pcc": raw[place],
                 "pcc_normalised": np.nan if null else normalised[place],
                 "spearman": raw[place] * 0.9, "ssim": max(0.0, raw[place] * 0.7),
                 "rmse": 1.2 - 0.5 * raw[place], "js": 0.4 - 0.2 * raw[place],
                 "morans_i_measured": 0.3, "morans_i_imputed": 0.4, "seconds": 2.5}
            )  # fmt: skip
    return pd.DataFrame(rows)


def maps(name: str, table: pd.DataFrame, n_spots: int, rng: np.random.Generator) -> Json:
    """Return maps of held-out genes on a rounded tissue."""
    side = int(np.ceil(np.sqrt(n_spots * 1.3)))
    x, y = (grid.ravel().astype(float) for grid in np.meshgrid(np.arange(side), np.arange(side)))
    x, y = x * 100 + 50 * (y % 2), y * 86.6
    centre = np.array([x.mean(), y.mean()])
    inside = ((x - centre[0]) ** 2 * 0.6 + (y - centre[1]) ** 2) < (0.48 * side * 90) ** 2
    x, y = x[inside], y[inside]
    genes = []
    ours = table[table["method"] == "stlatent"]
    for place, (_, score) in enumerate(ours.head(12).iterrows()):
        wave = np.sin(x / (600 + 90 * place)) + np.cos(y / (500 + 120 * place))
        level = np.exp(wave)
        noisy = level * score["pcc"] + (1 - score["pcc"]) * rng.permutation(level)
        genes.append(
            {"gene": score["gene"], "fold": str(score["fold"]), "pcc": score["pcc"],
             "pcc_normalised": score["pcc_normalised"],
             "measured": rng.poisson(2 * level).tolist(), "imputed": noisy.round(3).tolist()}
        )  # fmt: skip
    return {"sample": name, "arm": "default", "genes": genes,
            "coordinates": np.column_stack([x, y]).tolist()}  # fmt: skip


def evaluation(name: str, troubled: bool, rng: np.random.Generator) -> Json:
    """Return an evaluation of latent spaces; the first samples have labelled tissue."""

    def by_k(level: float) -> Json:
        shift = {"5": -0.01, "15": 0.0, "30": -0.02}
        return {k: {"accuracy": level + 0.05 + d, "macro_f1": level + d} for k, d in shift.items()}

    reference = {"label_key": "cell_type", "spaces": {"X_vae": by_k(0.84), "pca": by_k(0.81)}}
    cross = {"k": by_k(0.45), "n_shared_labels": 7}
    alignment = {
        "auroc_before": 0.99, "auroc_after": 0.93 if troubled else 0.58 + rng.uniform(0, 0.1),
        "clisi_before": 0.91, "clisi_after": 0.88, "label_purity_reference": 0.90,
        "label_purity_joint": 0.86,
    }  # fmt: skip
    return {"sample": name, "arm": "default", "knn_reference": reference,
            "knn_cross_modal": cross if name in LABELLED else None, "alignment": alignment,
            "domains": domains() if name in LABELLED else None,
            "n_shared_genes": 34 if troubled else 500}  # fmt: skip


def domains() -> Json:
    """Return scores of the tissue's spaces by its labels."""
    levels = {"X_joint": 0.5, "X_spatial": 0.48, "X_unaligned": 0.3, "X_aligned": 0.27, "pca": 0.33,
              "pca_smoothed": 0.45}  # fmt: skip
    spaces = {
        name: {"macro_f1": level + 0.3, "ari": level, "nmi": level + 0.1}
        for name, level in levels.items()
    }
    return {"n_labels": 6, "n_locations": 400, "spaces": spaces}


def calibration(name: str, troubled: bool) -> Json:
    """Return what calibration found; a ``troubled`` sample's intervals are too narrow."""
    gap = 14.0 if troubled else 0.5
    levels = [{"level": level, "coverage": level - gap, "width": level / 40,
               "flat_coverage": float(level), "flat_width": level / 35}
              for level in (50, 67, 80, 90, 95)]  # fmt: skip
    curve = [[share / 20, 0.7 - 0.015 * share] for share in range(1, 21)]
    judged = {"auroc": 0.84, "calibration_error": 0.05, "correlation": 0.7, "share": 0.6,
              "mean": 0.4, "risk_coverage": curve}  # fmt: skip
    validation = {
        "n_genes": 60, "pcc_normalised": judged, "pcc": judged,
        "labels": {"high": {"genes": 20, "above": 18}, "medium": {"genes": 20, "above": 13},
                   "low": {"genes": 20, "above": 5}},
    }  # fmt: skip

    def listed(*reliabilities: float) -> list[Json]:
        return [{"gene": f"New<{r}>", "reliability": r, "predicted_pcc": r / 2, "label": "high",
                 "measured": False} for r in reliabilities]  # fmt: skip

    counted = {"high": 300, "medium": 700, "low": 980, "not testable": 20}
    return {
        "sample": name, "arm": "default", "n_genes": 2000, "n_unmeasured": 1500, "panel": True,
        "population": {"name": "delivered", "n_genes": 500, "n_drawn": 60}, "n_held_out": 60,
        "n_without_interval": 120,
        "labels": counted, "labels_unmeasured": {"high": 200, "medium": 500, "low": 800},
        "intervals": {"n_genes": 60, "n_without": 2, "levels": levels, "genes_within": 0.9},
        "intervals_calibrated": True, "intervals_reason": "", "interval_level": 90,
        "reliability": {"threshold": 0.3, "from": "tissue", "n_genes": 60,
                        "validation": validation, "prior_validation": validation},
        "most_reliable": listed(0.97, 0.95), "least_reliable": listed(0.02, 0.03),
    }  # fmt: skip
