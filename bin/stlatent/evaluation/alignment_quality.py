"""The evaluation of one aligned sample: latent spaces, labels across modalities, mixing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stlatent import slots
from stlatent.alignment.composition import composition_weights, effective_share
from stlatent.evaluation import latent
from stlatent.evaluation.domains import judge_domains
from stlatent.expression import reference_expression
from stlatent.sampling import subset

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
    aligned: AnnData,
    reference: AnnData,
    tissue_labels: Array | None,
    hvg: list[str],
    seed: int = 0,
    spaces: dict[str, Array] | None = None,
) -> dict[str, Any]:
    """Return ``knn_reference``, ``knn_cross_modal``, ``alignment`` and ``domains``.

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
    spaces
        Of the tissue, judged by its labels (`domains.tissue_spaces`).
    """
    cells = subset(reference.n_obs, latent.MAX_OBSERVATIONS, seed)
    spots = subset(aligned.n_obs, latent.MAX_OBSERVATIONS, seed)
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
    return {
        "knn_reference": knn_reference,
        "knn_cross_modal": _knn_cross_modal(space, labels, tissue, known),
        "alignment": alignment(space, labels, tissue, known, seed),
        "domains": judge_domains({k: v[spots] for k, v in (spaces or {}).items()}, known, seed),
    }


def _knn_reference(spaces: dict[str, Array], labels: Array, seed: int) -> dict[str, Any] | None:
    scores = {
        name: latent.knn_cross_validated(space, labels, seed) for name, space in spaces.items()
    }
    return None if None in scores.values() else {"spaces": scores}


def _knn_cross_modal(
    space: Array, labels: Array | None, tissue: dict[str, Array], known: Array | None
) -> dict[str, Any] | None:
    if labels is None or known is None:
        return None
    before, after = (
        latent.knn_cross_modal(space, labels, tissue[slot], known)
        for slot in (slots.X_UNALIGNED, slots.X_ALIGNED)
    )
    if before is None or after is None:
        return None
    return {"k": after[0], "k_before": before[0], "n_shared_labels": after[1]}


def _reference_components(
    reference: AnnData, cells: Array, hvg: list[str], n_components: int, seed: int
) -> Array:
    values = reference_expression(reference, cells, hvg)
    return latent.principal_components(values, n_components, seed)


def alignment(
    space: Array,
    labels: Array | None,
    tissue: dict[str, Array],
    known: Array | None,
    seed: int,
    weights: Array | None = None,
) -> dict[str, float | None]:
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
    result: dict[str, float | None] = {"reference_used": effective_share(weights)}
    enough = min(len(space), len(tissue[slots.X_UNALIGNED])) >= latent.N_FOLDS
    for when, slot in (("before", slots.X_UNALIGNED), ("after", slots.X_ALIGNED)):
        for name, used in (("auroc", weights), ("auroc_all", None)):
            found = latent.c2st_auroc(space, tissue[slot], seed, used) if enough else None
            result[f"{name}_{when}"] = found
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
