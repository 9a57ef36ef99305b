"""How much held-out accuracy owes to the seed."""

from __future__ import annotations

from typing import Any

import pandas as pd

from stlatent.report.page.blocks import Block, Html
from stlatent.report.page.markup import escape, html_table, scroll
from stlatent.report.run.model import Run
from stlatent.report.run.scores import is_ours, methods_in_order, without_gaps
from stlatent.report.run.wording import signed

STATISTICS = ("median", "mean")
MEASURES = {"pcc_normalised": "normalised", "pcc": "raw"}

EXPLAINED = """The folds were aligned and imputed under {n} seeds ({seeds}), with the same genes hidden and
the same VAE. Mean over seeds &plusmn; standard deviation of the median and of the mean PCC over
held-out genes. A difference between methods within a few of these deviations means little; everything
else in this report is of seed {first}. Methods without a row give the same under every seed or were
run once."""


def spread(scores: pd.DataFrame) -> pd.DataFrame:
    """Return mean and standard deviation over seeds of each statistic over held-out genes.

    Parameters
    ----------
    scores
        Rows of one arm that have a seed.

    Returns
    -------
    Indexed by (sample, method), columns (measure, ``median`` or ``mean``, ``mean``, ``std`` or
    ``count``).
    """
    parts = [without_gaps(own) for _, own in scores.groupby("seed")]
    by_seed = pd.concat(parts).groupby(["sample", "method", "seed"])[list(MEASURES)]
    over_genes = by_seed.agg(list(STATISTICS))
    return over_genes.groupby(level=["sample", "method"]).agg(["mean", "std", "count"])


def blocks(run: Run) -> list[Block]:
    """Return the spread over seeds, or nothing with one seed."""
    if len(run.seeds) < 2:
        return []
    scores = run.seed_scores()
    known: dict[Any, dict[Any, float]] = spread(scores).to_dict("index")
    methods = [method for method in methods_in_order(scores) if is_ours(method)]
    rows = [
        (f"<b>{escape(sample)}</b>", escape(method), *_cells(known[sample, method]))
        for sample in run.samples
        for method in methods
        if (sample, method) in known
    ]
    header = ["Sample", "Method", "Seeds"]
    header += [f"{s} PCC, {label}" for label in MEASURES.values() for s in STATISTICS]
    text = EXPLAINED.format(
        n=len(run.seeds), seeds=escape(", ".join(run.seeds)), first=escape(run.seeds[0])
    )
    listed = scroll(html_table(header, rows, "stl-narrow"))
    return [Html(id="accuracy_seeds", title="Spread over seeds", text=text, body=listed)]


def _cells(row: dict[Any, float]) -> list[str]:
    seeds = int(max(row[measure, name, "count"] for measure in MEASURES for name in STATISTICS))
    cells = [
        _cell(row[measure, name, "mean"], row[measure, name, "std"])
        for measure in MEASURES
        for name in STATISTICS
    ]
    return [str(seeds), *cells]


def _cell(mean: float, deviation: float) -> str:
    if pd.isna(mean):
        return ""
    return signed(mean) if pd.isna(deviation) else f"{signed(mean)} &plusmn; {deviation:.3f}"
