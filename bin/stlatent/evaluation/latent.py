"""How good latent spaces are: labels found by neighbours, and modalities told apart or not.

Spaces are observations x dimensions. Labels are arrays of strings; an empty string is no label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from stlatent.arrays import Array
from stlatent.records.evaluation import ByNeighbours, Classified
from stlatent.sampling import subset

KS = (5, 15, 30)
N_FOLDS = 5
MIN_CLASS = 5
MAX_OBSERVATIONS = 5000
MAX_PER_SIDE = 2000
LISI_NEIGHBORS = 90
PURITY_NEIGHBORS = 15


def knn_cross_validated(
    space: Array, labels: Array, seed: int, ks: Sequence[int] = KS
) -> ByNeighbours | None:
    """Accuracy and macro-F1 of a k-nearest-neighbour classifier, stratified 5-fold.

    Predictions of all folds are pooled. Classes with fewer than `MIN_CLASS` members and observations
    without a label are left out.

    Returns
    -------
    Scores by k, or None with fewer than two classes.
    """
    usable = labels != ""
    values, counts = np.unique(labels[usable], return_counts=True)
    usable &= np.isin(labels, values[counts >= MIN_CLASS])
    space, labels = space[usable], labels[usable]
    if len(np.unique(labels)) < 2:
        return None
    predicted = {k: np.empty(len(labels), dtype=labels.dtype) for k in ks}
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(space, labels):
        found = knn_predict(space[train], labels[train], space[test], ks)
        for k in ks:
            predicted[k][test] = found[k]
    return {str(k): _agreement(labels, predicted[k]) for k in ks}


def knn_cross_modal(
    reference: Array,
    reference_labels: Array,
    tissue: Array,
    tissue_labels: Array,
    ks: Sequence[int] = KS,
) -> tuple[ByNeighbours, int] | None:
    """Predict labels of the tissue from the reference's, over the labels that both have.

    Labels match ignoring case and surrounding blanks.

    Returns
    -------
    Scores by k and the number of shared labels, or None with fewer than two.
    """
    reference_labels, tissue_labels = matchable(reference_labels), matchable(tissue_labels)
    shared = shared_labels(reference_labels, tissue_labels)
    if len(shared) < 2:
        return None
    train, test = np.isin(reference_labels, shared), np.isin(tissue_labels, shared)
    found = knn_predict(reference[train], reference_labels[train], tissue[test], ks)
    return {str(k): _agreement(tissue_labels[test], found[k]) for k in ks}, len(shared)


def knn_predict(train: Array, labels: Array, test: Array, ks: Sequence[int]) -> dict[int, Array]:
    """Majority label among the k nearest of ``train``, for each k; ties go to the nearest."""
    values, codes = np.unique(labels, return_inverse=True)
    largest = min(max(ks), len(train))
    nearest = (
        NearestNeighbors(n_neighbors=largest).fit(train).kneighbors(test, return_distance=False)
    )
    votes = np.eye(len(values))[codes[nearest]]
    # Less than one vote altogether, falling with the rank.
    tie_break = (0.5 / largest) * (1.0 - np.arange(largest) / largest)
    cumulative = (votes * (1.0 + tie_break[None, :, None])).cumsum(axis=1)
    return {k: values[cumulative[:, min(k, largest) - 1].argmax(axis=1)] for k in ks}


def matchable(labels: Array) -> Array:
    """Labels in lower case, without surrounding blanks."""
    return np.array([str(label).strip().casefold() for label in labels], dtype=object).astype(str)


def shared_labels(first: Array, second: Array) -> list[str]:
    """Labels, other than none, that occur in both."""
    return sorted((set(first) & set(second)) - {""})


def c2st_auroc(first: Array, second: Array, seed: int, weights: Array | None = None) -> float:
    """AUROC of fresh classifiers that tell two samples of observations apart (C2ST).

    The larger of logistic regression and gradient boosted trees, on out-of-fold probabilities of a
    stratified 5-fold cross-validation over at most `MAX_PER_SIDE` a side (Lopez-Paz and Oquab, ICLR
    2017). Both sides weigh the same. 0.5: not separable; 1: separable.

    Parameters
    ----------
    first, second
        Observations x dimensions.
    seed
        Of subsets, folds and trees.
    weights
        Of the observations of ``first``, in training and in the AUROC; equal by default. Unlike a
        weighted draw they put no copies of one observation on both sides of a fold.

    Raises
    ------
    ValueError
        With fewer than `N_FOLDS` observations on a side.
    """
    n = min(len(first), len(second))
    if n < N_FOLDS:
        msg = f"{n} observations on a side are too few for {N_FOLDS} folds"
        raise ValueError(msg)
    chosen = subset(len(first), MAX_PER_SIDE, seed)
    own = np.ones(len(chosen)) if weights is None else weights[chosen]
    second = second[subset(len(second), MAX_PER_SIDE, seed + 1)]
    space = np.vstack([first[chosen], second])
    side = np.repeat([0, 1], [len(chosen), len(second)])
    weight = np.concatenate([own * len(second) / own.sum(), np.ones(len(second))])
    return max(
        float(roc_auc_score(side, chances, sample_weight=weight))
        for chances in _out_of_fold(space, side, weight, seed)
    )


def _out_of_fold(space: Array, side: Array, weight: Array, seed: int) -> Iterator[Array]:
    """Chance of side 1 by each classifier, from folds that it was not trained on."""
    folds = list(StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(space, side))
    models = (
        LogisticRegression(max_iter=1000),
        HistGradientBoostingClassifier(
            max_iter=60, max_leaf_nodes=15, early_stopping=False, random_state=seed
        ),
    )
    for model in models:
        chances = np.empty(len(side))
        for train, test in folds:
            scale = StandardScaler().fit(space[train])
            fitted = model.fit(
                scale.transform(space[train]), side[train], sample_weight=weight[train]
            )
            chances[test] = fitted.predict_proba(scale.transform(space[test]))[:, 1]
        yield chances


def memberships(labels: Array, values: Array) -> Array:
    """Labels as an n x labels matrix of 0 and 1, columns in the order of ``values``."""
    return np.asarray(labels[:, None] == np.asarray(values)[None, :], dtype=float)


def knn_memberships(
    train: Array, train_memberships: Array, test: Array, n_neighbors: int = PURITY_NEIGHBORS
) -> Array:
    """Mean membership of the k nearest of ``train``: labels where none are known.

    A majority vote would be cleaner than labels really are, and purity with it.
    """
    k = min(n_neighbors, len(train))
    nearest = NearestNeighbors(n_neighbors=k).fit(train).kneighbors(test, return_distance=False)
    return np.asarray(train_memberships[nearest].mean(axis=1))


def lisi(
    space: Array, membership: Array, n_queries: int | None = None, n_neighbors: int = LISI_NEIGHBORS
) -> Array:
    """Local inverse Simpson's index of the first ``n_queries`` observations, by default of all.

    ``1 / sum_l (sum_j p_ij m_jl)^2`` over the k nearest others, m the memberships, p_ij
    proportional to ``exp(-beta_i d_ij)`` with the perplexity k / 3 (Korsunsky et al., Nature Methods
    2019; scib-metrics).

    Returns
    -------
    Values from 1 (one label) to the number of labels.
    """
    k = min(n_neighbors, len(space) - 1)
    distances, nearest = _neighbours(space, k, n_queries)
    weights = _perplexity_weights(distances, max(k / 3.0, 1.0))
    shares = np.stack([(weights * column[nearest]).sum(axis=1) for column in membership.T], axis=1)
    return np.asarray(1.0 / (shares**2).sum(axis=1))


def clisi(
    space: Array, membership: Array, n_queries: int | None = None, n_neighbors: int = LISI_NEIGHBORS
) -> float:
    """CLISI scaled as in scib: (L - median LISI) / (L - 1), 1 where neighbours share their label.

    A single label gives 1.
    """
    n_labels = membership.shape[1]
    if n_labels < 2:
        return 1.0
    median = float(np.median(lisi(space, membership, n_queries, n_neighbors)))
    return (n_labels - median) / (n_labels - 1)


def label_purity(
    space: Array,
    membership: Array,
    n_queries: int | None = None,
    n_neighbors: int = PURITY_NEIGHBORS,
) -> float:
    """Mean chance that one of the k nearest others has the observation's label."""
    _, nearest = _neighbours(space, min(n_neighbors, len(space) - 1), n_queries)
    around = np.stack([column[nearest].mean(axis=1) for column in membership.T], axis=1)
    return float((membership[: len(around)] * around).sum(axis=1).mean())


def principal_components(values: Array, n_components: int, seed: int) -> Array:
    """Scores (n x components) of a PCA of centred ``values`` (n x genes)."""
    from sklearn.decomposition import PCA

    n_components = min(n_components, *values.shape)
    return PCA(n_components, random_state=seed, svd_solver="randomized").fit_transform(values)


def _neighbours(space: Array, k: int, n_queries: int | None) -> tuple[Array, Array]:
    """Distances to and indices of the k nearest others of the first ``n_queries``."""
    queries = space[:n_queries]
    distances, nearest = NearestNeighbors(n_neighbors=k + 1).fit(space).kneighbors(queries)
    own = nearest == np.arange(len(queries))[:, None]
    # Among duplicates an observation need not be found as its own neighbour.
    own[~own.any(axis=1), -1] = True
    shape = (len(queries), k)
    return distances[~own].reshape(shape), nearest[~own].reshape(shape)


def _perplexity_weights(distances: Array, perplexity: float, n_steps: int = 50) -> Array:
    """Rows p_j ∝ exp(-beta d_j), beta by bisection so that exp(entropy) is the perplexity."""
    distances = distances - distances.min(axis=1, keepdims=True)
    scale = np.maximum(distances.mean(axis=1, keepdims=True), 1e-12)
    low = np.full_like(scale, -20.0)
    high = np.full_like(scale, 20.0)
    for _ in range(n_steps):
        middle = (low + high) / 2
        too_wide = _entropy(_softmax(distances, middle, scale)) > np.log(perplexity)
        low = np.where(too_wide, middle, low)
        high = np.where(too_wide, high, middle)
    return _softmax(distances, (low + high) / 2, scale)


def _softmax(distances: Array, log_beta: Array, scale: Array) -> Array:
    weights = np.exp(-np.exp(log_beta) * distances / scale)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _entropy(p: Array) -> Array:
    return -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1, keepdims=True)


def _agreement(labels: Array, predicted: Array) -> Classified:
    return Classified(
        accuracy=float((labels == predicted).mean()),
        macro_f1=float(f1_score(labels, predicted, average="macro", zero_division=0)),
    )
