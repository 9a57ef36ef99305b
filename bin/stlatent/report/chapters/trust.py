"""Which genes to trust: reliability of every imputed gene, and the intervals of their values."""

from __future__ import annotations

from typing import Any

from stlatent.report.page.content import (
    TRUST,
    Fragment,
    Headers,
    escape,
    html_table,
    number,
    score,
    series_style,
    signed,
    table,
    text_section,
    words,
)
from stlatent.report.run.read import Json, Run
from stlatent.trust.reliability import LABELS, UNTESTABLE

COLOURS = {"high": "#0072B2", "medium": "#56B4E9", "low": "#BBBBBB", UNTESTABLE: "#EEEEEE"}
NOMINAL = "nominal"
GENES_SHOWN = 8
NOTHING = "n/a"

EXPLAINED = """<div class="stl-prose"><p>Imputed genes need not have been measured in this tissue, so
nobody can check them one by one. What can be checked is how well genes <em>were</em> predicted that
had been measured and hidden. From these stlatent learns what a well-predicted gene looks like (the
reference predicts it from the measured genes, independent methods agree on it, its pattern is smooth,
enough of its molecules are expected) and gives imputed genes the probability that their pattern would
correlate with a measurement by more than {threshold} after removal of library size.</p>
<p><b>Which genes were tested.</b> {population}</p>
<ul><li><b>high</b> (at least 80 %): look at its map, use it.</li>
<li><b>medium</b> (50 to 80 %): a hint; confirm it before you build on it.</li>
<li><b>low</b> (below 50 %): do not interpret its map.</li>
<li><b>not testable</b>: nothing hid this measured gene, so that its prediction has seen its
measurement: use the measurement. Or, on a panel: the prediction of a gene that was not measured
follows the panel's total counts, and what is left of its pattern without them cannot be told.</li></ul>
<p>The columns <code>reliability</code> and <code>reliability_label</code> are in the imputed file
(<code>adata.var</code>) and in <code>evaluation/&lt;sample&gt;/&lt;sample&gt;.reliability.csv</code>.
A label says how far to believe a <em>pattern</em>; how far to believe a <em>value</em> is said by its
interval, at the end of this chapter.</p></div>"""

HEADERS: Headers = {
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
        min=0.5,
    ),
    "tested": number("Tested on", "Held-out genes that reliability was tested on", 0),
    "learned": words("Learned from", "The tissue's own held-out genes, or other tissues alone"),
}


def sections(run: Run) -> list[Fragment]:
    """Return the chapter, or nothing when no sample was calibrated."""
    found = {s: c for s in run.samples if (c := run.calibration(s)) is not None}
    if not found:
        return []
    threshold = next(iter(found.values()))["reliability"]["threshold"]
    told = "<br>".join(population(name, content) for name, content in found.items())
    text = EXPLAINED.format(threshold=threshold, population=told)
    rows = {sample: sample_row(content) for sample, content in found.items()}
    described = (
        "How many imputed genes deserve trust, and how well the labels did on held-out genes "
        "that they were not learned from."
    )
    return [
        text_section(TRUST, "trust_how", "How to read this", text),
        *table(TRUST, "trust_samples", "Genes by reliability", described, rows, HEADERS),
        label_bars(found),
        *honesty(found, threshold),
        *risk_coverage(found),
        *gene_lists(found),
        *coverage(found),
    ]


def population(sample: str, content: Json) -> str:
    """Return a sentence on the genes that labels and intervals of a sample were tested on."""
    name, tested = escape(sample), content.get("n_held_out") or 0
    drawn = content.get("population") or {}
    if not tested or not drawn:
        return f"<b>{name}</b>: none; what is said of its genes was learned on other tissues."
    source = {
        "delivered": "imputed genes that this tissue measured",
        "variable": "measured genes that are imputed or most variable in the reference",
        "shared": "genes that tissue and reference share",
    }[drawn["name"]]
    every = drawn["n_drawn"] >= drawn["n_genes"]
    chosen = "all" if every else "drawn at random, evenly by abundance, from the"
    lost = drawn["n_drawn"] - tested
    rest = f" ({lost:,} of them could not be tested)" if lost > 0 else ""
    number_of = f"{drawn['n_drawn']:,} genes{rest}"
    text = f"<b>{name}</b>: {number_of}, {chosen} {drawn['n_genes']:,} {source}."
    if content.get("panel"):
        text += (
            f" But {content['n_unmeasured']:,} of {content['n_genes']:,} imputed genes were not "
            "measured: a panel is chosen, and its genes are more abundant and better to predict than "
            "others. Labels and intervals allow for that by each gene's abundance, spread and "
            "predictability; how well was tested on other tissues, see <code>docs/trust.md</code>."
        )
    return text


def sample_row(content: Json) -> Json:
    """Return the row of one sample."""
    validation = content["reliability"].get("validation") or {}
    own = content["reliability"]["from"] == "tissue"
    return {
        "genes": content["n_genes"],
        **{label: content["labels"].get(label, 0) for label in LABELS},
        "untestable": content["labels"].get(UNTESTABLE) or None,
        "unmeasured": content["n_unmeasured"],
        "unmeasured_high": content["labels_unmeasured"].get("high", 0),
        "auroc": validation.get("pcc_normalised", {}).get("auroc"),
        "tested": validation.get("n_genes"),
        "learned": "this tissue" if own else "other tissues",
    }


def label_bars(found: dict[str, Json]) -> Fragment:
    """Return one stacked bar a sample."""
    shown = [label for label in COLOURS if any(c["labels"].get(label) for c in found.values())]
    options = {
        "categories": {label: {"name": label, "color": COLOURS[label]} for label in shown},
        "pconfig": {
            "id": "trust_labels_plot",
            "title": "Imputed genes by reliability",
            "ylab": "Imputed genes",
            "cpswitch_c_active": False,
            "sort_samples": False,
            "height": 180 + 30 * len(found),
        },
    }
    data = {sample: content["labels"] for sample, content in found.items()}
    text = "All imputed genes of a sample, measured or not."
    return Fragment(TRUST, "trust_labels", "As shares", text, "bargraph", data, options)


def honesty(found: dict[str, Json], threshold: float) -> list[Fragment]:
    """Return, for each label, the share of held-out genes that deserved it."""
    rows = []
    totals = {label: [0, 0] for label in LABELS}
    for sample, content in found.items():
        labels = (content["reliability"].get("validation") or {}).get("labels")
        if not labels:
            continue
        cells = []
        for label in LABELS:
            genes, above = labels[label]["genes"], labels[label]["above"]
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
        "<p>The tested genes of each sample by the label that they got from what was learned on the "
        f"other folds, and how many of them truly had a normalised PCC above {threshold}. An honest label means at "
        "least 80 % for high, 50 to 80 % for medium and less than 50 % for low; with a handful of "
        "genes in a cell, expect departures.</p>"
    )
    return [text_section(TRUST, "trust_honesty", "Are the labels honest?", text + listed)]


def _share(above: int, genes: int) -> str:
    if not genes:
        return "no gene"
    return f"{above / genes:.0%} <small>({above} of {genes})</small>"


def risk_coverage(found: dict[str, Json]) -> list[Fragment]:
    """Return the mean PCC of the genes kept, when only the most reliable are."""
    data: dict[str, Any] = {}
    for sample, content in found.items():
        validation = content["reliability"].get("validation") or {}
        curve = validation.get("pcc_normalised", {}).get("risk_coverage")
        if curve and validation["n_genes"] >= 2 * GENES_SHOWN:
            data[sample] = [[round(100 * share, 1), round(pcc, 4)] for share, pcc in curve]
    if not data:
        return []
    options = {
        "pconfig": {
            "id": "trust_curve_plot",
            "title": "Accuracy of the most reliable genes",
            "xlab": "Held-out genes kept, most reliable first",
            "xsuffix": " %",
            "ylab": "Their mean PCC (normalised)",
            "xmin": 0,
            "xmax": 100,
            "tt_decimals": 2,
            **series_style(list(data)),
        }
    }
    text = (
        "What one gains by keeping only the most reliable genes. At the right all held-out genes; "
        "a curve that rises towards the left means that the score knows the good ones."
    )
    name = "What trust buys"
    return [Fragment(TRUST, "trust_curve", name, text, "linegraph", data, options)]


def _without(found: dict[str, Json]) -> str:
    calibrated = {s: c for s, c in found.items() if c.get("intervals_calibrated")}
    counted = (
        f"{escape(sample)} {content.get('n_without_interval', 0):,} of {content['n_genes']:,}"
        for sample, content in calibrated.items()
    )
    return ", ".join(counted)


def gene_lists(found: dict[str, Json]) -> list[Fragment]:
    """Return the most and the least reliable genes, of those not measured where there are any."""
    rows = []
    for sample, content in found.items():
        best, worst = content["most_reliable"], content["least_reliable"]
        if best and worst:
            which = "not measured" if not best[0]["measured"] else "all"
            rows.append((f"<b>{escape(sample)}</b>", which, _named(best), _named(worst)))
    if not rows:
        return []
    header = ("Sample", "Genes", "Most reliable", "Most doubtful")
    listed = html_table(header, rows, "stl-narrow stl-genes")
    text = (
        "<p>With the probability that the pattern holds. Genes that the tissue did not measure, "
        "where some were imputed. The full list is in <code>&lt;sample&gt;.reliability.csv</code>.</p>"
    )
    body = f'{text}<div class="stl-scroll">{listed}</div>'
    return [text_section(TRUST, "trust_genes", "The most reliable and the most doubtful", body)]


def _named(genes: list[Json]) -> str:
    return ", ".join(
        f"<em>{escape(gene['gene'])}</em>&nbsp;{signed(gene['reliability'])}"
        for gene in genes[:GENES_SHOWN]
    )


def coverage(found: dict[str, Json]) -> list[Fragment]:
    """Return measured against nominal coverage of the intervals."""
    data: dict[str, Any] = {}
    absent = []
    for sample, content in found.items():
        measured = content.get("intervals")
        if measured:
            data[sample] = [[e["level"], round(e["coverage"], 2)] for e in measured["levels"]]
        elif content.get("intervals_calibrated"):
            absent.append((sample, "calibrated, but on too few folds or genes to be tested"))
        else:
            absent.append((sample, content.get("intervals_reason") or "not calibrated"))
    fragments = []
    if data:
        levels = [point[0] for point in next(iter(data.values()))]
        options = {
            "pconfig": {
                "id": "trust_intervals_plot",
                "title": "Coverage of intervals",
                "xlab": "Nominal coverage",
                "ylab": "Measured coverage on held-out genes",
                "xsuffix": " %",
                "ysuffix": " %",
                "tt_decimals": 1,
                **series_style(list(data)),
                # Good intervals lie on the dashed line: their points tell them from it.
                "style": "lines+markers",
                "extra_series": {
                    "name": NOMINAL,
                    "pairs": [[level, level] for level in levels],
                    "color": "#222222",
                    "dash": "dash",
                    "width": 2,
                },
            }
        }
        text = (
            "Every imputed value has intervals that should hold the measurement in 50, 67, 80, 90 "
            "and 95 % of the cases. Here they are counted on tested genes that took no part in the "
            "calibration; the dashed line is what is promised. Below it intervals promise too much. "
            "Genes that are expected rarer, or more abundant, than all tested ones have none: "
            f"{_without(found)}. "
            "How to get them: <code>docs/trust.md</code>."
        )
        name = "Do the intervals hold?"
        fragments.append(Fragment(TRUST, "trust_intervals", name, text, "linegraph", data, options))
    if absent:
        rows = [(f"<b>{escape(sample)}</b>", escape(reason)) for sample, reason in absent]
        listed = html_table(("Sample", "Why"), rows, "stl-narrow")
        fragments.append(
            text_section(TRUST, "trust_absent", "Intervals absent or not tested", listed)
        )
    return fragments
