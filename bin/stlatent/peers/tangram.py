"""Tangram (Biancalani et al. 2021, Nature Methods 18:1352), from the package tangram-sc."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from stlatent.expression import dense, library_size, linear, log_normalise
from stlatent.failures import DataError
from stlatent.imputation.problem import require_genes
from stlatent.peers.interface import Prediction
from stlatent.sampling import subset

if TYPE_CHECKING:
    from anndata import AnnData

Array = np.ndarray

EPOCHS = 1000
# The mapping has an entry for every cell and spot; training holds about 40 bytes for each.
MAX_PAIRS = 100_000_000
MIN_CELLS = 500


def predict(
    spatial: AnnData,
    reference: AnnData,
    panel: list[str],
    hidden: list[str],
    seed: int,
    epochs: int = EPOCHS,
) -> Prediction:
    """Map cells to spots on the panel and project ``hidden``.

    Mode ``cells`` with the density of panel counts as prior; the reference is normalised to its
    median library and logged, the tissue as it is, as the authors advise. A projected value is a
    sum over the cells mapped to a spot and follows the spot's counts up to a factor, which is
    chosen so that the projected panel adds up to the measured one. Parameters and errors as in
    `stlatent.peers.interface`.

    Parameters
    ----------
    epochs
        Published default: 1000.
    """
    from stlatent import devices

    require_genes(spatial, panel, "the spatial sample")
    require_genes(reference, [*panel, *hidden], "the reference")
    cells = mapped_cells(reference.n_obs, spatial.n_obs, seed)
    expression = linear(reference)[cells]
    library = library_size(expression)

    def logged(genes: list[str]) -> Array:
        columns = reference.var_names.get_indexer(genes)
        return log_normalise(dense(expression[:, columns]), library, float(np.median(library)))

    devices.make_deterministic(seed, 1)
    tissue, cell_panel = dense(spatial[:, panel].X), logged(panel)
    usable = tissue.any(axis=0) & cell_panel.any(axis=0)
    if not usable.any():
        msg = "Tangram: no gene of the panel is found both in the tissue and in the reference"
        raise DataError(msg)
    tissue, cell_panel = tissue[:, usable], cell_panel[:, usable]
    mapping = _map(cell_panel, tissue, seed, epochs)
    projected = float((mapping.sum(axis=1) @ cell_panel).sum())
    factor = float(tissue.sum()) / projected if projected > 0 else 0.0
    return Prediction((mapping.T @ logged(hidden) * factor).astype(np.float32), "tissue")


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

    tangram = _import()
    names = [f"gene_{position}" for position in range(cells.shape[1])]
    adatas = []
    for values in (cells, tissue):
        adata = anndata.AnnData(sp.csr_matrix(values))
        adata.var_names = names
        # tangram.pp_adatas would note the genes in the order of a set, another one in every process.
        adata.uns.update(training_genes=names, overlap_genes=names)
        adatas.append(adata)
    density = tissue.sum(axis=1, dtype=np.float64)
    adatas[1].obs["rna_count_based_density"] = density / density.sum()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mapped = tangram.map_cells_to_space(
            *adatas,
            mode="cells",
            device="cpu",
            density_prior="rna_count_based",
            num_epochs=epochs,
            random_state=seed + 1,  # it takes 0 for no seed
            verbose=False,
        )
    return np.asarray(mapped.X)


def _import():  # type: ignore[no-untyped-def]
    """Import tangram, which sets the level of the root logger, and leave that as it was."""
    root = logging.getLogger()
    level = root.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tangram
    root.setLevel(level)
    return tangram
