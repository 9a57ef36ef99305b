"""JSON files of IMPUTE."""

from __future__ import annotations

from dataclasses import dataclass

from stlatent.records.base import Point, Record, Strict


@dataclass(frozen=True)
class UncoveredLocations(Strict):
    """Locations with one label, and the share of them without a counterpart in the reference."""

    n: int
    uncovered: float


@dataclass(frozen=True)
class CoverageMap(Strict):
    """Coverage of some locations."""

    coordinates: list[Point]
    coverage: list[float]


@dataclass(frozen=True)
class ReferenceCoverage(Strict):
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
