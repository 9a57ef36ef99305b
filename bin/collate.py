#!/usr/bin/env python3
"""Collate what a run left behind into MultiQC's input, the table of scores and the headline."""

from __future__ import annotations

from pathlib import Path

import click

from stlatent.failures import exit_codes
from stlatent.report import write_report
from stlatent.report.inputs import load

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(help=__doc__)
@click.option("--input-json", type=FILE, help="input.json of check_input.py")
@click.option("--settings", type=FILE, help="Parameters and facts of the run, JSON")
@click.option("--output-dir", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.argument("files", type=FILE, nargs=-1)
@exit_codes("COLLATE")
def main(
    input_json: Path | None, settings: Path | None, output_dir: Path, files: tuple[Path, ...]
) -> None:
    """Read, collate, write."""
    write_report(load(files, input_json, settings), output_dir)


if __name__ == "__main__":
    main()
