"""Quality control on values worked out by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import sparse

from quality_control import main as quality_control
from stlatent import slots
from stlatent.failures import DataError
from stlatent.inputs import qc
from stlatent.records.inputs import Overview, Removed, Thresholds


def data(values: list[list[float]], genes: list[str], counts: bool = True) -> anndata.AnnData:
    matrix = sparse.csr_matrix(np.array(values, dtype=np.float32))
    names = [f"c{number}" for number in range(len(values))]
    adata = anndata.AnnData(matrix, pd.DataFrame(index=names), pd.DataFrame(index=genes))
    slots.note(adata, kind="spatial", source="s1", counts=counts)
    return adata


def thresholds(**changes: float) -> Thresholds:
    asked = {"min_counts": 0, "min_genes": 0, "min_cells": 0, "max_mito_percent": 100, "mad": 0}
    return Thresholds(**(asked | changes))


def test_measures_by_hand() -> None:
    adata = data([[1, 0, 3], [0, 5, 0]], ["A", "B", "mt-Co1"])
    measures = qc.measure(adata)
    assert measures.counts.tolist() == [4, 5]
    assert measures.genes.tolist() == [2, 1]
    assert measures.mito_percent.tolist() == [75, 0]


@pytest.mark.parametrize(
    ("gene", "known"),
    [("MT-CO1", True), ("mt-Co1", True), ("mt:CoI", True), ("Mt1", False), ("mtt:x", False)],
)
def test_mitochondrial_prefixes(gene: str, known: bool) -> None:
    measures = qc.measure(data([[1, 1]], ["A", gene]))
    assert (measures.mito_percent is not None) == known


@pytest.mark.parametrize(
    ("n_vars", "min_counts", "min_genes"),
    [(33, 1, 1), (134, 2, 2), (2000, 20, 20), (5999, 60, 60), (6000, 200, 100), (18000, 200, 100)],
)
def test_thresholds_scale_with_panels_alone(n_vars: int, min_counts: int, min_genes: int) -> None:
    used = qc.effective(Thresholds(200, 100, 3, 25), n_vars, counts=True)
    assert (used.min_counts, used.min_genes) == (min_counts, min_genes)


def test_thresholds_on_a_transcriptome_are_those_asked() -> None:
    # 18000 genes: 500 genes of 1 count; 250 genes of 2; 249 genes of 3 (747 counts); 400 of 1
    n_genes, values = (500, 250, 249, 400), (1, 2, 3, 1)
    rows = [[v] * n + [0] * (18000 - n) for n, v in zip(n_genes, values, strict=True)]
    adata = data(rows, [f"g{number}" for number in range(18000)])
    filtered, summary = qc.filter_data(adata, thresholds(min_counts=500, min_genes=250))
    assert list(filtered.obs_names) == ["c0", "c1"]
    assert summary.removed.observations == {
        "min_counts": 1, "min_genes": 1, "max_mito": 0, "mad_outlier": 0,
    }  # fmt: skip
    assert (summary.thresholds.min_counts, summary.thresholds.min_genes) == (500, 250)


def test_each_observation_is_counted_under_its_first_filter() -> None:
    measures = qc.Measures(
        np.array([1.0, 20, 20, 20, 1]), np.array([1, 1, 5, 5, 5]), np.array([90.0, 90, 60, 5, 5])
    )
    failed = qc.failed_filters(
        measures, thresholds(min_counts=10, min_genes=3, max_mito_percent=50)
    )
    assert {name: np.flatnonzero(mask).tolist() for name, mask in failed.items()} == {
        "min_counts": [0, 4], "min_genes": [1], "max_mito": [2], "mad_outlier": [],
    }  # fmt: skip


def test_mad_outliers_by_hand() -> None:
    # log1p of counts: 1, 2, 3, 4, 13; median 3, deviations 2, 1, 0, 1, 10: MAD 1
    measures = qc.Measures(np.expm1([1.0, 2, 3, 4, 13]), np.full(5, 7), None)
    assert qc.mad_outliers(measures, 5).tolist() == [False] * 4 + [True]
    assert not qc.mad_outliers(measures, 0).any()


def test_high_but_not_low_mitochondrial_share_is_an_outlier() -> None:
    measures = qc.Measures(np.full(5, 9.0), np.full(5, 7), np.array([0.0, 19, 20, 21, 40]))
    assert qc.mad_outliers(measures, 5).tolist() == [False] * 4 + [True]


def test_summary_says_what_was_removed(tmp_path: Path) -> None:
    adata = data([[0, 0, 0], [2, 1, 0], [3, 0, 0]], ["A", "B", "C"])
    filtered, summary = qc.filter_data(adata, thresholds(min_cells=2))
    assert filtered.shape == (2, 1)
    assert summary.removed == Removed(
        {"min_counts": 1, "min_genes": 0, "max_mito": 0, "mad_outlier": 0}, {"min_cells": 2}
    )
    assert summary.before == Overview(3, 3, 3.0, 1.0, None)
    assert summary.after.observations == 2
    assert sum(n for _, n in summary.histograms.counts) == 3
    summary.write(tmp_path / "s1.qc.json")


def test_observation_left_without_genes_goes_too() -> None:
    adata = data([[2, 0], [3, 0], [0, 1]], ["A", "B"])
    filtered, summary = qc.filter_data(adata, thresholds(min_cells=2))
    assert filtered.shape == (2, 1)
    assert summary.removed.observations["min_counts"] == 1


def test_intensities_have_no_count_thresholds_but_must_vary() -> None:
    adata = data([[0.2, 0.5, 0.0], [0.1, 0.5, 0.0], [0, 0.5, 0]], ["A", "B", "C"], counts=False)
    filtered, summary = qc.filter_data(adata, thresholds(min_counts=100, min_genes=50))
    assert list(filtered.var_names) == ["A"]
    assert summary.thresholds.min_counts == 0
    assert not summary.counts


def test_nothing_left_names_the_filter_and_the_parameter() -> None:
    genes = [f"g{number}" for number in range(2000)]
    adata = data([[1] + [0] * 1999] * 3, genes)
    with pytest.raises(DataError, match=r"min_counts removed 3.*Lower spatial_min_counts"):
        qc.filter_data(adata, thresholds(min_counts=10))


def run(path: Path, folder: Path, min_counts: int) -> None:
    arguments = {"input": path, "min-counts": min_counts, "min-genes": 0, "min-cells": 1,
                 "max-mito": 50, "mad": 0, "output": folder / "o.h5ad",
                 "summary": folder / "qc.json", "failure": folder / "f.json"}  # fmt: skip
    words = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    result = CliRunner().invoke(quality_control, words)
    assert result.exit_code == 0, result.output


def test_script_writes_results_or_the_failure(tmp_path: Path) -> None:
    path = tmp_path / "i.h5ad"
    data([[1, 0], [4, 2]] * 5, ["A", "B"]).write_h5ad(path)
    run(path, tmp_path, 1)
    assert json.loads((tmp_path / "qc.json").read_text())["id"] == "s1"
    assert anndata.read_h5ad(tmp_path / "o.h5ad").shape == (10, 2)
    data([[1] + [0] * 1999], [f"g{i}" for i in range(2000)]).write_h5ad(path)
    run(path, tmp_path, 10)
    assert json.loads((tmp_path / "f.json").read_text())["step"] == "QUALITY_CONTROL"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (
            [[4, 2]] * 9,
            r"'s1' has 9 of 9 locations .*\(none removed\).* Give a spatial file of more",
        ),
        (
            [[4, 2]] * 9 + [[0, 0]] * 3,
            r"has 9 of 12 locations .*\(min_counts removed 3\).*at least 10 .*Lower spatial_min_counts",
        ),
    ],
)
def test_a_sample_of_too_few_locations_fails(
    rows: list[list[float]], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "i.h5ad"
    data(rows, ["A", "B"]).write_h5ad(path)
    run(path, tmp_path, 1)
    failure = json.loads((tmp_path / "f.json").read_text())
    assert (failure["id"], failure["kind"], failure["step"]) == ("s1", "sample", "QUALITY_CONTROL")
    assert re.search(says, failure["reason"])
    assert not (tmp_path / "o.h5ad").exists() and not (tmp_path / "qc.json").exists()


def test_a_reference_of_few_cells_is_not_held_to_the_limit_of_samples(tmp_path: Path) -> None:
    adata = data([[4, 2]] * 9, ["A", "B"])
    slots.note(adata, kind="reference")
    adata.write_h5ad(tmp_path / "i.h5ad")
    run(tmp_path / "i.h5ad", tmp_path, 1)
    assert (tmp_path / "o.h5ad").exists()
