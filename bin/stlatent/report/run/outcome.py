"""Which samples finished, which did not, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stlatent.baselines.registry import is_published
from stlatent.records.base import FULL_FIT
from stlatent.records.failure import Failure
from stlatent.records.run import Arm
from stlatent.report.run.model import Run
from stlatent.report.run.scores import is_ours
from stlatent.report.run.steps import STEPS, UNCALIBRATED, UNSCORED, step_named

SILENT = "the task ended without a report: see pipeline_info/*trace*.txt and .nextflow.log"

Status = Literal["finished", "warning", "failed"]


@dataclass(frozen=True)
class Outcome:
    """How a sample ended.

    Attributes
    ----------
    step, reason
        Where and why it failed, or what the warning is about; empty when it finished.
    """

    sample: str
    status: Status
    step: str = ""
    reason: str = ""


def outcomes(run: Run) -> dict[str, Outcome]:
    """Return the outcome of every sample in all arms, in the order of the samplesheet."""
    return {sample: _in_all_arms(run, sample) for sample in run.samples}


def _in_all_arms(run: Run, sample: str) -> Outcome:
    """Return how a sample ended: failed where every arm failed, with a warning where some did."""
    by_arm = {arm.name: outcome(run, sample, arm) for arm in run.arms}
    first, *others = by_arm.values()
    is_failed = all(ended.status == "failed" for ended in by_arm.values())
    if is_failed or all(other == first for other in others):
        return first
    arms: dict[Outcome, list[str]] = {}
    for name, ended in by_arm.items():
        if ended.status != "finished":
            arms.setdefault(ended, []).append(name)
    reasons = [
        f"arm {', '.join(names)}{' failed' if ended.status == 'failed' else ''}: {ended.reason}"
        for ended, names in arms.items()
    ]
    return Outcome(sample, "warning", next(iter(arms)).step, "; ".join(reasons))


def outcome(run: Run, sample: str, arm: Arm) -> Outcome:
    """Return how ``sample`` ended in one arm.

    A sample finished when its full fit left every summary. A fold that failed, or died without a
    word, leaves the imputed genes usable and only takes away held-out accuracy: that is a warning.
    A baseline that failed says nothing of the sample: `missing_methods` lists it.
    """
    own = [
        failure
        for failure in _failures(run, sample, "sample", arm)
        if not any(is_published(method) for method in _methods(failure))
    ]
    fatal = next((failure for failure in own if _is_fatal(run, failure)), None)
    missing = _first_missing(run, sample, arm)
    if fatal:
        return Outcome(sample, "failed", fatal.step, fatal.reason)
    if missing:
        cause = _cause(own, missing)
        if cause:
            return Outcome(sample, "failed", cause.step, cause.reason)
        return _failed_reference(run, sample, arm) or Outcome(sample, "failed", missing, SILENT)
    n_folds = _n_folds(run, arm)
    gaps = _unscored(run, sample, arm, n_folds) if n_folds else ""
    uncalibrated = [one for one in own if step_named(one.step).cost == UNCALIBRATED]
    unscored = [one for one in own if one not in uncalibrated]
    if unscored:
        first = unscored[0]
        reason = f"{UNSCORED}: {first.reason}{gaps and f' ({gaps})'}"
        if uncalibrated:
            reason += f"; {UNCALIBRATED}"
        return Outcome(sample, "warning", first.step, reason)
    if uncalibrated:
        first = uncalibrated[0]
        return Outcome(sample, "warning", first.step, f"{UNCALIBRATED}: {first.reason}")
    if gaps:
        return Outcome(sample, "warning", "SCORE", f"{gaps}; {SILENT}")
    if "interval_level" in run.parameters_of(arm) and run.calibration(sample, arm) is None:
        return Outcome(sample, "warning", "CALIBRATE", f"{UNCALIBRATED}: {SILENT}")
    return Outcome(sample, "finished")


def _failures(run: Run, name: str | None, kind: str, arm: Arm) -> list[Failure]:
    """Return the failures of a sample or a reference in an arm, those of dead tasks last."""
    return [
        failure
        for failure in (*run.failures, *run.dead_tasks)
        if (failure.id, failure.kind) == (name, kind) and run.is_of(failure, arm)
    ]


def _is_fatal(run: Run, failure: Failure) -> bool:
    step = step_named(failure.step)
    is_dead = any(failure is dead for dead in run.dead_tasks)
    return _is_of_the_full_fit(failure) and (step.is_fatal or (is_dead and step.is_fatal_if_dead))


def _is_of_the_full_fit(failure: Failure) -> bool:
    return failure.fold in (None, FULL_FIT)


def _first_missing(run: Run, sample: str, arm: Arm) -> str | None:
    """Return the first step whose output is missing."""
    return next(
        (step.name for step in STEPS if step.has_left and not step.has_left(run, sample, arm)), None
    )


def _cause(own: list[Failure], missing: str) -> Failure | None:
    """Return the failure that explains a missing output: its own step's in the full run, or any."""
    full = [failure for failure in own if _is_of_the_full_fit(failure)]
    at_step = [failure for failure in full if failure.step == missing]
    return next(iter([*at_step, *full, *own]), None)


def _failed_reference(run: Run, sample: str, arm: Arm) -> Outcome | None:
    reference = run.references.get(sample)
    for failure in _failures(run, reference, "reference", arm):
        reason = f"its reference {reference} failed: {failure.reason}"
        return Outcome(sample, "failed", failure.step, reason)
    return None


@dataclass(frozen=True)
class Missing:
    """A published method that was asked for and has no scores for some folds of a sample."""

    sample: str
    method: str
    folds: list[str]
    reason: str


def missing_methods(run: Run) -> list[Missing]:
    """Return the published methods that left no scores, for samples that have scores at all."""
    names = str(run.parameters.get("baselines", "")).split(",")
    asked = [name for name in names if is_published(name)]
    found = []
    every = run.scores_of()
    for sample in run.samples:
        scores = every[every["sample"] == sample]
        for method in asked:
            scored = set(scores.loc[scores["method"] == method, "fold"])
            folds = [fold for fold in scores["fold"].unique() if fold not in scored]
            if folds:
                found.append(Missing(sample, method, folds, _reason(run, sample, method)))
    return found


def _reason(run: Run, sample: str, method: str) -> str:
    every = (*run.failures, *run.dead_tasks)
    known = [one for one in every if one.id == sample and method in _methods(one)]
    return known[0].reason if known else SILENT


def _methods(failure: Failure) -> list[str]:
    return failure.method.split(",") if failure.method else []


def _n_folds(run: Run, arm: Arm) -> int:
    try:
        return int(run.parameters_of(arm).get("n_folds", 1))
    except (TypeError, ValueError):
        return 1


def _unscored(run: Run, sample: str, arm: Arm, n_folds: int) -> str:
    """Return which folds are missing from the scores, or nothing.

    There are never more folds than genes to hide. The baselines may lack folds that stlatent has.
    """
    scores = run.scores_of(arm)
    scores = scores[scores["sample"] == sample]
    if scores.empty:
        return "no held-out accuracy for this sample"
    folds = min(n_folds, scores["gene"].nunique())
    by_method = scores.groupby("method")["fold"].nunique()
    ours = by_method[[is_ours(method) for method in by_method.index]]
    scored = int(ours.max()) if len(ours) else 0
    if scored < folds:
        return f"{scored} of {folds} folds scored"
    others = [method for method in by_method.index if not is_ours(method)]
    plain = [method for method in others if not is_published(method)]
    short = [f"{m} {by_method[m]}" for m in plain if by_method[m] < folds]
    return f"folds scored of {folds}: {', '.join(short)}" if short else ""
