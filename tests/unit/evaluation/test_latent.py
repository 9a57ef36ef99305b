from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KNeighborsClassifier

from builders.clusters import clusters
from stlatent import slots
from stlatent.evaluation import latent
from stlatent.evaluation.domains import domain_scores, judge_domains, tissue_spaces


def test_knn_finds_clusters_and_not_noise():
    space, labels = clusters(200)
    scores = latent.knn_cross_validated(space, labels, seed=0)
    assert set(scores) == {"5", "15", "30"}
    assert all(score.accuracy > 0.98 and score.macro_f1 > 0.98 for score in scores.values())
    noise = np.random.default_rng(1).normal(size=space.shape)
    assert latent.knn_cross_validated(noise, labels, seed=0)["15"].accuracy < 0.5


def test_knn_predictions_agree_with_sklearn():
    space, labels = clusters(200, spread=1.5)
    test, _ = clusters(60, seed=5, spread=1.5)
    found = latent.knn_predict(space, labels, test, [5, 15])
    for k in (5, 15):
        expected = KNeighborsClassifier(k).fit(space, labels).predict(test)
        assert (found[k] == expected).mean() > 0.9
    np.testing.assert_array_equal(
        latent.knn_predict(space, labels, test, [1])[1],
        KNeighborsClassifier(1).fit(space, labels).predict(test),
    )


def test_rare_and_missing_labels_are_left_out():
    space, labels = clusters(100)
    labels = labels.astype("<U8")
    labels[:4], labels[4:10] = "rare", ""
    assert latent.knn_cross_validated(space, labels, seed=0)["5"].accuracy > 0.98
    assert latent.knn_cross_validated(space, np.full(100, "one"), seed=0) is None


def test_cross_modal_matches_labels_ignoring_case():
    space, labels = clusters(150)
    tissue, tissue_labels = clusters(80, seed=1)
    tissue_labels = np.char.upper(tissue_labels)
    tissue_labels[:10] = "OTHER"
    scores, n_shared = latent.knn_cross_modal(space, labels, tissue, tissue_labels)
    assert n_shared == 3
    assert scores["15"].accuracy > 0.98
    assert latent.knn_cross_modal(space, labels, tissue, np.full(80, "x")) is None


def test_c2st_of_same_and_shifted():
    first, _ = clusters(300)
    same, _ = clusters(250, seed=1)
    shifted, _ = clusters(250, seed=1, shift=2.0)
    assert latent.c2st_auroc(first, same, seed=0) < 0.62
    assert latent.c2st_auroc(first, shifted, seed=0) > 0.98
    with pytest.raises(ValueError, match="too few"):
        latent.c2st_auroc(first, shifted[:3], seed=0)


def test_c2st_with_weights_is_blind_to_composition_alone():
    first, labels = clusters(600)
    second, types = clusters(600, seed=1)
    second = second[(types != "Gamma") & ((types != "Beta") | (np.arange(600) % 4 == 0))]
    weights = np.select([labels == "Alpha", labels == "Beta"], [1.0, 0.25], 1e-3)
    assert latent.c2st_auroc(first, second, seed=0) > 0.7
    assert latent.c2st_auroc(first, second, 0, weights) < 0.6
    assert latent.c2st_auroc(first, second + 1.0, 0, weights) > 0.95


def test_c2st_sees_differences_that_no_line_separates():
    rng = np.random.default_rng(0)
    narrow, wide = rng.normal(0, 0.5, (300, 3)), rng.normal(0, 2.0, (300, 3))
    assert latent.c2st_auroc(narrow, wide, seed=0) > 0.85


def member(labels: np.ndarray) -> np.ndarray:
    return latent.memberships(labels, np.unique(labels))


def test_lisi_bounds():
    space, labels = clusters(600)
    assert latent.clisi(space, member(labels)) > 0.98
    mixed = member(np.random.default_rng(0).permutation(labels))
    assert latent.clisi(space, mixed) < 0.2
    assert latent.clisi(space, np.ones((600, 1))) == 1.0
    values = latent.lisi(space, mixed)
    assert values.min() >= 1.0
    assert values.max() <= 3.0 + 1e-9
    np.testing.assert_allclose(latent.lisi(space, mixed, n_queries=10), values[:10])


def test_lisi_by_hand():
    # All others at the same distance: weights are equal, two labels among three neighbours.
    space = np.eye(4)
    labels = np.array(["a", "a", "b", "b"])
    np.testing.assert_allclose(
        latent.lisi(space, member(labels)), 1 / ((1 / 3) ** 2 + (2 / 3) ** 2)
    )
    assert latent.label_purity(space, member(labels)) == pytest.approx(1 / 3)


def test_spots_without_labels_do_not_raise_purity():
    rng = np.random.default_rng(0)
    space, tissue = rng.normal(size=(500, 3)), rng.normal(size=(2000, 3))
    known = member(rng.integers(0, 4, 500).astype(str))
    joint = np.vstack([known, latent.knn_memberships(space, known, tissue)])
    alone = latent.label_purity(space, known)
    assert latent.label_purity(np.vstack([space, tissue]), joint, 500) == pytest.approx(
        alone, abs=0.08
    )


def test_mixing_types_lowers_purity_and_clisi():
    space, labels = clusters(300)
    tissue, tissue_labels = clusters(300, seed=1)
    wrong = np.roll(np.unique(labels), 1)[np.unique(tissue_labels, return_inverse=True)[1]]
    joint, good = np.vstack([space, tissue]), member(np.concatenate([labels, tissue_labels]))
    bad = member(np.concatenate([labels, wrong]))
    assert latent.clisi(joint, good, 300) > latent.clisi(joint, bad, 300) + 0.3
    assert latent.label_purity(joint, good, 300) > latent.label_purity(joint, bad, 300) + 0.3


def test_perplexity_is_met():
    distances = np.sort(np.random.default_rng(0).gamma(2.0, 1.0, (20, 90)), axis=1)
    weights = latent._perplexity_weights(distances, 30.0)
    np.testing.assert_allclose(np.exp(latent._entropy(weights)), 30.0, rtol=1e-3)


def test_label_purity():
    space, labels = clusters(300)
    assert latent.label_purity(space, member(labels)) > 0.98
    assert latent.label_purity(space, member(np.random.default_rng(0).permutation(labels))) < 0.45


def test_domain_scores_see_clusters_leave_out_missing_labels_and_are_chance_for_noise():
    space, labels = clusters(200)
    found = domain_scores(space, labels, 0)
    assert min(found.macro_f1, found.ari, found.nmi) > 0.95
    unknown = labels.astype(object)
    unknown[:50] = ""
    assert domain_scores(space, unknown.astype(str), 0).ari > 0.95
    noise = np.random.default_rng(1).normal(size=space.shape)
    assert domain_scores(noise, labels, 0).ari < 0.05
    assert domain_scores(space, np.full(200, "one"), 0) is None
    assert judge_domains({"a": space}, None, 0) is None


def test_smoothed_expression_shows_domains_that_noise_hides_in_single_locations():
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 1, (300, 2))
    labels = np.where(xy[:, 0] < 0.5, "left", "right")
    shift = np.where(labels == "left", 0.0, 0.8)[:, None]
    tissue = anndata.AnnData(
        (rng.normal(size=(300, 12)) + shift).astype(np.float32),
        pd.DataFrame({"half": labels}, index=[f"s{i}" for i in range(300)]),
        pd.DataFrame(index=[f"G{i}" for i in range(12)]),
        obsm={slots.SPATIAL: xy},
    )
    slots.note(tissue, kind="spatial", source="s", counts=False)
    spaces = tissue_spaces(tissue, tissue, tissue.var_names.tolist(), 8, 0)
    assert list(spaces) == ["pca", "pca_smoothed"]
    scores = {name: domain_scores(space, labels, 0) for name, space in spaces.items()}
    assert scores["pca_smoothed"].ari > scores["pca"].ari + 0.05
