#!/usr/bin/env python3
"""Parse the samplesheet."""

from __future__ import annotations

import json
from pathlib import Path

import click

from stlatent.failures import exit_codes
from stlatent.inputs import samplesheet

SCHEMA = Path(__file__).parents[1] / "assets" / "schema_input.json"


@click.command()
@click.option("--sheet", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--schema", type=click.Path(exists=True, path_type=Path), default=SCHEMA)
@click.option("--output", type=click.Path(path_type=Path), required=True)
@exit_codes("PARSE_SHEET")
def main(sheet: Path, schema: Path, output: Path) -> None:
    """Write the rows of a samplesheet and the problems found in it."""
    columns = samplesheet.Columns.read(schema)
    parsed = samplesheet.parse(sheet.read_bytes(), sheet.name, columns)
    output.write_text(json.dumps(parsed, indent=1) + "\n")


if __name__ == "__main__":
    main()
