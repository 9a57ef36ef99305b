"""Names of the AnnData slots that the steps exchange, checked on read and on write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stlatent.failures import DataError, reading

if TYPE_CHECKING:
    from anndata import AnnData

Kind = Literal["reference", "spatial"]

UNS = "stlatent"
SPATIAL = "spatial"
X_VAE = "X_vae"
X_ALIGNED = "X_aligned"
X_UNALIGNED = "X_unaligned"
X_SPATIAL = "X_spatial"
X_JOINT = "X_joint"
NORMALISED = "normalised"
KEYS = ("batch_key", "label_key", "section_key")


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


def facts(adata: AnnData) -> dict[str, Any]:
    """Return what the pipeline noted about a file: ``kind``, ``source``, ``counts`` and keys."""
    return dict(adata.uns[UNS])


def note(adata: AnnData, **values: Any) -> None:
    """Add facts to ``adata.uns['stlatent']``; None values are left out (h5ad cannot hold them)."""
    noted = dict(adata.uns.get(UNS, {}))
    noted.update({name: value for name, value in values.items() if value is not None})
    adata.uns[UNS] = noted


def layers(adata: AnnData) -> dict[str, Any]:
    """Return the layers by name, without ``X``, which anndata since 0.13 lists as layer None."""
    return {name: values for name, values in adata.layers.items() if name is not None}


def label_column(adata: AnnData, key: str) -> Any | None:
    """Return the ``obs`` column that ``key`` (one of `KEYS`) points to, or None when not given."""
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
