"""Panel expression of tissue and reference on one scale, and the tissue's graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from stlatent import expression, graph, slots
from stlatent.failures import DataError

if TYPE_CHECKING:
    from anndata import AnnData

MIN_PANEL = 3


@dataclass(frozen=True)
class AlignmentInputs:
    """What one alignment is trained on.

    Attributes
    ----------
    tissue, reference
        Standardised expression of the panel, spots x genes and cells x genes, float32.
    latent
        Latent positions of the reference cells, cells x n_latent.
    coordinates
        Spots x 2 or 3.
    graph
        Symmetric 0/1 adjacency of the spots.
    operator
        Its normalised form with self-loops.
    """

    tissue: np.ndarray
    reference: np.ndarray
    latent: np.ndarray
    coordinates: np.ndarray
    graph: sp.csr_matrix
    operator: sp.csr_matrix


def panel_expression(adata: AnnData, panel: list[str], hidden: list[str]) -> np.ndarray:
    """Return standardised log-normalised expression of the panel, observations x genes.

    Hidden genes take no part in the library size. Intensities are standardised as they are.
    """
    values = expression.dense(adata[:, panel].X)
    library = expression.visible_library(adata, hidden)
    if library is not None:
        library = np.maximum(library, 1)
        values = expression.log_normalise(values, library, float(np.median(library)))
    return expression.standardise(values)


def prepare(
    spatial: AnnData, reference: AnnData, panel: list[str], hidden: list[str], n_neighbors: int
) -> AlignmentInputs:
    """Build the inputs of one alignment.

    Parameters
    ----------
    spatial, reference
        After QC; the reference with its latent space.
    panel
        Genes measured in both, used for the alignment.
    hidden
        Genes that a fold hides; they must not be in ``panel``.
    n_neighbors
        Spatial neighbours per spot.

    Raises
    ------
    DataError
        With fewer than three panel genes.
    """
    leaked = sorted(set(panel) & set(hidden))
    if leaked:
        msg = f"hidden genes in the panel: {', '.join(leaked[:5])}"
        raise ValueError(msg)
    if len(panel) < MIN_PANEL:
        msg = (
            f"{len(panel)} genes to align on; at least {MIN_PANEL} are needed. "
            "Use a reference that measured more of the tissue's genes"
        )
        raise DataError(msg)
    edges = graph.adjacency(graph.spatial_neighbours(spatial, n_neighbors))
    return AlignmentInputs(
        tissue=panel_expression(spatial, panel, hidden),
        reference=panel_expression(reference, panel, []),
        latent=np.asarray(reference.obsm[slots.X_VAE], dtype=np.float32),
        coordinates=np.asarray(spatial.obsm[slots.SPATIAL], dtype=np.float64),
        graph=edges,
        operator=graph.normalised_adjacency(edges),
    )
