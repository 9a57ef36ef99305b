"""Every name in an AnnData file that one step writes and another reads, and the files' contracts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from stlatent.failures import DataError, reading

if TYPE_CHECKING:
    from anndata import AnnData

Kind = Literal["reference", "spatial"]

Key = Literal["batch_key", "label_key", "section_key"]
KEYS: tuple[Key, ...] = ("batch_key", "label_key", "section_key")

# obsm
SPATIAL = "spatial"
X_VAE = "X_vae"  # cells of the reference in the VAE's latent space
X_ALIGNED = "X_aligned"
X_UNALIGNED = "X_unaligned"  # the same before it is matched to the reference
X_SPATIAL = "X_spatial"
X_JOINT = "X_joint"  # aligned and spatial side by side
_X_INNER = "X_inner_"

# layers of an imputed file, beside one a method
NORMALISED = "normalised"

# obs of an imputed file
EXPECTED_LIBRARY = "expected_library"  # absent for intensities
REFERENCE_COVERAGE = "reference_coverage"
REFERENCE_COVERED = "reference_covered"
REFERENCE_DISTANCE = "reference_distance"

# var of an imputed file
METHOD = "method"  # the one of X
MEASURED = "measured"  # whether the tissue measured the gene
IN_DECODER = "in_decoder"
NORMALISED_MEAN, NORMALISED_SD = "normalised_mean", "normalised_sd"
SAMPLING_CEILING = "sampling_ceiling"
SAMPLING_CEILING_NORMALISED = "sampling_ceiling_normalised"
LIBRARY_CORRELATION = "library_correlation"
# What reliability is predicted from (`stlatent.trust.gene_features`).
FEATURES = (
    "panel_predictability",
    "latent_predictability",
    "reference_detection",
    "reference_mean",
    "prediction_spread",
    "morans_i",
    "candidate_agreement",
    SAMPLING_CEILING,
    SAMPLING_CEILING_NORMALISED,
    LIBRARY_CORRELATION,
    "panel_context",
)
RELIABILITY, RELIABILITY_RAW = "reliability", "reliability_raw"
RELIABILITY_LABEL = "reliability_label"
PREDICTED_PCC, PREDICTED_PCC_RAW = "predicted_pcc", "predicted_pcc_raw"
CALIBRATED = (
    RELIABILITY,
    RELIABILITY_RAW,
    RELIABILITY_LABEL,
    PREDICTED_PCC,
    PREDICTED_PCC_RAW,
)

# uns
UNS = "stlatent"
SECONDS, WEIGHTS, INTERVALS, ARM = "seconds", "weights", "intervals", "arm"


class InnerFoldFacts(TypedDict):
    """Genes of the panel hidden in one inner fold, and the precision of its placement."""

    hidden: list[str]
    precision: float


class Keys(TypedDict, total=False):
    """Columns of ``obs`` that the samplesheet names, by `KEYS`."""

    batch_key: str
    label_key: str
    section_key: str


class Facts(Keys, total=False):
    """What is noted in ``uns['stlatent']``; h5ad gives numbers and arrays back as those of numpy.

    Attributes
    ----------
    source
        Id of the input, from quality control on name of the sample or reference.
    counts
        Integer counts, or continuous intensities.
    matrix
        Where in the user's file the values are from.
    settings
        Key of the settings of the step and of those before it.
    arm
        The arm of a calibrated file; ``baseline`` for methods to compare with.
    seconds
        Of ALIGN, or by method.
    imputation_space, precision
        The slot of ``obsm`` that imputation takes, and the precision of its attention.
    n_neighbors
        Of locations, in the graph and in all that averages over neighbours.
    inner_folds
        By number; their positions are in ``obsm[inner_slot(number)]``.
    weights
        Of the stack, by candidate.
    intervals
        `stlatent.trust.intervals.Model` as numbers.
    """

    kind: Kind
    source: str
    counts: bool
    matrix: str
    settings: str
    arm: str
    fold: str
    seed: int
    seconds: Any
    imputation_space: str
    precision: float
    n_neighbors: int
    inner_folds: dict[str, InnerFoldFacts]
    weights: dict[str, float]
    intervals: dict[str, Any]


@dataclass(frozen=True)
class Contract:
    """The slots that a file of one stage must have."""

    stage: str
    obsm: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    has_x: bool = True


INGESTED_REFERENCE = Contract("INGEST")
INGESTED_SPATIAL = Contract("INGEST", obsm=(SPATIAL,))
LATENT = Contract("TRAIN_VAE", obsm=(X_VAE,), has_x=False)
ALIGNED = Contract("ALIGN", obsm=(SPATIAL, X_ALIGNED, X_UNALIGNED, X_SPATIAL, X_JOINT), has_x=False)
IMPUTED = Contract("IMPUTE", obsm=(SPATIAL,))


def facts(adata: AnnData) -> Facts:
    """Return what the pipeline noted about a file."""
    noted: Facts = dict(adata.uns[UNS])  # type: ignore[assignment]
    return noted


def note(adata: AnnData, **values: Unpack[Facts]) -> None:
    """Add facts to ``adata.uns['stlatent']``."""
    adata.uns[UNS] = dict(adata.uns.get(UNS, {})) | values


def inner_slot(number: int) -> str:
    """Return the slot of ``obsm`` with the positions of an inner fold."""
    return f"{_X_INNER}{number}"


def is_inner_slot(name: str) -> bool:
    """Whether a slot of ``obsm`` holds positions of an inner fold."""
    return name.startswith(_X_INNER)


def bound_layers(level: int) -> tuple[str, str]:
    """Return the layers with lower and upper bounds of the intervals of a level, in percent."""
    return f"lower_{level}", f"upper_{level}"


def layers(adata: AnnData) -> dict[str, Any]:
    """Return the layers by name, without ``X``, which anndata since 0.13 lists as layer None."""
    return {name: values for name, values in adata.layers.items() if name is not None}


def label_column(adata: AnnData, key: Key) -> Any | None:
    """Return the ``obs`` column that ``key`` points to, or None when not given."""
    column = facts(adata).get(key)
    return None if column is None else adata.obs[column]


def check(adata: AnnData, contract: Contract, name: str) -> AnnData:
    """Return ``adata`` when it has every slot of ``contract``.

    Raises
    ------
    DataError
        Naming the missing slots and the step that should have written them.
    """
    missing = [f"obsm['{slot}']" for slot in contract.obsm if slot not in adata.obsm]
    missing += [f"layers['{slot}']" for slot in contract.layers if slot not in adata.layers]
    if UNS not in adata.uns:
        missing.append(f"uns['{UNS}']")
    if contract.has_x and adata.X is None:
        missing.append("X")
    if missing:
        msg = f"{name} lacks {', '.join(missing)}: it is not an output of {contract.stage}"
        raise DataError(msg)
    return adata


def read(path: str | Path, contract: Contract) -> AnnData:
    """Read an h5ad file and check it against ``contract``."""
    import anndata

    with reading(path):
        adata = anndata.read_h5ad(path)
    return check(adata, contract, Path(path).name)


@contextmanager
def plain_text() -> Iterator[None]:
    """Write text as anndata before 0.11 and readers in other languages know it.

    Text with missing values cannot be written so: make it categories.
    """
    import anndata

    with anndata.settings.override(allow_write_nullable_strings=False):
        yield


def write(adata: AnnData, path: str | Path, contract: Contract) -> None:
    """Check ``adata`` against ``contract`` and write it compressed."""
    with plain_text():
        check(adata, contract, Path(path).name).write_h5ad(path, compression="gzip")


def require_genes(adata: AnnData, genes: list[str], name: str) -> None:
    """Check that ``adata`` has all ``genes``.

    Raises
    ------
    DataError
        Naming some that are missing.
    """
    missing = [gene for gene in genes if gene not in adata.var_names]
    if missing:
        msg = f"{name} lacks {len(missing)} genes of the fold, among them {', '.join(missing[:5])}"
        raise DataError(msg)
