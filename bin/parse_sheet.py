#!/usr/bin/env python3
"""Parse the samplesheet."""

from __future__ import annotations

from pathlib import Path

import click

from stlatent import task
from stlatent.inputs import samplesheet


@click.command()
@click.option("--sheet", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--schema", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
@task.exit_codes("PARSE_SHEET")
def main(sheet: Path, schema: Path, output: Path) -> None:
    """Write the rows of a samplesheet and the problems found in it."""
    columns = samplesheet.Columns.read(schema)
    parsed = samplesheet.parse(sheet.read_bytes(), sheet.name, columns)
    parsed.write(output)


if __name__ == "__main__":
    main()
