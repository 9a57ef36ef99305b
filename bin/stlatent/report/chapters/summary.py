"""Summary: how the run went, the failed samples first, and one row a sample."""

from __future__ import annotations

from typing import Any

from stlatent.evaluation.score_table import BELIEVABLE, OURS
from stlatent.report.page.blocks import Block, Html, Table, number, score, verdict, words
from stlatent.report.page.markup import escape, html_table, tiles
from stlatent.report.run import health
from stlatent.report.run.headline import headline
from stlatent.report.run.model import Run
from stlatent.report.run.outcome import Outcome, outcomes
from stlatent.report.run.scores import (
    NULL,
    baselines,
    best_baseline,
    sample_medians,
    share_above,
    value,
)

ID = "summary"
TITLE = "Summary"
TEXT = "What became of the samples, and how good the result is."

COLUMNS = {
    "status": verdict("Status", "finished, warning (a fold is missing) or failed"),
    "health": verdict("Health", "The worst result of the health checks"),
    "spots": number("Locations", "Spots or cells left after quality control", 0),
    "genes": number("Shared genes", "Genes that tie the tissue to the reference", 0),
    "normalised": score(
        "PCC norm.",
        "stlatent: median over held-out genes of the Pearson correlation of library-size "
        "normalised expression. The honest number on spots",
    ),
    "baseline_normalised": score("Best baseline", "Best baseline, median normalised PCC"),
    "null_normalised": score("Null norm.", "Null, median normalised PCC", is_extra=True),
    "baseline_name": words("Which", "Name of that baseline"),
    "raw": score("PCC raw", "stlatent: median held-out Pearson correlation of raw counts"),
    "baseline_raw": score("Baseline raw", "Best baseline, median raw PCC", is_extra=True),
    "null_raw": score("Null raw", "Raw PCC that library size alone gives"),
    "believable": number(
        f"Genes > {BELIEVABLE}",
        f"Share of held-out genes with a normalised PCC above {BELIEVABLE}",
        0,
        unit=" %",
        least=0,
        most=100,
        bar="amount",
    ),
    "believable_raw": number(
        f"Genes > {BELIEVABLE} raw",
        f"Share of held-out genes with a raw PCC above {BELIEVABLE}",
        0,
        unit=" %",
        least=0,
        most=100,
        bar="amount",
        is_extra=True,
    ),
}


def overview(run: Run) -> list[Block]:
    """Return the headline, what went wrong, and the table of samples."""
    ended = outcomes(run)
    parts = (
        opening(run, ended),
        failed_list(ended),
        failed_checks(run, ended),
        warning_list(ended),
        doubts(run),
    )
    rows = {sample: sample_row(run, ended[sample]) for sample in run.samples}
    explained = (
        "One row a sample. Correlations are medians over <em>held-out</em> genes: a random sample of "
        "the genes that are imputed and measured, hidden from the method and then predicted. "
        "<em>Which genes to trust</em> says what was sampled. Hover over a heading for its meaning."
    )
    return [
        Html(id="summary_overview", title=TITLE, body="".join(parts)),
        Table(id="summary_samples", title="Samples", text=explained, columns=COLUMNS, rows=rows),
    ]


def opening(run: Run, ended: dict[str, Outcome]) -> str:
    """Return the name of the run and its headline (HTML)."""
    items = [
        (escape(item.name), escape(item.value), escape(item.text)) for item in headline(run, ended)
    ]
    name = run.facts.get("name") or run.facts.get("run_name")
    version = run.facts.get("pipeline_version")
    about = [
        f"run <b>{escape(name)}</b>" if name else "",
        f"stlatent {escape(version)}" if version else "",
    ]
    line = ", ".join(part for part in about if part)
    return f"<p>{line}</p>{tiles(items)}"


def failed_list(ended: dict[str, Outcome]) -> str:
    """Return the failed samples with their reasons."""
    failed = [outcome for outcome in ended.values() if outcome.status == "failed"]
    if not failed:
        return ""
    return f'<div class="stl-failed"><h4>Failed samples</h4>{_listed(failed)}</div>'


def failed_checks(run: Run, ended: dict[str, Outcome]) -> str:
    """Return the health checks that samples failed although they finished."""
    rows = [
        (f"<b>{escape(sample)}</b>", escape(check.title), escape(result.message))
        for sample in run.samples
        if ended[sample].status != "failed"
        for check in health.CHECKS
        if (result := check.run(run, sample)).status == "failed"
    ]
    if not rows:
        return ""
    header = ("Sample", "Check", "Found")
    advice = "<p>Do not use these results before reading <em>What to do</em> below.</p>"
    listed = html_table(header, rows, "stl-narrow")
    return f'<div class="stl-failed"><h4>Failed health checks</h4>{advice}{listed}</div>'


def warning_list(ended: dict[str, Outcome]) -> str:
    """Return the samples that finished with something missing."""
    warned = [outcome for outcome in ended.values() if outcome.status == "warning"]
    if not warned:
        return ""
    return f'<div class="stl-warned"><h4>Finished with a warning</h4>{_listed(warned)}</div>'


def doubts(run: Run) -> str:
    """Return what the check of the samplesheet found doubtful in the files."""
    if not run.warnings:
        return ""
    found = [Outcome(w.id, "warning", w.step, w.reason) for w in run.warnings]
    return f'<div class="stl-warned"><h4>To check in the input</h4>{_listed(found)}</div>'


def _listed(listed: list[Outcome]) -> str:
    rows = [(f"<b>{escape(o.sample)}</b>", escape(o.step), escape(o.reason)) for o in listed]
    return html_table(("Sample", "Step", "Reason"), rows, "stl-narrow")


def sample_row(run: Run, ended: Outcome) -> dict[str, Any]:
    """Return the row of one sample."""
    sample = ended.sample
    worst = health.worst(health.run_checks(run, sample))
    unknown = worst == "not_run" or ended.status == "failed"
    scores, quality = run.scores_of(), run.quality.get(sample)
    medians, names = sample_medians(scores), baselines(scores)
    row: dict[str, Any] = {
        "status": ended.status,
        "health": None if unknown else worst,
        "spots": quality.after.observations if quality else None,
        "genes": health.shared_gene_count(run, sample),
        "believable": share_above(scores, sample, "pcc_normalised"),
        "believable_raw": share_above(scores, sample, "pcc"),
    }
    for measure, suffix in (("pcc_normalised", "normalised"), ("pcc", "raw")):
        best = best_baseline(medians, sample, names, measure)
        row[suffix] = value(medians, sample, OURS, measure)
        row[f"baseline_{suffix}"] = best[1] if best else None
        row[f"null_{suffix}"] = value(medians, sample, NULL, measure)
        if suffix == "normalised":
            row["baseline_name"] = best[0] if best else None
    return row
