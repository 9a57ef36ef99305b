#!/usr/bin/env python3
"""Check the samplesheet and the content of its files, before any work."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from stlatent.failures import exit_codes, reading
from stlatent.inputs import check
from stlatent.inputs.samplesheet import Problem, format_problems


@click.command()
@click.option("--rows", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--sources", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--unread", is_flag=True, help="Look for missing files alone (stub runs)")
@click.option("--output-dir", type=click.Path(path_type=Path), required=True)
@click.argument("descriptions", nargs=-1, type=click.Path(exists=True, path_type=Path))
@exit_codes("CHECK_INPUT")
def main(
    rows: Path, sources: Path, unread: bool, output_dir: Path, descriptions: tuple[Path, ...]
) -> None:
    """Gather all problems; write what to run, and what to keep of each input."""
    parsed = _read(rows)
    used = json.loads(sources.read_text())
    described = [_read(path) for path in descriptions]
    inputs = check.Inputs(
        parsed["rows"],
        {description["id"]: description for description in described},
        {(source["kind"], line): source["id"] for source in used for line in source["lines"]},
        frozenset(source["id"] for source in used if not source["exists"]),
    )
    problems = [Problem(**problem) for problem in parsed["problems"]]
    problems += check.absent(inputs) if unread else check.check(inputs)
    problems.sort(key=lambda problem: problem.line)
    warnings = [] if unread else check.warnings(inputs)
    _write(output_dir, inputs, problems, warnings, parsed["sheet"])


def _read(path: Path) -> Any:
    with reading(path):
        return json.loads(path.read_text())


def _write(
    folder: Path,
    inputs: check.Inputs,
    problems: list[Problem],
    warnings: list[dict[str, str]],
    sheet: str,
) -> None:
    samples, requests = ([], {}) if problems else check.plan(inputs)
    result: dict[str, Any] = {
        "valid": not problems,
        "samples": samples,
        "failures": check.failures(inputs),
        "warnings": warnings,
        "problems": [asdict(problem) for problem in problems],
    }
    (folder / "requests").mkdir(parents=True, exist_ok=True)
    (folder / "input.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "problems.txt").write_text(format_problems(problems, sheet))
    for identifier, request in requests.items():
        path = folder / "requests" / f"{identifier}.json"
        path.write_text(json.dumps(request, indent=1) + "\n")


if __name__ == "__main__":
    main()
