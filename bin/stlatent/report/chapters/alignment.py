"""Latent spaces and alignment: the latent spaces, judged by classifiers and neighbours."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from stlatent.records.evaluation import Evaluation, KnnReference
from stlatent.report.page.blocks import Block, Column, Table, number, score, words
from stlatent.report.run.health import KNN
from stlatent.report.run.model import Run

ID = "alignment"
TITLE = "Latent spaces and alignment"
TEXT = "Whether tissue and reference live in one space."

SPACES = {"X_vae": "VAE", "pca": "PCA"}
TISSUE_SPACES = {
    "X_joint": "joint latent space",
    "X_spatial": "surroundings alone",
    "X_unaligned": "before matching",
    "X_aligned": "after matching",
    "pca": "measured genes",
    "pca_smoothed": "measured genes, neighbours averaged in",
}
DOMAIN_MEASURES = {
    "ari": ("Clusters, ARI", "Adjusted Rand index of clusters and labels: 0 is chance, 1 the same"),
    "nmi": ("Clusters, NMI", "Normalised mutual information of clusters and labels"),
    "macro_f1": (
        "Neighbours, macro-F1",
        "Labels read off the nearest locations; every label counts the same",
    ),
}
LOW_IS_GOOD = {"bar": "low", "least": 0.5}
NEIGHBOURS = ("5", "15", "30")

MIXING = {
    "auroc_before": score(
        "AUROC before",
        "A fresh classifier of tissue against the part of the reference that the tissue is made of, "
        "before alignment",
        **LOW_IS_GOOD,
    ),
    "auroc_after": score(
        "AUROC after",
        "The same after alignment: 0.5 is perfectly mixed, 1 is fully apart",
        **LOW_IS_GOOD,
    ),
    "auroc_all_before": score(
        "Whole reference before",
        "The same against the whole reference, whatever of it the tissue is made of",
        is_extra=True,
        **LOW_IS_GOOD,
    ),
    "auroc_all_after": score(
        "Whole reference after", "The same after alignment", is_extra=True, **LOW_IS_GOOD
    ),
    "reference_used": score(
        "Reference used",
        "Effective share of the reference that the tissue is made of, by the clusters of its "
        "nearest cells before alignment",
    ),
    "clisi_before": score("cLISI before", "Neighbours of one type, before alignment: 1 is pure"),
    "clisi_after": score("cLISI after", "Should not drop: a drop means that types were mixed up"),
    "label_purity_reference": score(
        "Purity reference", "Share of neighbours with the same label among reference cells"
    ),
    "label_purity_joint": score("Purity joint", "The same with the aligned tissue among them"),
    "n_shared_genes": number("Shared genes", "Genes used for the alignment", 0),
}


def overview(run: Run) -> list[Block]:
    """Return one table a question; they are empty when no sample was evaluated."""
    found = {sample: e for sample in run.samples if (e := run.evaluation(sample)) is not None}
    return [mixing(found), tissue_domains(found), knn(found), cross_modal(found)]


def mixing(evaluations: dict[str, Evaluation]) -> Table:
    """Return how well tissue and reference mix, and what it costs."""
    rows = {
        sample: {**asdict(e.alignment), "n_shared_genes": e.n_shared_genes}
        for sample, e in evaluations.items()
    }
    text = (
        "Good alignment: the AUROC (orange: low is good) falls towards 0.5 while cLISI and purity "
        "(blue: high is good) stay. An AUROC that falls together with cLISI means over-mixing: "
        "cells were forced onto the wrong types. A small share of the reference in use means that "
        "it holds much that the tissue does not. Empty cells: the reference has no cell labels."
    )
    return Table(
        id="alignment_mixing",
        title="Tissue against reference",
        text=text,
        columns=MIXING,
        rows=rows,
    )


def tissue_domains(evaluations: dict[str, Evaluation]) -> Table:
    """Return how well each latent space of the tissue represents its labels, beside PCA."""
    columns: dict[str, Column] = {
        "n_labels": number("Labels", "Different labels, and so clusters", 0),
        **{name: score(title, meaning) for name, (title, meaning) in DOMAIN_MEASURES.items()},
    }
    rows: dict[str, dict[str, Any]] = {}
    for sample, evaluation in evaluations.items():
        found = evaluation.domains
        if found is None:
            continue
        for space, scores in found.spaces.items():
            row = {**asdict(scores), "n_labels": found.n_labels}
            rows[f"{sample}: {TISSUE_SPACES.get(space, space)}"] = row
    text = (
        "Where the tissue has labels (spatial_label_key): does a space hold them? "
        "<em>Clusters</em>: k-means into as many clusters as there are labels, without knowing them. "
        "<em>Neighbours</em>: labels hidden in turn and read off the 15 nearest locations. Cluster the space "
        "that is best here. <em>Measured genes</em> are PCA of the panel and need neither reference nor "
        "alignment: where they win, the latent spaces add nothing for this purpose. Regions favour smooth "
        "spaces, cell types do not. Samples without labels have no rows."
    )
    return Table(
        id="alignment_domains",
        title="Regions and types of the tissue",
        text=text,
        columns=columns,
        rows=rows,
        of="Sample and space",
    )


def knn(evaluations: dict[str, Evaluation]) -> Table:
    """Return the paper's kNN evaluation: latent space against PCA."""
    judged = [e.knn_reference.spaces for e in evaluations.values() if e.knn_reference]
    names = list(dict.fromkeys([*SPACES, *(name for spaces in judged for name in spaces)]))
    columns: dict[str, Column] = {
        "label": words("Label", "Column of the reference that was predicted")
    }
    for metric, title in (("macro_f1", "macro-F1"), ("accuracy", "accuracy")):
        for k in (KNN, *(k for k in NEIGHBOURS if k != KNN)):
            for name in names:
                shown = SPACES.get(name, name)
                suffix = "" if k == KNN else f" k={k}"
                meaning = f"{title} of a k={k} nearest-neighbour classifier in {shown}"
                columns[f"{name}_{metric}_{k}"] = score(
                    f"{shown} {title}{suffix}", meaning, is_extra=k != KNN
                )
    rows = {sample: _knn_row(e.knn_reference) for sample, e in evaluations.items()}
    text = (
        "Held-out reference cells are given the label of their 15 nearest neighbours; macro-F1 "
        "counts every cell type the same, however rare. The VAE should do at least as well as PCA. "
        "Other numbers of neighbours are under <em>Configure columns</em>."
    )
    return Table(
        id="alignment_knn",
        title="Cell types in the reference",
        text=text,
        columns=columns,
        rows=rows,
    )


def _knn_row(found: KnnReference | None) -> dict[str, Any]:
    if found is None:
        return {}
    row: dict[str, Any] = {"label": found.label_key}
    for name, by_k in found.spaces.items():
        for k, metrics in by_k.items():
            row |= {f"{name}_{metric}_{k}": number for metric, number in asdict(metrics).items()}
    return row


def cross_modal(evaluations: dict[str, Evaluation]) -> Table:
    """Return how well tissue labels are predicted from reference cells."""
    columns: dict[str, Column] = {}
    for metric, title in (("macro_f1", "Macro-F1"), ("accuracy", "Accuracy")):
        for k in NEIGHBOURS:
            columns[f"{metric}_{k}"] = score(
                f"{title} k={k}", f"{title} at {k} neighbours", is_extra=k != KNN
            )
        columns[f"{metric}_before"] = score(
            f"{title} k={KNN} before", "The same before alignment", is_extra=metric == "accuracy"
        )
    columns["n_shared_labels"] = number("Shared labels", "Labels found in both", 0)
    rows: dict[str, dict[str, Any]] = {}
    for sample, evaluation in evaluations.items():
        found = evaluation.knn_cross_modal
        if found:
            values = {f"{m}_{k}": v for k, ms in found.k.items() for m, v in asdict(ms).items()}
            values |= {f"{m}_before": v for m, v in asdict(found.k_before[KNN]).items()}
            rows[sample] = {**values, "n_shared_labels": found.n_shared_labels}
    text = (
        "Tissue locations with a known label are given the label of their nearest reference cells. "
        "Only where both tissue and reference are labelled with common names."
    )
    return Table(
        id="alignment_cross_modal",
        title="Labels carried over to the tissue",
        text=text,
        columns=columns,
        rows=rows,
    )
