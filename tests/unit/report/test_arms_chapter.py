"""Tests of the chapter that compares the arms of a study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from builders.report_inputs import DEFAULT, PLAIN, write_run, write_study
from stlatent.evaluation.score_table import COLUMNS
from stlatent.records.failure import Failure
from stlatent.records.run import Arm
from stlatent.report import overview, write_report
from stlatent.report.chapters import arms
from stlatent.report.run.model import Run
from stlatent.report.run.read import load
from stlatent.report.run.scores import paired_difference


def read(folder: Path, write: Callable[..., list[Path]], **options: Any) -> Run:
    apart = ("input.json", "settings.json", "tasks.tsv")
    paths = [path for path in write(folder, **options) if path.name not in apart]
    return load(paths, *(folder / name for name in apart))


def shown(run: Run) -> dict[str, Any]:
    return {block.id: block for block in arms.overview(run) if not block.is_empty}


def scored(**pcc: float | None) -> pd.DataFrame:
    rows = [
        {"sample": "s", "arm": "a", "method": "stlatent", "fold": "1", "gene": gene,
         "pcc": value, "pcc_normalised": value}
        for gene, value in pcc.items()
    ]  # fmt: skip
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS))


def test_a_run_of_one_arm_compares_nothing(tmp_path: Path) -> None:
    run = read(tmp_path, write_run, samples=1, n_spots=100)
    assert arms.overview(run) == []
    assert "arms" not in [chapter.id for chapter in overview(run) if chapter.blocks]


@pytest.fixture
def study(tmp_path: Path) -> Run:
    """Two samples, of which the second failed under ``plain``."""
    run = read(tmp_path, write_study, samples=2)
    key = PLAIN.keys["imputation"]
    run.add(Failure("s2", "sample", "IMPUTE", "too few <genes>", key))
    del run.imputations["s2", key, "all"], run.calibrations["s2", "plain"]
    run.scores = run.scores[(run.scores["sample"] != "s2") | (run.scores["arm"] != "plain")]
    return run


def test_every_arm_has_a_row_with_its_settings_and_its_results(study: Run) -> None:
    blocks = shown(study)
    rows = blocks["arms_table"].rows
    assert {name: row["changes"] for name, row in rows.items()} == {
        "default": "those of the run", "plain": "imputer knn", "small": "n_hvg 500",
        "twin": "the same as default",
    }  # fmt: skip
    assert [row["finished"] for row in rows.values()] == ["2 of 2", "1 of 2", "2 of 2", "2 of 2"]
    assert rows["twin"] == rows["default"] | {"changes": "the same as default"}
    assert rows["small"]["normalised"] < rows["default"]["normalised"]
    assert [row["genes"] for row in rows.values()] == [120, 60, 120, 120]
    assert rows["default"]["reliable"] == pytest.approx(15)
    # The VAE, and one fold.
    assert rows["default"]["seconds"] == pytest.approx(61.2 + 2.5)
    assert (rows["default"]["macro_f1"], rows["default"]["accuracy"]) == pytest.approx((0.84, 0.89))
    assert 0.5 < rows["default"]["auroc"] < 0.7 and 0.4 < rows["default"]["discriminator"] < 0.7
    assert "<b>default</b>" in blocks["arms_table"].text


def test_samples_and_failures_stand_by_arm(study: Run) -> None:
    blocks = shown(study)
    rows = blocks["arms_samples"].rows
    assert list(rows)[:2] == ["s1: default", "s1: plain"] and len(rows) == 8
    assert rows["s2: plain"]["status"] == "failed" and rows["s2: plain"]["normalised"] is None
    body = blocks["arms_failures"].body
    assert body.count("<tr>") == 2 and "too few &lt;genes&gt;" in body
    assert "<td>plain</td>" in body


def test_with_one_sample_its_values_stand_once(tmp_path: Path) -> None:
    run = read(tmp_path, write_study)
    assert list(shown(run)) == ["arms_table", "arms_differences"]
    write_report(run, tmp_path / "out", tmp_path / "out")
    assert (tmp_path / "out" / "arms_table_mqc.json").exists()


def test_a_failure_of_all_arms_is_listed_once(study: Run) -> None:
    del study.quality["s1"]
    assert "<td>all</td>" in shown(study)["arms_failures"].body


def test_arms_are_compared_on_the_genes_that_both_held_out(study: Run) -> None:
    rows = shown(study)["arms_differences"].rows
    assert list(rows) == ["plain", "small"]
    assert rows["small"]["median"] < 0 and rows["small"]["better"] < 10
    assert rows["plain"]["median"] == 0 and rows["plain"]["genes"] == 60
    found = paired_difference(scored(a=0.5, b=0.2, c=0.9), scored(a=0.4, b=None, d=0.1))
    assert found is not None and (found.genes, found.better) == (1, 100)
    assert found.median == pytest.approx(0.1)
    assert paired_difference(scored(a=0.5), scored(b=0.5)) is None


def test_an_interval_holds_the_median_and_narrows_with_more_genes() -> None:
    rng = np.random.default_rng(0)

    def width(n_genes: int) -> float:
        gain = rng.normal(0.05, 0.1, n_genes)
        first = scored(**{f"g{place}": 0.3 + one for place, one in enumerate(gain)})
        second = scored(**{f"g{place}": 0.3 for place in range(n_genes)})
        found = paired_difference(first, second)
        assert found is not None and found.low <= found.median <= found.high
        return found.high - found.low

    assert width(400) < width(40)


def test_names_and_values_of_arms_are_escaped(study: Run) -> None:
    other = Arm("b", DEFAULT.keys | {"imputation": "x"}, None, {"imputer": "<u>"})
    study.arms = [replace(DEFAULT, name="<i>"), other]
    table = shown(study)["arms_table"]
    assert "<b>&lt;i&gt;</b>" in table.text
    assert table.rows["b"]["changes"] == "imputer &lt;u&gt;"
