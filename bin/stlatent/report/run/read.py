"""Reading the files that the steps of a run wrote."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from stlatent.evaluation.score_table import BASELINE_ARM, COLUMNS, KEY_COLUMNS, MEASURES
from stlatent.failures import reading
from stlatent.records.inputs import CheckedInput
from stlatent.records.run import DeadTask, RunSettings, find
from stlatent.report.run import dead_tasks
from stlatent.report.run.costs import read_tasks
from stlatent.report.run.model import (
    DEFAULT_ARM,
    NO_ARM,
    NO_SEED,
    SCORED_FOR,
    Run,
    empty_scores,
)


def load(
    files: Iterable[Path], checked: Path | None, settings: Path | None, tasks: Path | None = None
) -> Run:
    """Read the files of a run, recognised by their names; any may be missing or empty.

    Parameters
    ----------
    files
        What the steps wrote, in any order.
    checked
        `stlatent.records.inputs.CheckedInput`.
    settings
        `stlatent.records.run.RunSettings`.
    tasks
        The table of tasks.
    """
    run = Run()
    if checked:
        _add_checked(run, CheckedInput.read(checked))
    if settings:
        _add_settings(run, RunSettings.read(settings))
    run.tasks = read_tasks(tasks) if tasks else None
    paths = sorted(path for path in files if path.stat().st_size)
    run.scores = read_scores(path for path in paths if path.name.endswith(".scores.csv"))
    found = find(paths)
    for record in found:
        run.add(record)
    dead = [record for record in found if isinstance(record, DeadTask)]
    run.dead_tasks = dead_tasks.failures(dead, set(run.references.values()))
    run.failures = dead_tasks.explained(run.failures, dead)
    for sample in _samples_with_files(run):
        run.references.setdefault(sample, None)
    return run


def _add_checked(run: Run, checked: CheckedInput) -> None:
    for row in checked.samples:
        run.references[row.sample] = row.reference
        for name, source in (
            (row.sample, row.spatial_source),
            (row.reference, row.reference_source),
        ):
            users = run.used_by.setdefault(source, [])
            if name not in users:
                users.append(name)
    run.warnings += checked.warnings
    for failure in checked.failures:
        run.failures.append(failure)
        if failure.kind == "sample":
            run.references.setdefault(failure.id, None)


def _add_settings(run: Run, settings: RunSettings) -> None:
    run.parameters = settings.parameters
    run.facts = settings.run
    run.accelerators = settings.accelerators
    run.sources = settings.sources
    run.images = settings.images
    run.arms = settings.arms or run.arms


def read_scores(paths: Iterable[Path]) -> pd.DataFrame:
    """Merge tables of scores into one tidy table, sorted: `COLUMNS` and `SCORED_FOR`."""
    tables = [table for table in map(_read_scores, paths) if len(table)]
    if not tables:
        return empty_scores()
    merged = pd.concat(tables, ignore_index=True).reindex(columns=[*COLUMNS, SCORED_FOR])
    merged["arm"] = merged["arm"].astype(object).fillna(DEFAULT_ARM)
    merged["seed"] = merged["seed"].astype(object).fillna(NO_SEED)
    merged[list(MEASURES)] = merged[list(MEASURES)].apply(pd.to_numeric, errors="coerce")
    merged = merged.drop_duplicates([*KEY_COLUMNS, SCORED_FOR])
    ranks = {name: merged[name].map(_fold_rank) for name in ("fold", "seed")}
    order = merged.assign(**ranks).sort_values([*KEY_COLUMNS, SCORED_FOR]).index
    return merged.loc[order].reset_index(drop=True)


def _read_scores(path: Path) -> pd.DataFrame:
    with reading(path):
        table = pd.read_csv(
            path,
            dtype=dict.fromkeys(KEY_COLUMNS, str),
            keep_default_na=False,
            na_values={name: ["", "nan", "NaN"] for name in MEASURES} | {"arm": [""]},
        )
    arms = set(table["arm"].dropna()) - {BASELINE_ARM} if "arm" in table else set()
    return table.assign(**{SCORED_FOR: arms.pop() if len(arms) == 1 else NO_ARM})


def _fold_rank(fold: str) -> tuple[int, str]:
    return (int(fold), "") if str(fold).isdigit() else (0, str(fold))


def _samples_with_files(run: Run) -> list[str]:
    """Return the samples that left files, for runs without a checked samplesheet."""
    spatial = [name for name, found in run.quality.items() if found.kind == "spatial"]
    aligned = [sample for sample, _, _ in run.alignments]
    failed = [one.id for one in (*run.failures, *run.dead_tasks) if one.kind == "sample"]
    return [*spatial, *aligned, *map(str, run.scores["sample"].unique()), *failed]
