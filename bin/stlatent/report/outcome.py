"""Which samples finished, which did not, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stlatent.report.inputs import FULL_FIT, Json, Run

SILENT = "the task ended without a report: see pipeline_info/*trace*.txt and .nextflow.log"
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

    A sample finished when its full fit left every summary. A failure of a fold alone leaves the
    imputed genes usable and only takes away the held-out accuracy: that is a warning.
    """
    own = [
        failure for failure in run.failures if failure["id"] == sample and _is(failure, "sample")
    ]
    fatal = next((failure for failure in own if _is_fatal(failure)), None)
    missing = _first_missing(run, sample)
    if fatal:
        return Outcome(sample, "failed", fatal["step"], fatal["reason"])
    if missing:
        cause = own[0] if own else _reference_failure(run, sample)
        if cause:
            return Outcome(sample, "failed", cause["step"], cause["reason"])
        return Outcome(sample, "failed", missing, SILENT)
    if own:
        reason = f"the held-out accuracy is incomplete: {own[0]['reason']}"
        return Outcome(sample, "warning", own[0]["step"], reason)
    if run.arm_scores["sample"].eq(sample).any() or not _folds_expected(run):
        return Outcome(sample, "finished")
    reason = f"no held-out accuracy for this sample; {SILENT}"
    return Outcome(sample, "warning", "SCORE", reason)


def _is(failure: Json, kind: str) -> bool:
    return bool(failure.get("kind", "sample") == kind)


def _is_fatal(failure: Json) -> bool:
    return failure["step"] in ALWAYS_FATAL and failure.get("fold", FULL_FIT) == FULL_FIT


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
    if run.evaluation(sample) is None:
        return "EVALUATE"
    return None


def _folds_expected(run: Run) -> bool:
    try:
        return int(run.parameters.get("n_folds", 1)) > 0
    except (TypeError, ValueError):
        return True
