#!/usr/bin/env python3
"""Collate what a run left behind into MultiQC's input, the table of scores and the headline."""

from __future__ import annotations

import platform
from pathlib import Path

import click

from stlatent import task
from stlatent.report import write_report
from stlatent.report.run.read import load

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(help=__doc__)
@click.option("--input-json", type=FILE, required=True, help="input.json of check_input.py")
@click.option("--settings", type=FILE, required=True, help="Parameters and facts of the run, JSON")
@click.option("--tasks", type=FILE, required=True, help="Table of tasks and what they took")
@click.option("--executor", required=True, help="Where the tasks ran")
@click.option("--page-dir", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--output-dir", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.argument("files", type=FILE, nargs=-1)
@task.exit_codes("COLLATE")
def main(
    input_json: Path,
    settings: Path,
    tasks: Path,
    executor: str,
    page_dir: Path,
    output_dir: Path,
    files: tuple[Path, ...],
) -> None:
    """Read, collate, write."""
    run = load(files, input_json, settings, tasks)
    run.facts |= {"executor": executor, "platform": platform.platform()}
    write_report(run, page_dir, output_dir)


if __name__ == "__main__":
    main()
