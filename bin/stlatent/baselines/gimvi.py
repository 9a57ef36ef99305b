"""gimVI (Lopez et al. 2019, arXiv:1905.02269), from scviva-tools."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from stlatent import slots
from stlatent.arrays import Array
from stlatent.baselines.interface import Inputs, Prediction
from stlatent.baselines.registry import register
from stlatent.expression import linear
from stlatent.failures import DataError
from stlatent.sampling import reference_cells

if TYPE_CHECKING:
    from anndata import AnnData


EPOCHS = 200
MIN_OBSERVATIONS = 10


@register(
    "gimvi",
    package="scviva-tools",
    cite="Lopez et al. 2019, https://arxiv.org/abs/1905.02269",
    published=True,
)
def predict(inputs: Inputs, epochs: int = EPOCHS) -> Prediction:
    """Train gimVI on the reference's panel and hidden genes and the tissue's panel, and decode.

    Published defaults: 10 latent dimensions, zero-inflated negative binomial for the reference,
    negative binomial for the tissue; values are rates that include the library. Cells without a
    count in these genes take no part, spots without one in the panel are predicted 0. Intensities
    are given to the negative binomial as they are.

    Parameters
    ----------
    epochs
        As in Li et al. 2022: 200.
    """
    import anndata

    spatial, reference, seed = inputs.spatial, inputs.reference, inputs.seed
    panel, hidden = inputs.panel, inputs.hidden
    slots.require_genes(spatial, panel, "the spatial sample")
    slots.require_genes(reference, [*panel, *hidden], "the reference")
    genes = [*panel, *hidden]
    cells = linear(reference)[reference_cells(reference.n_obs, seed)]
    cells = _observed(cells[:, reference.var_names.get_indexer(genes)])[0]
    spots, measured = _observed(sp.csr_matrix(spatial[:, panel].X, dtype=np.float32))
    if min(cells.shape[0], spots.shape[0]) < MIN_OBSERVATIONS:
        msg = (
            f"gimVI: {spots.shape[0]} spots and {cells.shape[0]} cells of the reference have a count in "
            f"the panel, and it needs {MIN_OBSERVATIONS} of each"
        )
        raise DataError(msg)
    adatas = [anndata.AnnData(cells), anndata.AnnData(spots)]
    adatas[0].var_names, adatas[1].var_names = genes, panel
    decoded = _train(adatas[0], adatas[1], seed, epochs)[:, len(panel) :]
    if not np.isfinite(decoded).all():
        msg = "gimVI: the training diverged, its predictions are no numbers"
        raise DataError(msg)
    values = np.zeros((spatial.n_obs, len(hidden)), dtype=np.float32)
    values[measured] = decoded
    return Prediction(values, "tissue")


def _observed(values: sp.csr_matrix) -> tuple[sp.csr_matrix, Array]:
    """Return the rows that are not all 0, and which they are."""
    kept = np.asarray(values.sum(axis=1)).ravel() > 0
    return values[kept].astype(np.float32), kept


def _train(cells: AnnData, spots: AnnData, seed: int, epochs: int) -> Array:
    """Return the rates of the genes of ``cells`` at every spot."""
    from stlatent import devices

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import scvi
        from scviva.model import GIMVI

        scvi.settings.verbosity = logging.ERROR
        scvi.settings.seed = seed
        devices.make_deterministic(seed, 1)
        for adata in (cells, spots):
            GIMVI.setup_anndata(adata)
        model = GIMVI(cells, spots)
        model.train(
            max_epochs=epochs, accelerator="cpu", devices=1, enable_progress_bar=False, logger=False
        )
        return np.asarray(model.get_imputed_values(normalized=False)[1])
