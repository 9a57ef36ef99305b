"""The report: what happened in a run, chapter by chapter, as MultiQC draws it."""

from __future__ import annotations

import json
from pathlib import Path

from stlatent.report.chapters import CHAPTERS
from stlatent.report.page import multiqc
from stlatent.report.page.blocks import ChapterBlocks, figures
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
        Made if need be. Gets what `stlatent.report.page.multiqc.write` writes, pictures
        (``maps/*.png``), ``scores.csv``, ``headline.json`` and ``provenance.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chapters = overview(run)
    multiqc.write(chapters, folder)
    write_pictures(chapters, folder)
    run.scores.to_csv(folder / "scores.csv", index=False, float_format="%.6g")
    ended = outcomes(run)
    content = {
        "finished": n_finished(ended),
        "headline": headline(run, ended),
        "failed": failed_samples(ended),
    }
    (folder / "headline.json").write_text(json.dumps(content, indent=1) + "\n")
    (folder / "provenance.json").write_text(json.dumps(provenance.record(run), indent=1) + "\n")


def overview(run: Run) -> list[ChapterBlocks]:
    """Return the chapters on the whole run, in order."""
    return [
        ChapterBlocks(
            chapter.ID,
            chapter.TITLE,
            chapter.TEXT,
            [block for block in chapter.overview(run) if not block.is_empty],
        )
        for chapter in CHAPTERS
    ]


def write_pictures(chapters: list[ChapterBlocks], folder: Path) -> None:
    """Write the pictures that are results by themselves."""
    for chapter in chapters:
        for figure in figures(chapter.blocks):
            if figure.file:
                path = folder / figure.file
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(figure.png)
