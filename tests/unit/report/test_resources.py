"""What a run cost, from Nextflow's table of tasks, and the requests that follow from it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from builders.report_inputs import TASKS, write_run
from stlatent.report.chapters import resources
from stlatent.report.page.blocks import Html
from stlatent.report.run import provenance
from stlatent.report.run.costs import Cost, costs, read_tasks, seconds, share, size
from stlatent.report.run.model import Run
from stlatent.report.run.read import load

HEADER = TASKS.partition("\n")[0]


def write(folder: Path, *rows: str) -> Path:
    path = folder / "tasks.tsv"
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def found(folder: Path, *rows: str, **accelerators: int) -> dict[str, Cost]:
    return {one.process: one for one in costs(read_tasks(write(folder, *rows)), accelerators)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("451ms", 0.451), ("5.2s", 5.2), ("1m 30s", 90), ("1d 2h", 93600), ("1500", 1.5), ("0", 0)],
)
def test_durations_are_read_with_units_and_raw(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"), [("0", 0), ("85.5 KB", 87552), ("2 GB", 2**31), ("14397440", 14397440)]
)
def test_sizes_are_read_with_units_and_raw(text: str, expected: float) -> None:
    assert size(text) == pytest.approx(expected)


def test_what_is_not_known_is_not_a_number() -> None:
    assert share("98.4%") == pytest.approx(0.984) and share("97.0") == pytest.approx(0.97)
    assert all(math.isnan(read(text)) for read in (seconds, size, share) for text in ("-", "", "x"))


def test_a_process_costs_what_it_requested_while_it_ran(tmp_path: Path) -> None:
    (tmp_path / "tasks.tsv").write_text(TASKS)
    by_name = {one.process: one for one in costs(read_tasks(tmp_path / "tasks.tsv"), {"ALIGN": 1})}
    assert list(by_name) == ["SCORE", "ALIGN", "DESCRIBE_INPUT"]
    score, align = by_name["SCORE"], by_name["ALIGN"]
    assert (score.requested, score.used, score.gpu) == pytest.approx((3.0, 1.5, 0))
    assert (align.tasks, align.retried, align.failed) == (2, 1, 1)
    assert align.requested == pytest.approx(5.5 / 60) and align.wasted == pytest.approx(2 / 60)
    assert align.gpu == pytest.approx(7.5 / 60)
    assert align.used == pytest.approx((1.5 * 0.984 + 4 * 0.97) / 60)
    assert (align.peak, align.memory, align.measured) == (pytest.approx(3.3), 5, 2)
    assert align.peak_95 == pytest.approx(1.2 + 0.95 * 2.1)
    assert (align.longest, align.time) == pytest.approx((4 / 60, 24))
    assert by_name["DESCRIBE_INPUT"].measured == 0


def test_tasks_that_were_not_measured_have_costs_all_the_same(tmp_path: Path) -> None:
    rows = ("A:INGEST\tCOMPLETED\t0\t1\t1\t-\t-\t-\t-\t1h\t-\t-", "A:INGEST\tABORTED" + "\t-" * 10)
    one = found(tmp_path, *rows)["INGEST"]
    assert (one.requested, one.wasted, one.failed) == (1, 0, 1)
    assert all(math.isnan(value) for value in (one.used, one.peak, one.memory, one.time))
    run = Run(tasks=read_tasks(tmp_path / "tasks.tsv"))
    shown: dict[str, Any] = {block.id: block for block in resources.overview(run)}
    assert "use not measured" in shown["resources_overview"].body
    assert "resources_requests" not in shown
    assert shown["resources_bars"].bars["INGEST"] == {"used": 1, "idle": 0, "wasted": 0}


@pytest.mark.parametrize(
    ("peaks", "expected"), [(("0.1 GB",), 1), (("1.6 GB", "0.2 GB"), 2), (("4 GB", "3.9 GB"), 5)]
)
def test_memory_is_requested_by_the_highest_peak(
    tmp_path: Path, peaks: tuple[str, ...], expected: int
) -> None:
    rows = [f"ALIGN\tCOMPLETED\t0\t1\t1\t90%\t8 GB\t{peak}\t4h\t10m\t-\t-" for peak in peaks]
    assert resources.memory_request(found(tmp_path, *rows)["ALIGN"]) == expected


def test_memory_that_was_not_enough_is_not_requested_again(tmp_path: Path) -> None:
    killed = "ALIGN\tFAILED\t137\t1\t1\t-\t3 GB\t-\t12h\t1m\t-\t-"
    saved = "ALIGN\tCOMPLETED\t0\t2\t1\t90%\t6 GB\t2 GB\t12h\t1m\t-\t-"
    preempted = "ALIGN\tFAILED\t143\t1\t1\t-\t3 GB\t-\t12h\t1m\t-\t-"
    assert resources.memory_request(found(tmp_path, killed, saved)["ALIGN"]) == 6
    assert resources.memory_request(found(tmp_path, killed)["ALIGN"]) == 6
    assert resources.memory_request(found(tmp_path, preempted, saved)["ALIGN"]) == 3
    given_up = [
        killed.replace("3 GB", f"{n} GB").replace("\t1\t1", f"\t{i}\t1")
        for i, n in ((1, 3), (2, 6), (3, 12))
    ]
    assert resources.memory_request(found(tmp_path, killed, saved, *given_up)["ALIGN"]) == 24


def test_attempts_of_an_earlier_run_are_gone_and_their_lesson_is_kept(tmp_path: Path) -> None:
    saved = "ALIGN\tCOMPLETED\t0\t2\t1\t90%\t6 GB\t2 GB\t12h\t1m\t-\t-"
    assert resources.memory_request(found(tmp_path, saved)["ALIGN"]) == 6


def test_peaks_are_compared_with_what_their_own_task_requested(tmp_path: Path) -> None:
    rows = [
        f"ALIGN\tCOMPLETED\t0\t{a}\t1\t90%\t{m} GB\t{p} GB\t4h\t1m\t-\t-"
        for a, m, p in ((1, 3, 2.9), (3, 12, 2.8))
    ]
    one = found(tmp_path, *rows)["ALIGN"]
    assert (one.memory, one.memory_use) == (3, pytest.approx(2.9 / 3))


def test_time_is_requested_by_the_longest_task(tmp_path: Path) -> None:
    rows = [f"ALIGN\tCOMPLETED\t0\t1\t1\t90%\t2 GB\t1 GB\t4h\t{t}\t-\t-" for t in ("10s", "1h 20m")]
    assert resources.time_request(found(tmp_path, *rows)["ALIGN"]) == 3
    assert resources.time_request(found(tmp_path, rows[0])["ALIGN"]) == 1


def test_the_chapter_tells_totals_and_a_block_to_paste(tmp_path: Path) -> None:
    write_run(tmp_path, samples=1)
    paths = [tmp_path / name for name in ("input.json", "settings.json", "tasks.tsv")]
    shown: dict[str, Any] = {block.id: block for block in resources.overview(load([], *paths))}
    overview = shown["resources_overview"].body
    assert "3.1 CPU-hours" in overview and "7.5 GPU-minutes" in overview
    assert "requested by ALIGN" in overview and "failed attempts: 1, 2.0 CPU-minutes" in overview
    assert shown["resources_processes"].rows["ALIGN"]["memory_use"] == pytest.approx(66)
    block = shown["resources_requests"].body
    assert "withName: &#x27;ALIGN&#x27; {" in block
    assert (
        "memory = { 5.GB * 2 ** (task.attempt - 1) } // peak 3.30 of 5 GB; 2 tasks measured, few"
        in block
    )
    assert "time = { 3.h * task.attempt }" in block
    assert "Too short to be measured: DESCRIBE_INPUT" in block


def test_a_table_that_could_not_be_read_is_said(tmp_path: Path) -> None:
    (absent,) = resources.overview(load([], None, None, write(tmp_path)))
    assert isinstance(absent, Html) and "could not be read" in absent.body
    assert resources.overview(Run()) == []
    assert provenance.record(Run()).resources is None
