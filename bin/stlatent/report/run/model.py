"""What one run left behind, for each sample and each arm of the study."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from stlatent.evaluation.score_table import BASELINE_ARM, COLUMNS, KEY_COLUMNS
from stlatent.records.base import FULL_FIT, Record
from stlatent.records.evaluation import Calibration, Evaluation, Maps
from stlatent.records.failure import Failure
from stlatent.records.imputation import Imputation
from stlatent.records.inputs import Checksums, InputWarning, QualityControl
from stlatent.records.run import Arm, Image, InputPath
from stlatent.records.training import AlignmentHistory, VaeHistory

DEFAULT_ARM = "default"
NO_SEED = ""
# Arms may differ in their folds and so in their baselines: the arm whose SCORE a row is from, where
# its file tells.
SCORED_FOR = "scored_for"
NO_ARM = ""

ByArm = tuple[str, str]
ByFold = tuple[str, str, str]


def empty_scores() -> pd.DataFrame:
    """Return a table of scores without rows."""
    return pd.DataFrame({name: pd.Series(dtype=_dtype(name)) for name in COLUMNS})


def _dtype(column: str) -> str:
    return "object" if column in KEY_COLUMNS else "float64"


@dataclass
class Run:
    """Everything the report is made of.

    What an accessor returns is of the first arm where none is named, and None where a task left
    nothing.

    Attributes
    ----------
    arms
        In the order of the study; the report shows the first one in full. A run that names none has
        one, which owns every file.
    references
        Sample name to the id of its reference, in the order of the samplesheet. Samples that the
        check of the samplesheet turned down have None.
    failures
        Of the check of the samplesheet first, then those that steps wrote.
    dead_tasks
        Of tasks that were given up.
    warnings
        What the check of the samplesheet found doubtful.
    quality
        By id of a sample or a reference.
    vaes, alignments, imputations, evaluations
        By reference or sample, key of the settings, and fold where there are several.
    calibrations, held_out_maps
        By sample and name of the arm.
    scores
        One row per sample, arm, method, fold, seed and gene, and `SCORED_FOR`.
    tasks
        One row per attempt of a task (`stlatent.report.run.costs.read_tasks`), or None.
    accelerators
        How many a task asked for, by process.
    sources
        The distinct inputs.
    checksums
        The files of an input, by its id.
    used_by
        Names of the samples and references that are made of an input, by its id.
    """

    arms: list[Arm] = field(default_factory=lambda: [Arm(DEFAULT_ARM)])
    references: dict[str, str | None] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    dead_tasks: list[Failure] = field(default_factory=list)
    warnings: list[InputWarning] = field(default_factory=list)
    quality: dict[str, QualityControl] = field(default_factory=dict)
    vaes: dict[ByArm, VaeHistory] = field(default_factory=dict)
    alignments: dict[ByFold, AlignmentHistory] = field(default_factory=dict)
    imputations: dict[ByFold, Imputation] = field(default_factory=dict)
    evaluations: dict[ByArm, Evaluation] = field(default_factory=dict)
    calibrations: dict[ByArm, Calibration] = field(default_factory=dict)
    held_out_maps: dict[ByArm, Maps] = field(default_factory=dict)
    scores: pd.DataFrame = field(default_factory=empty_scores)
    parameters: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    tasks: pd.DataFrame | None = None
    accelerators: dict[str, int] = field(default_factory=dict)
    sources: list[InputPath] = field(default_factory=list)
    checksums: dict[str, Checksums] = field(default_factory=dict)
    used_by: dict[str, list[str]] = field(default_factory=dict)
    images: list[Image] = field(default_factory=list)

    @property
    def arm(self) -> Arm:
        """The arm that the report shows in full."""
        return self.arms[0]

    @property
    def samples(self) -> list[str]:
        """Sample names in the order of the samplesheet."""
        return list(self.references)

    def parameters_of(self, arm: Arm | None = None) -> dict[str, Any]:
        """Return the parameters that an arm ran with."""
        return self.parameters | (arm or self.arm).parameters

    def add(self, record: Record) -> None:
        """Put a record in its place; of several seeds the first one is kept."""
        match record:
            case QualityControl():
                self.quality[record.id] = record
            case Checksums():
                self.checksums[record.id] = record
            case VaeHistory():
                self.vaes[record.id, self._key(record.settings)] = record
            case AlignmentHistory():
                key = (record.id, self._key(record.settings), record.fold)
                if key not in self.alignments or record.seed < self.alignments[key].seed:
                    self.alignments[key] = record
            case Imputation():
                key = (record.sample, self._key(record.settings), record.fold)
                if key not in self.imputations or record.seed < self.imputations[key].seed:
                    self.imputations[key] = record
            case Evaluation():
                self.evaluations[record.sample, self._key(record.settings)] = record
            case Calibration():
                self.calibrations[record.sample, self._name(record.arm)] = record
            case Maps():
                self.held_out_maps[record.sample, self._name(record.arm)] = record
            case Failure():
                self.failures.append(record)

    @property
    def _is_keyed(self) -> bool:
        return any(arm.keys for arm in self.arms)

    def _key(self, settings: str) -> str:
        return settings if self._is_keyed else ""

    def _name(self, arm: str) -> str:
        return arm if self._is_keyed else self.arm.name

    def _key_of(self, arm: Arm | None, step: str) -> str:
        return (arm or self.arm).keys.get(step, "")

    def _name_of(self, arm: Arm | None) -> str:
        shown = arm or self.arm
        return shown.same_as or shown.name

    def vaes_of(self, arm: Arm | None = None) -> dict[str, VaeHistory]:
        """Return the VAEs of an arm, by reference."""
        own = self._key_of(arm, "vae")
        return {reference: found for (reference, key), found in self.vaes.items() if key == own}

    def vae(self, sample: str, arm: Arm | None = None) -> VaeHistory | None:
        """Return the VAE of the reference of a sample."""
        reference = self.references.get(sample)
        return self.vaes.get((str(reference), self._key_of(arm, "vae")))

    def alignment(
        self, sample: str, arm: Arm | None = None, fold: str = FULL_FIT
    ) -> AlignmentHistory | None:
        """Return how a sample was aligned."""
        return self.alignments.get((sample, self._key_of(arm, "alignment"), fold))

    def imputation(
        self, sample: str, arm: Arm | None = None, fold: str = FULL_FIT
    ) -> Imputation | None:
        """Return what the imputer learned in one fold."""
        return self.imputations.get((sample, self._key_of(arm, "imputation"), fold))

    def imputations_of(self, sample: str, arm: Arm | None = None) -> dict[str, Imputation]:
        """Return what the imputer learned, by fold."""
        own = (sample, self._key_of(arm, "imputation"))
        return {fold: found for (*key, fold), found in self.imputations.items() if (*key,) == own}

    def evaluation(self, sample: str, arm: Arm | None = None) -> Evaluation | None:
        """Return the evaluation of the latent spaces of a sample."""
        return self.evaluations.get((sample, self._key_of(arm, "alignment")))

    def calibration(self, sample: str, arm: Arm | None = None) -> Calibration | None:
        """Return what CALIBRATE found in a sample."""
        return self.calibrations.get((sample, self._name_of(arm)))

    def maps(self, sample: str, arm: Arm | None = None) -> Maps | None:
        """Return maps of held-out genes of a sample."""
        return self.held_out_maps.get((sample, self._name_of(arm)))

    def scores_of(self, arm: Arm | None = None) -> pd.DataFrame:
        """Return scores of an arm, and of the baselines on the same folds, under one seed."""
        scores = self.first_seed_scores
        if not self._is_keyed:
            return scores
        name = self._name_of(arm)
        is_baseline = scores["arm"] == BASELINE_ARM
        if SCORED_FOR in scores:
            # A file without rows of its arm is that of an arm that failed.
            own = [name] if len(self.arms) > 1 else [name, NO_ARM]
            is_baseline &= scores[SCORED_FOR].isin(own)
        return scores[is_baseline | (scores["arm"] == name)]

    def seed_scores(self, arm: Arm | None = None) -> pd.DataFrame:
        """Return scores of an arm under every seed, without methods that have none."""
        is_own = self.scores["arm"] == self._name_of(arm)
        if not self._is_keyed:
            is_own = self.scores["arm"] != BASELINE_ARM
        return self.scores[is_own & (self.scores["seed"] != NO_SEED)]

    @property
    def seeds(self) -> list[str]:
        """Seeds under which genes were held out, the first one first."""
        return sorted(set(self.scores["seed"].dropna()) - {NO_SEED}, key=int)

    @property
    def first_seed_scores(self) -> pd.DataFrame:
        """Scores under the first seed, and of methods that run once whatever the seeds."""
        seed = self.scores["seed"]
        return self.scores[seed.isna() | seed.isin([NO_SEED, *self.seeds[:1]])]

    def is_of(self, failure: Failure, arm: Arm) -> bool:
        """Whether a failure belongs to an arm: it carries its name, a key of it, or neither."""
        own = {arm.name, arm.same_as, *arm.keys.values()}
        named = set(failure.settings.split(","))
        return not self._is_keyed or not failure.settings or bool(named & own)
