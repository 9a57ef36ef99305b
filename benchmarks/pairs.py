"""Real pairs of tissue and reference, brought as far as the pipeline's own scripts bring them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]

# Those of nextflow.config.
SPATIAL_QC = {"min-counts": 10, "min-genes": 3, "min-cells": 1, "max-mito": 50, "mad": 0}
REFERENCE_QC = {"min-counts": 200, "min-genes": 100, "min-cells": 3, "max-mito": 25, "mad": 0}
SPLIT = {"n-folds": 5, "evaluation-genes": 300, "n-alignment-genes": 500, "seed": 0}
N_HVG, SEED = 2000, 0


def script(name: str, options: dict[str, object]) -> None:
    """Run a script of the pipeline."""
    arguments = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    subprocess.run([sys.executable, str(ROOT / "bin" / name), *arguments], check=True)


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
        request = {"id": name, "kind": kind, "batch_key": None, "label_key": None}
        (work / f"{name}.request.json").write_text(json.dumps({**request, "section_key": None}))
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
