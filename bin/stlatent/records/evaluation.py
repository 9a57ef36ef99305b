"""JSON files of SCORE, EVALUATE and CALIBRATE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from stlatent.records.base import Point, Record, Strict
from stlatent.records.inputs import Population


@dataclass(frozen=True)
class MapGene(Strict):
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
class Classified(Strict):
    """How well labels were predicted."""

    accuracy: float
    macro_f1: float


# By the number of neighbours.
ByNeighbours = dict[str, Classified]


@dataclass(frozen=True)
class KnnReference(Strict):
    """Labels of the reference from neighbours, by space and number of neighbours."""

    label_key: str
    spaces: dict[str, ByNeighbours]


@dataclass(frozen=True)
class KnnCrossModal(Strict):
    """Labels of the tissue from neighbours in the reference, after and before it is matched."""

    k: ByNeighbours
    k_before: ByNeighbours
    n_shared_labels: int


@dataclass(frozen=True)
class AlignmentQuality(Strict):
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
class DomainScores(Strict):
    """How well one space represents the labels of a tissue."""

    macro_f1: float
    ari: float
    nmi: float


@dataclass(frozen=True)
class Domains(Strict):
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
class IntervalLevel(Strict):
    """Intervals of one level in percent: how often they hold, in percent, and their mean width.

    ``flat_*`` are those of intervals of one width for all genes.
    """

    level: int
    hit_rate: float
    width: float
    flat_hit_rate: float
    flat_width: float


@dataclass(frozen=True)
class IntervalHitRates(Strict):
    """Intervals on genes that took no part in their calibration."""

    n_genes: int
    n_without: int
    genes_within: float
    levels: list[IntervalLevel]


@dataclass(frozen=True)
class LabelCount(Strict):
    """Genes with one label of reliability, and how many of them are above the threshold."""

    genes: int
    above: int


@dataclass(frozen=True)
class Judged(Strict):
    """Predicted against true PCCs; None where there are too few genes to say."""

    auroc: float | None
    calibration_error: float | None
    correlation: float | None
    share: float
    mean: float
    risk_coverage: list[Point]


@dataclass(frozen=True)
class Validation(Strict):
    """Reliability on genes that it was not learned from."""

    n_genes: int
    pcc_normalised: Judged
    pcc: Judged
    labels: dict[str, LabelCount]


@dataclass(frozen=True)
class Reliability(Strict):
    """What reliability was learned from, and how it did; None without folds."""

    threshold: float
    learned_from: Annotated[Literal["tissue", "prior"], Field(alias="from")]
    n_genes: int
    validation: Validation | None
    prior_validation: Validation | None


@dataclass(frozen=True)
class ListedGene(Strict):
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
