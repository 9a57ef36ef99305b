"""JSON files of the steps up to the folds of genes: samplesheet, inputs, QC and folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from pydantic import Field, TypeAdapter

from stlatent.failures import reading
from stlatent.records.base import Point, Record, Strict
from stlatent.records.failure import Failure

PopulationName = Literal["delivered", "variable", "shared"]


@dataclass(frozen=True)
class SheetRow(Strict):
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
class Problem(Strict):
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
class Source(Strict):
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
class Overlap(Strict):
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
class InputFile(Strict):
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
class Sample(Strict):
    """A sample to run: the ids of its inputs and of its distinct reference."""

    sample: str
    spatial_source: str
    reference_source: str
    reference: str


@dataclass(frozen=True)
class InputWarning(Strict):
    """Something to look at in a sample that can run."""

    id: str
    step: str
    reason: str


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
class Overview(Strict):
    """Size and medians of a matrix; mitochondrial counts are None where none are known."""

    observations: int
    genes: int
    median_counts: float
    median_genes: float
    median_mito_percent: float | None


@dataclass(frozen=True)
class Removed(Strict):
    """How many each filter removed, by its name."""

    observations: dict[str, int]
    genes: dict[str, int]


@dataclass(frozen=True)
class Thresholds(Strict):
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
class Histograms(Strict):
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
class Population(Strict):
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
