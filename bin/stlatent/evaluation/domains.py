"""How well latent spaces of a tissue represent its labels, beside PCA of what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from stlatent import graph, slots
from stlatent.alignment.inputs import panel_expression
from stlatent.arrays import Array
from stlatent.evaluation import latent
from stlatent.records.evaluation import Domains, DomainScores

if TYPE_CHECKING:
    from anndata import AnnData


PCA, SMOOTHED_PCA = "pca", "pca_smoothed"
SPACES = (
    slots.X_JOINT,
    slots.X_SPATIAL,
    slots.X_UNALIGNED,
    slots.X_ALIGNED,
    PCA,
    SMOOTHED_PCA,
)
N_COMPONENTS = 16
N_SEEDS = 5
KNN = 15


def tissue_spaces(
    aligned: AnnData, spatial: AnnData, panel: list[str], n_neighbors: int, seed: int
) -> dict[str, Array]:
    """Return every space of the tissue by its name in `SPACES`, locations x dimensions.

    The last two need neither reference nor alignment: PCA of the panel's standardised expression,
    and of the mean of a location's expression and that of its spatial neighbours.

    Parameters
    ----------
    aligned
        Output of ALIGN.
    spatial
        The same locations with their expression, after QC.
    panel
        Genes that the alignment used.
    n_neighbors
        Spatial neighbours per location, those of the alignment.
    seed
        Of the randomised PCA.
    """
    spaces = {slot: np.asarray(aligned.obsm[slot]) for slot in SPACES if slot in aligned.obsm}
    values = panel_expression(spatial, panel, [])
    nearest = graph.spatial_neighbours(spatial, n_neighbors)
    smoothed = 0.5 * (values + graph.neighbour_mean(values, nearest))
    for name, matrix in ((PCA, values), (SMOOTHED_PCA, smoothed)):
        spaces[name] = latent.principal_components(matrix, N_COMPONENTS, seed)
    return spaces


def domain_scores(space: Array, labels: Array, seed: int) -> DomainScores | None:
    """Return how well one space represents labels: by its neighbours and by its clusters.

    Parameters
    ----------
    space
        Locations x dimensions.
    labels
        Of the locations, empty where there is none.
    seed
        Of the folds; clusterings take this one and the next.

    Returns
    -------
    ``macro_f1`` of a cross-validated nearest-neighbour classifier (`KNN` neighbours), and ``ari`` and ``nmi`` of k-means into as many
    clusters as there are labels, means over `N_SEEDS` clusterings. Labels of fewer than
    `latent.MIN_CLASS` locations are left out; None with fewer than two others.
    """
    found = latent.knn_cross_validated(space, labels, seed, (KNN,))
    if found is None:
        return None
    names, sizes = np.unique(labels, return_counts=True)
    frequent = (labels != "") & np.isin(labels, names[sizes >= latent.MIN_CLASS])
    space, labels = space[frequent], labels[frequent]
    n_labels = len(np.unique(labels))
    clusterings = [
        KMeans(n_labels, n_init=3, random_state=seed + i).fit_predict(space) for i in range(N_SEEDS)
    ]
    return DomainScores(
        macro_f1=found[str(KNN)].macro_f1,
        ari=float(np.mean([adjusted_rand_score(labels, c) for c in clusterings])),
        nmi=float(np.mean([normalized_mutual_info_score(labels, c) for c in clusterings])),
    )


def judge_domains(spaces: dict[str, Array], labels: Array | None, seed: int) -> Domains | None:
    """Return the scores of every space, or None without labels."""
    if labels is None or not spaces:
        return None
    scores = {}
    for name, space in spaces.items():
        found = domain_scores(space, labels, seed)
        # Labels decide, not spaces.
        if found is None:
            return None
        scores[name] = found
    known = labels[labels != ""]
    return Domains(len(np.unique(known)), len(known), scores)
