"""Chapter 3: held-out genes, against the baselines, raw and normalised side by side."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stlatent.expression import MIN_VISIBLE_COUNTS
from stlatent.report.chapters import candidates, seeds
from stlatent.report.page.content import (
    ACCURACY,
    METHOD_COLOURS,
    Fragment,
    Headers,
    escape,
    html_table,
    method_colours,
    number,
    score,
    series_style,
    signed,
    table,
    text_section,
)
from stlatent.report.run.accuracy_summary import (
    BELIEVABLE,
    MEASURES,
    OURS,
    baselines,
    best_baseline,
    compared_methods,
    sample_medians,
    value,
    without_gaps,
)
from stlatent.report.run.outcome import missing_methods
from stlatent.report.run.read import Run

GENES_SHOWN = 8
SAMPLES_WITH_ALL_BARS = 12
BEST = "best baseline"
CURVE_STEPS = 61
NOTES = {
    "normalised": "The null has no bar where its PCC is 0, as it must be for counts.",
    "raw": "Intensities have no depth: for them both plots show the same.",
}
VIEWS = (("pcc_normalised", "normalised", "Normalised"), ("pcc", "raw", "Raw counts"))

EXPLAINED = """<div class="stl-prose"><p>Measured genes were hidden from the whole method, in
turns, and then predicted; the prediction is compared with the measurement over all locations by
Pearson's correlation (PCC: 1 is perfect, 0 is no better than chance). The <b>null</b> knows nothing
about a gene: it predicts that every location holds the same mixture of genes, more of it where more
molecules were caught. The other methods are what else could have been used.</p>
<p><b>Which of the two to read.</b> Spots differ in how many molecules they caught. Almost every raw
count follows that number, so on spots even the null reaches a high <em>raw</em> correlation.
<em>Normalised</em> removes the depth of each location first, and what is left is biology: judge by
it. An advantage seen in raw counts alone is no advantage.</p></div>"""

METHOD_HEADERS: Headers = {
    "pcc_normalised": score("PCC norm.", "Pearson correlation, library-size normalised"),
    "pcc": score("PCC raw", "Pearson correlation of raw counts"),
    "spearman": score("Spearman", "Rank correlation"),
    "ssim": score("SSIM", "Structural similarity: level, contrast and pattern; 1 is identical"),
    "rmse": number("RMSE", "Root mean square error of z-scored expression: lower is better"),
    "js": number("JS", "Jensen-Shannon divergence of the spatial distributions: lower is better"),
    "believable": number(
        f"Genes > {BELIEVABLE}",
        f"Held-out genes with normalised PCC above {BELIEVABLE}",
        0,
        suffix=" %",
    ),
    "genes": number("Genes", "Held-out genes scored, all samples together", 0),
    "seconds": number("Time", "Median time for one fold of one sample", 2, suffix=" s"),
}


def sections(run: Run) -> list[Fragment]:
    """Return the chapter, or nothing when no gene was held out."""
    scores = run.arm_scores
    if scores["pcc"].notna().sum() + scores["pcc_normalised"].notna().sum() == 0:
        return []
    fragments = [text_section(ACCURACY, "accuracy_how", "How to read this", EXPLAINED)]
    fragments += [bars(run, *view) for view in VIEWS]
    fragments += [curve(scores, *view) for view in VIEWS]
    fragments += method_table(scores)
    fragments += seeds.sections(run)
    fragments += left_out(run)
    fragments += missing_table(run)
    fragments += candidates.sections(run)
    fragments += gene_lists(run)
    return fragments + arm_table(run)


def bars(run: Run, measure: str, suffix: str, label: str) -> Fragment:
    """Return one group of bars a sample: the median PCC of every method.

    Above `SAMPLES_WITH_ALL_BARS` samples the baselines give way to the best of them.
    """
    medians = sample_medians(run.arm_scores)
    methods = compared_methods(run.arm_scores)
    others = baselines(run.arm_scores)
    samples = [s for s in run.samples if s in medians.index.get_level_values("sample")]
    if len(samples) > SAMPLES_WITH_ALL_BARS and len(others) > 1:
        methods = [BEST if m == others[0] else m for m in methods if m not in others[1:]]
    data: dict[str, dict[str, float]] = {}
    for sample in samples:
        best = best_baseline(medians, sample, others, measure)
        found = {m: value(medians, sample, m, measure) or 0.0 for m in methods if m != BEST}
        data[sample] = {**found, BEST: best[1] if best else 0.0} if BEST in methods else found
    shown = medians[["pcc", "pcc_normalised"]]
    colours = {**method_colours(methods), BEST: METHOD_COLOURS["ridge"]}
    options = {
        "categories": {m: {"name": m, "color": colours[m]} for m in reversed(methods)},
        "pconfig": {
            "id": f"accuracy_{suffix}_bars",
            "title": f"Median held-out PCC: {label.lower()}",
            "ylab": f"Median PCC over held-out genes ({label.lower()})",
            "stacking": "group",
            "cpswitch": False,
            "hide_zero_cats": False,
            "sort_samples": False,
            "series_label": False,
            "tt_decimals": 3,
            "ymin": min(0.0, float(shown.min().min())),
            "ymax": min(1.0, float(shown.max().max()) + 0.05),
            "height": 160 + 14 * len(data) * (len(methods) + 1),
        },
    }
    text = f"Median PCC of held-out genes, one bar a method ({label.lower()}). {NOTES[suffix]}"
    name = f"Per sample: {label.lower()}"
    return Fragment(ACCURACY, f"accuracy_{suffix}", name, text, "bargraph", data, options)


def curve(scores: pd.DataFrame, measure: str, suffix: str, label: str) -> Fragment:
    """Return, for each method, the share of genes above every PCC, pooled over samples."""
    methods, scores = compared_methods(scores), without_gaps(scores)
    genes = scores[["sample", "gene"]].drop_duplicates()
    steps = np.linspace(-0.2, 1.0, CURVE_STEPS)
    data = {}
    for method in methods:
        found = scores.loc[scores["method"] == method, measure].fillna(0.0).to_numpy()
        data[method] = [
            [round(float(x), 3), round(100 * float((found > x).mean()), 2)] for x in steps
        ]
    options = {
        "pconfig": {
            "id": f"accuracy_curve_{suffix}_plot",
            "title": f"Held-out genes above a given PCC: {label.lower()}",
            "xlab": f"PCC ({label.lower()})",
            "ylab": "Held-out genes above it",
            "ysuffix": " %",
            "xmin": -0.2,
            "xmax": 1,
            "ymin": 0,
            "ymax": 100,
            **series_style(methods),
            "colors": method_colours(methods),
            "dash_styles": {m: "dash" for m in methods if m == "null"},
            "x_lines": [{"value": BELIEVABLE, "color": "#888888", "dash": "dot", "width": 1}],
            "tt_decimals": 1,
            "height": 420,
        }
    }
    text = (
        f"How many of the {len(genes):,} held-out genes each method predicts at least this well, "
        f"all samples pooled: higher is better. The dotted line is {BELIEVABLE}."
    )
    name = f"Share of genes: {label.lower()}"
    identifier = f"accuracy_curve_{suffix}"
    return Fragment(ACCURACY, identifier, name, text, "linegraph", data, options)


def left_out(run: Run) -> list[Fragment]:
    """Return how many locations have too few visible counts for the normalised PCC, where any have."""
    fewest = run.arm_scores.groupby("sample")["locations_normalised"].min()
    rows = []
    for sample, compared in fewest.dropna().items():
        total = run.quality.get(str(sample), {}).get("after", {}).get("observations")
        if total and compared < total:
            cells = (f"{total - int(compared):,}", f"{total:,}")
            rows.append((f"<b>{escape(str(sample))}</b>", *cells))
    if not rows:
        return []
    text = (
        f"<p>Locations with fewer than {MIN_VISIBLE_COUNTS} counts of genes that are not hidden have "
        "no library to divide out. The normalised PCC is of the others.</p>"
    )
    listed = html_table(("Sample", "Left out", "Locations"), rows, "stl-narrow")
    name = "Locations left out of the normalised PCC"
    return [text_section(ACCURACY, "accuracy_left_out", name, text + listed)]


def method_table(scores: pd.DataFrame) -> list[Fragment]:
    """Return every measure of every method."""
    scores = without_gaps(scores)
    rows = {m: measures(scores[scores["method"] == m]) for m in compared_methods(scores)}
    text = (
        "Medians over samples of the medians over genes. Every value of every gene is in "
        "<code>evaluation/scores.csv</code>."
    )
    return table(ACCURACY, "accuracy_methods", "All measures", text, rows, METHOD_HEADERS, "Method")


def missing_table(run: Run) -> list[Fragment]:
    """Return the published methods that gave nothing for some sample, and why."""
    rows = [
        (f"<b>{escape(m.sample)}</b>", m.method, escape(", ".join(m.folds)), escape(m.reason))
        for m in missing_methods(run)
    ]
    if not rows:
        return []
    listed = html_table(("Sample", "Method", "Folds", "Reason"), rows, "stl-narrow")
    text = "<p>Their bars and rows stand for the other folds and samples alone.</p>"
    return [
        text_section(ACCURACY, "accuracy_missing", "Methods that did not finish", text + listed)
    ]


def measures(scores: pd.DataFrame) -> dict[str, float]:
    """Return the median of every measure of one method, over samples of medians over genes."""
    medians = scores.groupby("sample")[list(MEASURES)].median().median().to_dict()
    return {
        **{str(measure): float(found) for measure, found in medians.items()},
        "genes": len(scores),
        "believable": 100 * float((scores["pcc_normalised"] > BELIEVABLE).mean()),
        "seconds": float(scores["seconds"].median()),
    }


def gene_lists(run: Run) -> list[Fragment]:
    """Return the best and the worst predicted held-out genes of every sample."""
    ours = run.arm_scores[run.arm_scores["method"] == OURS]
    rows = []
    for sample in run.samples:
        genes = without_gaps(ours[ours["sample"] == sample]).dropna(subset=["pcc_normalised"])
        ranked = genes.sort_values(["pcc_normalised", "gene"], ascending=[False, True])
        shown = min(GENES_SHOWN, len(ranked) // 2)
        if shown:
            best, worst = ranked.head(shown), ranked.tail(shown)[::-1]
            above = int((genes["pcc_normalised"] > BELIEVABLE).sum())
            count = f"{above} of {len(genes)}"
            rows.append((f"<b>{escape(sample)}</b>", count, _named(best), _named(worst)))
    if not rows:
        return []
    header = ("Sample", f"Above {BELIEVABLE}", "Best predicted", "Worst predicted")
    listed = html_table(header, rows, "stl-narrow stl-genes")
    body = f'<div class="stl-scroll">{listed}</div>'
    text = (
        f"<p>The {GENES_SHOWN} best and the {GENES_SHOWN} worst held-out genes of stlatent, with "
        "their normalised PCC. All others are in <code>evaluation/scores.csv</code>. A gene that "
        "the tissue's panel did not measure cannot be scored.</p>"
    )
    return [text_section(ACCURACY, "accuracy_genes", "Which genes to believe", text + body)]


def _named(genes: pd.DataFrame) -> str:
    pairs = zip(genes["gene"], genes["pcc_normalised"], strict=True)
    return ", ".join(f"<em>{escape(gene)}</em>&nbsp;{signed(pcc)}" for gene, pcc in pairs)


def arm_table(run: Run) -> list[Fragment]:
    """Return the comparison of arms, for studies."""
    if len(run.arms) < 2:
        return []
    scores = run.first_seed_scores
    ours = without_gaps(scores[scores["method"] == OURS])
    rows = {arm: measures(ours[ours["arm"] == arm]) for arm in run.arms}
    text = f"stlatent under every arm of the study; the rest of the report shows {run.arm}."
    return table(ACCURACY, "accuracy_arms", "Arms compared", text, rows, METHOD_HEADERS, "Arm")
