"""How a step ends when the data are at fault, and when memory runs out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OUT_OF_MEMORY_EXIT = 137


class DataError(Exception):
    """The input is at fault; the message names what is wrong and the cure."""


def _is_out_of_memory(error: BaseException) -> bool:
    # By name, so that scripts without torch need not import it.
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


@contextmanager
def step(
    name: str,
    identifier: str,
    kind: str,
    failure_path: str | Path,
    fold: str | None = None,
    method: str | None = None,
) -> Iterator[None]:
    """Run one step on one input.

    A `DataError` becomes a failure file and exit status 0: the sample is lost, the run goes on,
    and nothing is retried. Memory errors of host and GPU exit with a status that is retried.

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
        The gene fold, where only that is lost.
    method
        The method to compare with, where only that is lost.
    """
    try:
        yield
    except DataError as error:
        failure = {"id": identifier, "kind": kind, "step": name, "reason": str(error)}
        if fold is not None:
            failure["fold"] = fold
        if method is not None:
            failure["method"] = method
        Path(failure_path).write_text(json.dumps(failure, indent=1) + "\n")
        print(f"{name}: {kind} {identifier} failed: {error}", file=sys.stderr)
        sys.exit(0)
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        print(f"{name}: out of memory on {identifier}: {error}", file=sys.stderr)
        sys.exit(OUT_OF_MEMORY_EXIT)
