"""Health checks: every health check in every sample, and what to do."""

from __future__ import annotations

from stlatent.report.page.blocks import Block, Html, Table, verdict
from stlatent.report.page.markup import badge, escape, html_table, prose
from stlatent.report.run.health import CHECKS, SEVERITY, Check, Result, run_checks, worst
from stlatent.report.run.model import Run
from stlatent.report.run.outcome import outcomes

ID = "health"
TITLE = "Health checks"
TEXT = "The known ways in which such a model fails."

DESCRIPTION = (
    "Every check in every sample; hover over a heading for its question. "
    "A <em>failed</em> check means that the result should not be used as it is; <em>warned</em> "
    "means look before you believe. <em>not run</em> means that the data for the check are "
    "missing (no cell labels, no folds, another kind of alignment)."
)


def overview(run: Run) -> list[Block]:
    """Return the table of samples by checks and the advice for what did not pass."""
    results = {sample: run_checks(run, sample) for sample in run.samples}
    ended = outcomes(run)
    ran = {
        sample: found
        for sample, found in results.items()
        if worst(found) in ("warned", "failed")
        or (worst(found) == "passed" and ended[sample].status != "failed")
    }
    if not ran:
        return []
    columns = {check.id: verdict(check.title, check.question) for check in CHECKS}
    rows = {
        sample: {name: result.status.replace("_", " ") for name, result in found.items()}
        for sample, found in ran.items()
    }
    return [
        Table(
            id="health_table",
            title="Checks by sample",
            text=DESCRIPTION,
            columns=columns,
            rows=rows,
        ),
        Html(id="health_advice", title="What to do", body=advice(ran)),
    ]


def advice(results: dict[str, dict[str, Result]]) -> str:
    """Return, for each check that did not pass somewhere, the samples concerned and the cure."""
    parts = [_advice_of(check, results) for check in CHECKS]
    body = "".join(parts)
    return prose(body or "<p>Every check that ran passed.</p>")


def _advice_of(check: Check, results: dict[str, dict[str, Result]]) -> str:
    found = [(sample, checks[check.id]) for sample, checks in results.items()]
    bad = [(sample, result) for sample, result in found if result.status in ("warned", "failed")]
    if not bad:
        return ""
    bad.sort(key=lambda item: -SEVERITY.index(item[1].status))
    rows = [(badge(r.status), f"<b>{escape(s)}</b>", escape(r.message)) for s, r in bad]
    return (
        f"<h5>{escape(check.title)}</h5><p>{escape(check.question)} "
        f"<b>What to do:</b> {escape(check.cure)}</p>{html_table((), rows, 'stl-narrow')}"
    )
