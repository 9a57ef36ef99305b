"""What is known of a task that was given up: killed again and again, lost with its node, or crashed."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Any

from stlatent.failures import DAMAGED_EXIT, DISK_FULL_EXIT, FILE_SYSTEM_EXIT, GPU_MEMORY_EXIT

Json = dict[str, Any]

LATER = "then start the run again with -resume"
READING = "DESCRIBE_INPUT"
# After the id, in the order of the task's tag.
TAGS = {
    "ALIGN": ("fold",),
    "IMPUTE": ("fold",),
}
# Tags of other steps name each word: method M fold F.
WORDS = ("method", "fold")
NOT_STARTED = (125, 126, 127)
TIME_LIMIT = (140, 143)
CLOUD_FILES = (104, 175, 176, 177)
KILLED = range(130, 146)


def failures(
    records: list[Json], references: Collection[str | None], known: list[Json]
) -> list[Json]:
    """Return the failures of tasks that were given up, in the form that steps write.

    Tasks without a tag are of no sample: they look at the machine, and say themselves what they miss.
    The reason of a file of which the reading came to no end, among the failures ``known``, is
    filled in.
    """
    reading = {record["tag"]: record for record in records if record["process"] == READING}
    for found in known:
        if found.get("source") in reading:
            found["reason"] += f": {explain(reading[found['source']])}"
    given_up = [record for record in records if record["process"] != READING and record["tag"]]
    return [failure(record, references) for record in given_up]


def failure(record: Json, references: Collection[str | None]) -> Json:
    """Return the failure of a task in the form that steps write.

    Parameters
    ----------
    record
        ``process``, ``tag``, ``exit`` (None without one), ``cause`` (of Nextflow, or None),
        ``attempts``, ``memory`` and ``memory_wanted``, ``time`` and ``time_wanted``, ``folder``,
        ``accelerator`` (GPUs asked for, or None).
    references
        Ids of references; all others are samples.
    """
    step = str(record["process"]).removesuffix("_REFERENCE")
    identifier, *more = str(record["tag"]).split(" ")
    kind = "reference" if identifier in references else "sample"
    named = dict(zip(TAGS.get(step, ()), more, strict=False))
    worded = {word: value for word, value in pairwise(more) if word in WORDS}
    return (
        {"id": identifier, "kind": kind, "step": step, "reason": explain(record)} | named | worded
    )


def explain(record: Json) -> str:
    """Say how a task ended, what it had asked for, the cure and where its log is."""
    times = int(record["attempts"])
    often = "" if times == 1 else f" {times} times"
    return f"{_what(record, often)}. Log: {record['folder']}/.command.log"


def _what(record: Json, often: str) -> str:
    status, cause = record["exit"], str(record["cause"] or "")
    said = f" ({cause})" if cause else ""
    if status in TIME_LIMIT or "time limit" in cause:
        number = "" if status is None else f" (exit status {status})"
        return (
            f"stopped{often}{number} by its time limit or by hand, at last after {record['time']}"
            f"{_ceiling(record, 'time')}"
        )
    if status == GPU_MEMORY_EXIT:
        return (
            f"the memory of the GPU ran out{often} (exit status {status}), also with the smallest "
            "batch. Cure: --use_gpu false, or a GPU with more memory (docs/failures.md, Smaller "
            f"batches), {LATER}"
        )
    if status in KILLED:
        return (
            f"out of memory, or killed{often} (exit status {status}), at last with "
            f"{record['memory']}{_ceiling(record, 'memory')}"
        )
    if status == DISK_FULL_EXIT:
        return f"the disk was full{often}. Cure: make room in the work folder, {LATER}"
    if status == DAMAGED_EXIT:
        return (
            f"a file of an earlier step could not be read{often}. Cure: remove the folder that "
            f"the log names, {LATER}"
        )
    if status == FILE_SYSTEM_EXIT:
        return (
            f"the file system failed{often} while a file was read or written. Cure: see that the "
            f"disks of input and work folder can be reached from the node, {LATER}"
        )
    if status in NOT_STARTED:
        return f"could not be started (exit status {status}): container engine, image or program"
    if status in CLOUD_FILES:
        return f"files could not be copied{often} (exit status {status}). Cure: {LATER}"
    if status is None:
        why = said or ": its node went away, or the scheduler ended it"
        return f"lost{often} without an exit code{why}. Cure: {LATER}"
    return f"crashed (exit status {status}){said}: a bug, or an input that nobody foresaw"


def _ceiling(record: Json, resource: str) -> str:
    """Say whether more could have been had, and the cure."""
    wanted = record[f"{resource}_wanted"]
    if record[resource] != wanted:
        larger = " or take a larger machine" if resource == "memory" else ""
        return (
            f", where {wanted} was wanted: --max_{resource} or the machine allows no more. "
            f"Cure: raise --max_{resource}{larger}, {LATER}"
        )
    return f". Cure: ask for more {resource} for {record['process']} (docs/failures.md), {LATER}"
