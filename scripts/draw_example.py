"""Draw hidden genes of a finished run, measured above imputed, with what the run says of each.

    PYTHONPATH=bin .venv/bin/python scripts/draw_example.py results/demo sample_b docs/images/example.png

One gene of every reliability label: of the tested genes with that label the one whose accuracy is
the median.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from stlatent.report.chapters.maps import panel, point_diameter, small

WORDS = {"high": "use it", "medium": "a hint, to be confirmed", "low": "do not interpret"}
COLOURS = {"high": "#1a7f37", "medium": "#9a6700", "low": "#b42318"}
PANEL_INCHES = 2.3
DPI = 110


def examples(genes: list[dict[str, Any]], reliability: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the gene with the median accuracy of every label, most reliable first.

    Parameters
    ----------
    genes
        Of ``maps.json``: values of tested genes at every location.
    reliability
        ``reliability.csv``, by gene.
    """
    labels = reliability["reliability_label"]
    chosen = []
    for label in WORDS:
        same = [{**gene, "label": label} for gene in genes if labels[gene["gene"]] == label]
        if same:
            chosen.append(sorted(same, key=lambda gene: gene["pcc_normalised"])[len(same) // 2])
    return chosen


def draw(places: np.ndarray, genes: list[dict[str, Any]]) -> bytes:
    """Return a PNG, a column a gene."""
    extent = np.ptp(places, axis=0)
    height = PANEL_INCHES * extent[1] / extent[0]
    diameter = point_diameter(places, PANEL_INCHES, height)
    with rc_context({"font.family": "DejaVu Sans", "font.size": 10}):
        figure = Figure(
            figsize=(PANEL_INCHES * len(genes) + 0.4, 2 * height + 0.9), layout="constrained"
        )
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, len(genes), squeeze=False)
        for column, gene in zip(axes.T, genes, strict=True):
            label = gene["label"]
            column[0].set_title(f"{gene['gene']}: {label}", color=COLOURS[label], fontweight="bold")
            column[1].set_xlabel(f"{WORDS[label]}\nr = {gene['pcc_normalised']:.2f}")
            for axis, kind in zip(column, ("measured", "imputed"), strict=True):
                values = np.asarray(gene[kind], dtype=float)
                panel(axis, places, values, diameter, lowest=float(np.percentile(values, 1)))
        for axis, kind in zip(axes[:, 0], ("measured", "imputed"), strict=True):
            axis.set_ylabel(kind)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI)
    return small(buffer)


def main() -> None:
    """Draw, from the results of a run."""
    results, sample, picture = sys.argv[1:]
    folder = Path(results) / "evaluation" / sample
    content = json.loads((folder / f"{sample}.maps.json").read_text())
    reliability = pd.read_csv(folder / f"{sample}.reliability.csv", index_col="gene")
    genes = examples(content["genes"], reliability)
    places = np.asarray(content["coordinates"], dtype=float)[:, :2]
    Path(picture).write_bytes(draw(places, genes))
    print(*(f"{gene['gene']}: {gene['label']}" for gene in genes), sep="\n")


if __name__ == "__main__":
    main()
