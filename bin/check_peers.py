#!/usr/bin/env python3
"""Write what the methods to compare with need and this environment lacks, or an empty file."""

from __future__ import annotations

from pathlib import Path

import click

from stlatent.peers import missing_packages

CURE = (
    "run `make peers`, or install containers/requirements-peers.lock into the container's image; "
    "or leave the method out of --baselines"
)


@click.command(help=__doc__)
@click.option("--methods", required=True, help="Separated by commas")
@click.option("--output", required=True, type=click.Path(path_type=Path))
def main(methods: str, output: Path) -> None:
    missing = missing_packages(methods.split(","))
    lines = [f"--baselines {method} needs {package}: {CURE}" for method, package in missing.items()]
    output.write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
