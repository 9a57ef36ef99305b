"""What INGEST keeps of an input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from stlatent import slots
from stlatent.failures import DataError
from stlatent.readers.load import as_labels

if TYPE_CHECKING:
    from anndata import AnnData


def asked_keys(request: dict[str, Any]) -> dict[str, str]:
    """Return the keys that the samplesheet gives, with their columns of ``obs``."""
    return {key: request[key] for key in slots.KEYS if request.get(key)}


def ingest(adata: AnnData, request: dict[str, Any]) -> AnnData:
    """Note the source and the keys that the samplesheet gives, with their columns as labels.

    Parameters
    ----------
    adata
        As `stlatent.readers.read` returns it.
    request
        ``id`` and any of ``batch_key``, ``label_key`` and ``section_key`` (None when not given).

    Raises
    ------
    DataError
        When a column is not there.
    """
    keys = asked_keys(request)
    for key, column in keys.items():
        if column not in adata.obs:
            available = ", ".join(adata.obs.columns) or "none"
            msg = f"{key} '{column}' is no column of obs (columns: {available})"
            raise DataError(msg)
        adata.obs[column] = as_labels(adata.obs[column])
    slots.note(adata, source=request["id"], **cast(slots.Keys, keys))
    return adata
