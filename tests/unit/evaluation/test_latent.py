from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.neighbors import KNeighborsClassifier

import evaluate
from stlatent import slots
from stlatent.evaluation import latent
from stlatent.evaluation.domains import SPACES, domain_scores, judge_domains, tissue_spaces


def clusters(
    n: int, shift: float = 0.0, seed: int = 0, spread: float = 0.3
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, n)
    space = np.eye(4)[codes] * 3 + rng.normal(0, spread, (n, 4)) + shift
    return space, np.array(["Alpha", "Beta", "Gamma"])[codes]


def test_knn_finds_clusters_and_not_noise():
    space, labels = clusters(200)
    scores = latent.knn_cross_validated(space, labels, seed=0)
    assert set(scores) == {"5", "15", "30"}
    assert all(score["accuracy"] > 0.98 and score["macro_f1"] > 0.98 for score in scores.values())
    noise = np.random.default_rng(1).normal(size=space.shape)
    assert latent.knn_cross_validated(noise, labels, seed=0)["15"]["accuracy"] < 0.5


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
    assert latent.knn_cross_validated(space, labels, seed=0)["5"]["accuracy"] > 0.98
    assert latent.knn_cross_validated(space, np.full(100, "one"), seed=0) is None


def test_cross_modal_matches_labels_ignoring_case():
    space, labels = clusters(150)
    tissue, tissue_labels = clusters(80, seed=1)
    tissue_labels = np.char.upper(tissue_labels)
    tissue_labels[:10] = "OTHER"
    scores, n_shared = latent.knn_cross_modal(space, labels, tissue, tissue_labels)
    assert n_shared == 3
    assert scores["15"]["accuracy"] > 0.98
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


def write_inputs(folder: Path, reference_labels: bool, tissue_labels: bool) -> list[str]:
    rng = np.random.default_rng(0)
    space, labels = clusters(200)
    tissue, known = clusters(120, seed=1)
    genes = [f"G{i}" for i in range(20)]
    reference = anndata.AnnData(
        rng.poisson(2.0, (200, 20)).astype(np.float32),
        pd.DataFrame({"cell_type": pd.Categorical(labels)}, index=[f"c{i}" for i in range(200)]),
        pd.DataFrame(index=genes),
    )
    slots.note(
        reference,
        kind="reference",
        source="r",
        counts=True,
        label_key="cell_type" if reference_labels else None,
    )
    obs = pd.DataFrame({"type": pd.Categorical(known)}, index=[f"s{i}" for i in range(120)])
    xy = rng.uniform(0, 1, (120, 2))
    spatial = anndata.AnnData(
        rng.poisson(2.0, (120, 20)).astype(np.float32),
        obs,
        pd.DataFrame(index=genes),
        obsm={slots.SPATIAL: xy},
    )
    slots.note(
        spatial,
        kind="spatial",
        source="s",
        counts=True,
        label_key="type" if tissue_labels else None,
    )
    aligned = anndata.AnnData(obs=obs)
    slots.note(aligned, kind="spatial", source="s", counts=True, arm="default", n_neighbors=8)
    aligned.obsm[slots.SPATIAL] = xy
    aligned.obsm[slots.X_ALIGNED], aligned.obsm[slots.X_UNALIGNED] = tissue, tissue + 2.0
    aligned.obsm[slots.X_SPATIAL] = aligned.obsm[slots.X_JOINT] = tissue
    (folder / "vae").mkdir()
    slots.write(reference, folder / "r.h5ad", slots.INGESTED_REFERENCE)
    reference.obsm[slots.X_VAE] = space
    slots.write(reference, folder / "vae/latent.h5ad", slots.LATENT)
    (folder / "vae/vae.json").write_text(json.dumps({"genes": genes}))
    slots.write(spatial, folder / "s.h5ad", slots.INGESTED_SPATIAL)
    slots.write(aligned, folder / "a.h5ad", slots.ALIGNED)
    fold = {"sample": "s", "fold": "all", "hidden": [], "panel": genes}
    (folder / "fold.json").write_text(json.dumps(fold))
    options = {
        "aligned": "a.h5ad",
        "spatial": "s.h5ad",
        "reference": "r.h5ad",
        "vae": "vae",
        "fold": "fold.json",
    }
    options |= {"output": "evaluation.json", "failure": "f.json"}
    return [part for key, value in options.items() for part in (f"--{key}", str(folder / value))]


@pytest.mark.parametrize(
    ("reference_labels", "tissue_labels"), [(True, True), (True, False), (False, False)]
)
def test_command_line(tmp_path, reference_labels, tissue_labels):
    arguments = write_inputs(tmp_path, reference_labels, tissue_labels)
    outcome = CliRunner().invoke(evaluate.main, arguments)
    assert outcome.exit_code == 0, outcome.output
    result = json.loads((tmp_path / "evaluation.json").read_text())
    assert (result["sample"], result["arm"], result["n_shared_genes"]) == ("s", "default", 20)
    alignment = result["alignment"]
    assert alignment["auroc_before"] > 0.95
    assert alignment["auroc_after"] < 0.65
    assert alignment["auroc_all_before"] > 0.95
    assert 0 < alignment["reference_used"] <= 1
    if reference_labels:
        assert result["knn_reference"]["label_key"] == "cell_type"
        spaces = result["knn_reference"]["spaces"]
        assert spaces["X_vae"]["15"]["accuracy"] > spaces["pca"]["15"]["accuracy"]
        assert alignment["clisi_after"] > 0.95
        assert alignment["label_purity_joint"] > 0.95
    else:
        assert result["knn_reference"] is None
        assert alignment["clisi_after"] is None
    if tissue_labels:
        domains = result["domains"]
        assert (domains["n_labels"], domains["n_locations"]) == (3, 120)
        assert list(domains["spaces"]) == list(SPACES)
        assert domains["spaces"]["X_joint"]["ari"] > 0.95
        assert domains["spaces"]["X_joint"]["macro_f1"] > 0.95
        # The measured values are noise.
        assert domains["spaces"]["pca"]["ari"] < 0.1
        assert result["knn_cross_modal"]["n_shared_labels"] == 3
        assert result["knn_cross_modal"]["k"]["5"]["accuracy"] > 0.95
        assert set(result["knn_cross_modal"]["k_before"]) == {"5", "15", "30"}
    else:
        assert result["domains"] is None
        assert result["knn_cross_modal"] is None


def test_domain_scores_see_clusters_leave_out_missing_labels_and_are_chance_for_noise():
    space, labels = clusters(200)
    found = domain_scores(space, labels, 0)
    assert min(found.values()) > 0.95
    unknown = labels.astype(object)
    unknown[:50] = ""
    assert domain_scores(space, unknown.astype(str), 0)["ari"] > 0.95
    noise = np.random.default_rng(1).normal(size=space.shape)
    assert domain_scores(noise, labels, 0)["ari"] < 0.05
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
    assert scores["pca_smoothed"]["ari"] > scores["pca"]["ari"] + 0.05
