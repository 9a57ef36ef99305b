"""Which samples finished, which did not, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stlatent.baselines.registry import is_published
from stlatent.report.run.accuracy_summary import is_ours
from stlatent.report.run.read import FULL_FIT, Json, Run

SILENT = "the task ended without a report: see pipeline_info/*trace*.txt and .nextflow.log"
UNCALIBRATED = "the imputed genes are there, without intervals and reliability"
# Of these steps one failure is enough: the rest of the sample's files cannot make up for it.
ALWAYS_FATAL = ("CHECK_INPUT", "IMPUTE")

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
    """Return the outcome of every sample, in the order of the samplesheet."""
    return {sample: outcome(run, sample) for sample in run.samples}


def outcome(run: Run, sample: str) -> Outcome:
    """Return how ``sample`` ended.

    A sample finished when its full fit left every summary. A fold that failed, or died without a
    word, leaves the imputed genes usable and only takes away held-out accuracy: that is a warning.
    A published method that failed says nothing of the sample: `missing_methods` lists it.
    """
    own = [
        failure
        for failure in run.failures
        if failure["id"] == sample
        and _is(failure, "sample")
        and not any(is_published(method) for method in _methods(failure))
    ]
    fatal = next((failure for failure in own if _is_fatal(failure)), None)
    missing = _first_missing(run, sample)
    if fatal:
        return Outcome(sample, "failed", fatal["step"], fatal["reason"])
    if missing:
        cause = _cause(own, missing) or _reference_failure(run, sample)
        if cause:
            return Outcome(sample, "failed", cause["step"], cause["reason"])
        return Outcome(sample, "failed", missing, SILENT)
    asked = _folds_asked(run)
    gaps = _unscored(run, sample, asked) if asked else ""
    if own and all(failure["step"] == "CALIBRATE" for failure in own):
        return Outcome(sample, "warning", "CALIBRATE", f"{UNCALIBRATED}: {own[0]['reason']}")
    if own:
        other = [failure for failure in own if failure["step"] != "CALIBRATE"]
        reason = f"the held-out accuracy is incomplete: {other[0]['reason']}{gaps and f' ({gaps})'}"
        if len(other) < len(own):
            reason += f"; {UNCALIBRATED}"
        return Outcome(sample, "warning", other[0]["step"], reason)
    if gaps:
        return Outcome(sample, "warning", "SCORE", f"{gaps}; {SILENT}")
    if "interval_level" in run.parameters and run.calibration(sample) is None:
        return Outcome(sample, "warning", "CALIBRATE", f"{UNCALIBRATED}: {SILENT}")
    return Outcome(sample, "finished")


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
    for sample in run.samples:
        scores = run.arm_scores[run.arm_scores["sample"] == sample]
        for method in asked:
            scored = set(scores.loc[scores["method"] == method, "fold"])
            folds = [fold for fold in scores["fold"].unique() if fold not in scored]
            if folds:
                found.append(Missing(sample, method, folds, _reason(run, sample, method)))
    return found


def _reason(run: Run, sample: str, method: str) -> str:
    known = [f for f in run.failures if f["id"] == sample and method in _methods(f)]
    return str(known[0]["reason"]) if known else SILENT


def _methods(failure: Json) -> list[str]:
    return str(failure.get("method") or "").split(",")


def _is(failure: Json, kind: str) -> bool:
    return bool(failure.get("kind", "sample") == kind)


def _is_fatal(failure: Json) -> bool:
    return failure["step"] in ALWAYS_FATAL and failure.get("fold", FULL_FIT) == FULL_FIT


def _cause(own: list[Json], missing: str) -> Json | None:
    """Return the failure that explains a missing output: its own step's in the full run, or any."""
    full = [failure for failure in own if failure.get("fold", FULL_FIT) == FULL_FIT]
    at_step = [failure for failure in full if failure["step"] == missing]
    return next(iter([*at_step, *full, *own]), None)


def _reference_failure(run: Run, sample: str) -> Json | None:
    reference = run.references.get(sample)
    for failure in run.failures:
        if failure["id"] == reference and _is(failure, "reference"):
            return {**failure, "reason": f"its reference {reference} failed: {failure['reason']}"}
    return None


def _first_missing(run: Run, sample: str) -> str | None:
    """Return the first step whose output is missing."""
    reference = run.references.get(sample)
    if sample not in run.quality:
        return "QUALITY_CONTROL"
    if run.alignment(sample) is None:
        trained = reference is None or reference in run.vae
        return "ALIGN" if trained else "TRAIN_VAE"
    # Only a run whose imputer leaves a summary can tell that one is missing.
    known = any(fold == FULL_FIT for _, _, fold in run.imputations)
    if known and (sample, run.arm, FULL_FIT) not in run.imputations:
        return "IMPUTE"
    if run.evaluation(sample) is None:
        return "EVALUATE"
    return None


def _folds_asked(run: Run) -> int:
    try:
        return int(run.parameters.get("n_folds", 1))
    except (TypeError, ValueError):
        return 1


def _unscored(run: Run, sample: str, asked: int) -> str:
    """Return which folds are missing from the scores, or nothing.

    There are never more folds than genes to hide. The baselines may lack folds that stlatent has.
    """
    scores = run.arm_scores[run.arm_scores["sample"] == sample]
    if scores.empty:
        return "no held-out accuracy for this sample"
    folds = min(asked, scores["gene"].nunique())
    by_method = scores.groupby("method")["fold"].nunique()
    ours = by_method[[is_ours(method) for method in by_method.index]]
    scored = int(ours.max()) if len(ours) else 0
    if scored < folds:
        return f"{scored} of {folds} folds scored"
    others = [method for method in by_method.index if not is_ours(method)]
    plain = [method for method in others if not is_published(method)]
    short = [f"{m} {by_method[m]}" for m in plain if by_method[m] < folds]
    return f"folds scored of {folds}: {', '.join(short)}" if short else ""
