"""How a step ends when the data are at fault, and when memory, disk or files fail it."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

# conf/base.config retries these.
OUT_OF_MEMORY_EXIT = 137
GPU_MEMORY_EXIT = 144
FILE_SYSTEM_EXIT = 71
DISK_FULL_EXIT = 74
DAMAGED_EXIT = 65

FULL = (errno.ENOSPC, errno.EDQUOT)
# HDF5 passes the number on in the text of its errors alone.
FULL_TEXTS = tuple(f"errno = {number}," for number in FULL)
LEAST_FREE = 1 << 20
# The file system or the machine, not the file.
TRANSIENT = (
    errno.EIO,
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ECONNRESET,
    errno.ENOTCONN,
    getattr(errno, "EREMOTEIO", errno.EIO),  # Linux alone has it
)
GPU_MEMORY_TEXTS = (
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUSPARSE_STATUS_INSUFFICIENT_RESOURCES",
)
MEMORY_TEXTS = (*GPU_MEMORY_TEXTS, "can't allocate memory", "unable to allocate")


class DataError(Exception):
    """The input is at fault; the message names what is wrong and the cure."""


class DamagedFileError(Exception):
    """A file that an earlier step wrote cannot be read: nobody's data are at fault."""


class GaveUpError(Exception):
    """Earlier attempts were killed; the message says how the last one ended."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory of the host or of a GPU ran out."""
    # By name and text, so that scripts without torch need not import it.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(text in str(error) for text in MEMORY_TEXTS)


def is_gpu_memory(error: BaseException) -> bool:
    """Whether the memory of a GPU, not of the host, ran out."""
    if type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in GPU_MEMORY_TEXTS)


def is_disk_full(error: BaseException) -> bool:
    """Whether a file could not be written because the disk, or a quota of it, is full."""
    if not isinstance(error, OSError | RuntimeError):
        return False
    known = getattr(error, "errno", None) in FULL or any(text in str(error) for text in FULL_TEXTS)
    # torch.save names no reason.
    return known or shutil.disk_usage(Path.cwd()).free < LEAST_FREE


def is_transient(error: BaseException) -> bool:
    """Whether reading the same file again, here or elsewhere, may well succeed."""
    return is_out_of_memory(error) or (isinstance(error, OSError) and error.errno in TRANSIENT)


def is_retried(error: BaseException) -> bool:
    """Whether `exit_codes` gives the error an exit status that is retried."""
    return isinstance(error, DamagedFileError) or any(
        kind(error) for kind in (is_gpu_memory, is_disk_full, is_transient)
    )


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turn whatever reading a file of an earlier step raises into a `DamagedFileError`."""
    try:
        yield
    except Exception as error:
        if isinstance(error, DataError | DamagedFileError) or is_transient(error):
            raise
        msg = (
            f"'{Path(path).name}' of an earlier step cannot be read "
            f"({type(error).__name__}: {error}). Cure: remove the folder {_task_folder(path)}, "
            "then start the run again with -resume"
        )
        raise DamagedFileError(msg) from error


def _task_folder(path: str | Path) -> Path:
    # The whole of it: a task whose optional output is gone still counts as done.
    real = Path(path).resolve()
    return next((up for up in real.parents if (up / ".command.run").exists()), real.parent)


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
            # It reads files by means of this module.
            from stlatent.records.failure import Failure

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
