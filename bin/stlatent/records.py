"""The JSON files that steps exchange or that the report reads: one frozen dataclass a file.

`Record.write` and `Record.read` refuse what a class does not name, what it lacks and numbers that
are not finite, so that a step whose output changes fails in its own test.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypedDict

from pydantic import ConfigDict, Field, TypeAdapter

from stlatent.failures import reading

Point = tuple[float, float]
Series = dict[str, list[float | None]]
# Macro-F1 and accuracy of a classifier, by the number of neighbours.
ByNeighbours = dict[str, "Classified"]
FailureKind = Literal["sample", "reference"]
PopulationName = Literal["delivered", "variable", "shared"]

FULL_FIT = "all"


class _Strict:
    """What all dataclasses of this module share."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)


class Record(_Strict):
    """A JSON file.

    Attributes
    ----------
    SUFFIX
        How the file's name ends.
    STEP
        The process that writes it; empty where several do.
    INDENT
        For files that people read; None for those that would be many lines of numbers.
    """

    SUFFIX: ClassVar[str]
    STEP: ClassVar[str] = ""
    INDENT: ClassVar[int | None] = 1

    def write(self, path: str | Path) -> None:
        """Write the record.

        Raises
        ------
        pydantic.ValidationError
            When a value is not of the type that the class names, or not finite.
        """
        adapter = _adapter(type(self))
        content = adapter.dump_python(self, mode="json", by_alias=True, warnings="error")
        adapter.validate_python(content)
        text = json.dumps(content, indent=self.INDENT, allow_nan=False)
        Path(path).write_text(text + "\n")

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read the record of an earlier step."""
        with reading(path):
            found: Self = _adapter(cls).validate_json(Path(path).read_bytes())
        return found


_adapters: dict[type, TypeAdapter[Any]] = {}


def _adapter(kind: type) -> TypeAdapter[Any]:
    # Made when first needed, as scripts write one or two kinds.
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


# Inputs


@dataclass(frozen=True)
class SheetRow(_Strict):
    """One row of the samplesheet; absent optional values are None."""

    line: int
    sample: str
    spatial: str
    reference: str
    batch_key: str | None
    label_key: str | None
    spatial_label_key: str | None
    section_key: str | None
    coordinates: str | None
    coordinates_candidates: list[str]

    def path(self, kind: str) -> str:
        """Return the path of the ``spatial`` or the ``reference`` file."""
        return self.spatial if kind == "spatial" else self.reference

    def key(self, column: str) -> str | None:
        """Return what the sheet names in a column such as ``batch_key``."""
        value: str | None = getattr(self, column)
        return value


@dataclass(frozen=True)
class Problem(_Strict):
    """One thing that is wrong with the samplesheet or a file of it: where, what and the cure."""

    line: int
    column: str | None
    value: str | None
    problem: str
    cure: str

    def where(self, lines: Sequence[int] | None = None) -> str:
        """Say the place: line (or the lines that share the problem), column and value."""
        numbers = [str(line) for line in lines or [self.line]]
        word = "line" if len(numbers) == 1 else "lines"
        place = f"{word} {', '.join(numbers)}"
        if self.column is not None:
            place += f", column {self.column}"
        return place if self.value is None else f"{place}, value '{self.value}'"


@dataclass(frozen=True)
class Sheet(Record):
    """The samplesheet as parsed; rows without a path are left out of ``rows``."""

    SUFFIX = "rows.json"
    STEP = "PARSE_SHEET"

    sheet: str
    rows: list[SheetRow]
    problems: list[Problem]


@dataclass(frozen=True)
class Source(_Strict):
    """A distinct input: one file with other coordinates is another. ``lines`` are those that use it."""

    id: str
    kind: Literal["reference", "spatial"]
    lines: list[int]
    exists: bool


def read_sources(path: str | Path) -> list[Source]:
    """Read the list of distinct inputs, which the workflow writes."""
    with reading(path):
        found: list[Source] = TypeAdapter(list[Source]).validate_json(Path(path).read_bytes())
    return found


@dataclass(frozen=True)
class Overlap(_Strict):
    """A sign that sections of one file lie on each other, and the column that tells them apart."""

    sign: str
    column: str | None


@dataclass(frozen=True)
class Description(Record):
    """What a distinct input holds; the defaults are those of one that could not be read.

    Attributes
    ----------
    columns
        Those of ``obs``, with their numbers of values.
    matrix
        Where in the file it is.
    empty
        Without observations, genes or values.
    unreadable, unknown_format
        Why it cannot be read, in plain words.
    """

    SUFFIX = ".description.json"
    STEP = "DESCRIBE_INPUT"
    INDENT = None

    id: str
    kind: Literal["reference", "spatial"]
    format: str | None = None
    n_obs: int = 0
    n_vars: int = 0
    genes: list[str] = field(default_factory=list)
    columns: dict[str, int] = field(default_factory=dict)
    has_coordinates: bool = False
    coordinates_problem: str | None = None
    overlap: Overlap | None = None
    matrix: str | None = None
    counts: bool = False
    finite: bool = True
    negative: bool = False
    empty: bool = False
    unknown_format: str | None = None
    unreadable: str | None = None


@dataclass(frozen=True)
class InputFile(_Strict):
    """A file of an input. Without a checksum it was not read, without a size it could not be."""

    name: str
    bytes: int | None
    sha256: str | None


@dataclass(frozen=True)
class Checksums(Record):
    """The files of a distinct input."""

    SUFFIX = ".checksums.json"
    STEP = "DESCRIBE_INPUT"

    id: str
    kind: Literal["reference", "spatial"]
    data: list[InputFile]
    coordinates: list[InputFile]


@dataclass(frozen=True)
class Sample(_Strict):
    """A sample to run: the ids of its inputs and of its distinct reference."""

    sample: str
    spatial_source: str
    reference_source: str
    reference: str


@dataclass(frozen=True)
class InputWarning(_Strict):
    """Something to look at in a sample that can run."""

    id: str
    step: str
    reason: str


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


@dataclass(frozen=True)
class CheckedInput(Record):
    """What the samplesheet and its files allow to run."""

    SUFFIX = "input.json"
    STEP = "CHECK_INPUT"

    valid: bool
    samples: list[Sample]
    failures: list[Failure]
    warnings: list[InputWarning]
    problems: list[Problem]


class Keys(TypedDict, total=False):
    """Columns of ``obs``, by what they hold."""

    batch_key: str
    label_key: str
    section_key: str


@dataclass(frozen=True)
class Request(Record):
    """What INGEST has to keep of a sample or a reference: columns of ``obs``."""

    SUFFIX = ".json"
    STEP = "CHECK_INPUT"

    id: str
    kind: Literal["reference", "spatial"]
    batch_key: str | None = None
    label_key: str | None = None
    section_key: str | None = None

    @property
    def keys(self) -> Keys:
        """The columns of ``obs`` that the samplesheet names."""
        found = Keys()
        if self.batch_key:
            found["batch_key"] = self.batch_key
        if self.label_key:
            found["label_key"] = self.label_key
        if self.section_key:
            found["section_key"] = self.section_key
        return found

    @property
    def columns(self) -> dict[str, str]:
        """`keys` as text."""
        return {key: str(column) for key, column in self.keys.items()}


@dataclass(frozen=True)
class Overview(_Strict):
    """Size and medians of a matrix; mitochondrial counts are None where none are known."""

    observations: int
    genes: int
    median_counts: float
    median_genes: float
    median_mito_percent: float | None


@dataclass(frozen=True)
class Removed(_Strict):
    """How many each filter removed, by its name."""

    observations: dict[str, int]
    genes: dict[str, int]


@dataclass(frozen=True)
class Thresholds(_Strict):
    """What an observation and a gene must have to be kept.

    Attributes
    ----------
    min_counts, min_genes
        Fewest counts and expressed genes of an observation.
    min_cells
        Fewest observations that express a gene.
    max_mito_percent
        Largest share of mitochondrial counts, in percent.
    mad
        Observations this many median absolute deviations off the median of log counts, log genes
        (either side) or mitochondrial share (above) are outliers; 0 turns this off.
    """

    min_counts: float
    min_genes: int
    min_cells: int
    max_mito_percent: float
    mad: float = 0.0


@dataclass(frozen=True)
class Histograms(_Strict):
    """Centres of bins of log10(1 + value), and how many observations are in each."""

    counts: list[Point]
    genes: list[Point]


@dataclass(frozen=True)
class QualityControl(Record):
    """What quality control removed from a sample or a reference."""

    SUFFIX = ".qc.json"
    STEP = "QUALITY_CONTROL"

    id: str
    kind: Literal["reference", "spatial"]
    counts: bool
    before: Overview
    after: Overview
    removed: Removed
    thresholds: Thresholds
    histograms: Histograms


@dataclass(frozen=True)
class Population(_Strict):
    """What hidden genes were drawn from, how many it holds and how many were drawn."""

    name: PopulationName
    n_genes: int
    n_drawn: int


@dataclass(frozen=True)
class Fold(Record):
    """A fold of genes: those hidden from everything, and the panel that the alignment uses.

    The fold named `FULL_FIT` hides nothing.
    """

    SUFFIX = ".json"
    STEP = "SPLIT_GENES"
    INDENT = None

    sample: str
    name: Annotated[str, Field(alias="fold")]
    hidden: list[str]
    panel: list[str]
    population: Population | None = None

    @property
    def file_name(self) -> str:
        """Name of its file."""
        return f"fold_{self.name}.json"


# Training


@dataclass(frozen=True)
class VaeDescription(Record):
    """What the VAE in a folder is.

    Attributes
    ----------
    vae
        Its name in the registry.
    options
        Of the VAE, those of the result.
    genes
        That it was trained on, in the decoder's order.
    geometry
        Of the latent space.
    versions
        Of the packages that trained it.
    batch_sizes
        Those tried on the GPU, the last one that of the result.
    """

    SUFFIX = "vae.json"
    STEP = "TRAIN_VAE"

    id: str
    settings: str
    vae: str
    options: dict[str, Any]
    genes: list[str]
    geometry: Literal["plane", "sphere", "hyperboloid"]
    seed: int
    device: str
    versions: dict[str, str]
    seconds: float
    batch_sizes: list[int]


@dataclass(frozen=True)
class VaeHistory(Record):
    """How the VAE of a reference was trained.

    Attributes
    ----------
    vae
        Its name in the registry.
    best_epoch
        Of the lowest validation loss; None without epochs.
    batch_sizes
        Those tried on the GPU, the last one that of the result.
    """

    SUFFIX = "vae_history.json"
    STEP = "TRAIN_VAE"
    INDENT = None

    id: str
    settings: str
    vae: str
    epoch: list[int]
    series: Series
    best_epoch: int | None
    seconds: float
    batch_sizes: list[int]


@dataclass(frozen=True)
class AlignmentHistory(Record):
    """How the alignment of a sample was trained.

    Attributes
    ----------
    phase
        By epoch: ``pretrain``, ``discriminator``, then the kind of alignment.
    series
        By epoch; None where a phase does not compute the value or it is not finite. Accuracies are
        balanced accuracies on locations and cells that took no part in the training.
    warm_up_accuracy
        Of discriminators before tissue and reference are matched; in the full fit only.
    validation
        Of the states that imputation may take, by slot.
    imputation_space
        The slot that imputation takes.
    batch_sizes
        Those tried on the GPU, the last one that of the result.
    """

    SUFFIX = "alignment_history.json"
    STEP = "ALIGN"
    INDENT = None

    id: str
    settings: str
    fold: str
    seed: int
    phase: list[str]
    epoch: list[int]
    series: Series
    n_panel_genes: int
    n_neighbors: int
    warm_up_accuracy: float | None
    validation: dict[str, float | None]
    imputation_space: str
    seconds: float
    batch_sizes: list[int]


# Imputation


@dataclass(frozen=True)
class UncoveredLocations(_Strict):
    """Locations with one label, and the share of them without a counterpart in the reference."""

    n: int
    uncovered: float


@dataclass(frozen=True)
class CoverageMap(_Strict):
    """Coverage of some locations."""

    coordinates: list[Point]
    coverage: list[float]


@dataclass(frozen=True)
class ReferenceCoverage(_Strict):
    """How much of a tissue has a counterpart in the reference.

    Where it was not judged, ``not_judged`` says why, and share, groups and map are None.
    """

    uncovered: float | None
    false_discovery_rate: float
    by_label: dict[str, UncoveredLocations] | None
    map: CoverageMap | None
    not_judged: str | None


@dataclass(frozen=True)
class Imputation(Record):
    """What the imputer learned in one fold; weights and correlations by candidate."""

    SUFFIX = ".imputation.json"
    STEP = "IMPUTE"

    sample: str
    settings: str
    fold: str
    seed: int
    default_method: str
    weights: dict[str, float]
    inner_correlation: dict[str, float]
    genes_not_in_reference: list[str]
    coverage: ReferenceCoverage | None


# Evaluation


@dataclass(frozen=True)
class MapGene(_Strict):
    """A held-out gene, measured and imputed, at the locations of a map."""

    gene: str
    fold: str
    pcc: float | None
    pcc_normalised: float | None
    measured: list[float]
    imputed: list[float]


@dataclass(frozen=True)
class Maps(Record):
    """Maps of some held-out genes of one method."""

    SUFFIX = ".maps.json"
    STEP = "SCORE"
    INDENT = None

    sample: str
    arm: str
    method: str
    coordinates: list[Point]
    genes: list[MapGene]


@dataclass(frozen=True)
class Classified(_Strict):
    """How well labels were predicted."""

    accuracy: float
    macro_f1: float


@dataclass(frozen=True)
class KnnReference(_Strict):
    """Labels of the reference from neighbours, by space and number of neighbours."""

    label_key: str
    spaces: dict[str, ByNeighbours]


@dataclass(frozen=True)
class KnnCrossModal(_Strict):
    """Labels of the tissue from neighbours in the reference, after and before it is matched."""

    k: ByNeighbours
    k_before: ByNeighbours
    n_shared_labels: int


@dataclass(frozen=True)
class AlignmentQuality(_Strict):
    """How well tissue and reference are mixed, and labels kept apart.

    ``auroc_*`` weigh the reference by the tissue's composition, ``auroc_all_*`` do not;
    ``reference_used`` is the effective share of the reference under those weights. cLISI and purity need labels of the
    reference.
    """

    reference_used: float | None
    auroc_before: float | None
    auroc_all_before: float | None
    auroc_after: float | None
    auroc_all_after: float | None
    clisi_before: float | None = None
    clisi_after: float | None = None
    label_purity_reference: float | None = None
    label_purity_joint: float | None = None


@dataclass(frozen=True)
class DomainScores(_Strict):
    """How well one space represents the labels of a tissue."""

    macro_f1: float
    ari: float
    nmi: float


@dataclass(frozen=True)
class Domains(_Strict):
    """The tissue's labels in its spaces."""

    n_labels: int
    n_locations: int
    spaces: dict[str, DomainScores]


@dataclass(frozen=True)
class Evaluation(Record):
    """The latent spaces of a sample and its reference; parts that need labels are None without."""

    SUFFIX = ".evaluation.json"
    STEP = "EVALUATE"

    sample: str
    settings: str
    knn_reference: KnnReference | None
    knn_cross_modal: KnnCrossModal | None
    alignment: AlignmentQuality
    domains: Domains | None
    n_shared_genes: int


@dataclass(frozen=True)
class IntervalLevel(_Strict):
    """Intervals of one level in percent: how often they hold, in percent, and their mean width.

    ``flat_*`` are those of intervals of one width for all genes.
    """

    level: int
    hit_rate: float
    width: float
    flat_hit_rate: float
    flat_width: float


@dataclass(frozen=True)
class IntervalHitRates(_Strict):
    """Intervals on genes that took no part in their calibration."""

    n_genes: int
    n_without: int
    genes_within: float
    levels: list[IntervalLevel]


@dataclass(frozen=True)
class LabelCount(_Strict):
    """Genes with one label of reliability, and how many of them are above the threshold."""

    genes: int
    above: int


@dataclass(frozen=True)
class Judged(_Strict):
    """Predicted against true PCCs; None where there are too few genes to say."""

    auroc: float | None
    calibration_error: float | None
    correlation: float | None
    share: float
    mean: float
    risk_coverage: list[Point]


@dataclass(frozen=True)
class Validation(_Strict):
    """Reliability on genes that it was not learned from."""

    n_genes: int
    pcc_normalised: Judged
    pcc: Judged
    labels: dict[str, LabelCount]


@dataclass(frozen=True)
class Reliability(_Strict):
    """What reliability was learned from, and how it did; None without folds."""

    threshold: float
    learned_from: Annotated[Literal["tissue", "prior"], Field(alias="from")]
    n_genes: int
    validation: Validation | None
    prior_validation: Validation | None


@dataclass(frozen=True)
class ListedGene(_Strict):
    """A gene by its reliability."""

    gene: str
    reliability: float
    predicted_pcc: float
    label: str
    measured: bool


@dataclass(frozen=True)
class Calibration(Record):
    """Reliability and intervals of the imputed genes of a sample.

    ``intervals`` is None where they could not be validated.
    """

    SUFFIX = ".calibration.json"
    STEP = "CALIBRATE"

    sample: str
    arm: str
    population: Population | None
    n_genes: int
    panel: bool
    n_unmeasured: int
    n_held_out: int
    n_without_interval: int
    labels: dict[str, int]
    labels_unmeasured: dict[str, int]
    intervals: IntervalHitRates | None
    intervals_calibrated: bool
    intervals_reason: str
    interval_level: int
    reliability: Reliability
    most_reliable: list[ListedGene]
    least_reliable: list[ListedGene]


# The run


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
class InputPath(_Strict):
    """Where a distinct input is, as given."""

    id: str
    kind: Literal["reference", "spatial"]
    path: str
    coordinates: str | None


@dataclass(frozen=True)
class Image(_Strict):
    """A container image, the processes that ran in it, and where its digest is from."""

    name: str
    processes: list[str]
    digest: str | None
    basis: str


@dataclass(frozen=True)
class Arm(_Strict):
    """An arm of a study.

    Attributes
    ----------
    keys
        Of the settings of its tasks, by ``vae``, ``alignment`` and ``imputation``: each stands for
        the settings of that step and of those before it.
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
class HeadlineItem(_Strict):
    """One number of the headline, and what to know of it."""

    name: str
    value: str
    text: str


@dataclass(frozen=True)
class FailedSample(_Strict):
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
class UsedInput(_Strict):
    """A distinct input, its files, and the samples and references that are made of it."""

    id: str
    kind: Literal["reference", "spatial"]
    path: str
    coordinates: str | None
    used_by: list[str]
    files: list[InputFile]
    coordinates_files: list[InputFile]


@dataclass(frozen=True)
class ProcessCost(_Strict):
    """What the tasks of one process cost."""

    process: str
    tasks: int
    cpu_hours: float
    gpu_hours: float
    peak_memory_gb: float | None


@dataclass(frozen=True)
class RunCost(_Strict):
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
    """Read the records among files of any kind, each recognised by the end of its name."""
    return [kind.read(path) for path in paths if (kind := _kind(path.name))]


def _kind(name: str) -> type[Record] | None:
    return next((kind for kind in FOUND if name.endswith(kind.SUFFIX)), None)
