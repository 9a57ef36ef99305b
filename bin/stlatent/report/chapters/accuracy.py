"""Held-out accuracy: held-out genes, against the baselines, raw and normalised side by side."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stlatent.evaluation.score_table import BELIEVABLE, METRICS, OURS
from stlatent.expression import MIN_VISIBLE_COUNTS
from stlatent.report.chapters import accuracy_candidates, accuracy_seeds
from stlatent.report.page.blocks import (
    Axis,
    Bars,
    Block,
    Html,
    Lines,
    Mark,
    Panel,
    Part,
    Table,
    number,
    score,
)
from stlatent.report.page.colours import METHODS, method_colours
from stlatent.report.page.markup import escape, html_table, prose, scroll
from stlatent.report.run.model import Run
from stlatent.report.run.outcome import missing_methods
from stlatent.report.run.scores import (
    NULL,
    baselines,
    best_baseline,
    compared_methods,
    sample_medians,
    value,
    without_gaps,
)
from stlatent.report.run.wording import signed

ID = "accuracy"
TITLE = "Held-out accuracy"
TEXT = "How well the method predicts genes that were hidden from it."

GENES_SHOWN = 8
SAMPLES_WITH_ALL_BARS = 12
BEST = "best baseline"
CURVE_STEPS = 61
NOTES = {
    "normalised": "The null has no bar where its PCC is 0, as it must be for counts.",
    "raw": "Intensities have no depth: for them both plots show the same.",
}
VIEWS = (("pcc_normalised", "normalised", "Normalised"), ("pcc", "raw", "Raw counts"))

EXPLAINED = """<p>Measured genes were hidden from the whole method, in
turns, and then predicted; the prediction is compared with the measurement over all locations by
Pearson's correlation (PCC: 1 is perfect, 0 is no better than chance). The <b>null</b> knows nothing
about a gene: it predicts that every location holds the same mixture of genes, more of it where more
molecules were caught. The other methods are what you could use instead.</p>
<p><b>Which of the two to read.</b> Spots differ in how many molecules they caught. Almost every raw
count follows that number, so on spots even the null reaches a high <em>raw</em> correlation.
<em>Normalised</em> removes the depth of each location first, and what is left is biology: judge by
it. An advantage seen in raw counts alone is no advantage.</p>"""

METHOD_COLUMNS = {
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
        unit=" %",
    ),
    "genes": number("Genes", "Held-out genes scored, all samples together", 0),
    "seconds": number("Time", "Median time for one fold of one sample", 2, unit=" s"),
}


def overview(run: Run) -> list[Block]:
    """Return the chapter, or nothing when no gene was held out."""
    scores = run.scores_of()
    if scores["pcc"].notna().sum() + scores["pcc_normalised"].notna().sum() == 0:
        return []
    return [
        Html(id="accuracy_how", title="How to read this", body=prose(EXPLAINED)),
        *(bars(run, *view) for view in VIEWS),
        *(curve(scores, *view) for view in VIEWS),
        method_table(scores),
        *accuracy_seeds.blocks(run),
        *left_out(run),
        *missing_table(run),
        *accuracy_candidates.blocks(run),
        *gene_lists(run),
    ]


def bars(run: Run, measure: str, suffix: str, label: str) -> Bars:
    """Return one group of bars a sample: the median PCC of every method.

    Above `SAMPLES_WITH_ALL_BARS` samples the baselines give way to the best of them.
    """
    medians = sample_medians(run.scores_of())
    methods = compared_methods(run.scores_of())
    others = baselines(run.scores_of())
    samples = [s for s in run.samples if s in medians.index.get_level_values("sample")]
    if len(samples) > SAMPLES_WITH_ALL_BARS and len(others) > 1:
        methods = [BEST if m == others[0] else m for m in methods if m not in others[1:]]
    data: dict[str, dict[str, float]] = {}
    for sample in samples:
        best = best_baseline(medians, sample, others, measure)
        found = {m: value(medians, sample, m, measure) or 0.0 for m in methods if m != BEST}
        data[sample] = {**found, BEST: best[1] if best else 0.0} if BEST in methods else found
    shown = medians[["pcc", "pcc_normalised"]]
    colours = {**method_colours(methods), BEST: METHODS["ridge"]}
    return Bars(
        id=f"accuracy_{suffix}",
        title=f"Per sample: {label.lower()}",
        text=f"Median PCC of held-out genes, one bar a method ({label.lower()}). {NOTES[suffix]}",
        caption=f"Median held-out PCC: {label.lower()}",
        axis=Axis(
            f"Median PCC over held-out genes ({label.lower()})",
            low=min(0.0, float(shown.min().min())),
            high=min(1.0, float(shown.max().max()) + 0.05),
        ),
        parts={method: Part(method, colours[method]) for method in reversed(methods)},
        bars=data,
        layout="grouped",
        decimals=3,
        is_half=True,
    )


def curve(scores: pd.DataFrame, measure: str, suffix: str, label: str) -> Lines:
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
    return Lines(
        id=f"accuracy_curve_{suffix}",
        title=f"Share of genes: {label.lower()}",
        text=(
            f"How many of the {len(genes):,} held-out genes each method predicts at least this well, "
            f"all samples pooled: higher is better. The dotted line is {BELIEVABLE}."
        ),
        caption=f"Held-out genes above a given PCC: {label.lower()}",
        x=Axis(f"PCC ({label.lower()})", low=-0.2, high=1),
        y=Axis("Held-out genes above it", " %", low=0, high=100),
        panels=[Panel(data)],
        colours=method_colours(methods),
        dashed=frozenset({NULL}.intersection(methods)),
        x_marks=[Mark(BELIEVABLE)],
        decimals=1,
        is_half=True,
    )


def left_out(run: Run) -> list[Block]:
    """Return how many locations have too few visible counts for the normalised PCC, where any have."""
    fewest = run.scores_of().groupby("sample")["locations_normalised"].min()
    rows = []
    for sample, compared in fewest.dropna().items():
        found = run.quality.get(str(sample))
        total = found.after.observations if found else 0
        if compared < total:
            cells = (f"{total - int(compared):,}", f"{total:,}")
            rows.append((f"<b>{escape(str(sample))}</b>", *cells))
    if not rows:
        return []
    text = (
        f"Locations with fewer than {MIN_VISIBLE_COUNTS} counts of genes that are not hidden have "
        "no library to divide out. The normalised PCC is of the others."
    )
    listed = html_table(("Sample", "Left out", "Locations"), rows, "stl-narrow")
    title = "Locations left out of the normalised PCC"
    return [Html(id="accuracy_left_out", title=title, text=text, body=listed)]


def method_table(scores: pd.DataFrame) -> Table:
    """Return every measure of every method."""
    scores = without_gaps(scores)
    rows = {m: measures(scores[scores["method"] == m]) for m in compared_methods(scores)}
    text = (
        "Medians over samples of the medians over genes. Every value of every gene is in "
        "<code>evaluation/scores.csv</code>."
    )
    return Table(
        id="accuracy_methods",
        title="All measures",
        text=text,
        columns=METHOD_COLUMNS,
        rows=rows,
        of="Method",
    )


def missing_table(run: Run) -> list[Block]:
    """Return the published methods that gave nothing for some sample, and why."""
    rows = [
        (f"<b>{escape(m.sample)}</b>", m.method, escape(", ".join(m.folds)), escape(m.reason))
        for m in missing_methods(run)
    ]
    if not rows:
        return []
    listed = html_table(("Sample", "Method", "Folds", "Reason"), rows, "stl-narrow")
    text = "Their bars and rows show the other folds and samples only."
    title = "Methods that did not finish"
    return [Html(id="accuracy_missing", title=title, text=text, body=listed)]


def measures(scores: pd.DataFrame) -> dict[str, float]:
    """Return the median of every measure of one method, over samples of medians over genes."""
    medians = scores.groupby("sample")[list(METRICS)].median().median().to_dict()
    return {
        **{str(measure): float(found) for measure, found in medians.items()},
        "genes": len(scores),
        "believable": 100 * float((scores["pcc_normalised"] > BELIEVABLE).mean()),
        "seconds": float(scores["seconds"].median()),
    }


def gene_lists(run: Run) -> list[Block]:
    """Return the best and the worst predicted held-out genes of every sample."""
    ours = run.scores_of()[run.scores_of()["method"] == OURS]
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
    text = (
        f"The {GENES_SHOWN} best and the {GENES_SHOWN} worst held-out genes of stlatent, with "
        "their normalised PCC. All others are in <code>evaluation/scores.csv</code>. A gene that "
        "the tissue's panel did not measure cannot be scored."
    )
    title = "Which genes to believe"
    return [Html(id="accuracy_genes", title=title, text=text, body=scroll(listed))]


def _named(genes: pd.DataFrame) -> str:
    pairs = zip(genes["gene"], genes["pcc_normalised"], strict=True)
    return ", ".join(f"<em>{escape(gene)}</em>&nbsp;{signed(pcc)}" for gene, pcc in pairs)
