"""Reference coverage: where the reference covers the tissue, and where it does not."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from stlatent.records.imputation import CoverageMap, ReferenceCoverage
from stlatent.records.run import Arm
from stlatent.report.chapters.interface import SampleView
from stlatent.report.chapters.maps import DPI, PANEL_INCHES, point_diameter, small
from stlatent.report.page.blocks import Block, Figure, Gallery, Html, Table, number, words
from stlatent.report.page.markup import escape
from stlatent.report.run.model import Run

ID = "coverage"
TITLE = "Reference coverage"
TEXT = "Where the tissue has no counterpart in the reference."

LABELS_NAMED = 3
# Uncovered, the limit, barely and well covered.
COLOURS = ((0.0, "#99000d"), (0.5, "#fc8d59"), (0.51, "#c6d3dd"), (1.0, "#dde3e8"))

EXPLAINED = """Imputation can only hand on what the reference holds. Where
the tissue has cells of a kind that the reference lacks, predicted genes are those of other cells. Each
location is explained as a mixture of reference cells by the genes measured in both. Something is
left unexplained everywhere. A location is <em>uncovered</em> when it shares more of it with the
locations most like it than most of the tissue does, and more than held-out reference cells do. At most
{rate:.0%} of the uncovered locations are expected to be so by chance, if covered tissue deviates from
the reference as held-out reference cells do. Real tissues deviate more, so look at the map. A kind of cell that makes up most of the
tissue, or that resembles one in the reference, can escape this check. Dark red is far
from covered, orange just uncovered, grey covered; grey proves nothing. The numbers are <code>obs['reference_coverage']</code> (at most 0.5: uncovered) and
<code>obs['reference_covered']</code> of every imputed file."""


def coverage_of(run: Run, sample: str, arm: Arm) -> ReferenceCoverage | None:
    """Return what the full run noted about the reference's coverage of ``sample``, or None."""
    imputation = run.imputation(sample, arm)
    return imputation.coverage if imputation else None


def overview(run: Run) -> list[Block]:
    """Return a map of every judged sample and a table of the share that is uncovered."""
    found = {sample: coverage_of(run, sample, run.arm) for sample in run.samples}
    known = {sample: content for sample, content in found.items() if content}
    if not known:
        return []
    shares = {s: share for s, found in known.items() if (share := found.uncovered) is not None}
    maps = [figure for name in run.samples for figure in sample(SampleView(run, name, run.arm))]
    columns = {
        "uncovered": number(
            "Uncovered (%)",
            "Locations without a counterpart in the reference",
            1,
            least=0,
            most=100,
        ),
        "where": words(
            "Most of it in", "The labels of the tissue that most uncovered locations have"
        ),
    }
    rows = {
        sample: {"uncovered": 100 * share, "where": where(known[sample])}
        for sample, share in shares.items()
    }
    rate = max(content.false_discovery_rate for content in known.values())
    return [
        Gallery(
            id="coverage_maps",
            title=TITLE,
            text=EXPLAINED.format(rate=rate),
            figures=maps,
            are_small=True,
        ),
        *not_judged(known),
        Table(id="coverage_table", title="Uncovered locations", columns=columns, rows=rows),
    ]


def not_judged(known: dict[str, ReferenceCoverage]) -> list[Block]:
    """Return the samples of which coverage was not judged, and why, or nothing."""
    body = "".join(
        f"<p><b>{escape(sample)}</b>: {escape(content.not_judged)}.</p>"
        for sample, content in known.items()
        if content.not_judged
    )
    return [Html(id="coverage_not_judged", title="Not judged", body=body)] if body else []


def where(content: ReferenceCoverage) -> str | None:
    """Return the labels that most uncovered locations have, or None without any."""
    groups = content.by_label or {}
    ranked = sorted(groups.items(), key=lambda item: -item[1].uncovered * item[1].n)
    shown = [
        f"{escape(name)} ({group.uncovered:.0%} of {group.n:,})"
        for name, group in ranked[:LABELS_NAMED]
        if group.uncovered > 0
    ]
    return ", ".join(shown) or None


def sample(view: SampleView) -> list[Figure]:
    """Return the map of one sample, or nothing where its coverage was not judged."""
    content = coverage_of(view.run, view.sample, view.arm)
    if content is None or content.uncovered is None or content.map is None:
        return []
    share = f"{content.uncovered:.1%} uncovered"
    return [
        Figure(
            id=f"coverage_{view.sample}",
            title=view.sample,
            text=share,
            alt=f"Sample {view.sample}: coverage by the reference, {share}",
            png=draw(content.map),
        )
    ]


def draw(content: CoverageMap) -> bytes:
    """Return a PNG of the tissue, uncovered locations on top."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    places = np.asarray(content.coordinates, dtype=float)
    values = np.asarray(content.coverage, dtype=float)
    extent = np.maximum(np.ptp(places, axis=0), 1e-9)
    height = float(np.clip(PANEL_INCHES * extent[1] / extent[0], 1.2, 4.0))
    figure = Figure(figsize=(PANEL_INCHES, height), layout="constrained")
    FigureCanvasAgg(figure)
    axis: Any = figure.subplots()
    order = np.argsort(-values, kind="stable")
    axis.scatter(
        places[order, 0], places[order, 1], c=values[order], vmin=0, vmax=1, linewidths=0,
        s=point_diameter(places, PANEL_INCHES, height) ** 2,
        cmap=LinearSegmentedColormap.from_list("coverage", COLOURS),
    )  # fmt: skip
    axis.set_aspect("equal")
    axis.invert_yaxis()
    axis.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return small(buffer)
