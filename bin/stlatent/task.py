"""How the task of a script ends: with its output, a failure record, or a status that is retried."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from stlatent.failures import (
    DAMAGED_EXIT,
    DISK_FULL_EXIT,
    FILE_SYSTEM_EXIT,
    GPU_MEMORY_EXIT,
    OUT_OF_MEMORY_EXIT,
    DamagedFileError,
    DataError,
    GaveUpError,
    is_disk_full,
    is_gpu_memory,
    is_out_of_memory,
    is_retried,
    is_transient,
)
from stlatent.records.failure import Failure


@contextmanager
def step(
    name: str,
    identifier: str,
    kind: Literal["sample", "reference"],
    failure_path: str | Path,
    fold: str | None = None,
    method: str | None = None,
    settings: str = "",
    rescue: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Run one step on one input.

    A `DataError` becomes a failure file and exit status 0: the sample is lost, the run goes on,
    and nothing is retried. Memory, a full disk and files damaged between two steps exit with
    statuses of their own, which are retried.

    Parameters
    ----------
    name
        The step, as users know it (``INGEST``, ``ALIGN``, ...).
    identifier
        Sample or reference.
    kind
        ``sample`` or ``reference``.
    failure_path
        Where the failure goes.
    fold
        The fold of genes, where only that failed.
    method
        The baseline, where only that failed.
    settings
        Key of the settings of the step and of those before it; the arm in steps that know it.
    rescue
        Leaves the output that the sample has without this step. With it bugs, too, become failure
        files, or Nextflow would drop that output.
    """
    with exit_codes(f"{name}: {kind} {identifier}"):
        try:
            yield
        except Exception as error:
            expected = isinstance(error, DataError | GaveUpError)
            if not expected and (rescue is None or is_retried(error)):
                raise
            if not expected:
                traceback.print_exc()
            if rescue is not None:
                rescue()
            reason = str(error) if expected else _crash(error)
            failure = Failure(identifier, kind, name, reason, settings, fold, method)
            failure.write(failure_path)
            print(f"{name}: {kind} {identifier} failed: {reason}", file=sys.stderr)
            sys.exit(0)


@contextmanager
def exit_codes(what: str) -> Iterator[None]:
    """Turn what is no fault of the data into a message and an exit status that is retried.

    Parameters
    ----------
    what
        What was done, for the message.
    """
    try:
        yield
    except Exception as error:
        if is_gpu_memory(error):
            _exit(GPU_MEMORY_EXIT, f"{what}: the GPU is out of memory: {error}")
        if is_out_of_memory(error):
            _exit(OUT_OF_MEMORY_EXIT, f"{what}: out of memory: {error}")
        if is_disk_full(error):
            print(f"{what}: {_disk(error)}", file=sys.stderr, flush=True)
            # Not sys.exit: HDF5 crashes when it closes a file that it could not write.
            os._exit(DISK_FULL_EXIT)
        if isinstance(error, DamagedFileError):
            _exit(DAMAGED_EXIT, f"{what}: {error}")
        if is_transient(error):
            _exit(FILE_SYSTEM_EXIT, f"{what}: the file system failed: {error}")
        raise


def _crash(error: Exception) -> str:
    return (
        f"crashed ({type(error).__name__}: {error}): a bug, or an input that nobody foresaw. "
        f"Log: {Path.cwd()}/.command.log"
    )


def _exit(status: int, message: str) -> None:
    print(message, file=sys.stderr)
    sys.exit(status)


def _disk(error: BaseException) -> str:
    path = getattr(error, "filename", None)
    folder = Path(path).resolve().parent if path else Path.cwd()
    free = shutil.disk_usage(folder if folder.exists() else Path.cwd()).free / 1e9
    return (
        f"no space left, or the quota is reached, in {folder} ({free:.1f} GB free on this disk): "
        f"{error}. Cure: make room there (`nextflow clean`, or another folder with -work-dir), then "
        "start the run again with -resume"
    )
