#!/usr/bin/env python3
"""Select the highly variable genes of one reference."""

from __future__ import annotations

from pathlib import Path

import click

from stlatent import slots, task
from stlatent.inputs import genes


@click.command()
@click.option("--reference", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--n-top", type=click.IntRange(min=1), required=True)
@click.option("--settings", default="", help="Key of the settings of this step.")
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--failure", type=click.Path(path_type=Path), required=True)
@task.exit_codes("SELECT_GENES")
def main(reference: Path, n_top: int, settings: str, output: Path, failure: Path) -> None:
    """Write the most variable genes of a reference, one a line, best first."""
    adata = slots.read(reference, slots.INGESTED_REFERENCE)
    with task.step(
        "SELECT_GENES", slots.facts(adata)["source"], "reference", failure, settings=settings
    ):
        ranked = genes.rank_genes(adata, n_top)
        output.write_text("\n".join(ranked[:n_top]) + "\n")


if __name__ == "__main__":
    main()
