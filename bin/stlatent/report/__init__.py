"""The report: what happened in a run, chapter by chapter, as MultiQC draws it."""

from __future__ import annotations

from pathlib import Path

from stlatent.evaluation.score_table import COLUMNS
from stlatent.records.run import Headline, Provenance
from stlatent.report.chapters import CHAPTERS
from stlatent.report.page import multiqc
from stlatent.report.page.blocks import ChapterBlocks, figures
from stlatent.report.run import provenance
from stlatent.report.run.headline import failed_samples, headline, n_finished
from stlatent.report.run.model import SCORED_FOR, Run
from stlatent.report.run.outcome import outcomes


def write_report(run: Run, page: Path, folder: Path) -> None:
    """Write what MultiQC reads, the merged scores, the headline and pictures.

    Parameters
    ----------
    run
        What `stlatent.report.run.read.load` returned.
    page
        Folder of what `stlatent.report.page.multiqc.write` writes, made if need be.
    folder
        Made if need be. Gets pictures (``maps/*.png``), ``scores.csv``, ``headline.json`` and
        ``provenance.json``.
    """
    for place in (page, folder):
        place.mkdir(parents=True, exist_ok=True)
    chapters = overview(run)
    multiqc.write(chapters, page)
    write_pictures(chapters, folder)
    # Arms that hide other genes, or know other neighbours, have baselines of their own.
    columns = [*COLUMNS, SCORED_FOR] if len(run.arms) > 1 else list(COLUMNS)
    scores = run.scores[columns].drop_duplicates()
    scores.to_csv(folder / "scores.csv", index=False, float_format="%.6g")
    ended = outcomes(run)
    items = headline(run, ended)
    Headline(n_finished(ended), items, failed_samples(ended)).write(folder / Headline.SUFFIX)
    provenance.record(run).write(folder / Provenance.SUFFIX)


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
