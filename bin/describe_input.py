#!/usr/bin/env python3
"""Describe one distinct input of the samplesheet."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from stlatent import readers, slots
from stlatent.failures import OUT_OF_MEMORY_EXIT


@click.command()
@click.option("--id", "identifier", required=True)
@click.option("--kind", type=click.Choice(["reference", "spatial"]), required=True)
@click.option("--input", "path", type=click.Path(path_type=Path), required=True)
@click.option("--coordinates", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), required=True)
def main(
    identifier: str, kind: slots.Kind, path: Path, coordinates: Path | None, output: Path
) -> None:
    """Describe one input; a file that cannot be read is described as such."""
    try:
        description = readers.describe(path, kind, coordinates)
    except MemoryError:
        sys.exit(OUT_OF_MEMORY_EXIT)
    output.write_text(json.dumps({"id": identifier, "kind": kind, **description}) + "\n")


if __name__ == "__main__":
    main()
