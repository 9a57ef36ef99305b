"""Spatial maps: held-out genes on the tissue, measured beside imputed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stlatent.records.evaluation import MapGene, Maps
from stlatent.report.chapters.interface import SampleView
from stlatent.report.page.blocks import Block, Figure, Gallery
from stlatent.report.page.markup import escape
from stlatent.report.run.model import Run
from stlatent.report.run.wording import signed

ID = "maps"
TITLE = "Spatial maps"
TEXT = "Held-out genes on the tissue: measured above imputed."

DPI = 100
PANEL_INCHES = 2.6
NEIGHBOURS, MEAN_IN_PITCHES = 8, 1.2  # of a grid, square or hexagonal
BAR_INCHES = 0.7
CROWDED = 1500
SMALLEST_POINT, LARGEST_POINT = 1.5, 14.0  # diameters in points
COLOUR_MAP = "viridis"
PALETTE = 256

EXPLAINED = """For every sample four genes that were measured, hidden and
predicted: the best, a good one (three quarters of the genes are worse), the median and the worst
by normalised PCC, among the genes found in at least 5 % of the locations. The measurement stands
above, the prediction below, both as the log of library-size normalised counts (intensities as they are).
Each panel runs from 0 (dark) to its own 99th percentile (bright), so compare patterns, not
brightness. The y axis points down, as in a microscope's image. At most 3000 locations are drawn. The
genes are chosen by rank, not by beauty: <em>median</em> is what to expect of a gene like those
tested; for all others see <em>Which genes to trust</em>. Click a sample's name to fold it away or open it."""


def chosen(genes: Sequence[MapGene]) -> list[tuple[str, MapGene]]:
    """Return the best, a good, the median and the worst gene with their labels, without repeats."""
    ranked = sorted(genes, key=lambda gene: -_rank(gene))
    picks: dict[int, str] = {}
    for label, quantile in (("best", 0.0), ("good", 0.25), ("median", 0.5), ("worst", 1.0)):
        if ranked:
            picks.setdefault(round(quantile * (len(ranked) - 1)), label)
    return [(label, ranked[place]) for place, label in sorted(picks.items())]


def _rank(gene: MapGene) -> float:
    known = (pcc for pcc in (gene.pcc_normalised, gene.pcc) if pcc is not None)
    return next(known, -2.0)


def draw(content: Maps) -> bytes | None:
    """Return a PNG of small multiples, measured above imputed, or None without genes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    genes = chosen(content.genes)
    if not genes:
        return None
    places = np.asarray(content.coordinates, dtype=float)
    width, height = _panel_size(places)
    diameter = point_diameter(places, width, height)
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 9}):
        figure = Figure(
            figsize=(width * len(genes) + BAR_INCHES, 2 * height + 0.5), layout="constrained"
        )
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, len(genes), squeeze=False)
        for column, (label, gene) in enumerate(genes):
            axes[0, column].set_title(f"{gene.gene} ({label})\n{_accuracy(gene)}", fontsize=9)
            for row, values in enumerate((gene.measured, gene.imputed)):
                panel(axes[row, column], places, np.asarray(values, dtype=float), diameter)
        for row, kind in enumerate(("measured", "imputed")):
            axes[row, 0].set_ylabel(kind)
        scale = mpl.cm.ScalarMappable(norm=mpl.colors.Normalize(0, 1), cmap=COLOUR_MAP)
        bar = figure.colorbar(scale, ax=axes, fraction=0.02, shrink=0.6, aspect=30, pad=0.01)
        bar.set_ticks([0, 1], labels=["0", "99th\nperc."])
        bar.outline.set_visible(False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI)
    return small(buffer)


def small(picture: io.BytesIO) -> bytes:
    """Return a PNG with its colours reduced to a palette, a third of the size."""
    from PIL import Image

    reduced = io.BytesIO()
    with Image.open(picture) as image:
        image.convert("RGB").quantize(PALETTE).save(reduced, format="PNG", optimize=True)
    return reduced.getvalue()


def _panel_size(places: NDArray[Any]) -> tuple[float, float]:
    """Return the size of a panel in inches that fits the shape of the tissue."""
    extent = np.maximum(np.ptp(places, axis=0), 1e-9)
    return PANEL_INCHES, float(np.clip(PANEL_INCHES * extent[1] / extent[0], 1.2, 4.0))


def point_diameter(places: NDArray[Any], width: float, height: float) -> float:
    """Return the diameter of a location in points: neighbours on a grid nearly touch.

    Parameters
    ----------
    places
        Locations x 2.
    width, height
        Of a panel, in inches.
    """
    from scipy.spatial import cKDTree

    if len(places) <= NEIGHBOURS:
        return LARGEST_POINT
    distances = np.asarray(cKDTree(places).query(places, k=NEIGHBOURS + 1)[0])
    extent = np.maximum(np.ptp(places, axis=0), 1e-9)
    points_per_unit = 72 * 0.95 * min(width / extent[0], height / extent[1])
    pitch = float(np.median(distances[:, 1:].mean(axis=1))) / MEAN_IN_PITCHES
    # So many that none is seen alone: overlap closes the gaps of an uneven density.
    share = 1.35 if len(places) > CROWDED else 0.95
    return float(np.clip(share * pitch * points_per_unit, SMALLEST_POINT, LARGEST_POINT))


def _accuracy(gene: MapGene) -> str:
    shown = [(gene.pcc, "raw"), (gene.pcc_normalised, "norm.")]
    return "PCC " + ", ".join(
        f"{name} {signed(found)}" for found, name in shown if found is not None
    )


def panel(
    axis: Any, places: NDArray[Any], values: NDArray[Any], diameter: float, lowest: float = 0
) -> None:
    """Draw values on the tissue, from ``lowest`` (dark) to their 99th percentile (bright)."""
    top = float(np.nanpercentile(values, 99)) if np.isfinite(values).any() else 1.0
    if top <= 0:
        top = float(np.nanmax(values, initial=0.0)) or 1.0
    order = np.argsort(values, kind="stable")
    axis.scatter(
        places[order, 0], places[order, 1], c=values[order], s=diameter**2, vmin=lowest, vmax=top,
        cmap=COLOUR_MAP, linewidths=0,
    )  # fmt: skip
    axis.set_aspect("equal")
    axis.invert_yaxis()
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)


def overview(run: Run) -> list[Block]:
    """Return a picture of every sample that has maps."""
    drawn = [f for name in run.samples for f in sample(SampleView(run, name, run.arm))]
    if not drawn:
        return []
    kept_in = "evaluation/maps/"
    return [Gallery(id="maps_genes", title=TITLE, text=EXPLAINED, figures=drawn, kept_in=kept_in)]


def sample(view: SampleView) -> list[Figure]:
    """Return the picture of one sample, or nothing without held-out genes."""
    content = view.run.maps(view.sample, view.arm)
    png = draw(content) if content else None
    if content is None or png is None:
        return []
    genes = ", ".join(f"{gene.gene} ({label})" for label, gene in chosen(content.genes))
    shown = "measured above imputed expression of the held-out genes"
    return [
        Figure(
            id=f"maps_{view.sample}",
            title=view.sample,
            text=escape(genes),
            alt=f"Sample {view.sample}: {shown} {genes}",
            png=png,
            file=f"maps/{view.sample}.png",
        )
    ]
