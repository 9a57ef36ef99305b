"""EVALUATE: the latent spaces of a sample and its reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stlatent import slots
from stlatent.arrays import Array
from stlatent.evaluation import latent
from stlatent.evaluation.alignment_quality import alignment_quality, knn_cross_modal, labels_of
from stlatent.evaluation.domains import PCA, judge_domains, tissue_spaces
from stlatent.expression import reference_expression
from stlatent.records.evaluation import Evaluation, KnnReference
from stlatent.records.inputs import Fold
from stlatent.sampling import subset

if TYPE_CHECKING:
    from anndata import AnnData


def evaluate(
    aligned: AnnData,
    spatial: AnnData,
    reference: AnnData,
    genes: list[str],
    fold: Fold,
    settings: str,
    seed: int,
) -> Evaluation:
    """Judge the latent spaces of a sample and its reference.

    Parameters
    ----------
    aligned
        Output of ALIGN.
    spatial
        The same locations with their expression and labels, after quality control.
    reference
        After quality control, with ``obsm['X_vae']``.
    genes
        Of the PCA that ``X_vae`` is compared with: those of the VAE.
    fold
        The full run.
    settings
        Key of those of the alignment, noted.
    seed
        Of subsets and cross-validation: at most `latent.MAX_OBSERVATIONS` a side are used.
    """
    cells = subset(reference.n_obs, latent.MAX_OBSERVATIONS, seed)
    spots = subset(aligned.n_obs, latent.MAX_OBSERVATIONS, seed)
    space = np.asarray(reference.obsm[slots.X_VAE])[cells]
    tissue = {
        slot: np.asarray(aligned.obsm[slot])[spots] for slot in (slots.X_UNALIGNED, slots.X_ALIGNED)
    }
    labels, known = labels_of(reference), labels_of(spatial)
    labels = None if labels is None else labels[cells]
    spaces: dict[str, Array] = {}
    if known is not None:
        n_neighbors = int(slots.facts(aligned)["n_neighbors"])
        spaces = tissue_spaces(aligned, spatial, fold.panel, n_neighbors, seed)
        known = known[spots]
    return Evaluation(
        sample=fold.sample,
        settings=settings,
        knn_reference=_knn_reference(reference, cells, labels, genes, seed),
        knn_cross_modal=knn_cross_modal(space, labels, tissue, known),
        alignment=alignment_quality(space, labels, tissue, known, seed),
        domains=judge_domains({name: z[spots] for name, z in spaces.items()}, known, seed),
        n_shared_genes=len(fold.panel),
    )


def _knn_reference(
    reference: AnnData, cells: Array, labels: Array | None, genes: list[str], seed: int
) -> KnnReference | None:
    """Return how well the VAE's latent space and PCA hold the labels of some cells."""
    if labels is None:
        return None
    space = np.asarray(reference.obsm[slots.X_VAE])[cells]
    values = reference_expression(reference, cells, genes)
    pca = latent.principal_components(values, space.shape[1], seed)
    of_space = latent.knn_cross_validated(space, labels, seed)
    of_pca = latent.knn_cross_validated(pca, labels, seed)
    if of_space is None or of_pca is None:
        return None
    return KnnReference(slots.facts(reference)["label_key"], {slots.X_VAE: of_space, PCA: of_pca})
