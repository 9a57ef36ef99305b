#!/usr/bin/env python3
"""Describe one distinct input of the samplesheet."""

from __future__ import annotations

from pathlib import Path

import click

from stlatent import slots, task
from stlatent.inputs.checksums import checksums
from stlatent.readers.describe import describe
from stlatent.records.inputs import Checksums


@click.command()
@click.option("--id", "identifier", required=True)
@click.option("--kind", type=click.Choice(["reference", "spatial"]), required=True)
@click.option("--input", "path", type=click.Path(path_type=Path), required=True)
@click.option("--coordinates", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--checksums", "sums", type=click.Path(path_type=Path), required=True)
@task.exit_codes("DESCRIBE_INPUT")
def main(
    identifier: str,
    kind: slots.Kind,
    path: Path,
    coordinates: Path | None,
    output: Path,
    sums: Path,
) -> None:
    """Describe one input; a file that cannot be read is described as such."""
    description = describe(path, kind, coordinates, identifier)
    description.write(output)
    # The run refuses a file or folder in no known format; it may be of any size.
    data = checksums(path) if description.format else []
    Checksums(identifier, kind, data, checksums(coordinates) if coordinates else []).write(sums)


if __name__ == "__main__":
    main()
