"""Which genes to trust: reliability of every imputed gene, and the intervals of their values."""

from __future__ import annotations

from typing import Any

from stlatent.records.evaluation import Calibration, ListedGene
from stlatent.report.page.blocks import (
    Axis,
    Bars,
    Block,
    Html,
    Lines,
    Panel,
    Part,
    Table,
    number,
    score,
    words,
)
from stlatent.report.page.colours import series_colours
from stlatent.report.page.markup import escape, html_table, prose, scroll
from stlatent.report.run.model import Run
from stlatent.report.run.wording import signed
from stlatent.trust.reliability import LABELS, UNTESTABLE

ID = "trust"
TITLE = "Which genes to trust"
TEXT = "Reliability of imputed genes, and intervals of their values."

COLOURS = {"high": "#0072B2", "medium": "#56B4E9", "low": "#BBBBBB", UNTESTABLE: "#EEEEEE"}
NOMINAL = "nominal"
GENES_SHOWN = 8
NOTHING = "n/a"

EXPLAINED = """<p>Imputed genes need not have been measured in this tissue, so
nobody can check them one by one. What can be checked is how well genes <em>were</em> predicted that
had been measured and hidden. From these stlatent learns what a well-predicted gene looks like (the
reference predicts it from the measured genes, independent methods agree on it, its pattern is smooth,
enough of its molecules are expected) and gives imputed genes the probability that their pattern would
correlate with a measurement by more than {threshold} after removal of library size.</p>
<p><b>Which genes were tested.</b> {population}</p>
<ul><li><b>high</b> (at least 80 %): look at its map, use it.</li>
<li><b>medium</b> (50 to 80 %): a hint; confirm it before you build on it.</li>
<li><b>low</b> (below 50 %): do not interpret its map.</li>
<li><b>not testable</b>: the tissue measured this gene and no fold hid it, so its prediction rests on
its measurement: use the measurement. Or, on a panel: the prediction of a gene that was not measured
follows the panel's total counts, and nobody can say what its pattern is without them.</li></ul>
<p>The columns <code>reliability</code> and <code>reliability_label</code> are in the imputed file
(<code>adata.var</code>) and in <code>evaluation/&lt;sample&gt;/&lt;sample&gt;.reliability.csv</code>.
A label says how far to believe a <em>pattern</em>. An interval says how far to believe a
<em>value</em>: see the end of this chapter.</p>"""

COLUMNS = {
    "genes": number("Imputed", "Genes imputed", 0),
    "high": number("High", "Genes whose reliability is high", 0),
    "medium": number("Medium", "Genes whose reliability is medium", 0),
    "low": number("Low", "Genes whose reliability is low", 0),
    "untestable": number("Not testable", "Genes whose label would rest on nothing, see above", 0),
    "unmeasured": number("Not measured", "Imputed genes that the tissue did not measure", 0),
    "unmeasured_high": number("of them high", "Of those, genes whose reliability is high", 0),
    "auroc": score(
        "AUROC",
        "How well reliability tells held-out genes with a PCC above the threshold from others: "
        "0.5 is chance, 1 is perfect",
        least=0.5,
    ),
    "tested": number("Tested on", "Held-out genes that reliability was tested on", 0),
    "learned": words("Learned from", "The tissue's own held-out genes, or other tissues alone"),
}


def overview(run: Run) -> list[Block]:
    """Return the chapter, or nothing when no sample was calibrated."""
    found = {s: c for s in run.samples if (c := run.calibration(s)) is not None}
    if not found:
        return []
    threshold = next(iter(found.values())).reliability.threshold
    populations = "<br>".join(population(name, content) for name, content in found.items())
    text = EXPLAINED.format(threshold=threshold, population=populations)
    rows = {sample: sample_row(content) for sample, content in found.items()}
    described = (
        "How many imputed genes deserve trust, and how well the labels did on held-out genes "
        "that they were not learned from."
    )
    return [
        Html(id="trust_how", title="How to read this", body=prose(text)),
        Table(
            id="trust_samples",
            title="Genes by reliability",
            text=described,
            columns=COLUMNS,
            rows=rows,
        ),
        label_bars(found),
        *label_accuracy(found, threshold),
        *risk_coverage(found),
        *gene_lists(found),
        *intervals(found),
    ]


def population(sample: str, content: Calibration) -> str:
    """Return a sentence on the genes that labels and intervals of a sample were tested on."""
    name, tested = escape(sample), content.n_held_out
    drawn = content.population
    if not tested or drawn is None:
        return (
            f"<b>{name}</b>: none; what stands here about its genes was learned on other tissues."
        )
    source = {
        "delivered": "imputed genes that this tissue measured",
        "variable": "measured genes that are imputed or most variable in the reference",
        "shared": "genes that tissue and reference share",
    }[drawn.name]
    every = drawn.n_drawn >= drawn.n_genes
    chosen = "all" if every else "drawn at random, evenly by abundance, from the"
    lost = drawn.n_drawn - tested
    rest = f" ({lost:,} of them could not be tested)" if lost > 0 else ""
    number_of = f"{drawn.n_drawn:,} genes{rest}"
    text = f"<b>{name}</b>: {number_of}, {chosen} {drawn.n_genes:,} {source}."
    if content.panel:
        text += (
            f" But {content.n_unmeasured:,} of {content.n_genes:,} imputed genes were not "
            "measured: a panel is chosen, and its genes are more abundant and better to predict than "
            "others. Labels and intervals allow for that by each gene's abundance, spread and "
            "predictability. How well they do was tested on other tissues: see <code>docs/trust.md</code>."
        )
    return text


def sample_row(content: Calibration) -> dict[str, Any]:
    """Return the row of one sample."""
    validation = content.reliability.validation
    own = content.reliability.learned_from == "tissue"
    return {
        "genes": content.n_genes,
        **{label: content.labels.get(label, 0) for label in LABELS},
        "untestable": content.labels.get(UNTESTABLE) or None,
        "unmeasured": content.n_unmeasured,
        "unmeasured_high": content.labels_unmeasured.get("high", 0),
        "auroc": validation.pcc_normalised.auroc if validation else None,
        "tested": validation.n_genes if validation else None,
        "learned": "this tissue" if own else "other tissues",
    }


def label_bars(found: dict[str, Calibration]) -> Bars:
    """Return one stacked bar a sample."""
    shown = [label for label in COLOURS if any(c.labels.get(label) for c in found.values())]
    return Bars(
        id="trust_labels",
        title="As shares",
        text="All imputed genes of a sample, measured or not.",
        caption="Imputed genes by reliability",
        axis=Axis("Imputed genes"),
        parts={label: Part(label, COLOURS[label]) for label in shown},
        bars={sample: content.labels for sample, content in found.items()},
        layout="shares",
    )


def label_accuracy(found: dict[str, Calibration], threshold: float) -> list[Block]:
    """Return, for each label, the share of held-out genes that deserved it."""
    rows = []
    totals = {label: [0, 0] for label in LABELS}
    for sample, content in found.items():
        validation = content.reliability.validation
        if validation is None:
            continue
        cells = []
        for label in LABELS:
            genes, above = validation.labels[label].genes, validation.labels[label].above
            totals[label][0] += genes
            totals[label][1] += above
            cells.append(_share(above, genes))
        rows.append((f"<b>{escape(sample)}</b>", *cells))
    if not rows:
        return []
    if len(rows) > 1:
        rows.append(("<b>all samples</b>", *(_share(above, n) for n, above in totals.values())))
    listed = html_table(("Sample", *LABELS), rows, "stl-narrow")
    text = (
        "The tested genes of each sample by the label that they got from what was learned on the "
        f"other folds, and how many of them truly had a normalised PCC above {threshold}. A right label means at "
        "least 80 % for high, 50 to 80 % for medium and less than 50 % for low; with a handful of "
        "genes in a cell, expect departures."
    )
    title = "Are the labels right?"
    return [Html(id="trust_label_accuracy", title=title, text=text, body=listed)]


def _share(above: int, genes: int) -> str:
    if not genes:
        return "no gene"
    return f"{above / genes:.0%} <small>({above} of {genes})</small>"


def risk_coverage(found: dict[str, Calibration]) -> list[Block]:
    """Return the mean PCC of the genes kept, when only the most reliable are."""
    data: dict[str, Any] = {}
    for sample, content in found.items():
        validation = content.reliability.validation
        if validation and validation.n_genes >= 2 * GENES_SHOWN:
            curve = validation.pcc_normalised.risk_coverage
            data[sample] = [[round(100 * share, 1), round(pcc, 4)] for share, pcc in curve]
    if not data:
        return []
    text = (
        "What one gains by keeping only the most reliable genes. At the right all held-out genes; "
        "a curve that rises towards the left means that the score knows the good ones."
    )
    return [
        Lines(
            id="trust_curve",
            title="What trust buys",
            text=text,
            caption="Accuracy of the most reliable genes",
            x=Axis("Held-out genes kept, most reliable first", " %", low=0, high=100),
            y=Axis("Their mean PCC (normalised)"),
            panels=[Panel(data)],
            colours=series_colours(data),
        )
    ]


def _without(found: dict[str, Calibration]) -> str:
    calibrated = {s: c for s, c in found.items() if c.intervals_calibrated}
    counted = (
        f"{escape(sample)} {content.n_without_interval:,} of {content.n_genes:,}"
        for sample, content in calibrated.items()
    )
    return ", ".join(counted)


def gene_lists(found: dict[str, Calibration]) -> list[Block]:
    """Return the most and the least reliable genes, of those not measured where there are any."""
    rows = []
    for sample, content in found.items():
        best, worst = content.most_reliable, content.least_reliable
        if best and worst:
            which = "not measured" if not best[0].measured else "all"
            rows.append((f"<b>{escape(sample)}</b>", which, _named(best), _named(worst)))
    if not rows:
        return []
    header = ("Sample", "Genes", "Most reliable", "Most doubtful")
    listed = html_table(header, rows, "stl-narrow stl-genes")
    text = (
        "With the probability that the pattern holds. Genes that the tissue did not measure, "
        "where some were imputed. The full list is in <code>&lt;sample&gt;.reliability.csv</code>."
    )
    title = "The most reliable and the most doubtful"
    return [Html(id="trust_genes", title=title, text=text, body=scroll(listed))]


def _named(genes: list[ListedGene]) -> str:
    return ", ".join(
        f"<em>{escape(gene.gene)}</em>&nbsp;{signed(gene.reliability)}"
        for gene in genes[:GENES_SHOWN]
    )


def intervals(found: dict[str, Calibration]) -> list[Block]:
    """Return how often intervals hold, and the samples that have none."""
    data: dict[str, Any] = {}
    absent = []
    for sample, content in found.items():
        measured = content.intervals
        if measured:
            data[sample] = [[one.level, round(one.hit_rate, 2)] for one in measured.levels]
        elif content.intervals_calibrated:
            absent.append((sample, "calibrated, but on too few folds or genes to be tested"))
        else:
            absent.append((sample, content.intervals_reason or "not calibrated"))
    return [*interval_curves(found, data), *without_intervals(absent)]


def interval_curves(found: dict[str, Calibration], data: dict[str, Any]) -> list[Block]:
    """Return how often intervals hold over how often they should, one line a sample."""
    if not data:
        return []
    levels = [point[0] for point in next(iter(data.values()))]
    text = (
        "Every imputed value has intervals that should hold the measurement in 50, 67, 80, 90 "
        "and 95 % of the cases. Here they are counted on tested genes that took no part in the "
        "calibration; the dashed line is what is promised. Below it intervals promise too much. "
        "Genes that are expected rarer, or more abundant, than all tested ones have none: "
        f"{_without(found)}. "
        "How to get them: <code>docs/trust.md</code>."
    )
    return [
        Lines(
            id="trust_intervals",
            title="Do the intervals hold?",
            text=text,
            caption="How often intervals hold the measurement",
            x=Axis("How often they should", " %"),
            y=Axis("How often they do, on held-out genes", " %"),
            panels=[Panel(data)],
            colours=series_colours(data),
            expected=(NOMINAL, [[level, level] for level in levels]),
            decimals=1,
        )
    ]


def without_intervals(absent: list[tuple[str, str]]) -> list[Block]:
    """Return the samples whose intervals are absent or untested, and why."""
    if not absent:
        return []
    rows = [(f"<b>{escape(sample)}</b>", escape(reason)) for sample, reason in absent]
    listed = html_table(("Sample", "Why"), rows, "stl-narrow")
    return [Html(id="trust_absent", title="Intervals absent or not tested", body=listed)]
