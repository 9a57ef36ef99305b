"""What the imputer is made of: its candidates' held-out accuracy and their weights."""

from __future__ import annotations

import math
from collections import defaultdict
from statistics import fmean

import pandas as pd

from stlatent.evaluation.score_table import OURS
from stlatent.records.base import FULL_FIT
from stlatent.report.page.blocks import Block, Html
from stlatent.report.page.markup import escape, html_table, scroll
from stlatent.report.run.model import Run
from stlatent.report.run.scores import is_ours, without_gaps
from stlatent.report.run.wording import signed

COMBINED = """stlatent combines several candidates; their weights are learned on measured genes other
than those scored here, and shown as the mean over folds."""
CHOSEN = """stlatent is one of several ways to read a gene out."""
EXPLAINED = """{how} Each cell: median held-out PCC <b>normalised</b> / raw. A candidate that cannot predict every gene is marked
with the number of its genes; compare it with what stlatent reaches <em>on those same genes</em>,
which stands below, and not with its neighbours in the row."""


def blocks(run: Run) -> list[Block]:
    """Return one compact table, samples by candidates, or nothing without candidates."""
    scores = without_gaps(run.scores_of())
    scores = scores[[is_ours(str(method)) for method in scores["method"]]]
    weights = {sample: mean_weights(run, sample) for sample in run.samples}
    names = candidates(scores, weights)
    if not names:
        return []
    rows = []
    for sample in run.samples:
        own = scores[scores["sample"] == sample]
        cells = [cell(own, name, weights[sample].get(name)) for name in names]
        if any(cells):
            whole = summary(own[own["method"] == OURS])
            rows.append((f"<b>{escape(sample)}</b>", whole, *cells))
    table = html_table(("Sample", OURS, *names), rows, "stl-candidates")
    explained = EXPLAINED.format(how=COMBINED if any(weights.values()) else CHOSEN)
    title = "Candidates of the imputer"
    return [Html(id="accuracy_candidates", title=title, text=explained, body=scroll(table))]


def short(method: str) -> str:
    """Return the name of a candidate, with or without the method's prefix in front."""
    return method.removeprefix(f"{OURS}_")


def candidates(scores: pd.DataFrame, weights: dict[str, dict[str, float]]) -> list[str]:
    """Return the names of the candidates that were scored or weighed, sorted."""
    scored = {short(str(method)) for method in scores["method"].unique()} - {OURS}
    return sorted(scored.union(*weights.values()))


def mean_weights(run: Run, sample: str) -> dict[str, float]:
    """Return each candidate's weight, averaged over folds; of the full fit where no fold is."""
    found = {fold: learned.weights for fold, learned in run.imputations_of(sample).items()}
    folds = [given for fold, given in found.items() if fold != FULL_FIT] or list(found.values())
    collected: defaultdict[str, list[float]] = defaultdict(list)
    for given in folds:
        for name, weight in given.items():
            collected[short(name)].append(weight)
    # A candidate that a fold does not name had no say in it.
    return {name: fmean([*w, *[0.0] * (len(folds) - len(w))]) for name, w in collected.items()}


def cell(scores: pd.DataFrame, name: str, weight: float | None) -> str:
    """Return the accuracy and the weight of one candidate in one sample (HTML)."""
    own = scores[scores["method"] == f"{OURS}_{name}"]
    ours = scores[scores["method"] == OURS]
    lines = [summary(own)] if len(own) else []
    if weight is not None:
        lines.append(f"weight {weight:.0%}")
    if 0 < len(own) < len(ours):
        same = ours[ours["gene"].isin(own["gene"])]
        lines.append(f"{len(own)} of {len(ours)} genes; stlatent there {summary(same)}")
    first, rest = lines[:1], lines[1:]
    return "".join([*first, *(f"<br><small>{line}</small>" for line in rest)])


def summary(scores: pd.DataFrame) -> str:
    """Return median normalised and raw PCC (HTML), or nothing."""
    if scores.empty:
        return ""
    return f"<b>{_median(scores['pcc_normalised'])}</b> / {_median(scores['pcc'])}"


def _median(values: pd.Series[float]) -> str:
    found = float(values.median())
    return "n/a" if math.isnan(found) else signed(found)
