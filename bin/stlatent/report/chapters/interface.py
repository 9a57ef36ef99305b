"""What a chapter is: a module with a name, a sentence and blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stlatent.records.run import Arm
from stlatent.report.page.blocks import Block
from stlatent.report.run.model import Run


class Chapter(Protocol):
    """One chapter of the report.

    One that has blocks of a single sample gives them with ``sample(view: SampleView)`` as well.

    Attributes
    ----------
    ID
        Start of the ids of its blocks.
    TITLE
        Its name in the report.
    TEXT
        The question that it answers, in a sentence.
    """

    ID: str
    TITLE: str
    TEXT: str

    def overview(self, run: Run) -> Sequence[Block]:
        """Return the blocks of all samples, in order; nothing leaves the chapter out."""
        ...


@dataclass(frozen=True)
class SampleView:
    """One sample of a run under one arm."""

    run: Run
    sample: str
    arm: Arm
