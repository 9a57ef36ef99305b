"""What the report must know of the steps of the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stlatent.records.evaluation import Calibration, Evaluation, Maps
from stlatent.records.imputation import Imputation
from stlatent.records.inputs import CheckedInput, QualityControl
from stlatent.records.run import Arm
from stlatent.records.training import AlignmentHistory, VaeHistory
from stlatent.report.run.model import Run

UNSCORED = "the held-out accuracy is incomplete"
UNCALIBRATED = "the imputed genes are there, without intervals and reliability"

HasLeft = Callable[[Run, str, Arm], bool]


@dataclass(frozen=True)
class Step:
    """A step, as failures name it.

    Attributes
    ----------
    has_left
        Whether it left of a sample, in an arm, what the sample cannot be used without; None for
        steps that leave nothing of the kind.
    is_fatal
        Whether any failure of it in the full fit is the sample's, whatever other steps left.
    is_fatal_if_dead
        The same of a task that was given up, for a step that otherwise leaves what it has.
    cost
        What a failure costs a sample that can be used.
    """

    name: str
    has_left: HasLeft | None = None
    is_fatal: bool = False
    is_fatal_if_dead: bool = False
    cost: str = UNSCORED


def _is_trained(run: Run, sample: str, arm: Arm) -> bool:
    is_known = run.references.get(sample) is not None
    # What was aligned had a VAE.
    aligned = run.alignment(sample, arm) is not None
    return aligned or not is_known or run.vae(sample, arm) is not None


# In the order in which a sample runs through them.
STEPS = (
    Step(CheckedInput.STEP, is_fatal=True),
    Step(QualityControl.STEP, lambda run, sample, arm: sample in run.quality),
    Step(VaeHistory.STEP, _is_trained),
    Step(AlignmentHistory.STEP, lambda run, sample, arm: run.alignment(sample, arm) is not None),
    Step(
        Imputation.STEP,
        lambda run, sample, arm: run.imputation(sample, arm) is not None,
        is_fatal=True,
    ),
    Step(Evaluation.STEP, lambda run, sample, arm: run.evaluation(sample, arm) is not None),
    Step(Maps.STEP),
    # It publishes the imputed genes, calibrated or not.
    Step(Calibration.STEP, is_fatal_if_dead=True, cost=UNCALIBRATED),
)
KNOWN = {step.name: step for step in STEPS}


def step_named(name: str) -> Step:
    """Return a step; one without an entry of its own is like most."""
    return KNOWN.get(name, Step(name))


def step_of(process: str) -> str:
    """Return the name of the step that a process of the workflow runs."""
    return process.removesuffix("_REFERENCE")
