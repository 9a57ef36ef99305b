"""Realistic inputs of the report, for its tests: the files that a run would leave behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from stlatent.records.base import Point
from stlatent.records.evaluation import (
    AlignmentQuality,
    Calibration,
    Classified,
    Domains,
    DomainScores,
    Evaluation,
    IntervalHitRates,
    IntervalLevel,
    Judged,
    KnnCrossModal,
    KnnReference,
    LabelCount,
    ListedGene,
    MapGene,
    Maps,
    Reliability,
    Validation,
)
from stlatent.records.failure import Failure
from stlatent.records.imputation import (
    CoverageMap,
    Imputation,
    ReferenceCoverage,
    UncoveredLocations,
)
from stlatent.records.inputs import (
    CheckedInput,
    Checksums,
    Histograms,
    InputFile,
    Overview,
    Population,
    QualityControl,
    Removed,
    Sample,
    Thresholds,
)
from stlatent.records.run import Arm, Image, InputPath, RunSettings
from stlatent.records.training import AlignmentHistory, VaeHistory

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

    ``input.json``, ``settings.json`` and ``tasks.tsv`` are among them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    names = [f"embryo_{place + 1}" for place in range(samples)]
    listed = [
        Sample(name, f"spatial_{place + 2}", "reference_2", "atlas_a")
        for place, name in enumerate(names)
    ]
    if failed:
        listed.append(Sample("liver_bad", "spatial_9", "reference_9", "atlas_b"))
    CheckedInput(True, listed, [], [], []).write(folder / "input.json")
    settings().write(folder / "settings.json")
    (folder / "tasks.tsv").write_text(TASKS)
    for found in (
        checksums("reference_2", "atlas.h5ad"),
        checksums("spatial_2", "matrix.mtx", "genes.tsv"),
    ):
        found.write(folder / f"{found.id}.checksums.json")
    quality("atlas_a", "reference", 9000, rng).write(folder / "atlas_a.qc.json")
    vae_history("atlas_a", rng).write(folder / "atlas_a.vae_history.json")
    for place, name in enumerate(names):
        troubled = place == 2
        write_sample(folder, name, troubled, n_spots, rng)
    if failed:
        quality("liver_bad", "spatial", 800, rng).write(folder / "liver_bad.qc.json")
        failure = Failure("liver_bad", "sample", "SPLIT_GENES", REASON)
        failure.write(folder / "liver_bad.failure.json")
    return sorted(folder.iterdir())


DEFAULT = Arm("default", {"vae": "v1", "alignment": "a1", "imputation": "i1"})
PLAIN = Arm("plain", DEFAULT.keys | {"imputation": "i2"}, None, {"imputer": "knn"})
SMALL = Arm("small", {"vae": "v2", "alignment": "a2", "imputation": "i3"}, None, {"n_hvg": 500})
TWIN = Arm("twin", DEFAULT.keys, same_as="default")


def write_study(
    folder: Path, arms: Sequence[Arm] = (DEFAULT, PLAIN, SMALL, TWIN), samples: int = 1
) -> list[Path]:
    """Write what every arm leaves of samples ``s1``, ``s2``, ..; equal settings are one task.

    ``small`` predicts a little worse than the others.
    """
    folder.mkdir(exist_ok=True)
    names = [f"s{place + 1}" for place in range(samples)]
    checked = [Sample(name, "spatial_2", "reference_2", "atlas") for name in names]
    CheckedInput(True, checked, [], [], []).write(folder / "input.json")
    replace(settings(), arms=list(arms)).write(folder / "settings.json")
    (folder / "tasks.tsv").write_text(TASKS)
    rng = np.random.default_rng(0)
    for arm in arms:
        vae_history("atlas", rng, arm.keys["vae"]).write(
            folder / f"{arm.keys['vae']}.vae_history.json"
        )
    for place, name in enumerate(names):
        quality(name, "spatial", 300, rng).write(folder / f"{name}.qc.json")
        for arm in arms:
            _write_arm(folder, name, arm, place)
    return sorted(folder.iterdir())


def _write_arm(folder: Path, name: str, arm: Arm, seed: int) -> None:
    rng = np.random.default_rng(seed)
    alignment, imputed = arm.keys["alignment"], arm.keys["imputation"]
    history = alignment_history(name, "all", False, rng, alignment)
    history.write(folder / f"{name}.{alignment}.alignment_history.json")
    learned = imputation(name, "all", {"knn": 1.0}, settings=imputed)
    learned.write(folder / f"{name}.{imputed}.imputation.json")
    if arm.same_as:
        return
    judged = evaluation(name, False, rng, arm.keys["alignment"])
    judged.write(folder / f"{name}.{arm.keys['alignment']}.evaluation.json")
    calibration(name, False, arm.name).write(folder / f"{name}.{arm.name}.calibration.json")
    table = scores(name, 60, 0.9 if arm.name == "small" else 1.0, rng)
    table["arm"] = table["method"].map({"stlatent": arm.name}).fillna("baseline")
    table.to_csv(folder / f"{name}.{arm.name}.scores.csv", index=False)


def write_sample(
    folder: Path, name: str, troubled: bool, n_spots: int, rng: np.random.Generator
) -> None:
    """Write every file of one sample; a ``troubled`` one trips several health checks."""
    quality(name, "spatial", n_spots, rng).write(folder / f"{name}.qc.json")
    for fold in ("all", "1"):
        history = alignment_history(name, fold, troubled, rng)
        history.write(folder / f"{name}.default.{fold}.alignment_history.json")
        covered = coverage(0.3 if troubled else 0.05) if fold == "all" else None
        learned = imputation(name, fold, {"transfer": 0.6, "kernel_ridge": 0.4}, covered)
        learned.write(folder / f"{name}.default.{fold}.imputation.json")
    table = scores(name, 60, 0.02 if troubled else 1.0, rng)
    table.to_csv(folder / f"{name}.default.scores.csv", index=False)
    maps(name, table, n_spots, rng).write(folder / f"{name}.default.maps.json")
    evaluation(name, troubled, rng).write(folder / f"{name}.default.evaluation.json")
    calibration(name, troubled).write(folder / f"{name}.default.calibration.json")


def settings() -> RunSettings:
    """Return parameters and facts of a run."""
    return RunSettings(
        parameters={"input": "samples.csv", "n_folds": 5, "n_latent": 10, "interval_level": 90, "genes": "all",
                    "alignment": "adversarial", "seed": 0, "max_epochs": 400, "email": None},
        run={"name": "nostalgic_turing", "pipeline_version": "0.1.0",
             "nextflow_version": "25.04.4", "code_fingerprint": "3f9a1c0d2b7e",
             "profile": "standard", "revision": None, "container_engine": "docker"},
        accelerators={"ALIGN": 1},
        sources=[
            InputPath("reference_2", "reference", "/data/atlas.h5ad", None),
            InputPath("spatial_2", "spatial", "s3://bucket/embryo 1", None),
        ],
        images=[
            Image("stlatent:0.1.0-cpu", ["SCORE"], f"sha256:{SHA}", "the registry"),
            Image("stlatent:0.1.0-gpu", ["ALIGN"], None, "named by tag, not by digest"),
        ],
    )  # fmt: skip


def checksums(identifier: str, *names: str) -> Checksums:
    """Return sizes and checksums of the files of one input."""
    files = [InputFile(name, 3_500_000, SHA) for name in names]
    return Checksums(identifier, identifier.split("_")[0], files, [])


def quality(name: str, kind: str, size: int, rng: np.random.Generator) -> QualityControl:
    """Return a QC summary."""
    few, shallow = int(size * rng.uniform(0.02, 0.08)), int(size * rng.uniform(0.01, 0.03))
    kept = size - few - shallow // 2
    deep = 6000.0 if kind == "reference" else 1200.0
    bins = np.linspace(0, 3 * deep, 40)

    def histogram(scale: float) -> list[Point]:
        x = np.log10(1 + bins * scale)
        shape = bins / (deep * 0.4)
        return [(float(a), int(size * b * np.exp(-b) / 10)) for a, b in zip(x, shape, strict=True)]

    removed = {"min_counts": few, "min_genes": shallow, "max_mito": 0, "mad_outlier": 0}
    return QualityControl(
        id=name,
        kind=kind,
        counts=True,
        before=Overview(size, 19738, deep * 0.97, deep * 0.97 / 2, 3.1),
        after=Overview(kept, 17000, deep, deep / 2, 3.1),
        removed=Removed(removed, {"min_cells": 2738}),
        thresholds=Thresholds(10, 3, 1, 50),
        histograms=Histograms(histogram(1.0), histogram(0.4)),
    )


def vae_history(name: str, rng: np.random.Generator, settings: str = "") -> VaeHistory:
    """Return the training history of a VAE."""
    epochs = np.arange(1, 161)
    train = 900 * np.exp(-epochs / 25) + 1400 + rng.normal(0, 4, 160)
    validation = 880 * np.exp(-epochs / 25) + 1450 + 0.1 * epochs + rng.normal(0, 6, 160)
    series = {
        "train_loss": train.tolist(),
        "validation_loss": validation.tolist(),
        "kl_weight": np.minimum(1, epochs / 80).tolist(),
    }
    return VaeHistory(name, settings, "scvi", epochs.tolist(), series, 141, 61.2, [128])


def alignment_history(
    name: str, fold: str, troubled: bool, rng: np.random.Generator, settings: str = ""
) -> AlignmentHistory:
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
    return AlignmentHistory(
        id=name,
        settings=settings,
        fold=fold,
        seed=0,
        phase=phases,
        epoch=epochs.tolist(),
        series=series,
        n_panel_genes=34 if troubled else 500,
        n_neighbors=8,
        warm_up_accuracy=top,
        validation={"X_unaligned": 0.3, "X_aligned": 0.4},
        imputation_space="X_aligned",
        seconds=12.0,
        batch_sizes=[1024],
    )


def imputation(
    name: str,
    fold: str,
    weights: dict[str, float],
    coverage: ReferenceCoverage | None = None,
    settings: str = "",
) -> Imputation:
    """Return what the imputer learned in one fold."""
    correlation = dict.fromkeys(weights, 0.4)
    return Imputation(name, settings, fold, 0, "stack", weights, correlation, [], coverage)


def coverage(share: float) -> ReferenceCoverage:
    """Return the coverage of a tissue whose left edge the reference lacks."""
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 1000, (400, 2))
    lacking = places[:, 0] < 1000 * share
    values = np.where(lacking, 0.1, 0.98) + rng.uniform(0, 0.02, 400)
    groups = {
        "edge": UncoveredLocations(90, 0.8),
        "middle": UncoveredLocations(310, 0.0),
    }
    drawn = CoverageMap([(x, y) for x, y in places.tolist()], values.tolist())
    return ReferenceCoverage(float(lacking.mean()), 0.1, groups, drawn, None)


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


def maps(name: str, table: pd.DataFrame, n_spots: int, rng: np.random.Generator) -> Maps:
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
            MapGene(
                score["gene"],
                str(score["fold"]),
                score["pcc"],
                score["pcc_normalised"],
                rng.poisson(2 * level).astype(float).tolist(),
                noisy.round(3).tolist(),
            )
        )
    places = list(zip(x.tolist(), y.tolist(), strict=True))
    return Maps(name, "default", "stlatent", places, genes)


def evaluation(
    name: str, troubled: bool, rng: np.random.Generator, settings: str = ""
) -> Evaluation:
    """Return an evaluation of latent spaces; the first samples have labelled tissue."""

    def by_k(level: float) -> dict[str, Classified]:
        shift = {"5": -0.01, "15": 0.0, "30": -0.02}
        return {k: Classified(level + 0.05 + d, level + d) for k, d in shift.items()}

    spaces = {"X_vae": by_k(0.84), "pca": by_k(0.81)}
    is_labelled = name in LABELLED
    return Evaluation(
        sample=name,
        settings=settings,
        knn_reference=KnnReference("cell_type", spaces),
        knn_cross_modal=KnnCrossModal(by_k(0.45), by_k(0.4), 7) if is_labelled else None,
        alignment=AlignmentQuality(
            reference_used=0.8,
            auroc_before=0.99,
            auroc_all_before=0.99,
            auroc_after=0.93 if troubled else 0.58 + rng.uniform(0, 0.1),
            auroc_all_after=0.9,
            clisi_before=0.91,
            clisi_after=0.88,
            label_purity_reference=0.90,
            label_purity_joint=0.86,
        ),
        domains=domains() if is_labelled else None,
        n_shared_genes=34 if troubled else 500,
    )


def domains() -> Domains:
    """Return scores of the tissue's spaces by its labels."""
    levels = {"X_joint": 0.5, "X_spatial": 0.48, "X_unaligned": 0.3, "X_aligned": 0.27, "pca": 0.33,
              "pca_smoothed": 0.45}  # fmt: skip
    spaces = {name: DomainScores(level + 0.3, level, level + 0.1) for name, level in levels.items()}
    return Domains(6, 400, spaces)


def calibration(name: str, troubled: bool, arm: str = "default") -> Calibration:
    """Return what calibration found; a ``troubled`` sample's intervals are too narrow."""
    gap = 14.0 if troubled else 0.5
    levels = [
        IntervalLevel(level, level - gap, level / 40, float(level), level / 35)
        for level in (50, 67, 80, 90, 95)
    ]
    curve = [(share / 20, 0.7 - 0.015 * share) for share in range(1, 21)]
    judged = Judged(0.84, 0.05, 0.7, 0.6, 0.4, curve)
    counts = {"high": (20, 18), "medium": (20, 13), "low": (20, 5)}
    tested = {label: LabelCount(*count) for label, count in counts.items()}
    validation = Validation(60, judged, judged, tested)

    def listed(*reliabilities: float) -> list[ListedGene]:
        return [ListedGene(f"New<{r}>", r, r / 2, "high", False) for r in reliabilities]

    return Calibration(
        sample=name,
        arm=arm,
        population=Population("delivered", 500, 60),
        n_genes=2000,
        panel=True,
        n_unmeasured=1500,
        n_held_out=60,
        n_without_interval=120,
        labels={"high": 300, "medium": 700, "low": 980, "not testable": 20},
        labels_unmeasured={"high": 200, "medium": 500, "low": 800},
        intervals=IntervalHitRates(60, 2, 0.9, levels),
        intervals_calibrated=True,
        intervals_reason="",
        interval_level=90,
        reliability=Reliability(0.3, "tissue", 60, validation, validation),
        most_reliable=listed(0.97, 0.95),
        least_reliable=listed(0.02, 0.03),
    )
