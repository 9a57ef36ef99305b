"""The report: one function a section. Nothing outside this folder knows MultiQC."""

from __future__ import annotations

import json
from pathlib import Path

from stlatent.report.chapters import (
    about,
    accuracy,
    alignment,
    health,
    maps,
    quality,
    reference_coverage,
    resources,
    summary,
    training,
    trust,
)
from stlatent.report.page.content import Fragment
from stlatent.report.run import provenance
from stlatent.report.run.headline import failed_samples, headline, n_finished
from stlatent.report.run.outcome import outcomes
from stlatent.report.run.read import Run


def write_report(run: Run, folder: Path) -> None:
    """Write what MultiQC reads, the merged scores and the headline into ``folder``.

    Parameters
    ----------
    run
        What `stlatent.report.run.read.load` returned.
    folder
        Made if need be. Gets ``*_mqc.json``, ``maps/*.png``, ``scores.csv``, ``headline.json``
        and ``provenance.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for fragment in fragments(run, folder):
        fragment.write(folder)
    run.scores.to_csv(folder / "scores.csv", index=False, float_format="%.6g")
    ended = outcomes(run)
    content = {
        "finished": n_finished(ended),
        "headline": headline(run, ended),
        "failed": failed_samples(ended),
    }
    (folder / "headline.json").write_text(json.dumps(content, indent=1) + "\n")
    (folder / "provenance.json").write_text(json.dumps(provenance.record(run), indent=1) + "\n")


def fragments(run: Run, folder: Path) -> list[Fragment]:
    """Return the sections of the report; the maps are also written as files into ``folder``."""
    return [
        *summary.sections(run),
        *health.sections(run),
        *accuracy.sections(run),
        *trust.sections(run),
        *maps.sections(run, folder),
        *reference_coverage.sections(run),
        *quality.sections(run),
        *training.sections(run),
        *alignment.sections(run),
        *resources.sections(run),
        *about.sections(run),
    ]
