"""JSON files of a run as a whole: what the workflow notes, and what COLLATE reads and writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from stlatent.records.base import Record, Strict, read_known
from stlatent.records.evaluation import Calibration, Evaluation, Maps
from stlatent.records.failure import Failure
from stlatent.records.imputation import Imputation
from stlatent.records.inputs import Checksums, InputFile, QualityControl
from stlatent.records.training import AlignmentHistory, VaeHistory


@dataclass(frozen=True)
class Device(Record):
    """The GPU that torch takes on a node, or why it takes none."""

    SUFFIX = "device.json"
    STEP = "CHECK_DEVICE"

    gpu: str | None
    reason: str
    node: str


@dataclass(frozen=True)
class DeadTask(Record):
    """A task that was given up, as the workflow noted it.

    Attributes
    ----------
    exit, cause
        None without an exit status or a message.
    memory, memory_requested, time, time_requested
        What the last attempt had, and what it would have had without the limits of the run.
    accelerator
        GPUs, or None.
    """

    SUFFIX = ".dead.json"

    process: str
    tag: str | None
    exit: int | None
    cause: str | None
    attempts: int
    memory: str
    memory_requested: str
    time: str
    time_requested: str
    accelerator: int | None
    folder: str | None


@dataclass(frozen=True)
class InputPath(Strict):
    """Where a distinct input is, as given."""

    id: str
    kind: Literal["reference", "spatial"]
    path: str
    coordinates: str | None


@dataclass(frozen=True)
class Image(Strict):
    """A container image, the processes that ran in it, and where its digest is from."""

    name: str
    processes: list[str]
    digest: str | None
    basis: str


@dataclass(frozen=True)
class Arm(Strict):
    """An arm of a study.

    Attributes
    ----------
    keys
        Of the settings of its tasks, by step (``genes``, ``vae``, ``folds``, ``comparison``,
        ``alignment``, ``imputation``): each stands for the settings of that step and of those
        before it.
    same_as
        An arm before it with equal settings, whose tasks are its own too.
    parameters
        Those that differ from the run's.
    """

    name: str
    keys: dict[str, str] = field(default_factory=dict)
    same_as: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunSettings(Record):
    """What the workflow knows of a run: its parameters, facts, GPUs by process, inputs and arms."""

    SUFFIX = "settings.json"

    parameters: dict[str, Any]
    run: dict[str, Any] = field(default_factory=dict)
    accelerators: dict[str, int] = field(default_factory=dict)
    sources: list[InputPath] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    arms: list[Arm] = field(default_factory=list)


@dataclass(frozen=True)
class HeadlineItem(Strict):
    """One number of the headline, and what to know of it."""

    name: str
    value: str
    text: str


@dataclass(frozen=True)
class FailedSample(Strict):
    """A sample that failed, where and why."""

    id: str
    step: str
    reason: str


@dataclass(frozen=True)
class Headline(Record):
    """The run in three numbers, how many samples finished, and those that failed."""

    SUFFIX = "headline.json"
    STEP = "COLLATE"

    finished: int
    headline: list[HeadlineItem]
    failed: list[FailedSample]


@dataclass(frozen=True)
class UsedInput(Strict):
    """A distinct input, its files, and the samples and references that are made of it."""

    id: str
    kind: Literal["reference", "spatial"]
    path: str
    coordinates: str | None
    used_by: list[str]
    files: list[InputFile]
    coordinates_files: list[InputFile]


@dataclass(frozen=True)
class ProcessCost(Strict):
    """What the tasks of one process cost."""

    process: str
    tasks: int
    cpu_hours: float
    gpu_hours: float
    peak_memory_gb: float | None


@dataclass(frozen=True)
class RunCost(Strict):
    """What the tasks of a run cost, failed attempts included."""

    cpu_hours: float
    cpu_hours_failed: float
    gpu_hours: float
    tasks: int
    processes: list[ProcessCost]


@dataclass(frozen=True)
class Provenance(Record):
    """What the tasks know for the machine-readable record of the run (RO-Crate)."""

    SUFFIX = "provenance.json"
    STEP = "COLLATE"

    facts: dict[str, Any]
    inputs: list[UsedInput]
    images: list[Image]
    samples: list[str]
    references: list[str]
    failed: list[FailedSample]
    resources: RunCost | None


FOUND: tuple[type[Record], ...] = (
    Checksums,
    QualityControl,
    VaeHistory,
    AlignmentHistory,
    Imputation,
    Maps,
    Evaluation,
    Calibration,
    Failure,
    DeadTask,
)


def find(paths: Iterable[Path]) -> list[Record]:
    """Read the records that COLLATE takes, among files of any kind."""
    return read_known(paths, FOUND)
