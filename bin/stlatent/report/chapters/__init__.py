"""The chapters of the report, one file each, in the order of the page."""

from __future__ import annotations

from stlatent.report.chapters import (
    about,
    accuracy,
    alignment,
    arms,
    health,
    maps,
    quality,
    reference_coverage,
    resources,
    summary,
    training,
    trust,
)
from stlatent.report.chapters.interface import Chapter

CHAPTERS: tuple[Chapter, ...] = (
    summary,
    arms,
    health,
    accuracy,
    trust,
    maps,
    reference_coverage,
    quality,
    training,
    alignment,
    resources,
    about,
)
