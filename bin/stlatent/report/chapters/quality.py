"""Quality control: what quality control kept and removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stlatent.records.base import Point
from stlatent.records.inputs import QualityControl
from stlatent.report.page.blocks import Axis, Bars, Block, Lines, Panel, Part, Table, number, words
from stlatent.report.page.colours import series_colours
from stlatent.report.run.model import Run

ID = "quality"
TITLE = "Quality control"
TEXT = "What went into the analysis and what was left out."

REASONS = {
    "min_counts": ("too few counts", "#D55E00"),
    "min_genes": ("too few genes", "#E69F00"),
    "max_mito": ("too much mitochondrial RNA", "#CC79A7"),
    "mad_outlier": ("outlier", "#56B4E9"),
}
OTHER_COLOURS = ("#5D3A9B", "#B8A900", "#8C564B")
KEPT_COLOUR = "#0072B2"
SMALLEST = 0.1  # a logarithmic axis has no place for zero

COLUMNS = {
    "before": number("Locations before", "Spots or cells in the input", 0),
    "after": number("After", "Spots or cells kept", 0),
    "genes_before": number("Genes before", "Genes in the input", 0),
    "genes_after": number("Genes after", "Genes kept", 0),
    "unit": words("Values", "Counts of molecules, or intensities, which are not normalised"),
    "counts": number("Median counts", "Molecules per kept spot or cell", 0),
    "genes": number("Median genes", "Genes detected per kept spot or cell", 0),
    "mito": number("Mito", "Median share of mitochondrial counts after filtering", 1, unit=" %"),
    "median_counts_before": number("Median counts before", "Before filtering", 0, is_extra=True),
}


def overview(run: Run) -> list[Block]:
    """Return the chapter: samples first, then references."""
    ordered = [name for name in run.samples if name in run.quality]
    ordered += sorted(name for name in run.quality if name not in ordered)
    summaries = {name: run.quality[name] for name in ordered}
    if not summaries:
        return []
    rows = {label(name, found): row(found) for name, found in summaries.items()}
    text = "Samples first, then the single-cell references they were imputed from."
    return [
        Table(
            id="quality_table",
            title="Before and after",
            text=text,
            columns=COLUMNS,
            rows=rows,
            of="Input",
        ),
        *removed(summaries),
        *histograms(summaries, colours(run)),
    ]


def label(name: str, summary: QualityControl) -> str:
    """Return the name of an input; references are marked as such where the name does not tell."""
    return f"{name} (reference)" if is_reference(summary) and "reference" not in name else name


def is_reference(summary: QualityControl) -> bool:
    """Tell a reference from a sample."""
    return summary.kind == "reference"


def row(summary: QualityControl) -> dict[str, Any]:
    """Return the row of one input."""
    before, after = summary.before, summary.after
    # Intensities have neither depth nor zeros to count.
    return {
        "before": before.observations,
        "after": after.observations,
        "genes_before": before.genes,
        "genes_after": after.genes,
        "unit": "counts" if summary.counts else "intensities",
        "counts": after.median_counts if summary.counts else None,
        "genes": after.median_genes if summary.counts else None,
        "mito": after.median_mito_percent,
        "median_counts_before": before.median_counts if summary.counts else None,
    }


def removed(summaries: dict[str, QualityControl]) -> list[Block]:
    """Return bars of kept and removed locations, by reason, of the inputs that lost any.

    One location can fall to several reasons; each is counted under the first of them so that the
    bar adds up to the input.
    """
    data: dict[str, dict[str, int]] = {}
    for name, summary in summaries.items():
        left = summary.before.observations - summary.after.observations
        if left <= 0:
            continue
        bar = {"kept": summary.after.observations}
        for reason, count in summary.removed.observations.items():
            bar[reason] = min(count, left)
            left -= bar[reason]
        if left > 0:
            bar["other"] = left
        data[label(name, summary)] = bar
    if not data:
        return []
    # A reason that took nothing anywhere has no place in the legend.
    reasons = list(dict.fromkeys(r for bar in data.values() for r, count in bar.items() if count))
    whole = len(summaries) - len(data)
    kept = f" {whole} of {len(summaries)} inputs lost nothing and are not drawn." if whole else ""
    return [
        Bars(
            id="quality_removed",
            title="Removed, by reason",
            text=f"What happened to every spot or cell of the input; a location counts once.{kept}",
            caption="Locations kept and removed",
            axis=Axis("Spots or cells"),
            parts=_parts(reasons),
            bars=data,
            layout="shares",
        )
    ]


def _parts(reasons: list[str]) -> dict[str, Part]:
    known = {"kept": ("kept", KEPT_COLOUR), "other": ("other", "#999999"), **REASONS}
    spare = [reason for reason in reasons if reason not in known]
    for place, reason in enumerate(spare):
        known[reason] = (reason.replace("_", " "), OTHER_COLOURS[place % len(OTHER_COLOURS)])
    return {reason: Part(*known[reason]) for reason in reasons}


def colours(run: Run) -> dict[str, str]:
    """Return the colour of every input: a sample as in all plots, references in order of use."""
    references = dict.fromkeys(reference for reference in run.references.values() if reference)
    others = [name for name in run.quality if name not in run.references]
    order = sorted(
        others, key=lambda name: list(references).index(name) if name in references else 0
    )
    return {**series_colours(order), **series_colours(run.samples)}


def histograms(summaries: dict[str, QualityControl], coloured: dict[str, str]) -> list[Block]:
    """Return the distributions of counts and genes per location, in percent of locations."""
    panels = []
    counted = {label(name, one): one.histograms for name, one in summaries.items() if one.counts}
    for title, bins in (
        ("Counts", {name: found.counts for name, found in counted.items()}),
        ("Genes", {name: found.genes for name, found in counted.items()}),
    ):
        lines = {name: as_percent(found) for name, found in bins.items()}
        if lines:
            panels.append(Panel(lines, title, x=f"{title} per spot or cell"))
    if not panels:
        return []
    text = (
        "Before filtering, on a logarithmic axis; references are dashed. A second hump at low "
        "values is empty or off-tissue locations. Intensities have no depth and are left out."
    )
    return [
        Lines(
            id="quality_histograms",
            title="Depth",
            text=text,
            caption="Counts and genes per location",
            x=Axis("Per spot or cell", is_logarithmic=True),
            y=Axis("Share of spots or cells", " %", low=0),
            panels=panels,
            colours={label(n, s): coloured[n] for n, s in summaries.items()},
            dashed=frozenset(label(n, s) for n, s in summaries.items() if is_reference(s)),
            decimals=1,
        )
    ]


def as_percent(bins: Sequence[Point]) -> list[list[float]]:
    """Return a histogram of log10(1 + value) over values, its heights in percent of the total.

    Neighbouring bins are merged in pairs: single counts make narrow bins of low values ragged.
    """
    total = sum(count for _, count in bins) or 1
    pairs = [bins[place : place + 2] for place in range(0, len(bins), 2)]
    return [
        [
            round(max(10 ** (sum(x for x, _ in pair) / len(pair)) - 1, SMALLEST), 2),
            round(100 * sum(count for _, count in pair) / total, 3),
        ]
        for pair in pairs
    ]
