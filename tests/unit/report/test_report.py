"""Tests of the report: health checks, outcomes, the merged scores, and what MultiQC makes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from builders.project import ROOT
from builders.report_inputs import (
    REASON,
    alignment_history,
    calibration,
    evaluation,
    imputation,
    write_run,
)
from builders.report_inputs import quality as quality_summary
from stlatent.evaluation.score_table import COLUMNS
from stlatent.records.base import Series
from stlatent.records.evaluation import MapGene, Maps
from stlatent.records.failure import Failure
from stlatent.records.inputs import CheckedInput
from stlatent.records.run import Arm
from stlatent.records.training import VaeHistory
from stlatent.report import write_report
from stlatent.report.chapters import (
    about,
    accuracy,
    accuracy_candidates,
    accuracy_seeds,
    alignment,
    maps,
    quality,
    training,
    trust,
)
from stlatent.report.page.blocks import Block
from stlatent.report.run import health
from stlatent.report.run.headline import headline
from stlatent.report.run.model import Run
from stlatent.report.run.outcome import SILENT, missing_methods, outcomes
from stlatent.report.run.read import load, read_scores
from stlatent.report.run.scores import compared_methods

CONFIG = ROOT / "assets" / "multiqc_config.yml"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_run(tmp_path_factory.mktemp("run"), n_spots=300)


def read(paths: list[Path]) -> Run:
    by_name = {path.name: path for path in paths}
    apart = ("input.json", "settings.json", "tasks.tsv")
    rest = [path for path in paths if path.name not in apart]
    return load(rest, *(by_name.get(name) for name in apart))


@pytest.fixture
def run(files: list[Path]) -> Run:
    return read(files)


def blocks(shown: Iterable[Block]) -> dict[str, Any]:
    return {block.id: block for block in shown}


def without(paths: list[Path], *parts: str) -> Run:
    return read([path for path in paths if not any(part in path.name for part in parts)])


def multiqc(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("multiqc")
    command = [str(program), "--force", "--config", str(CONFIG), "--config", "page_config.json",
               "--title", "A title", "--filename", "multiqc_report.html", "."]  # fmt: skip
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)


def test_every_sample_of_the_sheet_has_an_outcome(run: Run) -> None:
    ended = outcomes(run)
    assert list(ended) == ["embryo_1", "embryo_2", "embryo_3", "liver_bad"]
    assert [o.status for o in ended.values()] == ["finished", "finished", "finished", "failed"]
    assert (ended["liver_bad"].step, ended["liver_bad"].reason) == ("SPLIT_GENES", REASON)


@pytest.mark.parametrize(
    ("missing", "step"),
    [
        (("embryo_1",), "QUALITY_CONTROL"),
        (("embryo_1.default.all",), "ALIGN"),
        (("embryo_1.default.all", "vae_history"), "TRAIN_VAE"),
        (("embryo_1.default.all.imputation",), "IMPUTE"),
        (("embryo_1.default.evaluation",), "EVALUATE"),
    ],
)
def test_a_silent_sample_failed_where_its_files_end(
    files: list[Path], missing: tuple[str, ...], step: str
) -> None:
    ended = outcomes(without(files, *missing))["embryo_1"]
    assert (ended.status, ended.step, ended.reason) == ("failed", step, SILENT)


def test_missing_folds_are_a_warning(files: list[Path]) -> None:
    ended = outcomes(without(files, "embryo_1.default.scores"))["embryo_1"]
    assert (ended.status, ended.step) == ("warning", "SCORE")


def test_a_silent_fold_is_a_warning(run: Run) -> None:
    scores = run.scores
    gone = (scores["sample"] == "embryo_1") & scores["fold"].isin(["2", "4"])
    run.scores = scores[~gone]
    ended = outcomes(run)
    assert (ended["embryo_1"].status, ended["embryo_1"].step) == ("warning", "SCORE")
    assert ended["embryo_1"].reason.startswith("3 of 5 folds scored")
    assert ended["embryo_2"].status == "finished"
    run.scores = scores[~(gone & (scores["method"] == "knn"))]
    assert "knn 3" in outcomes(run)["embryo_1"].reason


def test_fewer_genes_than_folds_is_no_warning(run: Run) -> None:
    run.scores = run.scores[run.scores["gene"].isin(["Gene0", "Gene1", "Gene2"])]
    assert outcomes(run)["embryo_1"].status == "finished"


def test_no_folds_asked_for_is_no_warning(files: list[Path]) -> None:
    run = without(files, "scores")
    run.parameters["n_folds"] = 0
    assert outcomes(run)["embryo_1"].status == "finished"


def test_a_failed_fold_is_a_warning_and_a_failed_imputation_is_not(run: Run) -> None:
    failure = Failure("embryo_1", "sample", "ALIGN", "too few genes")
    run.add(failure)
    assert outcomes(run)["embryo_1"].status == "warning"
    run.add(replace(failure, step="IMPUTE"))
    assert outcomes(run)["embryo_1"].step == "IMPUTE"


def test_a_sample_fails_with_the_reason_of_its_reference(files: list[Path]) -> None:
    run = without(files, "embryo_1.default", "vae_history")
    run.add(Failure("atlas_a", "reference", "INGEST", "empty"))
    ended = outcomes(run)["embryo_1"]
    assert (ended.step, ended.reason) == ("INGEST", "its reference atlas_a failed: empty")


def test_a_row_that_the_sheet_check_turned_down_is_listed(tmp_path: Path) -> None:
    failure = Failure("s9", "sample", "CHECK_INPUT", "no such file")
    path = tmp_path / "input.json"
    CheckedInput(True, [], [failure], [], []).write(path)
    assert outcomes(load([], path, None))["s9"].reason == "no such file"


def test_healthy_and_troubled_samples_are_told_apart(run: Run) -> None:
    assert {r.status for r in health.run_checks(run, "embryo_1").values()} == {"passed"}
    found = {name: r.status for name, r in health.run_checks(run, "embryo_3").items()}
    assert found == {
        "tissue": "passed", "shared_genes": "warned", "latent_space": "passed",
        "reconstruction": "passed", "graph": "warned", "discriminator": "failed",
        "mixing": "failed", "reference_coverage": "warned", "above_null": found["above_null"],
        "intervals": "failed",
    }  # fmt: skip
    assert found["above_null"] in ("warned", "failed")


def test_every_space_of_a_labelled_tissue_has_a_row_under_a_plain_name(run: Run) -> None:
    shown = blocks(alignment.overview(run))["alignment_domains"]
    rows = {name: row for name, row in shown.rows.items() if name.startswith("embryo_1: ")}
    assert len(rows) == 6
    assert rows["embryo_1: joint latent space"]["ari"] == 0.5
    assert rows["embryo_1: measured genes"]["n_labels"] == 6
    assert set(shown.columns) == {"n_labels", "ari", "nmi", "macro_f1"}


def test_checks_without_data_do_not_run() -> None:
    results = health.run_checks(Run(references={"s": None}), "s")
    assert {result.status for result in results.values()} == {"not_run"}
    assert health.worst(results) == "not_run"


def fitted(phase: list[str], series: Series, **changes: Any) -> Run:
    """Return a run of one sample with a fit of these curves."""
    history = alignment_history("s", "all", False, np.random.default_rng(0))
    run = Run(references={"s": None})
    run.add(replace(history, phase=phase, series=series, **changes))
    return run


@pytest.mark.parametrize(
    ("warmup", "status"),
    [(0.59, "failed"), (0.6, "warned"), (0.69, "warned"), (0.7, "passed"), (None, "not_run")],
)
def test_the_discriminator_is_judged_out_of_sample(warmup: float | None, status: str) -> None:
    series = {"discriminator_accuracy": [0.99, 0.99]}
    run = fitted(["discriminator", "adversarial"], series, warm_up_accuracy=warmup)
    assert health.discriminator(run, "s").status == status


@pytest.mark.parametrize(
    ("last", "status"), [(1.1, "failed"), (1.0, "failed"), (0.96, "warned"), (0.9, "passed")]
)
def test_thresholds_of_a_loss(last: float, status: str) -> None:
    series = {"reconstruction": [1.0, None, last, 0.1], "graph": [-1.0, None, last - 2, 0.1]}
    run = fitted(["pretrain", "pretrain", "pretrain", "adversarial"], series)
    assert health.reconstruction(run, "s").status == status
    assert health.graph(run, "s").status == status


def scored(**pcc: tuple[float, float]) -> pd.DataFrame:
    rows = [
        {"sample": "s", "arm": "baseline" if method != "stlatent" else "default", "method": method,
         "fold": "1", "gene": "g", "pcc": raw, "pcc_normalised": normalised}
        for method, (raw, normalised) in pcc.items()
    ]  # fmt: skip
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS))


def test_locations_without_counts_are_told_where_there_are_any() -> None:
    scores = pd.concat(
        [scored(stlatent=(0.5, 0.4)).assign(sample=name, locations_normalised=n)
         for name, n in (("a", 95), ("b", 100))]
    )  # fmt: skip
    run = Run(references={"a": None, "b": None}, scores=scores)
    for name in run.samples:
        found = quality_summary(name, "spatial", 100, np.random.default_rng(0))
        run.add(replace(found, after=replace(found.after, observations=100)))
    shown = blocks(accuracy.left_out(run))["accuracy_left_out"]
    assert "<b>a</b>" in shown.body and "<b>b</b>" not in shown.body
    assert "fewer than 5 counts" in shown.text


def test_candidates_are_compared_on_their_own_genes() -> None:
    rows = [
        {"sample": "s", "arm": "default", "method": method, "fold": "1", "gene": gene,
         "pcc": found, "pcc_normalised": found}
        for method, values in {"stlatent": (0.1, 0.2, 0.9), "stlatent_decoder": (0.8,),
                               "stlatent_knn": (0.3, np.nan, np.nan)}.items()
        for gene, found in zip(("g1", "g2", "g3"), values, strict=False)
    ]  # fmt: skip
    scores = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    run = Run(references={"s": None}, scores=scores)
    for fold, weights in (("1", {"knn": 1.0}), ("2", {"stlatent_transfer": 1.0}), ("all", {})):
        run.add(imputation("s", fold, weights))
    shown = blocks(accuracy_candidates.blocks(run))["accuracy_candidates"]
    assert "1 of 3 genes; stlatent there <b>0.10</b>" in shown.body
    assert "<b>0.00</b> / 0.00<br><small>weight 50%" in shown.body
    assert [name for name in ("decoder", "knn", "transfer") if f"<th>{name}<" in shown.body] == [
        "decoder", "knn", "transfer"
    ]  # fmt: skip
    assert set(accuracy.method_table(run.scores_of()).rows) == {"stlatent"}


def test_points_of_a_grid_nearly_touch() -> None:
    x, y = np.meshgrid(np.arange(30.0), np.arange(20.0))
    places = np.column_stack([x.ravel(), y.ravel()])
    pitch = 72 * 2.6 / 30
    for scale in (1.0, 1000.0):
        assert 0.7 * pitch < maps.point_diameter(places * scale, 2.6, 2.6 * 20 / 30) < pitch


def test_intensities_have_no_depth(files: list[Path], tmp_path: Path) -> None:
    run = read(files)
    run.add(replace(run.quality["embryo_1"], counts=False))
    shown = blocks(quality.overview(run))
    rows, panels = shown["quality_table"].rows, shown["quality_histograms"].panels
    assert rows["embryo_1"]["counts"] is None and rows["embryo_2"]["counts"] > 0
    assert all("embryo_1" not in p.lines and "embryo_2" in p.lines for p in panels)


@pytest.mark.parametrize(
    ("ours", "null", "status"),
    [
        ((0.5, 0.3), (0.4, 0.0), "passed"),
        ((0.5, 0.3), (0.4, np.nan), "passed"),
        ((0.5, 0.01), (0.4, 0.0), "warned"),
        ((0.5, -0.1), (0.4, 0.0), "failed"),
        ((0.4, 0.3), (0.4, 0.0), "failed"),
    ],
)
def test_the_null_has_to_be_beaten_raw_and_normalised(
    ours: tuple[float, float], null: tuple[float, float], status: str
) -> None:
    run = Run(references={"s": None}, scores=scored(stlatent=ours, null=null))
    assert health.above_null(run, "s").status == status


def test_scores_are_merged_tidy_and_sorted(tmp_path: Path, files: list[Path]) -> None:
    tables = [path for path in files if path.name.endswith(".scores.csv")]
    merged = read_scores([*reversed(tables), tables[0]])
    assert list(merged.columns) == [*COLUMNS, "scored_for"]
    assert len(merged) == 3 * 5 * 60
    assert merged["sample"].is_monotonic_increasing
    assert list(read_scores([]).columns) == list(COLUMNS)
    odd = tmp_path / "odd.scores.csv"
    odd.write_text("sample,method,fold,gene,pcc\nNA,stlatent,10,NA,0.5\nNA,stlatent,2,None,0.5\n")
    found = read_scores([odd])
    assert found[["sample", "arm", "fold", "gene"]].to_numpy().tolist() == [
        ["NA", "default", "2", "None"], ["NA", "default", "10", "NA"],
    ]  # fmt: skip


def test_a_gene_may_be_called_nan(tmp_path: Path) -> None:
    table = tmp_path / "fly.scores.csv"
    table.write_text(
        "sample,method,fold,gene,pcc,ssim\nfly,null,1,nan,0.5,nan\nfly,null,1,NaN,,0.25\n"
    )
    found = read_scores([table])
    assert found["gene"].tolist() == ["NaN", "nan"]
    assert found["method"].tolist() == ["null", "null"]
    assert found["pcc"].fillna(-1).tolist() == [-1, 0.5]
    assert found["ssim"].fillna(-1).tolist() == [0.25, -1]


def test_the_headline_has_three_items(run: Run) -> None:
    items = headline(run, outcomes(run))
    assert len(items) == 3
    assert items[0].value == "3 of 4"
    assert "kernel_ridge" in items[1].text
    assert "failed" in items[2].value


def test_maps_choose_by_rank_and_stand_any_values() -> None:
    spots = 50
    rng = np.random.default_rng(0)
    genes = [
        MapGene(f"g{i}", "1", 0.1 * i, 0.1 * i, [0.0] * spots, rng.random(spots).tolist())
        for i in range(9)
    ]
    picked = [(label, gene.gene) for label, gene in maps.chosen(genes)]
    assert picked == [("best", "g8"), ("good", "g6"), ("median", "g4"), ("worst", "g0")]
    assert maps.chosen(genes[:1]) == [("best", genes[0])]
    places = [(x, y) for x, y in rng.random((spots, 2)).tolist()]
    picture = maps.draw(Maps("s", "default", "stlatent", places, genes))
    assert picture is not None and picture.startswith(b"\x89PNG")
    assert maps.draw(Maps("s", "default", "stlatent", [], [])) is None


def test_names_are_escaped(files: list[Path], tmp_path: Path) -> None:
    run = read(files)
    run.held_out_maps = {}
    run.failures[0] = replace(run.failures[0], reason="<script>alert(1)</script>")
    write_report(run, tmp_path, tmp_path)
    overview = json.loads((tmp_path / "summary_overview_mqc.json").read_text())["data"]
    assert "<script>" not in overview and "&lt;script&gt;" in overview


def test_two_arms_are_compared_and_baselines_are_no_arm(files: list[Path], tmp_path: Path) -> None:
    run = read(files)
    run.held_out_maps = {}
    run.arms = [Arm(name, {"alignment": name}) for name in ("default", "no_graph")]
    other = run.scores.assign(arm="no_graph")
    run.scores = pd.concat([run.scores, other, scored(ridge=(0.1, 0.1))], ignore_index=True)
    write_report(run, tmp_path, tmp_path)
    table = json.loads((tmp_path / "arms_table_mqc.json").read_text())["data"]
    assert set(table) == {"default", "no_graph"}


def test_a_published_method_that_failed_costs_no_sample(files: list[Path]) -> None:
    run = read(files)
    before = outcomes(run)
    run.parameters["baselines"] = "null,tangram,gimvi,spage"
    gimvi = run.scores[run.scores["method"] == "knn"].assign(method="gimvi")
    spage = gimvi[gimvi["fold"] != "1"].assign(method="spage")
    run.scores = pd.concat([run.scores, gimvi, spage], ignore_index=True)
    reason = "too many <spots>"
    run.add(Failure("embryo_1", "sample", "COMPARE", reason, fold="1", method="tangram"))
    assert outcomes(run) == before
    missing = {(m.sample, m.method): m for m in missing_methods(run)}
    folds = sorted(set(run.scores["fold"]))
    assert {method for _, method in missing} == {"tangram", "spage"}
    assert missing["embryo_1", "tangram"].folds == folds
    assert missing["embryo_1", "tangram"].reason == "too many <spots>"
    assert "trace" in missing["embryo_2", "tangram"].reason
    assert missing["embryo_2", "spage"].folds == ["1"]
    (table,) = accuracy.missing_table(run)
    assert "too many &lt;spots&gt;" in table.body
    assert compared_methods(run.scores)[-3:] == ["gimvi", "spage", "null"]


def test_plain_methods_that_failed_are_a_warning_with_their_reason(run: Run) -> None:
    gone = (run.scores["sample"] == "embryo_1") & (run.scores["method"] == "knn")
    run.scores = run.scores[~(gone & (run.scores["fold"] == "1"))]
    reason = "no gene varies"
    run.add(Failure("embryo_1", "sample", "COMPARE", reason, fold="1", method="knn,ridge"))
    ended = outcomes(run)["embryo_1"]
    assert (ended.status, ended.step) == ("warning", "COMPARE")
    assert "no gene varies" in ended.reason and "knn 4" in ended.reason
    assert missing_methods(run) == []


def test_published_methods_that_were_compared_with_are_to_be_cited(run: Run) -> None:
    run.parameters["baselines"] = "null,tangram"
    body = about.overview(run)[0].body
    assert "10.1038/s41592-021-01264-7</a>)" in body and "gimvi" not in body
    run.parameters["baselines"] = "null"
    assert "tangram" not in about.overview(run)[0].body


def test_the_vae_that_ran_is_named_and_cited(run: Run) -> None:
    body = about.overview(run)[0].body
    assert "reference (scVI) learns" in body and "10.1038/s41592-018-0229-2</a>)" in body
    run.vaes.clear()
    body = about.overview(run)[0].body
    assert "reference learns" in body.replace("\n", " ") and "scVI" not in body


def test_a_model_without_epochs_has_no_curves(run: Run) -> None:
    series = {"explained_variance": [0.2, 0.1]}
    for key, history in run.vaes.items():
        run.vaes[key] = replace(history, epoch=[], series=series, best_epoch=None, batch_sizes=[])
    assert training.vae_curves(run) == []


def test_multiqc_builds_the_whole_report(files: list[Path], tmp_path: Path) -> None:
    write_report(read(files), tmp_path, tmp_path)
    versions = "ALIGN:\n  torch: 2.13.0\n"
    (tmp_path / "stlatent_mqc_versions.yml").write_text(versions)
    done = multiqc(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rror" not in done.stderr, done.stderr
    page = (tmp_path / "multiqc_report.html").read_text()
    names = ["Summary", "Health checks", "Held-out accuracy", "Spatial maps", "Quality control",
             "Training", "Latent spaces and alignment", "About this run"]  # fmt: skip
    places = [page.index(f'class="nav-l1">{name}<') for name in names]
    assert places == sorted(places)
    assert REASON in page and "2.13.0" in page and "A title" in page
    assert "A modular tool to aggregate" not in page.split("</head>")[1]
    assert "Summarize report" not in page
    written = json.loads((tmp_path / "headline.json").read_text())
    assert len(written["headline"]) == 3
    assert written["failed"] == [{"id": "liver_bad", "step": "SPLIT_GENES", "reason": REASON}]
    assert (tmp_path / "maps" / "embryo_1.png").exists()


@pytest.mark.parametrize("kept", [(), ("input.json", "qc.json")])
def test_little_or_nothing_still_gives_a_report(
    files: list[Path], tmp_path: Path, kept: tuple[str, ...]
) -> None:
    write_report(
        read([path for path in files if path.name.endswith(kept)] if kept else []),
        tmp_path,
        tmp_path,
    )
    written = json.loads((tmp_path / "headline.json").read_text())
    assert len(written["headline"]) == 3
    assert len(written["failed"]) == (4 if kept else 0)
    assert pd.read_csv(tmp_path / "scores.csv").empty
    done = multiqc(tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "multiqc_report.html").exists()


def test_no_labels_no_adversary_one_sample(tmp_path: Path) -> None:
    folder, rng = tmp_path / "in", np.random.default_rng(0)
    write_run(folder, samples=1, failed=False, n_spots=100)
    judged = evaluation("embryo_1", False, rng)
    bare = replace(judged, knn_reference=None, knn_cross_modal=None, domains=None)
    bare.write(folder / "embryo_1.default.evaluation.json")
    history = alignment_history("embryo_1", "all", False, rng)
    none = ("adversarial", "discriminator_loss", "discriminator_accuracy")
    series = history.series | {name: [None] * 140 for name in none}
    phase = ["pretrain"] * 60 + ["continued"] * 80
    replace(history, phase=phase, series=series).write(
        folder / "embryo_1.default.all.alignment_history.json"
    )
    run = read(sorted(folder.iterdir()))
    write_report(run, tmp_path / "out", tmp_path / "out")
    assert not (tmp_path / "out" / "training_discriminator_mqc.json").exists()
    assert not (tmp_path / "out" / "alignment_knn_mqc.json").exists()
    assert not (tmp_path / "out" / "alignment_domains_mqc.json").exists()
    assert health.discriminator(run, "embryo_1").status == "not_run"
    assert health.latent_space(run, "embryo_1").status == "not_run"


def test_collate_on_the_command_line(files: list[Path], tmp_path: Path) -> None:
    by_name = {path.name: path for path in files}
    apart = {name: str(by_name[name]) for name in ("input.json", "settings.json", "tasks.tsv")}
    inputs = [str(path) for path in files if path.name not in apart]
    command = [sys.executable, str(ROOT / "bin" / "collate.py"), "--input-json",
               apart["input.json"], "--settings", apart["settings.json"], "--tasks",
               apart["tasks.tsv"], "--executor", "local", "--page-dir", str(tmp_path / "out"), "--output-dir", str(tmp_path / "out"),
               *inputs]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "training_vae_mqc.json").exists()
    parameters = json.loads((tmp_path / "out" / "about_parameters_mqc.json").read_text())
    assert "n_folds" in parameters["data"]


def test_histograms_are_shown_over_values() -> None:
    from stlatent.report.chapters.quality import as_percent

    assert as_percent([(1.0, 1), (1.0, 1), (2.0, 6)]) == [[9.0, 25.0], [99.0, 75.0]]
    assert as_percent([(0.0, 0)]) == [[0.1, 0.0]]


def test_a_history_without_epochs_is_drawn_over_its_steps() -> None:
    from stlatent.report.chapters.training import vae_curves

    series: Series = {"train_loss": [], "validation_loss": [3.0, 2.0, 1.0]}
    history = VaeHistory("r", "", "scvi", [], series, None, 1.0, [128])
    run = Run()
    run.add(history)
    assert vae_curves(run)[0].panels[0].lines == {
        "r, validation": [[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]]
    }
    assert "smaller batches" not in vae_curves(run)[0].text
    run.add(replace(history, batch_sizes=[128, 64, 32]))
    assert "r (128 to 32)" in vae_curves(run)[0].text


def test_trust_tells_labels_intervals_and_what_is_missing(run: Run) -> None:
    found = blocks(trust.overview(run))
    rows = found["trust_samples"].rows
    assert rows["embryo_1"]["high"] == 300 and rows["embryo_1"]["auroc"] == 0.84
    assert "90% <small>(18 of 20)</small>" in found["trust_label_accuracy"].body
    assert "90% <small>(54 of 60)</small>" in found["trust_label_accuracy"].body
    assert "New&lt;0.97&gt;" in found["trust_genes"].body
    assert found["trust_intervals"].panels[0].lines["embryo_1"][3] == [90, 89.5]
    assert "trust_absent" not in found
    content = calibration("s", False)
    learned = replace(content.reliability, learned_from="prior", validation=None)
    content = replace(content, intervals=None, reliability=learned)
    alone = Run(references={"s": None})
    alone.add(replace(content, intervals_calibrated=False, intervals_reason="few <genes>"))
    found = blocks(trust.overview(alone))
    assert {"trust_intervals", "trust_label_accuracy", "trust_curve"}.isdisjoint(found)
    assert "few &lt;genes&gt;" in found["trust_absent"].body
    assert found["trust_samples"].rows["s"]["learned"] == "other tissues"
    assert health.run_checks(alone, "s")["intervals"].status == "not_run"
    assert trust.overview(Run()) == []


def test_the_spread_over_seeds_is_shown_and_the_rest_is_of_the_first(
    files: list[Path], tmp_path: Path
) -> None:
    table = pd.read_csv(next(f for f in files if f.name == "embryo_1.default.scores.csv"))
    ours = table["method"] == "stlatent"
    table.loc[~ours, "arm"] = "baseline"
    table["seed"] = np.where(ours, "10", "")
    again = table[ours].assign(seed="9", pcc=table["pcc"] - 0.1)
    pd.concat([table, again]).to_csv(tmp_path / "embryo_1.scores.csv", index=False)
    run = load([tmp_path / "embryo_1.scores.csv"], None, None)
    assert run.seeds == ["9", "10"]
    assert len(run.scores_of()) == len(table) and len(run.scores) == len(table) + ours.sum()
    found = accuracy_seeds.spread(run.scores[run.scores["seed"] != ""]).loc[
        ("embryo_1", "stlatent")
    ]
    means = table.loc[ours, "pcc"].mean() - np.array([0, 0.1])
    assert found["pcc", "mean", "mean"] == pytest.approx(means.mean())
    assert found["pcc", "mean", "std"] == pytest.approx(means.std(ddof=1))
    shown = blocks(accuracy_seeds.blocks(run))["accuracy_seeds"]
    assert "2 seeds (9, 10)" in shown.text and "&plusmn; 0.071" in shown.body
    assert accuracy_seeds.blocks(load(files, None, None)) == []


def test_a_sample_without_calibration_is_a_warning(files: list[Path]) -> None:
    ended = outcomes(without(files, "embryo_2.default.calibration"))["embryo_2"]
    assert (ended.status, ended.step) == ("warning", "CALIBRATE")
    assert "without intervals and reliability" in ended.reason and SILENT in ended.reason
    run = without(files, "embryo_2.default.calibration")
    run.add(Failure("embryo_2", "sample", "CALIBRATE", "bad file"))
    assert outcomes(run)["embryo_2"].reason.endswith("reliability: bad file")
    run.add(Failure("embryo_2", "sample", "SCORE", "no fold"))
    assert "no fold" in outcomes(run)["embryo_2"].reason
    assert outcomes(without(files, ".calibration.json"))["embryo_2"].status == "warning"
