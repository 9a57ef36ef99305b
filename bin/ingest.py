#!/usr/bin/env python3
"""Bring one input into the pipeline's form."""

from __future__ import annotations

from pathlib import Path

import click

from stlatent import slots, task
from stlatent.inputs.ingestion import ingest
from stlatent.readers.load import read
from stlatent.records.failure import FailureKind
from stlatent.records.inputs import Request


@click.command()
@click.option("--kind", type=click.Choice(["reference", "spatial"]), required=True)
@click.option("--input", "path", type=click.Path(path_type=Path), required=True)
@click.option("--coordinates", type=click.Path(path_type=Path))
@click.option(
    "--request", "request_path", type=click.Path(exists=True, path_type=Path), required=True
)
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--failure", type=click.Path(path_type=Path), required=True)
@task.exit_codes("INGEST")
def main(
    kind: slots.Kind,
    path: Path,
    coordinates: Path | None,
    request_path: Path,
    output: Path,
    failure: Path,
) -> None:
    """Read a file of any known format and write h5ad."""
    request = Request.read(request_path)
    subject: FailureKind = "sample" if kind == "spatial" else "reference"
    with task.step("INGEST", request.id, subject, failure):
        contract = slots.INGESTED_SPATIAL if kind == "spatial" else slots.INGESTED_REFERENCE
        found = read(path, kind, coordinates, request.columns.values())
        adata = ingest(found, request)
        slots.write(adata, output, contract)


if __name__ == "__main__":
    main()
