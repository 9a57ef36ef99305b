"""What INGEST keeps of an input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stlatent import slots
from stlatent.failures import DataError
from stlatent.readers.load import as_labels
from stlatent.records.inputs import Request

if TYPE_CHECKING:
    from anndata import AnnData


def ingest(adata: AnnData, request: Request) -> AnnData:
    """Note the source and the keys that the samplesheet gives, with their columns as labels.

    Parameters
    ----------
    adata
        As `stlatent.readers.load.read` returns it.
    request
        Names the source and columns of ``obs``.

    Raises
    ------
    DataError
        When a column is not there.
    """
    for key, column in request.columns.items():
        if column not in adata.obs:
            available = ", ".join(adata.obs.columns) or "none"
            msg = f"{key} '{column}' is no column of obs (columns: {available})"
            raise DataError(msg)
        adata.obs[column] = as_labels(adata.obs[column])
    slots.note(adata, source=request.id, **request.keys)
    return adata
