"""The evaluation of one aligned sample: latent spaces, labels across modalities, mixing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stlatent import slots
from stlatent.evaluation import latent
from stlatent.imputation.problem import reference_expression

if TYPE_CHECKING:
    from anndata import AnnData

Array = np.ndarray


def labels_of(adata: AnnData) -> Array | None:
    """Labels as strings, empty where missing; None when the sheet names no column."""
    column = slots.label_column(adata, "label_key")
    if column is None:
        return None
    return column.astype(object).where(column.notna(), "").astype(str).to_numpy().astype(str)


def evaluate(
    aligned: AnnData, reference: AnnData, tissue_labels: Array | None, hvg: list[str], seed: int = 0
) -> dict[str, Any]:
    """Return ``knn_reference``, ``knn_cross_modal`` and ``alignment`` of ``evaluation.json``.

    Parameters
    ----------
    aligned
        Output of ALIGN.
    reference
        QC'd reference with ``obsm['X_vae']``.
    tissue_labels
        Labels of the spots, or None.
    hvg
        Genes of the PCA that ``X_vae`` is compared with.
    seed
        Of subsets and cross-validation: at most `latent.MAX_OBSERVATIONS` a side are used.
    """
    cells = latent.subset(reference.n_obs, latent.MAX_OBSERVATIONS, seed)
    spots = latent.subset(aligned.n_obs, latent.MAX_OBSERVATIONS, seed)
    space = np.asarray(reference.obsm[slots.X_VAE])[cells]
    tissue = {
        slot: np.asarray(aligned.obsm[slot])[spots] for slot in (slots.X_UNALIGNED, slots.X_ALIGNED)
    }
    labels = labels_of(reference)
    labels = None if labels is None else labels[cells]
    known = None if tissue_labels is None else tissue_labels[spots]
    knn_reference = None
    if labels is not None:
        pca = _reference_components(reference, cells, hvg, space.shape[1], seed)
        knn_reference = _knn_reference({slots.X_VAE: space, "pca": pca}, labels, seed)
        if knn_reference is not None:
            knn_reference["label_key"] = slots.facts(reference)["label_key"]
    cross = None
    if labels is not None and known is not None:
        found = latent.knn_cross_modal(space, labels, tissue[slots.X_ALIGNED], known)
        cross = None if found is None else {"k": found[0], "n_shared_labels": found[1]}
    return {
        "knn_reference": knn_reference,
        "knn_cross_modal": cross,
        "alignment": _alignment(space, labels, tissue, known, seed),
    }


def _knn_reference(spaces: dict[str, Array], labels: Array, seed: int) -> dict[str, Any] | None:
    scores = {
        name: latent.knn_cross_validated(space, labels, seed) for name, space in spaces.items()
    }
    return None if None in scores.values() else {"spaces": scores}


def _reference_components(
    reference: AnnData, cells: Array, hvg: list[str], n_components: int, seed: int
) -> Array:
    values = reference_expression(reference, cells, hvg)
    return latent.principal_components(values, n_components, seed)


def _alignment(
    space: Array, labels: Array | None, tissue: dict[str, Array], known: Array | None, seed: int
) -> dict[str, float | None]:
    """AUROC, cLISI and purity, before and after.

    cLISI and purity are those of the reference's cells, whose labels are known, among cells and spots.
    Spots have their own labels where at least two of them occur in the reference too; otherwise
    those of the nearest cells, in shares, in the space that is judged.
    """
    result: dict[str, float | None] = {}
    for when, slot in (("before", slots.X_UNALIGNED), ("after", slots.X_ALIGNED)):
        enough = min(len(space), len(tissue[slot])) >= latent.N_FOLDS
        result[f"auroc_{when}"] = latent.c2st_auroc(space, tissue[slot], seed) if enough else None
    result |= dict.fromkeys(
        ("clisi_before", "clisi_after", "label_purity_reference", "label_purity_joint")
    )
    if labels is None or not (labels != "").any():
        return result
    labels = latent.matchable(labels)
    space, labels = space[labels != ""], labels[labels != ""]
    n = len(space)
    result["label_purity_reference"] = latent.label_purity(
        space, latent.memberships(labels, np.unique(labels))
    )
    for when, slot in (("before", slots.X_UNALIGNED), ("after", slots.X_ALIGNED)):
        joint, membership = _joint(space, labels, tissue[slot], known)
        result[f"clisi_{when}"] = latent.clisi(joint, membership, n)
    result["label_purity_joint"] = latent.label_purity(joint, membership, n)
    return result


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
