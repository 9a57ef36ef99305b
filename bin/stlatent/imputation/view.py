"""What a fold lets the candidates look at: computed once, whatever genes are then predicted.

Panels and targets are on the working scale, that of the reference: log(1 + counts per 10,000), or
intensities as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from stlatent import slots
from stlatent.arrays import Array
from stlatent.expression import (
    REFERENCE_TARGET,
    dense,
    library_size,
    linear,
    log_normalise,
    standardise,
    visible_library,
)
from stlatent.failures import DataError
from stlatent.graph import neighbour_mean, spatial_neighbours
from stlatent.imputation.attention import attention
from stlatent.sampling import reference_cells

if TYPE_CHECKING:
    import scipy.sparse as sp
    from anndata import AnnData

    from stlatent.alignment.placement import Placement
    from stlatent.vae.decoder import Decoder
    from stlatent.vae.geometry import Geometry


class LatentSpace(Protocol):
    """The frozen latent space of the reference, see `stlatent.vae.storage.SavedVAE`."""

    @property
    def latent(self) -> Array:
        """Positions of all cells of the reference, cells x n_latent."""

    @property
    def geometry(self) -> Geometry:
        """What a distance in it is."""

    @property
    def decoder(self) -> Decoder | None:
        """Latent space -> expression of ``genes``; None where there is none."""

    @property
    def genes(self) -> list[str]:
        """Genes that it was trained on, in the decoder's order."""


@dataclass(frozen=True)
class Targets:
    """Genes to predict, and their expression in the reference cells in use.

    Attributes
    ----------
    names
        Of the genes.
    expression
        Cells x genes, working scale.
    """

    names: list[str]
    expression: Array

    @cached_property
    def mean(self) -> Array:
        """Mean of every gene."""
        return np.asarray(self.expression.mean(axis=0))

    @cached_property
    def spread(self) -> Array:
        """Standard deviation of every gene, 1 where it is constant."""
        spread = self.expression.std(axis=0)
        return np.where(spread > 0, spread, 1.0)

    @cached_property
    def standardised(self) -> Array:
        """Z-scores, not clipped, cells x genes float64."""
        return np.asarray(((self.expression - self.mean) / self.spread).astype(np.float64))

    def restored(self, standardised: Array) -> Array:
        """Return z-scores (locations x genes) on the working scale, float32."""
        return np.asarray(standardised * self.spread + self.mean, dtype=np.float32)


@dataclass(frozen=True)
class Cells:
    """The cells of the reference in use: all, or beyond `MAX_REFERENCE_CELLS` a seeded subset.

    Attributes
    ----------
    reference
        After QC.
    seed
        Of the subset.
    """

    reference: AnnData
    seed: int

    @cached_property
    def rows(self) -> Array:
        """Positions of the cells in the reference."""
        return reference_cells(self.reference.n_obs, self.seed)

    @cached_property
    def linear(self) -> sp.csr_matrix:
        """Expression that adds up over genes, cells x all genes."""
        values = linear(self.reference)
        return values if len(self.rows) == values.shape[0] else values[self.rows]

    @cached_property
    def library(self) -> Array:
        """Total of every cell."""
        return library_size(self.linear)

    def expression(self, genes: list[str]) -> Array:
        """Return expression on the working scale, cells x genes."""
        columns = self.reference.var_names.get_indexer(genes)
        return log_normalise(dense(self.linear[:, columns]), self.library, REFERENCE_TARGET)

    def targets(self, genes: list[str]) -> Targets:
        """Return ``genes`` as targets.

        Raises
        ------
        DataError
            When the reference lacks one.
        """
        slots.require_genes(self.reference, genes, "the reference")
        return Targets(genes, self.expression(genes))


@dataclass(frozen=True)
class View:
    """What one fold lets the candidates look at; nothing in it knows the hidden genes.

    Attributes
    ----------
    reference_panel, tissue_panel
        Cells x panel and locations x panel.
    nearest
        Locations x k table of spatial neighbours (`stlatent.graph.neighbours`), or None.
    library
        Total of the visible genes at every location; None for intensities.
    panel
        Names of the genes to predict from.
    panel_total
        Sum of the tissue's panel, not normalised.
    shared, shared_library
        The visible genes that the reference has too, and their total at every location.
    seed
        Of whatever candidates sample.
    cells
        The reference cells in use.
    placement
        Of the tissue in the latent space; None for what needs no alignment.
    space
        The latent space; None without one.
    """

    reference_panel: Array
    tissue_panel: Array
    nearest: Array | None = None
    library: Array | None = None
    panel: list[str] = field(default_factory=list)
    panel_total: float = 0.0
    shared: list[str] = field(default_factory=list)
    shared_library: Array | None = None
    seed: int = 0
    cells: Cells | None = None
    placement: Placement | None = None
    space: LatentSpace | None = None

    @property
    def n_locations(self) -> int:
        """Number of locations."""
        return len(self.tissue_panel)

    @property
    def counts(self) -> bool:
        """Whether the tissue holds counts; otherwise intensities."""
        return self.library is not None

    def targets(self, genes: list[str]) -> Targets:
        """Return ``genes`` as targets, see `Cells.targets`."""
        return known(self.cells).targets(genes)

    @cached_property
    def varying(self) -> Array:
        """Which genes of the panel vary on both sides."""
        return (np.ptp(self.reference_panel, axis=0) > 0) & (np.ptp(self.tissue_panel, axis=0) > 0)

    @cached_property
    def standard_reference(self) -> Array:
        """Z-scores of the panel genes that vary, cells x genes.

        Raises
        ------
        DataError
            When no gene varies.
        """
        if not self.varying.any():
            msg = (
                "no gene of the panel varies both in the tissue and in the reference; "
                "check that both files hold the values you expect"
            )
            raise DataError(msg)
        return standardise(self.reference_panel[:, self.varying])

    def standard_tissue(self, mixing: float) -> Array:
        """Return z-scores of the panel genes that vary, locations x genes.

        Parameters
        ----------
        mixing
            Share of every location that is replaced by the mean of its spatial neighbours.
        """
        if mixing not in self._standard_tissue:
            tissue = standardise(self.tissue_panel[:, self.varying])
            if self.nearest is not None and mixing > 0:
                tissue = (1 - mixing) * tissue + mixing * neighbour_mean(tissue, self.nearest)
            self._standard_tissue[mixing] = tissue.astype(np.float32)
        return self._standard_tissue[mixing]

    @cached_property
    def _standard_tissue(self) -> dict[float, Array]:
        return {}

    @cached_property
    def latent(self) -> Array | None:
        """Positions of the reference cells in use, cells x n_latent; None without a space."""
        return None if self.space is None else self.space.latent[known(self.cells).rows]

    @cached_property
    def attention(self) -> sp.csr_matrix:
        """Attention of every location over the reference cells in use, locations x cells."""
        placement, space = known(self.placement), known(self.space)
        return attention(
            placement.z, known(self.latent), placement.precision, geometry=space.geometry
        )

    @cached_property
    def mean_share(self) -> dict[str, float]:
        """Expected share of every gene in the tissue's library, by the mean attention."""
        cells = known(self.cells)
        mean = np.asarray(self.attention.mean(axis=0)).ravel()
        shares = (mean / cells.library) @ cells.linear
        return dict(zip(cells.reference.var_names, np.asarray(shares).ravel(), strict=True))

    @cached_property
    def expected_library(self) -> Array | None:
        """Expected whole library of every location; None for intensities.

        The observed total of the genes that the reference has, over the share that they capture.
        That share is estimated once per tissue, so that it does not add noise of its own.
        """
        if self.shared_library is None:
            return None
        captured = sum(self.mean_share[gene] for gene in self.shared)
        return self.shared_library / min(max(captured, 1e-6), 1.0)


@dataclass(frozen=True)
class Views:
    """Makes the views of one tissue; what its folds have in common is computed once.

    Attributes
    ----------
    spatial, reference
        After QC.
    n_neighbors
        Spatial neighbours per location.
    seed
        Of the subset of cells, and of whatever candidates sample.
    space
        The latent space; None for what needs none.
    """

    spatial: AnnData
    reference: AnnData
    n_neighbors: int
    seed: int
    space: LatentSpace | None = None

    @cached_property
    def cells(self) -> Cells:
        """The reference cells in use."""
        return Cells(self.reference, self.seed)

    @cached_property
    def nearest(self) -> Array:
        """Spatial neighbours, locations x k."""
        return spatial_neighbours(self.spatial, self.n_neighbors)

    def view(self, panel: list[str], hidden: list[str], placement: Placement | None = None) -> View:
        """Return the view of a fold.

        Counts of the tissue are divided by the library of its visible genes and scaled to the
        median library, those of the reference by their total and scaled to `REFERENCE_TARGET`; both
        log1p. A reference without counts is brought to the same scale.

        Parameters
        ----------
        panel
            Genes to predict from.
        hidden
            Genes of the tissue that nothing may look at, not even through the library.
        placement
            From an alignment that did not see the hidden genes either.

        Raises
        ------
        DataError
            When a gene of the panel is missing.
        """
        spatial, reference = self.spatial, self.reference
        slots.require_genes(spatial, panel, "the spatial sample")
        slots.require_genes(reference, panel, "the reference")
        library = visible_library(spatial, hidden)
        away = set(hidden)
        measured = reference.var_names
        shared = [gene for gene in spatial.var_names if gene in measured and gene not in away]
        unknown = spatial.var_names.difference(shared).tolist()
        tissue = dense(spatial[:, panel].X)
        return View(
            reference_panel=self.cells.expression(panel),
            tissue_panel=on_working_scale(tissue, library),
            nearest=self.nearest,
            library=library,
            panel=panel,
            panel_total=float(tissue.sum()),
            shared=shared,
            shared_library=visible_library(spatial, unknown),
            seed=self.seed,
            cells=self.cells,
            placement=placement,
            space=self.space,
        )

    def measured(self, genes: list[str], library: Array | None) -> Array:
        """Return measured values on the working scale, locations x genes.

        Parameters
        ----------
        genes
            Of the tissue.
        library
            Of the genes that a fold leaves visible; None for intensities.
        """
        return on_working_scale(dense(self.spatial[:, genes].X), library)


def on_working_scale(values: Array, library: Array | None) -> Array:
    """Return values of the tissue (locations x genes) divided by ``library``, log1p of the median.

    Intensities, which have no library, stay as they are.
    """
    if library is None:
        return values
    return log_normalise(values, np.maximum(library, 1.0), max(float(np.median(library)), 1.0))


def known[T](value: T | None) -> T:
    """Return ``value``, which this view has to have.

    Raises
    ------
    ValueError
        When it is None.
    """
    if value is None:
        msg = "this view has neither reference nor placement: it serves the panel's candidates only"
        raise ValueError(msg)
    return value
