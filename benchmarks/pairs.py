"""Real pairs of tissue and reference, brought as far as the pipeline's own scripts bring them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from anndata import AnnData

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bin"))

from stlatent.alignment.matching import MATCHINGS
from stlatent.alignment.settings import AlignmentSettings
from stlatent.records.inputs import Request
from stlatent.vae import registry
from stlatent.vae.interface import Run, Training

DEFAULTS = {
    name: parameter["default"]
    for group in json.loads((ROOT / "nextflow_schema.json").read_text())["$defs"].values()
    for name, parameter in group["properties"].items()
    if "default" in parameter
}
N_HVG, N_NEIGHBORS, SEED = DEFAULTS["n_hvg"], DEFAULTS["n_neighbors"], DEFAULTS["seed"]


def _limits(kind: str) -> dict[str, object]:
    limits = ("min_counts", "min_genes", "min_cells", "max_mito")
    chosen = {limit.replace("_", "-"): DEFAULTS[f"{kind}_{limit}"] for limit in limits}
    return {**chosen, "mad": DEFAULTS["mad_outliers"]}


SPATIAL_QC, REFERENCE_QC = _limits("spatial"), _limits("reference")
SPLIT = {
    "n-folds": DEFAULTS["n_folds"],
    "genes": DEFAULTS["impute_genes"],
    "evaluation-genes": DEFAULTS["evaluation_genes"],
    "n-alignment-genes": DEFAULTS["n_alignment_genes"],
    "seed": SEED,
}
VAE = {
    "n_latent": DEFAULTS["n_latent"],
    "max_epochs": DEFAULTS["vae_max_epochs"],
    "kl_warmup_epochs": DEFAULTS["vae_kl_warmup_epochs"],
    "batch_size": DEFAULTS["vae_batch_size"],
}
ALIGNMENT = {
    "method": DEFAULTS["alignment"],
    "n-neighbors": N_NEIGHBORS,
    "pretrain-epochs": DEFAULTS["alignment_pretrain_epochs"],
    "discriminator-epochs": DEFAULTS["alignment_discriminator_epochs"],
    "epochs": DEFAULTS["alignment_epochs"],
    "inner-folds": DEFAULTS["inner_folds"],
}


def alignment_settings(**changed: Any) -> AlignmentSettings:
    """Return the settings of an alignment by the pipeline's defaults, but for ``changed``."""
    default = AlignmentSettings(
        MATCHINGS[DEFAULTS["alignment"]],
        DEFAULTS["alignment_pretrain_epochs"],
        DEFAULTS["alignment_discriminator_epochs"],
        DEFAULTS["alignment_epochs"],
        seed=SEED,
    )
    return replace(default, **changed)


def fit_vae(reference: AnnData, hvg: list[str], **changed: int) -> Training:
    """Train the VAE of a reference after QC by the pipeline's defaults, but for ``changed``."""
    backend = registry.get(DEFAULTS["vae"])
    return backend.train(reference, hvg, backend.select({**VAE, **changed}), Run(SEED))


def script(name: str, options: dict[str, object], more: Sequence[str] = ()) -> None:
    """Run a script of the pipeline, quietly unless it fails."""
    arguments = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    command = [sys.executable, str(ROOT / "bin" / name), *arguments, *more]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(f"{name} failed:\n{done.stderr[-2000:]}")


def quality_control(data: Path, work: Path) -> None:
    """Make ``spatial.qc.h5ad``, ``scrna.qc.h5ad`` and ``hvg.txt`` of a pair, unless they are there."""
    if (work / "hvg.txt").exists():
        return
    work.mkdir(parents=True, exist_ok=True)
    failure = work / "failure.json"
    for kind, name, limits in (
        ("spatial", "spatial", SPATIAL_QC),
        ("reference", "scrna", REFERENCE_QC),
    ):
        Request(name, kind).write(work / f"{name}.request.json")
        script(
            "ingest.py",
            {"kind": kind, "input": data / f"{name}.h5ad", "request": work / f"{name}.request.json",
             "output": work / f"{name}.ingested.h5ad", "failure": failure},
        )  # fmt: skip
        script(
            "quality_control.py",
            {"input": work / f"{name}.ingested.h5ad", **limits, "output": work / f"{name}.qc.h5ad",
             "summary": work / f"{name}.qc.json", "failure": failure},
        )  # fmt: skip
    script(
        "select_genes.py",
        {"reference": work / "scrna.qc.h5ad", "n-top": N_HVG, "output": work / "hvg.txt",
         "failure": failure},
    )  # fmt: skip
    if failure.exists():
        raise click.ClickException(failure.read_text())


def train_vae(work: Path) -> None:
    """Train the VAE of the reference in ``work`` with the pipeline's defaults: ``work/vae``."""
    if not (work / "vae").exists():
        options = {name.replace("_", "-"): value for name, value in VAE.items()}
        script(
            "train_vae.py",
            {"reference": work / "scrna.qc.h5ad", "hvg": work / "hvg.txt", "vae": DEFAULTS["vae"],
             **options, "seed": SEED,
             "device": "cpu", "threads": 1, "output": work / "vae",
             "history": work / "vae_history.json", "failure": work / "failure.json"},
        )  # fmt: skip


def split_genes(work: Path, settings: dict[str, object]) -> list[Path]:
    """Make the gene folds of a pair, ``work/folds``, and return them; the one without hidden genes last."""
    if not (work / "folds").is_dir():
        script(
            "split_genes.py",
            {"spatial": work / "spatial.qc.h5ad", "reference": work / "scrna.qc.h5ad",
             "hvg": work / "hvg.txt", **settings, "output-dir": work / "folds",
             "failure": work / "failure.json"},
        )  # fmt: skip
    return sorted((work / "folds").glob("fold_*.json"))


def imputed_and_calibrated(
    work: Path, vae: Path, reference: Path, settings: dict[str, object]
) -> None:
    """Align, impute and calibrate a pair after QC: ``work/imputed.h5ad`` and ``calibration.json``.

    ``vae`` is the VAE of ``reference``.
    """
    failure = work / "failure.json"
    folds = split_genes(work, settings)
    for fold in folds:
        name = fold.stem.removeprefix("fold_")
        aligned, imputed = work / f"aligned_{name}.h5ad", work / f"imputed_{name}.h5ad"
        if imputed.exists():
            continue
        script(
            "align.py",
            {"spatial": work / "spatial.qc.h5ad", "reference": reference, "vae": vae, "fold": fold,
             **ALIGNMENT, "seed": SEED, "device": "cpu", "threads": 1, "output": aligned, "history": work / f"history_{name}.json",
             "failure": failure},
        )  # fmt: skip
        script(
            "impute.py",
            {"aligned": aligned, "spatial": work / "spatial.qc.h5ad", "reference": reference,
             "vae": vae, "fold": fold, "genes": DEFAULTS["impute_genes"], "imputer": DEFAULTS["imputer"],
             "seed": SEED, "threads": 1, "output": imputed, "summary": work / f"imputation_{name}.json",
             "failure": failure},
        )  # fmt: skip
    hidden = [fold for fold in folds if fold.stem != "fold_all"]
    options = [part for fold in hidden for part in ("--fold", str(fold))]
    for fold in hidden:
        options += ["--held-out", str(work / f"imputed_{fold.stem.removeprefix('fold_')}.h5ad")]
    script(
        "calibrate.py",
        {"sample": work.name, "imputed": work / "imputed_all.h5ad",
         "spatial": work / "spatial.qc.h5ad", "output": work / "imputed.h5ad",
         "table": work / "reliability.csv", "summary": work / "calibration.json",
         "failure": failure},
        options,
    )  # fmt: skip
    if failure.exists():
        raise click.ClickException(failure.read_text())
