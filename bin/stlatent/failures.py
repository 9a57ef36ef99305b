"""What can fail a step: the data, memory, the disk, or a file of an earlier step."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
