#!/usr/bin/env python3
"""Filter observations and genes of one input."""

from __future__ import annotations

from pathlib import Path

import click

from stlatent import slots, task
from stlatent.inputs import qc
from stlatent.records.failure import FailureKind
from stlatent.records.inputs import Thresholds


@click.command()
@click.option("--input", "path", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--min-counts", type=click.FloatRange(min=0), required=True)
@click.option("--min-genes", type=click.IntRange(min=0), required=True)
@click.option("--min-cells", type=click.IntRange(min=0), required=True)
@click.option("--max-mito", type=click.FloatRange(0, 100), required=True)
@click.option("--mad", type=click.FloatRange(min=0), required=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--summary", type=click.Path(path_type=Path), required=True)
@click.option("--failure", type=click.Path(path_type=Path), required=True)
@task.exit_codes("QUALITY_CONTROL")
def main(
    path: Path,
    min_counts: float,
    min_genes: int,
    min_cells: int,
    max_mito: float,
    mad: float,
    output: Path,
    summary: Path,
    failure: Path,
) -> None:
    """Filter one ingested input and record what was removed and why."""
    adata = slots.read(path, slots.INGESTED_REFERENCE)
    facts = slots.facts(adata)
    subject: FailureKind = "sample" if facts["kind"] == "spatial" else "reference"
    with task.step("QUALITY_CONTROL", facts["source"], subject, failure):
        thresholds = Thresholds(min_counts, min_genes, min_cells, max_mito, mad)
        filtered, record = qc.filter_data(adata, thresholds)
        qc.refuse_few(record)
        slots.write(filtered, output, slots.INGESTED_REFERENCE)
        record.write(summary)


if __name__ == "__main__":
    main()
