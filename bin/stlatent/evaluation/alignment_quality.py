"""How well a tissue is aligned with its reference: labels across modalities, and mixing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stlatent import slots
from stlatent.alignment.composition import composition_weights, effective_share
from stlatent.arrays import Array
from stlatent.evaluation import latent
from stlatent.records.evaluation import AlignmentQuality, KnnCrossModal

if TYPE_CHECKING:
    from anndata import AnnData


def labels_of(adata: AnnData) -> Array | None:
    """Labels as strings, empty where missing; None when the sheet names no column."""
    column = slots.label_column(adata, "label_key")
    if column is None:
        return None
    return column.astype(object).where(column.notna(), "").astype(str).to_numpy().astype(str)


def knn_cross_modal(
    space: Array, labels: Array | None, tissue: dict[str, Array], known: Array | None
) -> KnnCrossModal | None:
    """Predict the tissue's labels from the reference, before and after it is matched to it.

    Parameters
    ----------
    space, labels
        Latent positions of the reference and its labels, empty where missing, or None.
    tissue, known
        Latent positions of the tissue by slot: `slots.X_UNALIGNED` and `slots.X_ALIGNED`; and its
        labels.

    Returns
    -------
    None without labels of both, or with fewer than two in common.
    """
    if labels is None or known is None:
        return None
    before, after = (
        latent.knn_cross_modal(space, labels, tissue[slot], known)
        for slot in (slots.X_UNALIGNED, slots.X_ALIGNED)
    )
    if before is None or after is None:
        return None
    return KnnCrossModal(k=after[0], k_before=before[0], n_shared_labels=after[1])


def alignment_quality(
    space: Array,
    labels: Array | None,
    tissue: dict[str, Array],
    known: Array | None,
    seed: int,
    weights: Array | None = None,
) -> AlignmentQuality:
    """AUROC, cLISI and purity, before and after.

    The AUROC is that against the part of the reference that the tissue is made of: its clusters
    weigh as much as the tissue's nearest cells give them before the alignment (`composition`). A
    reference with types that the tissue lacks would be told apart however good the alignment is,
    as ``auroc_all_before`` and ``auroc_all_after``, without weights, show. ``reference_used`` is the
    effective share of the reference under the weights.

    cLISI and purity are those of the reference's cells, whose labels are known, among cells and spots.
    Spots have their own labels where at least two of them occur in the reference too; otherwise
    those of the nearest cells, in shares, in the space that is judged.

    Parameters
    ----------
    space
        Latent positions of the reference.
    labels, known
        Of the reference and of the tissue, empty where missing, or None.
    tissue
        Latent positions of the tissue by slot: `slots.X_UNALIGNED` and `slots.X_ALIGNED`.
    seed
        Of clusters, subsets and cross-validation.
    weights
        Of the reference's cells, in place of those that the state before the alignment gives.
    """
    if weights is None:
        weights = composition_weights(space, tissue[slots.X_UNALIGNED], seed)
    enough = min(len(space), len(tissue[slots.X_UNALIGNED])) >= latent.N_FOLDS

    def auroc(slot: str, used: Array | None) -> float | None:
        return latent.c2st_auroc(space, tissue[slot], seed, used) if enough else None

    found = AlignmentQuality(
        reference_used=effective_share(weights),
        auroc_before=auroc(slots.X_UNALIGNED, weights),
        auroc_all_before=auroc(slots.X_UNALIGNED, None),
        auroc_after=auroc(slots.X_ALIGNED, weights),
        auroc_all_after=auroc(slots.X_ALIGNED, None),
    )
    if labels is None or not (labels != "").any():
        return found
    labels = latent.matchable(labels)
    space, labels = space[labels != ""], labels[labels != ""]
    n = len(space)
    alone = latent.memberships(labels, np.unique(labels))
    before = _joint(space, labels, tissue[slots.X_UNALIGNED], known)
    after = _joint(space, labels, tissue[slots.X_ALIGNED], known)
    return replace(
        found,
        clisi_before=latent.clisi(*before, n),
        clisi_after=latent.clisi(*after, n),
        label_purity_reference=latent.label_purity(space, alone),
        label_purity_joint=latent.label_purity(*after, n),
    )


def _joint(space: Array, labels: Array, tissue: Array, known: Array | None) -> tuple[Array, Array]:
    """Reference, then tissue, in one space, and their memberships."""
    own = None if known is None else latent.matchable(known)
    if own is None or len(latent.shared_labels(labels, own)) < 2:
        reference = latent.memberships(labels, np.unique(labels))
        return np.vstack([space, tissue]), np.vstack(
            [reference, latent.knn_memberships(space, reference, tissue)]
        )
    tissue, own = tissue[own != ""], own[own != ""]
    every = np.concatenate([labels, own])
    return np.vstack([space, tissue]), latent.memberships(every, np.unique(every))
