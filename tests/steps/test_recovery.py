"""The whole model on simulated tissues, against the truth that no method ever sees."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from stlatent import devices, slots
from stlatent.alignment.inputs import prepare
from stlatent.alignment.matching import MATCHINGS
from stlatent.alignment.placement import Placement
from stlatent.alignment.settings import AlignmentSettings
from stlatent.alignment.trainer import align, align_unmatched
from stlatent.evaluation import metrics
from stlatent.imputation.candidates import Candidates
from stlatent.imputation.imputer import Imputer
from stlatent.imputation.inner_folds import InnerFold, split_panel, stack_weights
from stlatent.imputation.predictors import null, to_counts
from stlatent.simulate import Settings, Study, simulate
from stlatent.vae import registry
from stlatent.vae.interface import VAESettings

ALIGNMENT = AlignmentSettings(
    MATCHINGS["adversarial"], pretrain_epochs=50, discriminator_epochs=10, epochs=10
)


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
    trained = registry.trainer("scvi")(
        study.reference, genes, VAESettings(max_epochs=40, kl_warmup_epochs=10)
    )
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

    aligned = align(prepare(tissue, reference, panel, hidden, 8), ALIGNMENT)
    see = partial(look, study, name)
    inner = []
    for part in split_panel(panel, 2, seed=0):
        visible = [gene for gene in panel if gene not in set(part)]
        inputs = prepare(tissue, reference, visible, [*hidden, *part], 8)
        inner.append(InnerFold(part, align_unmatched(inputs, ALIGNMENT)))
    weights = stack_weights(inner, panel, hidden, see)
    candidates = see(panel, hidden, aligned.chosen.placement)
    imputer = Imputer(candidates, weights, reference.uns["decoder"], reference.var_names.tolist())
    predicted = imputer.predict(hidden, ["stack", "transfer", "decoder"])
    order = [study.genes.index.get_loc(gene) for gene in hidden]
    truth = sample.expected[:, order]
    library = np.asarray(tissue[:, ~tissue.var_names.isin(hidden)].X.sum(1)).ravel()
    chance = to_counts(null(candidates.problem(hidden)), library, float(truth.sum()))
    raw_null = metrics.pcc(truth, chance).mean()
    proportions = sample.proportions[:, order]
    for method, values in predicted.items():
        counts = imputer.on_count_scale(values, hidden)
        normalised = imputer.normalised(values, hidden)
        assert metrics.pcc(truth, counts).mean() > raw_null + 0.05, method
        assert metrics.pcc(proportions, normalised).mean() > 0.3, method
    # The stack is no worse than what it combines.
    scores = {
        m: metrics.pcc(proportions, imputer.normalised(v, hidden)).mean()
        for m, v in predicted.items()
    }
    assert scores["stack"] >= scores["transfer"] - 0.02
    # Expected counts are right on the average, not only in rank.
    total = imputer.on_count_scale(predicted["stack"], hidden).sum()
    assert 0.6 < total / truth.sum() < 1.6


def look(
    study: Study, name: str, panel: list[str], hidden: list[str], placement: Placement
) -> Candidates:
    return Candidates(
        study.samples[name].measured,
        study.reference,
        panel,
        hidden,
        placement.z,
        study.reference.obsm[slots.X_VAE],
        placement.precision,
        seed=0,
    )
