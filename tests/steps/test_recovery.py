"""The whole model on simulated tissues, against the truth that no method ever sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from stlatent import devices, slots
from stlatent.alignment.matching import MATCHINGS
from stlatent.alignment.settings import AlignmentSettings
from stlatent.evaluation import metrics
from stlatent.imputation.scale import to_counts
from stlatent.records.inputs import Fold
from stlatent.simulate import Settings, Study, simulate
from stlatent.steps.align import align_tissue
from stlatent.steps.impute import learned_imputer, views_of
from stlatent.vae import registry
from stlatent.vae.decoder import Decoder
from stlatent.vae.geometry import PLANE, Geometry
from stlatent.vae.interface import Run
from stlatent.vae.models.scvi import Options

ALIGNMENT = AlignmentSettings(
    MATCHINGS["adversarial"], pretrain_epochs=50, discriminator_epochs=10, epochs=10
)


@dataclass(frozen=True)
class Space:
    """A latent space in memory."""

    latent: np.ndarray
    decoder: Decoder
    genes: list[str]
    geometry: Geometry = PLANE


@pytest.fixture(scope="module")
def study() -> Study:
    devices.make_deterministic(seed=0, threads=1)
    study = simulate(
        Settings(n_genes=620, n_panel=150, n_cells=400, n_spots=150, n_reference=500), seed=5
    )
    slots.note(study.reference, kind="reference", source="ref", counts=True, batch_key="batch")
    for name, sample in study.samples.items():
        slots.note(sample.measured, kind="spatial", source=name, counts=True)
    genes = study.reference.var_names.tolist()
    options = Options(n_latent=10, max_epochs=40, kl_warmup_epochs=10, batch_size=128)
    trained = registry.get("scvi").train(study.reference, genes, options, Run()).vae
    study.reference.obsm[slots.X_VAE] = trained.latent
    study.reference.uns["decoder"] = trained.decoder
    return study


@pytest.mark.parametrize("name", ["sample_a", "sample_b"])
def test_imputation_recovers_the_truth_better_than_the_null(study: Study, name: str) -> None:
    sample = study.samples[name]
    tissue, reference = sample.measured, study.reference
    shared = tissue.var_names.intersection(reference.var_names)
    structured = study.genes.loc[shared, "structure"].isin(["marker", "gradient", "lineage"])
    hidden = shared[structured.to_numpy()][::4].tolist()
    panel = [gene for gene in shared if gene not in set(hidden)][:200]

    decoder_genes = reference.var_names.tolist()
    space = Space(reference.obsm[slots.X_VAE], reference.uns["decoder"], decoder_genes)
    fold = Fold(name, "1", hidden, panel)
    aligned, _ = align_tissue(tissue, reference, fold, ALIGNMENT, n_neighbors=8, n_inner_folds=2)
    imputer, _ = learned_imputer(views_of(tissue, reference, space, aligned, seed=0), aligned, fold)
    block = imputer.predict(hidden, ["stack", "transfer", "decoder"])
    order = [study.genes.index.get_loc(gene) for gene in hidden]
    truth = sample.expected[:, order]
    library = np.asarray(tissue[:, ~tissue.var_names.isin(hidden)].X.sum(1)).ravel()
    null = np.tile(block.targets.mean, (len(truth), 1))
    chance = to_counts(null, library, float(truth.sum()))
    raw_null = metrics.pcc(truth, chance).mean()
    proportions = sample.proportions[:, order]
    for method in block.predicted:
        counts, normalised = block.counts(method), block.normalised(method)
        assert metrics.pcc(truth, counts).mean() > raw_null + 0.05, method
        assert metrics.pcc(proportions, normalised).mean() > 0.3, method
    # The stack is no worse than what it combines.
    scores = {
        method: metrics.pcc(proportions, block.normalised(method)).mean()
        for method in block.predicted
    }
    assert scores["stack"] >= scores["transfer"] - 0.02
    # Expected counts are right on the average, not only in rank.
    total = block.counts("stack").sum()
    assert 0.6 < total / truth.sum() < 1.6
