"""What the default imputer combines: each candidate predicts genes on the working scale.

The working scale is the reference's: log(1 + counts per 10,000), or intensities as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from stlatent.imputation.predictors import (
    Predictor,
    Problem,
    gene_kernel,
    kernel_ridge,
    knn,
    ridge,
)
from stlatent.imputation.problem import build_problem
from stlatent.imputation.transfer import transfer, transfer_weights
from stlatent.sampling import reference_cells

if TYPE_CHECKING:
    from anndata import AnnData

Array = np.ndarray

TRANSFER = "transfer"
# The panel alone: from the smooth to the local, and from cells or from genes as samples, so that
# their errors differ.
PANEL_PREDICTORS: dict[str, Predictor] = {
    "ridge": ridge,
    "kernel_ridge": kernel_ridge,
    "kernel_ridge_sharp": partial(kernel_ridge, scale=6.0, penalty=2.0),
    "knn": knn,
    "gene_kernel": gene_kernel,
    "gene_kernel_abundance": partial(gene_kernel, abundance=True),
}
CANDIDATES = (TRANSFER, *PANEL_PREDICTORS)


@dataclass
class Candidates:
    """All candidates for one tissue, seen without some genes.

    Attributes
    ----------
    spatial, reference
        After QC.
    panel
        Genes to predict from.
    hidden
        Genes of the tissue that nothing may look at.
    z, latent
        Aligned positions of the spots, and of the reference cells.
    precision
        Of the latent attention.
    seed
        Of what predictors sample.
    """

    spatial: AnnData
    reference: AnnData
    panel: list[str]
    hidden: list[str]
    z: Array
    latent: Array
    precision: float
    seed: int

    @cached_property
    def weights(self) -> sp.csr_matrix:
        """Attention over the reference cells in use, spots x cells."""
        cells = reference_cells(self.reference.n_obs, self.seed)
        return transfer_weights(self.z, self.latent[cells], self.precision)

    def problem(self, genes: list[str]) -> Problem:
        """Return the prediction problem of ``genes``."""
        return build_problem(
            self.spatial, self.reference, self.panel, self.hidden, genes, self.seed
        )

    def predict(self, name: str, problem: Problem) -> Array:
        """Return what candidate ``name`` predicts for a problem, spots x genes."""
        if name == TRANSFER:
            return transfer(self.weights, problem.reference_target)
        return PANEL_PREDICTORS[name](problem)
