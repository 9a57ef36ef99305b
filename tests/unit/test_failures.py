"""How a step ends when something other than its own code goes wrong."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import torch

from builders.project import ROOT, damage_inside
from stlatent import failures, slots, task
from stlatent.failures import (
    DAMAGED_EXIT,
    DISK_FULL_EXIT,
    FILE_SYSTEM_EXIT,
    GPU_MEMORY_EXIT,
    OUT_OF_MEMORY_EXIT,
    DataError,
)
from stlatent.readers.describe import describe
from stlatent.readers.load import read
from stlatent.records.failure import Failure
from stlatent.records.inputs import Fold
from stlatent.records.run import DeadTask
from stlatent.report.run import dead_tasks
from stlatent.smaller_batches import with_smaller_batches


def status_of(error: BaseException, tmp_path: Path) -> tuple[int, dict[str, Any] | None]:
    """Return the exit status of a step that raises ``error``, and the failure that it wrote."""
    path = tmp_path / "f.json"
    with (
        pytest.raises(SystemExit) as ended,
        task.step("ALIGN", "s1", "sample", path, fold="2"),
    ):
        raise error
    return ended.value.code, json.loads(path.read_text()) if path.exists() else None


def allocate_on_host() -> None:
    torch.empty(10**15)


def allocate_array() -> None:
    np.empty(10**15)


def test_data_at_fault_end_well_and_leave_their_reason(tmp_path, capsys):
    status, failure = status_of(DataError("no gene is shared"), tmp_path)
    assert status == 0
    assert failure == {
        "id": "s1", "kind": "sample", "step": "ALIGN", "reason": "no gene is shared", "settings": "",
        "fold": "2", "method": None, "source": None,
    }  # fmt: skip
    assert "sample s1 failed: no gene is shared" in capsys.readouterr().err


@pytest.mark.parametrize("allocate", [allocate_on_host, allocate_array])
def test_real_errors_of_memory_exit_with_the_status_that_is_retried(allocate, tmp_path, capsys):
    with pytest.raises(Exception) as raised:
        allocate()
    assert status_of(raised.value, tmp_path) == (OUT_OF_MEMORY_EXIT, None)
    assert "ALIGN: sample s1: out of memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_memory_of_a_gpu_has_a_status_of_its_own(error, tmp_path):
    assert status_of(error, tmp_path) == (GPU_MEMORY_EXIT, None)


def test_memory_of_the_system(tmp_path):
    error = OSError(errno.ENOMEM, "Cannot allocate memory")
    assert status_of(error, tmp_path) == (OUT_OF_MEMORY_EXIT, None)


def test_a_stale_handle_of_a_network_disk_is_no_fault_of_any_file(tmp_path):
    error = OSError(errno.ESTALE, "Stale file handle", "x.h5ad")
    assert status_of(error, tmp_path) == (FILE_SYSTEM_EXIT, None)
    with pytest.raises(OSError), failures.reading("x.h5ad"):
        raise error


def test_a_bug_stays_a_bug(tmp_path):
    with (
        pytest.raises(RuntimeError, match="shapes"),
        task.step("ALIGN", "s1", "sample", tmp_path / "f.json"),
    ):
        raise RuntimeError("shapes do not match")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no file system of a known size can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    "write",
    [
        "adata.write_h5ad('a.h5ad', compression='gzip')",
        "import torch; torch.save({'x': torch.rand(1000, 1000)}, 'a.pt')",
        "open('a.txt', 'w').write('x' * 5_000_000)",
    ],
)
def test_a_full_disk_names_the_folder_and_is_retried(write, small_disk):
    script = f"""
    import anndata, numpy as np
    from stlatent import task
    adata = anndata.AnnData(np.random.rand(1000, 1000).astype('f4'))
    with task.step('INGEST', 's1', 'sample', 'f.json'):
        {write}
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=small_disk,
        env=os.environ | {"PYTHONPATH": str(ROOT / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == DISK_FULL_EXIT, run.stderr
    assert f"INGEST: sample s1: no space left, or the quota is reached, in {small_disk}" in (
        run.stderr
    )
    assert "Cure: make room there" in run.stderr


def write_intermediate(folder: Path) -> Path:
    task = folder / "work" / "ab" / "cdef"
    task.mkdir(parents=True)
    (task / ".command.run").touch()
    adata = anndata.AnnData(np.ones((200, 50), dtype=np.float32))
    adata.uns[slots.UNS] = {"source": "s1"}
    adata.write_h5ad(task / "s1.qc.h5ad", compression="gzip")
    link = folder / "s1.qc.h5ad"
    link.symlink_to(task / "s1.qc.h5ad")
    return link


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_file_between_two_steps_that_is_cut_short_is_not_the_users_fault(kept, tmp_path, capsys):
    path = write_intermediate(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with (
        pytest.raises(SystemExit) as ended,
        task.step("TRAIN_VAE", "r", "reference", tmp_path / "f.json"),
    ):
        slots.read(path, slots.INGESTED_REFERENCE)
    assert ended.value.code == DAMAGED_EXIT
    assert not (tmp_path / "f.json").exists()
    said = capsys.readouterr().err
    assert "'s1.qc.h5ad' of an earlier step cannot be read" in said
    assert f"remove the folder {tmp_path}/work/ab/cdef, then start the run again" in said


def test_a_fold_that_is_cut_short(tmp_path):
    path = tmp_path / "fold_1.json"
    path.write_text('{"sample": "s1", "fo')
    with pytest.raises(failures.DamagedFileError, match=r"fold_1\.json"):
        Fold.read(path)


def test_scripts_without_a_step_end_with_the_same_statuses(tmp_path):
    (tmp_path / "q.h5ad").write_bytes(b"\x89HDF\r\n\x1a\n")
    run = subprocess.run(
        [sys.executable, ROOT / "bin" / "select_genes.py", "--reference", tmp_path / "q.h5ad",
         "--n-top", "5", "--output", tmp_path / "o", "--failure", tmp_path / "f"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == DAMAGED_EXIT, run.stderr
    assert "SELECT_GENES: 'q.h5ad' of an earlier step cannot be read" in run.stderr


def raising(error: BaseException) -> Any:
    def raise_it(*_arguments: object, **_options: object) -> None:
        raise error

    return raise_it


def test_a_file_that_may_not_be_read_names_it_and_the_cure(tmp_path, monkeypatch):
    path = tmp_path / "mine.csv"
    path.write_text("id,A\nx,1\n")
    monkeypatch.setattr("builtins.open", raising(PermissionError(errno.EACCES, "denied")))
    monkeypatch.setattr("pandas.read_csv", raising(PermissionError(errno.EACCES, "denied")))
    expected = r"'mine.csv' cannot be read: permission .* Cure: let the user that runs"
    with pytest.raises(DataError, match=expected):
        read(path, "reference")


def test_a_fault_of_the_file_system_is_not_blamed_on_the_file(tmp_path, monkeypatch):
    path = tmp_path / "mine.h5ad"
    path.touch()
    monkeypatch.setattr("h5py.File", raising(OSError(errno.EIO, "Input/output error")))
    for opened in (read, describe):
        with pytest.raises(OSError, match="Input/output error"):
            opened(path, "reference")


def test_an_h5ad_that_is_broken_inside_is_described_as_unreadable(tmp_path):
    path = tmp_path / "inside.h5ad"
    rng = np.random.default_rng(0)
    anndata.AnnData(rng.poisson(1.0, (400, 300)).astype(np.float32)).write_h5ad(
        path, compression="gzip"
    )
    damage_inside(path)
    described = describe(path, "reference")
    assert "cut short, damaged" in described.unreadable
    assert "Cure: copy or download the file again" in described.unreadable


def test_batches_are_halved_until_they_fit_and_what_was_tried_is_known(capsys):
    def fits_at_32(size: int) -> str:
        if size > 32:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return f"trained with {size}"

    assert with_smaller_batches(fits_at_32, 128) == ("trained with 32", [128, 64, 32])
    assert "batches of 128: starting anew with 64" in capsys.readouterr().err


def test_batches_that_never_fit_end_out_of_memory(tmp_path):
    with (
        pytest.raises(SystemExit) as ended,
        task.step("TRAIN_VAE", "r", "reference", tmp_path / "f.json"),
    ):
        with_smaller_batches(raising(torch.OutOfMemoryError("CUDA out of memory")), 128)
    assert ended.value.code == GPU_MEMORY_EXIT


@pytest.mark.parametrize("error", [MemoryError(), ValueError("CUDA")])
def test_nothing_but_the_memory_of_a_gpu_calls_for_smaller_batches(error):
    tried = []

    def fail(size: int) -> None:
        tried.append(size)
        raise error

    with pytest.raises(type(error)):
        with_smaller_batches(fail, 128)
    assert tried == [128]


DEAD = DeadTask(
    process="ALIGN", tag="s1 fold 2 seed 0", exit=137, cause=None, attempts=3, memory="12 GB",
    memory_requested="12 GB", time="36h", time_requested="36h", accelerator=None, folder="/w/ab/cd",
)  # fmt: skip


def test_a_task_that_was_given_up_is_a_failure_of_its_fold():
    failure = dead_tasks.failure(DEAD, {"ref"})
    assert failure == Failure("s1", "sample", "ALIGN", failure.reason, fold="2")
    assert failure.reason.startswith("out of memory, or killed 3 times (exit status 137)")
    assert "with 12 GB. Cure: request more memory for ALIGN" in failure.reason
    assert failure.reason.endswith("Log: /w/ab/cd/.command.log")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"memory": "6 GB"}, "with 6 GB, though 12 GB was requested: --max_memory or the machine"),
        ({"exit": 140, "time": "24h"}, "time limit or by hand, at last after 24h, though 36h was"),
        ({"exit": None, "cause": "Process exceeded running time limit (36h)"}, "its time limit"),
        ({"exit": None, "cause": "Host EC2 (instance i-1) terminated."}, "(Host EC2 (instance i-1"),
        ({"exit": None}, "lost 3 times without an exit code: its node went away"),
        ({"exit": GPU_MEMORY_EXIT}, "the memory of the GPU ran out 3 times"),
        ({"exit": FILE_SYSTEM_EXIT}, "the file system failed 3 times"),
        ({"exit": DISK_FULL_EXIT}, "the disk was full 3 times. Cure: make room"),
        ({"exit": DAMAGED_EXIT}, "a file of an earlier step could not be read"),
        ({"exit": 127, "attempts": 1}, "could not be started (exit status 127)"),
        ({"exit": 1, "attempts": 1}, "crashed (exit status 1): a bug"),
        ({"exit": 104}, "files could not be copied 3 times"),
    ],
)
def test_the_reason_says_what_happened_and_the_cure(changes, says):
    assert says in dead_tasks.explain(replace(DEAD, **changes))


@pytest.mark.parametrize(
    ("process", "tag", "expected"),
    [
        ("QUALITY_CONTROL_REFERENCE", "ref", {"kind": "reference", "step": "QUALITY_CONTROL"}),
        ("COMPARE", "s1 method tangram fold 2", {"method": "tangram", "fold": "2"}),
        ("COMPARE", "s1 method null,knn fold 2", {"method": "null,knn", "fold": "2"}),
        ("ALIGN", "s1 fold all seed 1 arm A,B", {"fold": "all", "settings": "A,B"}),
        ("SCORE", "s1", {"kind": "sample", "step": "SCORE", "settings": "", "fold": None}),
    ],
)
def test_tags_of_tasks_are_read_by_their_words(process, tag, expected):
    failure = dead_tasks.failure(replace(DEAD, process=process, tag=tag), {"ref"})
    assert expected.items() <= asdict(failure).items()


def test_the_reason_of_an_input_whose_reading_was_killed_is_filled_in():
    known = [Failure("s1", "sample", "CHECK_INPUT", "no result", source="spatial_2")]
    task = replace(DEAD, process="DESCRIBE_INPUT", tag="spatial_2")
    assert dead_tasks.failures([task], set()) == []
    (completed,) = dead_tasks.explained(known, [task])
    assert "no result: out of memory, or killed 3 times" in completed.reason


def test_a_task_of_no_sample_is_no_failure_of_one():
    assert dead_tasks.failures([replace(DEAD, process="CHECK_DEVICE", tag=None)], set()) == []


def test_the_configuration_retries_the_statuses_of_the_steps():
    config = (ROOT / "conf" / "base.config").read_text()
    assert f"[{DAMAGED_EXIT}, {FILE_SYSTEM_EXIT}, {DISK_FULL_EXIT}, 104" in config
    assert config.count("130..145") == 1
