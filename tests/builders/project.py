"""The project under test: where it is, copies of it, and the tasks of its runs."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import h5py

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "assets" / "demo"
SCRIPTS = ("main.nf", "functions", "modules", "subworkflows", "conf", "nextflow.config")
PROCESSES = {
    "PARSE_SHEET",
    "DESCRIBE_INPUT",
    "CHECK_INPUT",
    "CHECK_DEVICE",
    "INGEST",
    "QUALITY_CONTROL",
    "QUALITY_CONTROL_REFERENCE",
    "SELECT_GENES",
    "TRAIN_VAE",
    "SPLIT_GENES",
    "ALIGN",
    "IMPUTE",
    "COMPARE",
    "SCORE",
    "EVALUATE",
    "CALIBRATE",
    "COLLATE",
    "MULTIQC",
}
QUICK_PARAMETERS = {
    "n_hvg": 100,
    "vae_max_epochs": 5,
    "vae_kl_warmup_epochs": 2,
    "n_alignment_genes": 50,
    "alignment_pretrain_epochs": 5,
    "alignment_discriminator_epochs": 2,
    "alignment_epochs": 5,
    "n_folds": 2,
    "evaluation_genes": 20,
    "baselines": "null,knn,spage",
}
QUICK = [part for name, value in QUICK_PARAMETERS.items() for part in (f"--{name}", str(value))]
# Which GPU is visible is asked anew in every run.
ALWAYS = {"CHECK_DEVICE"}


def tasks(folder: Path) -> list[dict[str, str]]:
    """Return the rows of the newest trace of a run."""
    newest = max((folder / "results" / "pipeline_info").glob("trace_*.txt"))
    with newest.open() as trace:
        return list(csv.DictReader(trace, delimiter="\t"))


def process(task: dict[str, str]) -> str:
    return task["name"].split(" ")[0].split(":")[-1]


def repeated(folder: Path) -> list[dict[str, str]]:
    """Return the tasks of the newest run that came from no cache, but for those that never do."""
    return [
        task for task in tasks(folder) if task["status"] != "CACHED" and process(task) not in ALWAYS
    ]


def copy_project(folder: Path) -> Path:
    """Copy the pipeline, so that a test may change it."""
    for name in (*SCRIPTS, "bin", "assets", "nextflow_schema.json"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy(source, folder / name)
    return folder


def edit(project: Path, name: str, old: str, new: str) -> None:
    """Change the text of a process, which must be there once."""
    module = project / "modules" / name / "main.nf"
    text = module.read_text()
    assert text.count(old) == 1
    module.write_text(text.replace(old, new))


def damage_inside(path: Path) -> None:
    """Break the stored values of X, so that the file opens and its matrix does not."""
    with h5py.File(path) as file:
        values = file["X"] if isinstance(file["X"], h5py.Dataset) else file["X/data"]
        chunk = values.id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)
