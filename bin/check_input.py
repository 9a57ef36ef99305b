#!/usr/bin/env python3
"""Check the samplesheet and the content of its files, before any work."""

from __future__ import annotations

from pathlib import Path

import click

from stlatent import task
from stlatent.inputs import check
from stlatent.inputs.samplesheet import format_problems
from stlatent.records.inputs import CheckedInput, Description, Sheet, read_sources


@click.command()
@click.option("--rows", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--sources", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--unread", is_flag=True, help="Look for missing files alone (stub runs)")
@click.option("--output-dir", type=click.Path(path_type=Path), required=True)
@click.argument("descriptions", nargs=-1, type=click.Path(exists=True, path_type=Path))
@task.exit_codes("CHECK_INPUT")
def main(
    rows: Path, sources: Path, unread: bool, output_dir: Path, descriptions: tuple[Path, ...]
) -> None:
    """Gather all problems; write what to run, and what to keep of each input."""
    sheet = Sheet.read(rows)
    used = read_sources(sources)
    described = [Description.read(path) for path in descriptions]
    inputs = check.Inputs(
        sheet.rows,
        {description.id: description for description in described},
        {(source.kind, line): source.id for source in used for line in source.lines},
        frozenset(source.id for source in used if not source.exists),
    )
    found = check.absent(inputs) if unread else check.check(inputs)
    problems = sorted([*sheet.problems, *found], key=lambda problem: problem.line)
    samples, requests = ([], {}) if problems else check.plan(inputs)
    checked = CheckedInput(
        valid=not problems,
        samples=samples,
        failures=check.failures(inputs),
        warnings=[] if unread else check.warnings(inputs),
        problems=problems,
    )
    (output_dir / "requests").mkdir(parents=True, exist_ok=True)
    checked.write(output_dir / "input.json")
    (output_dir / "problems.txt").write_text(format_problems(problems, sheet.sheet))
    for identifier, request in requests.items():
        request.write(output_dir / "requests" / f"{identifier}.json")


if __name__ == "__main__":
    main()
