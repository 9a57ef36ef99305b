"""What one run left behind, read from the files that its steps wrote."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from stlatent.failures import reading
from stlatent.report.run.costs import read_tasks
from stlatent.report.run.dead_tasks import failures

Json = dict[str, Any]

SCORE_COLUMNS = (
    "sample",
    "arm",
    "method",
    "fold",
    "seed",
    "gene",
    "pcc",
    "pcc_normalised",
    "spearman",
    "ssim",
    "rmse",
    "js",
    "locations_normalised",
    "morans_i_measured",
    "morans_i_imputed",
    "seconds",
)
KEY_COLUMNS = ("sample", "arm", "method", "fold", "seed", "gene")
MEASURES = tuple(name for name in SCORE_COLUMNS if name not in KEY_COLUMNS)
DEFAULT_ARM = "default"
BASELINE_ARM = "baseline"
FULL_FIT = "all"
NO_SEED = ""


@dataclass
class Run:
    """Everything the report is made of.

    Attributes
    ----------
    references
        Sample name to the id of its reference, in the order of the samplesheet. Samples that the
        check of the samplesheet turned down have None.
    failures
        Failure records as written by the steps, those of the samplesheet check first.
    warnings
        What the check of the samplesheet found doubtful: ``id`` (a sample), ``step`` and ``reason``.
    quality
        QC summaries by id (samples and references).
    vae
        Training histories of the VAEs by reference.
    alignments
        Alignment histories by (sample, arm, fold).
    evaluations
        Latent-space evaluations by (sample, arm).
    imputations
        What the imputer chose, by (sample, arm, fold).
    calibrations
        What CALIBRATE found, by (sample, arm).
    maps
        Held-out maps by sample, of the arm on show.
    scores
        One row per sample, arm, method, fold, seed and gene.
    tasks
        One row per attempt of a task (`stlatent.report.run.costs.read_tasks`), or None.
    accelerators
        How many a task asked for, by process.
    sources
        The distinct inputs: ``id``, ``kind``, ``path`` and ``coordinates`` as given.
    checksums
        ``data`` and ``coordinates``, the files of an input with sizes and SHA-256, by its id.
    used_by
        Names of the samples and references that are made of an input, by its id.
    images
        Container images: ``name``, ``processes``, ``digest`` and ``basis``, where it is from.
    """

    references: dict[str, str | None] = field(default_factory=dict)
    failures: list[Json] = field(default_factory=list)
    warnings: list[Json] = field(default_factory=list)
    quality: dict[str, Json] = field(default_factory=dict)
    vae: dict[str, Json] = field(default_factory=dict)
    alignments: dict[tuple[str, str, str], Json] = field(default_factory=dict)
    evaluations: dict[tuple[str, str], Json] = field(default_factory=dict)
    imputations: dict[tuple[str, str, str], Json] = field(default_factory=dict)
    calibrations: dict[tuple[str, str], Json] = field(default_factory=dict)
    maps: dict[str, Json] = field(default_factory=dict)
    scores: pd.DataFrame = field(default_factory=lambda: empty_scores())
    parameters: Json = field(default_factory=dict)
    facts: Json = field(default_factory=dict)
    tasks: pd.DataFrame | None = None
    accelerators: dict[str, int] = field(default_factory=dict)
    sources: list[Json] = field(default_factory=list)
    checksums: dict[str, Json] = field(default_factory=dict)
    used_by: dict[str, list[str]] = field(default_factory=dict)
    images: list[Json] = field(default_factory=list)

    @property
    def samples(self) -> list[str]:
        """Sample names in the order of the samplesheet."""
        return list(self.references)

    @property
    def arms(self) -> list[str]:
        """Names of the arms that left scores, alignments or evaluations, sorted."""
        found = {arm for _, arm, _ in self.alignments} | {arm for _, arm in self.evaluations}
        return sorted((found | set(self.scores["arm"])) - {BASELINE_ARM})

    @property
    def arm(self) -> str:
        """The arm that the report shows: ``default``, or the first when there is none."""
        arms = self.arms
        return DEFAULT_ARM if DEFAULT_ARM in arms or not arms else arms[0]

    @property
    def arm_scores(self) -> pd.DataFrame:
        """Scores of the arm on show and of the baselines, which belong to no arm, under one seed."""
        scores = self.first_seed_scores
        return scores[scores["arm"].isin([self.arm, BASELINE_ARM])]

    @property
    def seeds(self) -> list[str]:
        """Seeds under which genes were held out, the first one first."""
        return sorted(set(self.scores["seed"].dropna()) - {NO_SEED}, key=int)

    @property
    def first_seed_scores(self) -> pd.DataFrame:
        """Scores under the first seed, and of methods that run once whatever the seeds."""
        seed = self.scores["seed"]
        return self.scores[seed.isna() | seed.isin([NO_SEED, *self.seeds[:1]])]

    def alignment(self, sample: str) -> Json | None:
        """Return the history of the full fit of ``sample``, or None."""
        return self.alignments.get((sample, self.arm, FULL_FIT))

    def evaluation(self, sample: str) -> Json | None:
        """Return the latent-space evaluation of ``sample``, or None."""
        return self.evaluations.get((sample, self.arm))

    def calibration(self, sample: str) -> Json | None:
        """Return what CALIBRATE found in ``sample``, or None."""
        return self.calibrations.get((sample, self.arm))


def empty_scores() -> pd.DataFrame:
    """Return a table of scores without rows."""
    return pd.DataFrame({name: pd.Series(dtype=_dtype(name)) for name in SCORE_COLUMNS})


def _dtype(column: str) -> str:
    return "object" if column in KEY_COLUMNS else "float64"


def read_scores(paths: Iterable[Path]) -> pd.DataFrame:
    """Merge tables of scores into one tidy table with the columns of `SCORE_COLUMNS`, sorted."""
    tables = [table for table in map(_read_scores, paths) if len(table)]
    if not tables:
        return empty_scores()
    merged = pd.concat(tables, ignore_index=True).reindex(columns=list(SCORE_COLUMNS))
    merged["arm"] = merged["arm"].astype(object).fillna(DEFAULT_ARM)
    merged["seed"] = merged["seed"].astype(object).fillna(NO_SEED)
    merged[list(MEASURES)] = merged[list(MEASURES)].apply(pd.to_numeric, errors="coerce")
    merged = merged.drop_duplicates(list(KEY_COLUMNS))
    ranks = {name: merged[name].map(_fold_rank) for name in ("fold", "seed")}
    order = merged.assign(**ranks).sort_values(list(KEY_COLUMNS)).index
    return merged.loc[order].reset_index(drop=True)


def _read_scores(path: Path) -> pd.DataFrame:
    with reading(path):
        return pd.read_csv(
            path,
            dtype=dict.fromkeys(KEY_COLUMNS, str),
            keep_default_na=False,
            na_values={name: ["", "nan", "NaN"] for name in MEASURES} | {"arm": [""]},
        )


def _fold_rank(fold: str) -> tuple[int, str]:
    return (int(fold), "") if str(fold).isdigit() else (0, str(fold))


def load(
    files: Iterable[Path], checked: Path | None, settings: Path | None, tasks: Path | None = None
) -> Run:
    """Read the files of a run, recognised by their names; any may be missing or empty.

    Parameters
    ----------
    files
        What the steps wrote, in any order.
    checked
        ``input.json`` of the samplesheet check.
    settings
        ``{"parameters": {...}, "run": {...}, "accelerators": {...}, "sources": [...],
        "images": [...]}``, or the parameters alone.
    tasks
        The table of tasks.
    """
    run = Run()
    _add_checked(run, _read(checked) if checked else {})
    facts = _read(settings) if settings else {}
    run.parameters = facts.get("parameters", facts)
    run.facts = facts.get("run", {})
    run.accelerators = facts.get("accelerators", {})
    run.sources = facts.get("sources", [])
    run.images = facts.get("images", [])
    run.tasks = read_tasks(tasks) if tasks else None
    paths = sorted(path for path in files if path.stat().st_size)
    run.scores = read_scores(path for path in paths if path.name.endswith(".scores.csv"))
    maps: dict[tuple[str, str], Json] = {}
    for path in paths:
        if path.suffix == ".json":
            _add(run, maps, path)
    run.maps = {sample: content for (sample, arm), content in maps.items() if arm == run.arm}
    lost = [_read(path) for path in paths if path.name.endswith(".lost.json")]
    run.failures += failures(lost, set(run.references.values()), run.failures)
    for sample in _seen_samples(run):
        run.references.setdefault(sample, None)
    return run


def _read(path: Path) -> Json:
    with reading(path):
        content: Json = json.loads(path.read_text())
    return content


def _add_checked(run: Run, checked: Json) -> None:
    for row in checked.get("samples", []):
        run.references[row["sample"]] = row.get("reference")
        for name, source in (("sample", "spatial_source"), ("reference", "reference_source")):
            users = run.used_by.setdefault(str(row.get(source)), [])
            if row.get(name) not in (None, *users):
                users.append(row[name])
    run.warnings += checked.get("warnings", [])
    for failure in checked.get("failures", []):
        run.failures.append(failure)
        if failure.get("kind", "sample") == "sample":
            run.references.setdefault(failure["id"], None)


def _add(run: Run, maps: dict[tuple[str, str], Json], path: Path) -> None:
    name = path.name
    if name.endswith(".qc.json"):
        content = _read(path)
        run.quality[content["id"]] = content
    elif name.endswith("history.json"):
        _add_history(run, _read(path))
    elif name.endswith(".evaluation.json"):
        content = _read(path)
        run.evaluations[content["sample"], content.get("arm", DEFAULT_ARM)] = content
    elif name.endswith(".imputation.json"):
        content = _read(path)
        arm, fold = content.get("arm", DEFAULT_ARM), str(content.get("fold", FULL_FIT))
        _keep_first_seed(run.imputations, (content["sample"], arm, fold), content)
    elif name.endswith(".calibration.json"):
        content = _read(path)
        run.calibrations[content["sample"], content.get("arm", DEFAULT_ARM)] = content
    elif name.endswith(".maps.json"):
        content = _read(path)
        maps[content["sample"], content.get("arm", DEFAULT_ARM)] = content
    elif name.endswith(".checksums.json"):
        content = _read(path)
        run.checksums[content["id"]] = content
    elif name.endswith("failure.json"):
        run.failures.append(_read(path))


def _add_history(run: Run, content: Json) -> None:
    """Tell the two kinds of history by their content: only fits of samples have phases."""
    if "phase" in content:
        arm, fold = content.get("arm", DEFAULT_ARM), str(content.get("fold", FULL_FIT))
        _keep_first_seed(run.alignments, (content["id"], arm, fold), content)
    else:
        run.vae[content["id"]] = content


def _keep_first_seed(
    known: dict[tuple[str, str, str], Json], key: tuple[str, str, str], found: Json
) -> None:
    """Keep one record a fold: that of the first seed."""
    if key not in known or found.get("seed", 0) < known[key].get("seed", 0):
        known[key] = found


def _seen_samples(run: Run) -> list[str]:
    """Return the samples that left files, for runs without ``input.json``."""
    spatial = [name for name, content in run.quality.items() if content.get("kind") == "spatial"]
    aligned = [sample for sample, _, _ in run.alignments]
    failed = [failure["id"] for failure in run.failures if failure.get("kind") == "sample"]
    return [*spatial, *aligned, *map(str, run.scores["sample"].unique()), *failed]
