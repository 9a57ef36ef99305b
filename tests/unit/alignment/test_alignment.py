from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from builders.project import ROOT
from stlatent import devices, expression, graph, slots
from stlatent.alignment import losses
from stlatent.alignment.adversary import Adversary, Cells
from stlatent.alignment.composition import composition_weights, effective_share
from stlatent.alignment.inputs import AlignmentInputs, panel_expression, prepare
from stlatent.alignment.joint import joint_space, scaled
from stlatent.alignment.judging import cross_fitted_accuracy
from stlatent.alignment.matching import MATCHINGS
from stlatent.alignment.model import Discriminator, LatentAttention, SpatialVGAE
from stlatent.alignment.placement import Placement
from stlatent.alignment.result import Alignment, History, State
from stlatent.alignment.settings import AlignmentSettings
from stlatent.alignment.trainer import (
    LARGEST_GRADIENT,
    Trainer,
    align,
)
from stlatent.evaluation import latent
from stlatent.failures import DataError
from stlatent.simulate import Settings, Study, simulate


def settings_of(method: str, **changed: Any) -> AlignmentSettings:
    quick = AlignmentSettings(
        MATCHINGS[method], pretrain_epochs=25, discriminator_epochs=15, epochs=10
    )
    return dataclasses.replace(quick, **changed)


QUICK = settings_of("adversarial")


@pytest.fixture(scope="module")
def study() -> Study:
    devices.make_deterministic(seed=0, threads=1)
    study = simulate(
        Settings(n_genes=620, n_panel=60, n_cells=300, n_spots=80, n_reference=300), seed=1
    )
    slots.note(study.reference, kind="reference", source="reference", counts=True)
    for name, sample in study.samples.items():
        slots.note(sample.measured, kind="spatial", source=name, counts=True)
    # A linear latent space stands in for the VAE's: these tests are about the alignment.
    values = panel_expression(study.reference, study.reference.var_names.tolist(), [])
    study.reference.obsm["X_vae"] = np.linalg.svd(values, full_matrices=False)[0][:, :6] * 17
    return study


@pytest.fixture(scope="module")
def inputs(study: Study) -> AlignmentInputs:
    tissue = study.samples["sample_a"].measured
    panel = [gene for gene in tissue.var_names if gene in study.reference.var_names]
    return prepare(tissue, study.reference, panel, [], n_neighbors=6)


def test_attention_weights_follow_the_distances() -> None:
    attention = LatentAttention(log_precision=0.0)
    weights = attention(torch.tensor([[0.0]]), torch.tensor([[0.0], [1.0]]))
    expected = torch.softmax(torch.tensor([[0.0, -1.0]]), dim=1)
    torch.testing.assert_close(weights, expected)


def test_discriminator_logits_are_bounded() -> None:
    assert Discriminator(2)(torch.full((3, 2), 1e4)).abs().max() <= 5


def test_hidden_genes_take_no_part_in_the_library(study: Study) -> None:
    tissue = study.samples["sample_b"].measured
    hidden = tissue.var_names[:10].tolist()
    expected = expression.dense(tissue.X)[:, 10:].sum(1)
    np.testing.assert_allclose(expression.visible_library(tissue, hidden), np.maximum(expected, 1))


def test_values_of_hidden_genes_change_nothing(study: Study) -> None:
    tissue = study.samples["sample_b"].measured.copy()
    panel, hidden = tissue.var_names[20:60].tolist(), tissue.var_names[:20].tolist()
    before = prepare(tissue, study.reference, panel, hidden, 6)
    values = tissue.X.tolil()
    values[:, :20] = 7
    tissue.X = values.tocsr()
    after = prepare(tissue, study.reference, panel, hidden, 6)
    np.testing.assert_array_equal(before.tissue, after.tissue)


def test_hidden_gene_in_the_panel_is_refused(study: Study) -> None:
    tissue = study.samples["sample_b"].measured
    with pytest.raises(ValueError, match="hidden genes in the panel"):
        prepare(tissue, study.reference, tissue.var_names[:9].tolist(), [tissue.var_names[0]], 6)


def test_too_few_shared_genes_name_the_cure(study: Study) -> None:
    tissue = study.samples["sample_b"].measured
    with pytest.raises(DataError, match="2 genes to align on; at least 3 are needed"):
        prepare(tissue, study.reference, tissue.var_names[:2].tolist(), [], 6)


def test_training_runs_its_three_phases_and_reduces_its_losses(inputs: AlignmentInputs) -> None:
    result = align(inputs, QUICK)
    phases = result.history.phase
    assert [phases.count(p) for p in ("pretrain", "discriminator", "adversarial")] == [25, 15, 10]
    for name in ("reconstruction", "transfer", "anchor", "graph"):
        values = [value for value in result.history.series[name] if value is not None]
        assert values[-1] < values[0]
    accuracy = result.history.series["discriminator_accuracy"]
    assert accuracy[0] is None
    assert all(0 <= value <= 1 for value in accuracy[25:])
    assert 0 <= result.warm_up_accuracy <= 1
    assert result.after.placement.z.shape == (inputs.tissue.shape[0], 6)
    assert result.joint(inputs.graph).shape[1] == 6 + result.spatial.shape[1]
    assert not np.array_equal(result.after.placement.z, result.before.placement.z)
    assert -1 <= result.after.validation <= 1


def test_without_adversary_no_discriminator_is_trained(inputs: AlignmentInputs) -> None:
    settings = settings_of("none", pretrain_epochs=3, epochs=2)
    result = align(inputs, settings)
    assert result.history.phase == ["pretrain"] * 3 + ["continued"] * 2
    assert set(result.history.series["discriminator_loss"]) == {None}
    assert result.warm_up_accuracy is None


def test_the_papers_kind_has_the_losses_of_the_vgae_and_an_adversary_and_nothing_else(
    inputs: AlignmentInputs,
) -> None:
    settings = settings_of("paper", pretrain_epochs=3, discriminator_epochs=2, epochs=2)
    assert set(settings.weights(False)) == {"reconstruction", "graph", "kl"}
    assert set(settings.weights(True)) == {"reconstruction", "graph", "kl", "adversarial"}
    trainer = Trainer(inputs, settings)
    precision = float(trainer.attention.log_precision.detach())
    trainer.pretrain(3)
    trainer.warm_up_discriminator(2)
    trainer.match(2)
    history = trainer.history
    assert history.phase == ["pretrain"] * 3 + ["discriminator"] * 2 + ["paper"] * 2
    for name in ("transfer", "anchor", "divergence"):
        assert set(history.series[name]) == {None}
    assert None not in history.series["adversarial"][5:]
    # The whole reference is matched, and the attention takes no part.
    np.testing.assert_allclose(trainer.game.cells.shares, 1 / len(inputs.latent))
    assert float(trainer.attention.log_precision.detach()) == precision
    assert not trainer._hidden_genes(60).any()


def test_the_parameter_of_the_pipeline_names_every_matching_and_no_other() -> None:
    schema = json.loads((ROOT / "nextflow_schema.json").read_text())
    enum = schema["$defs"]["alignment"]["properties"]["alignment"]["enum"]
    assert enum == list(MATCHINGS)


@pytest.mark.parametrize("method", MATCHINGS)
def test_every_loss_of_every_kind_has_a_weight(inputs: AlignmentInputs, method: Any) -> None:
    settings = settings_of(method, judge_warm_up=False)
    trainer = Trainer(inputs, settings)
    batch = next(trainer.batches())
    judged = {"discriminator_loss", "discriminator_accuracy"}
    matched = settings.matching.moves_tissue
    assert set(trainer.step(batch, matched)) - judged == set(settings.weights(matched))


def test_gradients_of_everything_that_is_optimised_are_clipped_together(
    inputs: AlignmentInputs,
) -> None:
    trainer = Trainer(inputs, settings_of("adversarial", transfer_weight=1e4))
    trainer.step(next(trainer.batches()), False)
    optimised = trainer.optimiser.param_groups[0]["params"]
    gradients = [p.grad for p in optimised if p.grad is not None]
    assert any(p is trainer.attention.log_precision for p in optimised)
    norm = torch.stack([g.norm() for g in gradients]).norm()
    assert float(norm) == pytest.approx(LARGEST_GRADIENT, rel=1e-4)


def test_a_tissue_without_edges_trains_with_a_graph_loss_of_zero(study: Study) -> None:
    tissue = study.samples["sample_a"].measured.copy()
    tissue.obs["own"] = [str(i) for i in range(tissue.n_obs)]
    slots.note(tissue, section_key="own")
    panel = tissue.var_names.intersection(study.reference.var_names).tolist()
    short = settings_of("adversarial", pretrain_epochs=2, discriminator_epochs=1, epochs=1)
    result = align(prepare(tissue, study.reference, panel, [], 6), short)
    assert [v for v in result.history.series["graph"] if v is not None] == [0, 0, 0]
    assert np.isfinite(result.after.placement.z).all()
    json.dumps(result.history.series, allow_nan=False)


def test_values_that_are_not_finite_are_gaps_in_the_history() -> None:
    history = History()
    history.add("pretrain", [{"graph": math.nan, "kl": 1.0}])
    assert (history.series["graph"], history.series["kl"]) == ([None], [1.0])


def gaussian_tissue(n: int, seed: int, shift: float = 0.0) -> tuple[torch.Tensor, Cells]:
    """A tissue of n locations and a reference of 1500 cells, from one distribution if not shifted."""
    rng = np.random.default_rng(seed)
    tissue = torch.as_tensor(rng.normal(size=(n, 10)) + shift, dtype=torch.float32)
    cells = torch.as_tensor(rng.normal(size=(1500, 10)), dtype=torch.float32)
    return tissue, Cells(cells, np.full(1500, 1 / 1500))


def test_warm_up_accuracy_of_a_tissue_from_the_reference_itself_is_one_half(
    inputs: AlignmentInputs,
) -> None:
    trainer = Trainer(inputs, QUICK)
    found, trained_on = [], []
    for seed in range(3):
        tissue, cells = gaussian_tissue(300, seed)

        def train(part: torch.Tensor, others: Cells) -> Adversary:
            adversary = trainer.game.trained(part, others, 25)
            logits = adversary.logits(others.positions), adversary.logits(part)
            trained_on.append(losses.balanced_accuracy(*logits))
            return adversary

        found.append(cross_fitted_accuracy(tissue, cells, train, np.random.default_rng(seed)))
    np.testing.assert_allclose(found, 0.5, atol=0.05)
    # The same discriminators on what they were trained on: this is not what must be reported.
    assert min(trained_on) > 0.7


def test_warm_up_accuracy_sees_a_real_difference(inputs: AlignmentInputs) -> None:
    trainer = Trainer(inputs, QUICK)
    tissue, cells = gaussian_tissue(100, 0, shift=1.5)
    found = cross_fitted_accuracy(
        tissue,
        cells,
        lambda part, others: trainer.game.trained(part, others, 20),
        np.random.default_rng(0),
    )
    assert found > 0.9


def test_discriminators_never_see_what_they_judge() -> None:
    # Every location and every cell has its own number, so that it can be recognised.
    tissue, positions = torch.arange(23.0)[:, None], 100 + torch.arange(31.0)[:, None]
    shares = np.arange(1, 32) / np.arange(1, 32).sum()
    judged: list[float] = []

    class Spy(Adversary):
        def __init__(self, seen: set[float]) -> None:
            self.seen = seen

        def logits(self, asked: torch.Tensor) -> torch.Tensor:
            numbers = asked[:, 0].tolist()
            assert self.seen.isdisjoint(numbers)
            judged.extend(numbers)
            # Right about all locations and about cells above 115 alone.
            return asked[:, 0] - 115

    def train(part: torch.Tensor, others: Cells) -> Adversary:
        assert others.shares.sum() == pytest.approx(1)
        return Spy({*part[:, 0].tolist(), *others.positions[:, 0].tolist()})

    found = cross_fitted_accuracy(tissue, Cells(positions, shares), train, np.random.default_rng(0))
    assert sorted(judged) == [*tissue[:, 0].tolist(), *positions[:, 0].tolist()]
    assert found == pytest.approx(0.5 * (1 + shares[16:].sum()))


def test_with_too_few_locations_nothing_is_kept_out_and_nothing_is_reported() -> None:
    tissue, cells = gaussian_tissue(9, 0)
    unused: Any = None
    assert cross_fitted_accuracy(tissue, cells, unused, np.random.default_rng(0)) is None


def test_the_discriminator_of_the_game_is_not_taught_the_fifth_that_judges_it(
    inputs: AlignmentInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of("adversarial", discriminator_epochs=2, judge_warm_up=False)
    trainer = Trainer(inputs, settings)
    positions = trainer.game.whiten(trainer.encode().aligned_mean)
    kept = {
        tuple(row) for row in positions[torch.as_tensor(trainer.game.judged_locations)].tolist()
    }
    kept |= {
        tuple(row)
        for row in trainer.game.cells.positions[torch.as_tensor(trainer.game.judged_cells)].tolist()
    }
    assert trainer.game.judged_locations.sum() == len(inputs.tissue) / 5
    taught: set[tuple[float, ...]] = set()

    def learn(tissue: torch.Tensor, reference: torch.Tensor) -> float:
        taught.update(tuple(row) for part in (tissue, reference) for row in part.tolist())
        return 0.0

    monkeypatch.setattr(trainer.game.adversary, "learn", learn)
    trainer.warm_up_discriminator(2)
    assert taught
    assert taught.isdisjoint(kept)


@pytest.mark.parametrize("method", ["sinkhorn", "mmd"])
def test_matching_without_adversary_has_a_warm_up_and_one_divergence(
    inputs: AlignmentInputs, method: Any
) -> None:
    settings = settings_of(method, pretrain_epochs=3, discriminator_epochs=2, epochs=2)
    history = align(inputs, settings).history
    assert history.phase == ["pretrain"] * 3 + ["discriminator"] * 2 + [method] * 2
    assert set(history.series["adversarial"]) == {None}
    assert None not in history.series["divergence"][5:]
    assert None not in history.series["discriminator_accuracy"][3:5]


def test_same_seed_gives_identical_latents_and_another_does_not(inputs: AlignmentInputs) -> None:
    short = settings_of("adversarial", pretrain_epochs=4, discriminator_epochs=2, epochs=3, seed=3)
    first, second = align(inputs, short), align(inputs, short)
    np.testing.assert_array_equal(first.after.placement.z, second.after.placement.z)
    np.testing.assert_array_equal(first.spatial, second.spatial)
    other = align(inputs, dataclasses.replace(short, seed=4))
    assert not np.array_equal(first.after.placement.z, other.after.placement.z)


def test_halves_of_the_joint_space_weigh_the_same_and_the_first_is_smoothed() -> None:
    rng = np.random.default_rng(0)
    edges = graph.adjacency(graph.neighbours(np.arange(50.0)[:, None] * [1, 0], 2))
    latent_space, spatial = 100 * rng.normal(size=(50, 3)) + 7, 0.01 * rng.normal(size=(50, 5))
    joint = joint_space(latent_space, spatial, edges)
    halves = joint[:, :3], joint[:, 3:]
    for half in halves:
        np.testing.assert_allclose(half.mean(0), 0, atol=1e-5)
        assert half.var(0).sum() == pytest.approx(1, rel=1e-4)
    np.testing.assert_allclose(halves[1], scaled(spatial), atol=1e-6)
    near = (halves[0][:, None] - halves[0][None])[np.arange(49), np.arange(1, 50)]
    before = scaled(latent_space)
    assert np.square(near).sum(1).mean() < 0.8 * np.square(np.diff(before, axis=0)).sum(1).mean()


def test_joint_space_of_locations_without_neighbours_and_of_constant_halves() -> None:
    alone = graph.adjacency(np.arange(4)[:, None])
    latent_space = np.array([[0.0], [1], [2], [3]])
    joint = joint_space(latent_space, np.ones((4, 2)), alone)
    np.testing.assert_allclose(joint[:, 0], scaled(latent_space)[:, 0], rtol=1e-6)
    np.testing.assert_array_equal(joint[:, 1:], 0)


def test_the_joint_space_takes_the_state_that_predicts_hidden_genes_better() -> None:
    near, far = np.array([[0.0], [1.0]]), np.array([[1.0], [0.0]])
    edges = graph.adjacency(np.arange(2)[:, None])
    worse, better = State(Placement(near, 1.0), 0.1), State(Placement(far, 1.0), 0.3)
    for before, after, slot in (
        (worse, better, slots.X_ALIGNED),
        (better, worse, slots.X_UNALIGNED),
    ):
        found = Alignment(before, after, near, History(), None)
        assert found.imputation_space == slot
        assert found.chosen is better
        np.testing.assert_allclose(found.joint(edges)[:, 0], [1, -1])


def test_batches_with_halos_encode_like_the_whole_graph(inputs: AlignmentInputs) -> None:
    model = SpatialVGAE(inputs.tissue.shape[1], 6).eval()
    part = graph.batch(graph.blocks(inputs.coordinates, 64)[1], inputs.graph, inputs.operator)

    def encode(nodes: np.ndarray, operator: object) -> torch.Tensor:
        dense = torch.as_tensor(operator.toarray())  # type: ignore[attr-defined]
        return model(torch.as_tensor(inputs.tissue[nodes]), dense.to_sparse_csr()).joint_mean

    with torch.no_grad():
        whole = encode(np.arange(len(inputs.tissue)), inputs.operator)
        inner = encode(part.nodes, part.operator)
    torch.testing.assert_close(
        inner[: part.n_own], whole[part.nodes[: part.n_own]], rtol=1e-4, atol=1e-5
    )


def test_composition_weights_give_the_reference_the_shares_of_the_tissue() -> None:
    rng = np.random.default_rng(0)
    centres = 20 * np.eye(3)
    reference = centres[np.repeat([0, 1, 2], [400, 400, 400])] + rng.normal(0, 1, (1200, 3))
    tissue = centres[np.repeat([0, 1], [450, 150])] + rng.normal(0, 1, (600, 3))
    weights = composition_weights(reference, tissue, seed=0)
    assert weights.mean() == pytest.approx(1)
    shares = weights.reshape(3, 400).sum(1) / weights.sum()
    np.testing.assert_allclose(shares, [0.75, 0.25, 0], atol=0.04)
    assert effective_share(weights) < 0.6
    assert effective_share(np.ones(5)) == pytest.approx(1)


@pytest.fixture(scope="module")
def covered() -> tuple[AlignmentInputs, np.ndarray, np.ndarray]:
    """A tissue of single cells whose types are all in the reference, with types of both."""
    devices.make_deterministic(seed=0, threads=1)
    study = simulate(
        Settings(n_panel=120, n_cells=500, n_reference=600, tissue_only_type=False), seed=2
    )
    tissue, reference = study.samples["sample_a"].measured, study.reference
    slots.note(reference, kind="reference", source="reference", counts=True)
    slots.note(tissue, kind="spatial", source="s", counts=True)
    values = panel_expression(reference, reference.var_names.tolist(), [])
    reference.obsm["X_vae"] = np.linalg.svd(values, full_matrices=False)[0][:, :6] * 24
    panel = tissue.var_names.intersection(reference.var_names).tolist()
    labels = (adata.obs["cell_type"].astype(str).to_numpy() for adata in (reference, tissue))
    return prepare(tissue, reference, panel, [], 6), *labels


@pytest.mark.parametrize("method", ["adversarial", "sinkhorn", "mmd", "none"])
def test_matching_mixes_the_modalities_and_keeps_cells_in_their_types(
    covered: tuple[AlignmentInputs, np.ndarray, np.ndarray], method: Any
) -> None:
    inputs, reference_labels, tissue_labels = covered
    result = align(
        inputs,
        settings_of(method, pretrain_epochs=60, discriminator_epochs=20, epochs=60),
    )
    weights = composition_weights(inputs.latent, result.before.placement.z, seed=0)
    auroc = [
        latent.c2st_auroc(inputs.latent, state.placement.z, 0, weights)
        for state in (result.before, result.after)
    ]
    purity = [
        latent.knn_cross_modal(inputs.latent, reference_labels, state.placement.z, tissue_labels)[
            0
        ]["15"].accuracy
        for state in (result.before, result.after)
    ]
    assert auroc[0] > 0.8
    assert purity[1] > purity[0] - 0.05
    if method == "none":
        assert auroc[1] > 0.75
        return
    assert auroc[1] <= 0.65
    assert result.warm_up_accuracy > 0.6
