from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from builders.project import ROOT
from stlatent import slots
from stlatent.alignment.inner_folds import InnerFold, load, split_panel, store
from stlatent.alignment.placement import Placement
from stlatent.imputation.attention import attention
from stlatent.imputation.candidates import CANDIDATES, Candidates, stacked
from stlatent.imputation.imputer import METHODS, Imputer, gene_blocks
from stlatent.imputation.output import ImputedFile, gene_table
from stlatent.imputation.stack import Weights, equal_weights, learn_weights, moments
from stlatent.imputation.view import Views
from stlatent.imputation.weights import inner_view, stack_weights
from stlatent.vae.decoder import Decoder, Layer
from stlatent.vae.geometry import PLANE

GENES = ["a", "b", "c", "d"]


def counted(values: list[list[float]], kind: str, genes: list[str]) -> anndata.AnnData:
    adata = anndata.AnnData(
        sp.csr_matrix(np.array(values, dtype=np.float32)), var=pd.DataFrame(index=genes)
    )
    slots.note(adata, kind=kind, source=kind, counts=True)
    return adata


class Space:
    """A latent space whose decoder knows a and d."""

    latent = np.array([[-3.0], [-3], [3], [3]], dtype=np.float32)
    geometry = PLANE
    genes = ("a", "d")
    decoder = Decoder(
        (
            Layer(torch.tensor([[1.0], [-1.0]]), torch.zeros(1, 2), "relu"),
            Layer(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.zeros(2)),
        ),
        "softmax",
        "share",
    )


PLACEMENT = Placement(np.array([[-3.0], [3.0], [0.0]], dtype=np.float32), 1.0)
PANEL = GENES[:3]


@pytest.fixture
def views() -> Views:
    """Two cell types at -3 and 3 of a one-dimensional latent space; a, b and c are measured."""
    types = [[7.0, 1, 1, 1], [1, 1, 1, 7]]
    reference = counted([types[0], types[0], types[1], types[1]], "reference", GENES)
    spatial = counted([[7, 2, 1], [1, 1, 2], [4, 3, 1]], "spatial", PANEL)
    spatial.obsm[slots.SPATIAL] = np.array([[0.0, 0], [1, 0], [2, 0]])
    return Views(spatial, reference, n_neighbors=8, seed=0, space=Space())


def imputer_of(views: Views) -> Imputer:
    return Imputer(Candidates(views.view(PANEL, [], PLACEMENT)), equal_weights(list(stacked())))


@pytest.fixture
def imputer(views: Views) -> Imputer:
    return imputer_of(views)


def test_attention_by_hand() -> None:
    weights = attention(np.array([[0.0]]), np.array([[0.0], [1.0], [9.0]]), 1.0, k=2)
    expected = np.array([[1, np.exp(-1), 0]]) / (1 + np.exp(-1))
    np.testing.assert_allclose(weights.toarray(), expected)


def test_far_locations_still_attend() -> None:
    weights = attention(np.array([[1e4]]), np.array([[0.0], [1.0]]), 5.0)
    np.testing.assert_allclose(weights.sum(1), 1)


def test_transfer_is_the_mean_by_attention(imputer: Imputer) -> None:
    targets = imputer.view.targets(["d"])
    found = imputer.candidates.predict("transfer", targets)
    expected = imputer.view.attention.toarray() @ targets.expression
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_mean_share_is_that_of_the_cells_attended_to(imputer: Imputer) -> None:
    # One spot at each type and one between them: both types count the same.
    expected = dict(zip(GENES, [0.4, 0.1, 0.1, 0.4], strict=True))
    assert imputer.view.mean_share == pytest.approx(expected, rel=1e-5)


def test_library_is_scaled_by_the_share_the_panel_captures(imputer: Imputer) -> None:
    expected = np.array([10, 4, 8]) / 0.6
    np.testing.assert_allclose(imputer.view.expected_library, expected, rtol=1e-5)


def test_transferred_shares_follow_the_nearest_type(imputer: Imputer) -> None:
    share = imputer.predict(["a"], ["transfer"]).shares("transfer").ravel()
    assert share.mean() == pytest.approx(0.4, rel=1e-5)
    assert share[0] / share[1] == pytest.approx(7, rel=1e-3)
    # Between the types the mean is taken on the log scale.
    assert share[1] < share[2] < share[0]


def test_decoder_gives_nan_for_genes_it_does_not_know(imputer: Imputer) -> None:
    predicted = imputer.predict(GENES, ["decoder"]).predicted["decoder"]
    assert np.isnan(predicted[:, 1:3]).all()
    # a and d hold 80 % of the library.
    np.testing.assert_allclose(np.expm1(predicted[:, [0, 3]]).sum(1), 8000, rtol=1e-4)
    assert predicted[0, 0] > predicted[0, 3]
    assert list(imputer.genes("decoder")) == ["a", "d"]
    assert list(imputer.genes("stack")) == list(imputer.genes("ridge")) == GENES


def test_stack_is_the_weighted_mean_of_its_candidates(imputer: Imputer) -> None:
    imputer.stack = Weights({"transfer": 0.25, "ridge": 0.75, "knn": 0.0}, {})
    found = imputer.predict(["d"], ["stack", "transfer", "ridge"]).predicted
    expected = 0.25 * found["transfer"] + 0.75 * found["ridge"]
    np.testing.assert_allclose(found["stack"], expected, rtol=1e-6)


def test_count_scale_multiplies_shares_by_the_library(imputer: Imputer) -> None:
    block = imputer.predict(["a"], ["transfer"])
    counts, share = block.counts("transfer"), block.shares("transfer")
    library = imputer.view.expected_library
    np.testing.assert_allclose(counts.ravel(), share.ravel() * library, rtol=1e-6)
    np.testing.assert_allclose(block.normalised("transfer"), np.log1p(1e4 * share))


@pytest.mark.parametrize("counts", [True, False])
def test_a_block_of_locations_is_on_the_scale_of_all(views: Views, counts: bool) -> None:
    slots.note(views.spatial, counts=counts)
    block = imputer_of(views).predict(GENES, ["stack"])
    for rows in (slice(0, 1), slice(1, 3)):
        for scaled in (block.counts, block.normalised):
            np.testing.assert_array_equal(scaled("stack", rows), scaled("stack")[rows])


def test_intensities_stay_on_the_working_scale(views: Views) -> None:
    slots.note(views.spatial, counts=False)
    block = imputer_of(views).predict(["d"], ["transfer"])
    np.testing.assert_array_equal(block.counts("transfer"), block.predicted["transfer"])


def test_genes_unknown_to_the_reference_do_not_inflate_the_library(views: Views) -> None:
    other = counted([[50], [50], [50]], "spatial", ["other"])
    spatial = anndata.concat([views.spatial, other], axis=1, merge="first")
    spatial.uns, spatial.obsm = views.spatial.uns, views.spatial.obsm
    more = dataclasses.replace(views, spatial=spatial)
    known, again = (imputer_of(each).view.expected_library for each in (views, more))
    np.testing.assert_allclose(again, known)


def test_the_decoder_of_a_reference_without_counts_gives_shares_too(views: Views) -> None:
    slots.note(views.reference, counts=False)
    predicted = imputer_of(views).predict(["a", "b"], ["decoder"]).predicted["decoder"]
    assert np.isfinite(predicted[:, 0]).all() and np.isnan(predicted[:, 1]).all()


def test_gene_blocks_cover_everything_once() -> None:
    assert list(gene_blocks(GENES, 3)) == [["a", "b", "c"], ["d"]]


def simulated(seed: int, noise: dict[str, float]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(200, 60))
    return {
        name: truth + scale * rng.normal(size=truth.shape) for name, scale in noise.items()
    }, truth


def learned(predicted: dict[str, np.ndarray], truth: np.ndarray) -> Weights:
    return learn_weights(list(predicted), [moments(list(predicted.values()), truth, None)])


def test_weights_follow_what_hidden_genes_show() -> None:
    predicted, truth = simulated(0, {"good": 0.5, "bad": 3.0})
    weights = learned(predicted, truth)
    assert sum(weights.by_candidate.values()) == pytest.approx(1)
    assert weights.by_candidate["good"] > 0.7
    assert weights.correlation["good"] == pytest.approx(1 / np.sqrt(1.25), abs=0.02)


def test_combining_independent_errors_beats_each_candidate() -> None:
    predicted, truth = simulated(1, {"one": 1.0, "two": 1.0})
    weights = learned(predicted, truth).by_candidate
    combined = sum(weights[name] * predicted[name] for name in predicted)

    def correlation(values: np.ndarray) -> float:
        return float(np.corrcoef(values.ravel(), truth.ravel())[0, 1])

    assert correlation(combined) > max(correlation(p) for p in predicted.values()) + 0.05


def test_few_genes_keep_the_weights_near_equal() -> None:
    predicted, truth = simulated(2, {"good": 0.5, "bad": 1.5})
    few = learned({n: p[:, :3] for n, p in predicted.items()}, truth[:, :3])
    many = learned(predicted, truth)
    assert 0.5 < few.by_candidate["good"] < many.by_candidate["good"]


def test_the_scale_of_a_gene_or_of_a_candidate_s_truth_is_no_matter() -> None:
    predicted, truth = simulated(3, {"good": 0.7, "bad": 1.0})
    scale = np.random.default_rng(4).lognormal(2, 3, truth.shape[1])
    first = learned(predicted, truth).by_candidate
    scaled = {name: values * scale for name, values in predicted.items()}
    again = learned(scaled, truth * 1e-3).by_candidate
    assert again["good"] == pytest.approx(first["good"], abs=0.01)


def test_a_shrunken_candidate_gets_no_weight_for_being_small() -> None:
    """Least squares would give most weight to what hardly moves; correlation does not see it."""
    predicted, truth = simulated(5, {"good": 0.6, "bad": 2.0})
    predicted["bad"] = 0.1 * predicted["bad"]
    weights = learned(predicted, truth).by_candidate
    combined = sum(weights[name] * predicted[name] for name in predicted)
    both = [np.mean([np.corrcoef(v[:, g], truth[:, g])[0, 1] for g in range(60)])
            for v in (combined, predicted["good"])]  # fmt: skip
    assert both[0] >= both[1] - 1e-3


def test_locations_without_counts_teach_nothing() -> None:
    predicted, truth = simulated(6, {"one": 1.0, "two": 1.0})
    library = np.full(200, 50.0)
    library[:20] = 3
    spoiled = {name: values.copy() for name, values in predicted.items()}
    spoiled["one"][:20], spoiled["two"][:20] = 100 * truth[:20], -100 * truth[:20]
    names = list(predicted)
    found = learn_weights(names, [moments(list(spoiled.values()), truth, library)])
    clean = learn_weights(
        names, [moments([v[20:] for v in predicted.values()], truth[20:], library[20:])]
    )
    assert found.by_candidate == pytest.approx(clean.by_candidate)


def test_constant_predictions_get_equal_weights() -> None:
    flat = {"one": np.zeros((5, 2)), "two": np.zeros((5, 2))}
    assert learned(flat, np.eye(5)[:, :2]).by_candidate == {"one": 0.5, "two": 0.5}


def test_panel_is_split_into_parts_unless_it_is_too_small() -> None:
    panel = [f"g{i}" for i in range(20)]
    parts = split_panel(panel, 3, seed=0)
    assert sorted(gene for part in parts for gene in part) == sorted(panel)
    assert len(parts) == 3
    assert [len(part) for part in split_panel(panel[:9], 20, seed=0)] == [3, 3, 3]
    assert split_panel(panel[:8], 3, seed=0) == split_panel(panel, 0, seed=0) == []


def test_inner_folds_survive_a_round_trip(tmp_path: Path) -> None:
    adata = anndata.AnnData(obs=pd.DataFrame(index=["s1", "s2"]))
    folds = [
        InnerFold(["a", "b"], Placement(np.ones((2, 3), np.float32), 0.5)),
        InnerFold(["c"], Placement(np.zeros((2, 3), np.float32), 2.0)),
    ]
    store(adata, folds)
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = load(anndata.read_h5ad(tmp_path / "a.h5ad"))
    assert [(fold.hidden, fold.placement.precision) for fold in again] == [
        (["a", "b"], 0.5),
        (["c"], 2.0),
    ]
    np.testing.assert_array_equal(again[0].placement.z, folds[0].placement.z)


def test_without_inner_folds_the_weights_are_equal(views: Views) -> None:
    weights = stack_weights([], views, PANEL, [])
    assert weights.by_candidate == dict.fromkeys(stacked(), 1 / len(stacked()))
    assert "decoder" in CANDIDATES and "decoder" not in stacked()


def test_inner_folds_leave_out_outer_and_inner_hidden_genes(views: Views) -> None:
    fold = InnerFold(["b"], PLACEMENT)
    view = inner_view(fold, views, PANEL, ["d"])
    assert view.panel == ["a", "c"]
    assert view.shared == ["a", "c"]
    np.testing.assert_array_equal(view.library, [8, 3, 5])
    weights = stack_weights([fold], views, PANEL, ["d"])
    assert sum(weights.by_candidate.values()) == pytest.approx(1)


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("size", [2, 100])
def test_written_file_is_valid_h5ad(
    tmp_path: Path,
    views: Views,
    imputer: Imputer,
    normalised: bool,
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stlatent.imputation.candidates.LOCATIONS_PER_BLOCK", size)
    table = gene_table(GENES, "stack", measured={"a"}, decoded={"a", "d"})
    skeleton = anndata.AnnData(obs=views.spatial.obs, var=table)
    skeleton.obsm[slots.SPATIAL] = np.zeros((3, 2))
    slots.note(skeleton, kind="spatial", source="s", counts=True)
    path = tmp_path / "s.imputed.h5ad"
    with ImputedFile(path, skeleton, "stack", ["decoder"], normalised) as file:
        for names in gene_blocks(GENES, 3):
            file.write(imputer.predict(names, ["stack", "decoder"]))
        file.note(weights={"ridge": 1.0})
        file.replace_var(table.assign(more=1.5))
    written = anndata.read_h5ad(path)
    block = imputer.predict(GENES, ["stack", "decoder"])
    np.testing.assert_allclose(written.X, block.counts("stack"), rtol=1e-5)
    np.testing.assert_allclose(written.layers["decoder"], block.counts("decoder"), rtol=1e-5)
    assert (slots.NORMALISED in written.layers) is normalised
    assert written.var["measured"].tolist() == [True, False, False, False]
    assert (written.var["more"] == 1.5).all()
    assert written.uns["stlatent"]["weights"] == {"ridge": 1.0}


def test_the_schema_offers_every_method() -> None:
    schema = json.loads((ROOT / "nextflow_schema.json").read_text())
    offered = [
        group["properties"]["imputer"]["enum"]
        for group in schema["$defs"].values()
        if "imputer" in group["properties"]
    ]
    assert [set(methods) for methods in offered] == [set(METHODS)]
