#!/usr/bin/env python3
"""Write a simulated study: two samples, their reference, and a samplesheet."""

from __future__ import annotations

import csv
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from stlatent import slots
from stlatent.simulate import Settings, Study, simulate

COLUMNS = ("sample", "spatial", "reference", "batch_key", "label_key", "spatial_label_key")
SPATIAL_LABEL_KEYS = {"sample_a": "cell_type", "sample_b": ""}


def write_study(study: Study, folder: Path, truth: bool) -> None:
    """Write the samples, the reference and the sheet that names them; the truth if asked."""
    from anndata import AnnData

    folder.mkdir(parents=True, exist_ok=True)
    study.reference.write_h5ad(folder / "reference.h5ad", compression="gzip", compression_opts=9)
    with (folder / "samplesheet.csv").open("w", newline="") as handle:
        sheet = csv.writer(handle, lineterminator="\n")
        sheet.writerow(COLUMNS)
        for name, sample in study.samples.items():
            file = f"{name}.h5ad"
            sample.measured.write_h5ad(folder / file, compression="gzip", compression_opts=9)
            sheet.writerow(
                [name, file, "reference.h5ad", "batch", "cell_type", SPATIAL_LABEL_KEYS[name]]
            )
            if truth:
                known = AnnData(
                    X=sample.expected.astype("float32"), obs=sample.measured.obs, var=study.genes
                )
                known.layers["proportions"] = sample.proportions.astype("float32")
                known.obsm["spatial"] = sample.measured.obsm["spatial"]
                known.obsm["composition"] = sample.composition
                known.uns["types"] = list(study.types)
                known.write_h5ad(folder / f"{name}.truth.h5ad", compression="gzip")


def _settings_options(command: Any) -> Any:
    """Add one option for each field of `Settings`."""
    for field in reversed(fields(Settings)):
        name = field.name.replace("_", "-")
        if isinstance(field.default, bool):
            option = click.option(f"--{name}/--no-{name}", default=field.default, show_default=True)
        else:
            option = click.option(
                f"--{name}", type=type(field.default), default=field.default, show_default=True
            )
        command = option(command)
    return command


@click.command(help=__doc__)
@click.option("--output-dir", required=True, type=click.Path(path_type=Path))
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--truth",
    is_flag=True,
    help="Also write SAMPLE.truth.h5ad: noise-free expression of all genes.",
)
@_settings_options
def main(output_dir: Path, seed: int, truth: bool, **sizes: Any) -> None:
    with slots.plain_text():
        write_study(simulate(Settings(**sizes), seed), output_dir, truth)


if __name__ == "__main__":
    main()
