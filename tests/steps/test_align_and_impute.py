"""ALIGN and IMPUTE as the pipeline calls them."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

import anndata
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import align
import impute
from stlatent import graph, slots
from stlatent.alignment import trainer
from stlatent.alignment.inputs import panel_expression
from stlatent.imputation.candidates import CANDIDATES
from stlatent.imputation.imputer import STACK
from stlatent.records.failure import Failure
from stlatent.records.training import AlignmentHistory
from stlatent.simulate import Settings, simulate
from stlatent.trust import reliability
from stlatent.vae import storage
from stlatent.vae.decoder import Decoder, Layer
from stlatent.vae.geometry import PLANE
from stlatent.vae.interface import Run, TrainedVAE, Training
from stlatent.vae.models.scvi import Options

QUICK = ["--method", "adversarial", "--n-neighbors", "8", "--inner-folds", "3"]
QUICK += ["--pretrain-epochs", "6", "--discriminator-epochs", "2", "--epochs", "4"]
QUICK += ["--seed", "0", "--device", "auto", "--threads", "1"]


@dataclasses.dataclass(frozen=True)
class Case:
    """A tissue, a folder of a VAE and two folds, on disk."""

    folder: Path
    spatial: Path
    hidden: list[str]

    def align(self, fold: str, spatial: Path | None = None, *options: str) -> Path:
        output = self.folder / "aligned.h5ad"
        arguments = ["--spatial", spatial or self.spatial, "--vae", self.folder / "vae"]
        arguments += ["--reference", self.folder / "reference.h5ad"]
        arguments += ["--fold", self.folder / f"fold_{fold}.json", "--history", self.folder / "h"]
        arguments += [
            "--output",
            output,
            "--failure",
            self.folder / "failure.json",
            *QUICK,
            *options,
        ]
        result = CliRunner().invoke(align.main, [str(a) for a in arguments])
        assert result.exit_code == 0, result.output
        return output

    def impute(self, fold: str, *options: str, spatial: Path | None = None) -> anndata.AnnData:
        aligned, output = self.align(fold, spatial), self.folder / "imputed.h5ad"
        result = CliRunner().invoke(
            impute.main, self.impute_arguments(fold, aligned, output, spatial, *options)
        )
        assert result.exit_code == 0, result.output
        return anndata.read_h5ad(output)

    def impute_arguments(
        self, fold: str, aligned: Path, output: Path, spatial: Path | None, *options: str
    ) -> list[str]:
        arguments = ["--aligned", aligned, "--spatial", spatial or self.spatial]
        arguments += ["--reference", self.folder / "reference.h5ad"]
        arguments += ["--vae", self.folder / "vae", "--fold", self.folder / f"fold_{fold}.json"]
        arguments += ["--output", output, "--summary", self.folder / "summary.json"]
        arguments += ["--failure", self.folder / "failure.json", "--settings", "key"]
        arguments += [
            "--genes",
            "hvg",
            "--imputer",
            STACK,
            "--seed",
            "0",
            "--threads",
            "1",
            *options,
        ]
        return [str(argument) for argument in arguments]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("case")
    study = simulate(
        Settings(n_genes=620, n_panel=60, n_cells=120, n_spots=60, n_reference=150), seed=3
    )
    tissue, reference = study.samples["sample_a"].measured, study.reference
    slots.note(reference, kind="reference", source="ref", counts=True)
    slots.note(tissue, kind="spatial", source="s", counts=True)
    tissue.write_h5ad(folder / "s.h5ad")
    reference.write_h5ad(folder / "reference.h5ad")
    # A linear latent space: these tests are not about the VAE.
    genes = reference.var_names[:80].tolist()
    values = panel_expression(reference, genes, [])
    latent = (np.linalg.svd(values, full_matrices=False)[0][:, :4] * 12).astype(np.float32)
    generator = torch.Generator().manual_seed(0)

    def weights(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    layers = (Layer(weights(8, 4), weights(1, 8), "relu"), Layer(weights(80, 8), weights(80)))
    trained = TrainedVAE(latent, PLANE, Decoder(layers, "softmax", "share"), {})
    training = Training("scvi", {}, genes, Options(1, 0, 128, 4), Run(), trained, 0.0, [])
    storage.save(folder / "vae", reference, training)
    shared = tissue.var_names.intersection(reference.var_names).tolist()
    hidden, panel = shared[:8], shared[8:40]
    for name, away in (("all", []), ("1", hidden)):
        fold = {"sample": "s", "fold": name, "hidden": away, "panel": panel}
        (folder / f"fold_{name}.json").write_text(json.dumps(fold))
    return Case(folder, folder / "s.h5ad", hidden)


def test_align_notes_what_later_steps_take_from_it(case: Case) -> None:
    aligned = anndata.read_h5ad(case.align("1", None, "--settings", "a1b2", "--n-neighbors", "6"))
    history = AlignmentHistory.read(case.folder / "h")
    noted = slots.facts(aligned)
    assert (noted["settings"], noted["fold"], noted["n_neighbors"]) == ("a1b2", "1", 6)
    assert (history.settings, history.fold, history.n_neighbors) == ("a1b2", "1", 6)
    assert history.warm_up_accuracy is None
    better = max(reversed(history.validation), key=lambda slot: history.validation[slot] or -1)
    assert noted["imputation_space"] == history.imputation_space == better
    assert len(noted["inner_folds"]) == 3
    assert case.align("all").exists()
    assert AlignmentHistory.read(case.folder / "h").warm_up_accuracy is not None


def test_same_seed_gives_identical_imputed_values(case: Case) -> None:
    first, second = case.impute("all"), case.impute("all")
    np.testing.assert_array_equal(first.X, second.X)
    for layer in slots.layers(first):
        np.testing.assert_array_equal(first.layers[layer], second.layers[layer])


def test_values_of_hidden_genes_change_nothing_in_their_fold(case: Case, tmp_path: Path) -> None:
    tissue = anndata.read_h5ad(case.spatial)
    values = tissue.X.tolil()
    for position in tissue.var_names.get_indexer(case.hidden):
        values[:, position] = np.arange(tissue.n_obs)[:, None]
    tissue.X = values.tocsr()
    tissue.write_h5ad(tmp_path / "changed.h5ad")
    before = case.impute("1")
    after = case.impute("1", spatial=tmp_path / "changed.h5ad")
    assert before.var_names.tolist() == case.hidden
    np.testing.assert_array_equal(before.X, after.X)
    for layer in slots.layers(before):
        np.testing.assert_array_equal(before.layers[layer], after.layers[layer])


def test_a_fold_carries_every_candidate_and_the_full_run_the_latents(case: Case) -> None:
    fold, complete = case.impute("1"), case.impute("all")
    assert set(slots.layers(fold)) == set(CANDIDATES)
    assert set(fold.obsm) == {"spatial"}
    assert set(slots.layers(complete)) == {"transfer", "decoder", "normalised"}
    assert set(complete.obsm) == {"spatial", "X_aligned", "X_unaligned", "X_spatial", "X_joint"}
    sizes = [complete.obsm[slot].shape[1] for slot in ("X_aligned", "X_spatial", "X_joint")]
    assert sizes[2] == sizes[0] + sizes[1]
    # Its halves weigh the same in a distance, however large they are.
    for half in np.split(complete.obsm["X_joint"], [sizes[0]], axis=1):
        assert half.var(axis=0).sum() == pytest.approx(1, rel=1e-3)
    assert slots.facts(fold)["settings"] == "key"
    assert slots.facts(fold)["seed"] == slots.facts(complete)["seed"] == 0
    judged = {"reference_coverage", "reference_covered", "reference_distance"}
    assert judged <= set(complete.obs) and judged.isdisjoint(fold.obs)
    summary = json.loads((case.folder / "summary.json").read_text())
    uncovered = 1 - complete.obs["reference_covered"].mean()
    assert summary["coverage"]["uncovered"] == pytest.approx(uncovered)
    assert sum(summary["weights"].values()) == pytest.approx(1)
    assert set(summary["inner_correlation"]) == set(CANDIDATES) - {"decoder"}
    assert all(-1 <= value <= 1 for value in summary["inner_correlation"].values())


@pytest.mark.parametrize("imputer", ["transfer", "ridge", "decoder"])
def test_every_candidate_can_be_the_imputer(case: Case, imputer: str) -> None:
    default, chosen = case.impute("1"), case.impute("1", "--imputer", imputer)
    np.testing.assert_array_equal(chosen.X, default.layers[imputer])


def test_all_genes_of_the_reference(case: Case) -> None:
    assert case.impute("all", "--genes", "all").n_vars == 620
    assert case.impute("all", "--genes", "all", "--imputer", "decoder").n_vars == 80


def test_unknown_genes_of_a_list_are_noted(case: Case, tmp_path: Path) -> None:
    genes = anndata.read_h5ad(case.folder / "reference.h5ad").var_names[[3, 1]].tolist()
    listed = tmp_path / "genes.txt"
    listed.write_text(f"{genes[0]}\n\nNowhere1\n{genes[1]} \n{genes[0]}\n")
    assert case.impute("all", "--genes", str(listed)).var_names.tolist() == genes
    summary = json.loads((case.folder / "summary.json").read_text())
    assert summary["genes_not_in_reference"] == ["Nowhere1"]


def test_a_list_without_known_genes_fails_the_sample(case: Case, tmp_path: Path) -> None:
    listed = tmp_path / "genes.txt"
    listed.write_text("Nowhere1\n")
    output = tmp_path / "imputed.h5ad"
    arguments = case.impute_arguments(
        "all", case.align("all"), output, None, "--genes", str(listed)
    )
    assert CliRunner().invoke(impute.main, arguments).exit_code == 0
    assert not output.exists()
    assert Failure.read(case.folder / "failure.json") == Failure(
        "s",
        "sample",
        "IMPUTE",
        "none of the 1 genes of genes.txt is in the reference after quality control; "
        "check the names, or lower reference_min_cells",
        settings="key",
        fold="all",
    )


def test_a_gene_of_the_panel_is_described_as_if_it_had_not_been_measured(case: Case) -> None:
    complete = case.impute("all")
    panel = json.loads((case.folder / "fold_all.json").read_text())["panel"]
    known = [gene for gene in panel if gene in complete.var_names]
    assert known
    # Predicted from themselves they would correlate by more than 0.8.
    assert complete.var.loc[known, "panel_predictability"].median() < 0.7


def test_without_inner_folds_no_gene_of_the_panel_vouches_for_itself(case: Case) -> None:
    aligned = case.align("all", None, "--inner-folds", "0")
    output = case.folder / "blind.h5ad"
    done = CliRunner().invoke(impute.main, case.impute_arguments("all", aligned, output, None))
    assert done.exit_code == 0, done.output
    var = anndata.read_h5ad(output).var
    panel = json.loads((case.folder / "fold_all.json").read_text())["panel"]
    known = var.index.isin(panel)
    assert known.any() and not known.all()
    assert var.loc[known, list(slots.FEATURES)].isna().all(axis=None)
    assert var.loc[~known, list(slots.FEATURES)].notna().all(axis=None)
    labels = reliability.read_prior().predict(var, counts=True)["reliability_label"]
    assert set(labels[known]) == {"not testable"}
    assert "not testable" not in set(labels[~known])


def test_an_alignment_that_outgrows_the_gpu_is_the_one_of_smaller_batches(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = trainer.Trainer.step

    def limited(self: trainer.Trainer, batch: graph.Batch, matched: bool) -> dict[str, float]:
        if self.settings.batch_size > 128 and matched:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return step(self, batch, matched)

    monkeypatch.setattr(trainer.Trainer, "step", limited)
    shrunk = anndata.read_h5ad(case.align("1")).obsm[slots.X_ALIGNED]
    assert json.loads((case.folder / "h").read_text())["batch_sizes"] == [1024, 512, 256, 128]
    small = functools.partial(align.AlignmentSettings, batch_size=128, max_batches=32)
    monkeypatch.setattr(align, "AlignmentSettings", small)
    np.testing.assert_array_equal(anndata.read_h5ad(case.align("1")).obsm[slots.X_ALIGNED], shrunk)
    assert json.loads((case.folder / "h").read_text())["batch_sizes"] == [128]
