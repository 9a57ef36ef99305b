"""What a step writes in place of its output when data are at fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stlatent.records.base import Record

FailureKind = Literal["sample", "reference"]


@dataclass(frozen=True)
class Failure(Record):
    """Data at fault: written in place of the output of a step.

    Attributes
    ----------
    id
        Sample or reference.
    settings
        Key of the settings of the step and of those before it; in steps that know the arm, its
        name, or several names after commas.
    fold, method
        Where only that fold, or only that baseline, failed.
    source
        The distinct input, where a task ended before it had read it.
    """

    SUFFIX = "failure.json"

    id: str
    kind: FailureKind
    step: str
    reason: str
    settings: str = ""
    fold: str | None = None
    method: str | None = None
    source: str | None = None
