"""Tangram (Biancalani et al. 2021, Nature Methods 18:1352), from scviva-tools."""

from __future__ import annotations

import contextlib
import io
import warnings

import numpy as np
import scipy.sparse as sp

from stlatent import slots
from stlatent.arrays import Array
from stlatent.baselines.interface import Inputs, Prediction
from stlatent.baselines.registry import register
from stlatent.expression import dense, library_size, linear, log_normalise
from stlatent.failures import DataError
from stlatent.sampling import subset

EPOCHS = 1000
# The mapping has an entry for every cell and spot; training holds about 40 bytes for each.
MAX_PAIRS = 100_000_000
MIN_CELLS = 500


@register(
    "tangram",
    package="scviva-tools",
    cite="Biancalani et al., Nature Methods 2021, https://doi.org/10.1038/s41592-021-01264-7",
    published=True,
)
def predict(inputs: Inputs, epochs: int = EPOCHS) -> Prediction:
    """Map cells to spots on the panel and project ``hidden``.

    Mode ``cells`` with the density of panel counts as prior; the reference is normalised to its
    median library and logged, the tissue as it is, as the authors advise. A projected value is a
    sum over the cells mapped to a spot and follows the spot's counts up to a factor, which is
    chosen so that the projected panel adds up to the measured one.

    Parameters
    ----------
    epochs
        Published default: 1000.
    """
    spatial, reference, panel, seed = inputs.spatial, inputs.reference, inputs.panel, inputs.seed
    slots.require_genes(spatial, panel, "the spatial sample")
    slots.require_genes(reference, [*panel, *inputs.hidden], "the reference")
    cells = mapped_cells(reference.n_obs, spatial.n_obs, seed)
    expression = linear(reference)[cells]
    library = library_size(expression)

    def logged(genes: list[str]) -> Array:
        columns = reference.var_names.get_indexer(genes)
        return log_normalise(dense(expression[:, columns]), library, float(np.median(library)))

    tissue, cell_panel = dense(spatial[:, panel].X), logged(panel)
    usable = tissue.any(axis=0) & cell_panel.any(axis=0)
    if not usable.any():
        msg = "Tangram: no gene of the panel is found both in the tissue and in the reference"
        raise DataError(msg)
    tissue, cell_panel = tissue[:, usable], cell_panel[:, usable]
    mapping = _map(cell_panel, tissue, seed, epochs)
    projected = float((mapping.sum(axis=1) @ cell_panel).sum())
    factor = float(tissue.sum()) / projected if projected > 0 else 0.0
    return Prediction((mapping.T @ logged(inputs.hidden) * factor).astype(np.float32), "tissue")


def mapped_cells(n_cells: int, n_spots: int, seed: int) -> Array:
    """Return the positions of the cells to map: all, or as many random ones as memory allows.

    Raises
    ------
    DataError
        When fewer than `MIN_CELLS` would be left of a larger reference.
    """
    room = MAX_PAIRS // n_spots
    if room < min(MIN_CELLS, n_cells):
        msg = (
            f"Tangram holds a matrix of cells by spots: {n_spots} spots leave memory for {room} cells "
            f"of the reference, too few to stand for it. Leave tangram out of --baselines, or give it a "
            f"section with at most {MAX_PAIRS // MIN_CELLS} spots"
        )
        raise DataError(msg)
    return subset(n_cells, room, seed)


def _map(cells: Array, tissue: Array, seed: int, epochs: int) -> Array:
    """Return the probability of every cell (row) to be at every spot (column)."""
    import anndata

    from stlatent import devices

    density = tissue.sum(axis=1, dtype=np.float64)
    # Names of their own: MuData looks for what both have in common.
    of_cells, of_tissue = (anndata.AnnData(sp.csr_matrix(values)) for values in (cells, tissue))
    of_cells.obs_names = [f"cell_{position}" for position in range(len(cells))]
    of_tissue.obs["density"] = density / density.sum()
    # Its progress bar cannot be turned off.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        import mudata
        from scviva.external import Tangram

        devices.make_deterministic(seed, 1)
        both = mudata.MuData({"cells": of_cells, "tissue": of_tissue})
        Tangram.setup_mudata(
            both,
            density_prior_key="density",
            modalities={"sc_layer": "cells", "sp_layer": "tissue", "density_prior_key": "tissue"},
        )
        model = Tangram(both)
        model.train(max_epochs=epochs, accelerator="cpu", devices=1)
    return np.asarray(model.get_mapper_matrix())
