"""The run in three numbers, for the top of the report and for messages."""

from __future__ import annotations

from collections import Counter

from stlatent.evaluation.score_table import OURS
from stlatent.records.run import FailedSample, HeadlineItem
from stlatent.report.run import health
from stlatent.report.run.model import Run
from stlatent.report.run.outcome import Outcome
from stlatent.report.run.scores import NULL, across_samples, baselines
from stlatent.report.run.wording import signed


def headline(run: Run, ended: dict[str, Outcome]) -> list[HeadlineItem]:
    """Return exactly three items."""
    return [_finished(ended), _accuracy(run), _health(run)]


def failed_samples(ended: dict[str, Outcome]) -> list[FailedSample]:
    """Return the failed samples."""
    failed = [outcome for outcome in ended.values() if outcome.status == "failed"]
    return [FailedSample(o.sample, o.step, o.reason) for o in failed]


def n_finished(ended: dict[str, Outcome]) -> int:
    """Return how many samples finished, with or without a warning."""
    return sum(outcome.status != "failed" for outcome in ended.values())


def _finished(ended: dict[str, Outcome]) -> HeadlineItem:
    count = Counter(outcome.status for outcome in ended.values())
    parts = [f"{count['warning']} with a warning" if count["warning"] else ""]
    parts += [f"{count['failed']} failed" if count["failed"] else ""]
    text = ", ".join(part for part in parts if part) or "none failed"
    value = f"{n_finished(ended)} of {len(ended)}"
    return HeadlineItem("Samples finished", value, text)


def _accuracy(run: Run) -> HeadlineItem:
    name = "Held-out accuracy (median normalised PCC)"
    ours = across_samples(run, OURS, "pcc_normalised")
    raw = across_samples(run, OURS, "pcc")
    if ours is None and raw is None:
        only = f"the first arm, {run.arm.name}, has no scores"
        return HeadlineItem(
            name, "not measured", only if len(run.arms) > 1 else "no gene was held out"
        )
    null = across_samples(run, NULL, "pcc")
    found = [(across_samples(run, m, "pcc_normalised"), m) for m in baselines(run.scores_of())]
    known = [(number, method) for number, method in found if number is not None]
    best = f"best baseline {max(known)[1]} {signed(max(known)[0])}" if known else "no baseline"
    scored = run.scores_of().loc[run.scores_of()["method"] == OURS, "sample"].nunique()
    part = f"; {scored} of {len(run.samples)} samples scored" if scored < len(run.samples) else ""
    text = f"{best}; raw PCC {_shown(raw)}, library size alone {_shown(null)}{part}"
    return HeadlineItem(name, _shown(ours), text)


def _shown(number: float | None) -> str:
    return "n/a" if number is None else signed(number)


def _health(run: Run) -> HeadlineItem:
    results = [result for s in run.samples for result in health.run_checks(run, s).values()]
    count = Counter(result.status for result in results)
    value = f"{count['failed']} failed, {count['warned']} warned"
    ran = sum(count[status] for status in ("passed", "warned", "failed"))
    text = f"{count['passed']} of {ran} checks passed" if ran else "no check could run"
    return HeadlineItem("Health checks", value, text)
