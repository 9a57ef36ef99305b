"""What is known of a task that was given up: killed again and again, lost with its node, or crashed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from stlatent.failures import DAMAGED_EXIT, DISK_FULL_EXIT, FILE_SYSTEM_EXIT, GPU_MEMORY_EXIT
from stlatent.records.failure import Failure
from stlatent.records.inputs import Description
from stlatent.records.run import DeadTask
from stlatent.report.run.steps import step_of

LATER = "then start the run again with -resume"
NOT_STARTED = (125, 126, 127)
TIME_LIMIT = (140, 143)
CLOUD_FILES = (104, 175, 176, 177)
KILLED = range(130, 146)


def failures(tasks: Sequence[DeadTask], references: Collection[str | None]) -> list[Failure]:
    """Return the failures of tasks that were given up, in the form that steps write.

    Tasks without a tag belong to no sample: they check the machine and report problems themselves.
    CHECK_INPUT reports the samples of inputs that DESCRIBE_INPUT could not read (`explained`).
    """
    return [
        failure(task, references) for task in tasks if task.tag and task.process != Description.STEP
    ]


def explained(known: Sequence[Failure], tasks: Sequence[DeadTask]) -> list[Failure]:
    """Complete the reasons of failures of inputs whose reading was given up."""
    reading = {task.tag: task for task in tasks if task.process == Description.STEP}
    return [
        replace(one, reason=f"{one.reason}: {explain(reading[one.source])}")
        if one.source in reading
        else one
        for one in known
    ]


def failure(task: DeadTask, references: Collection[str | None]) -> Failure:
    """Return the failure of a task in the form that steps write.

    Parameters
    ----------
    task
        Its tag is the id of a sample or a reference and then pairs of a word and a value: ``method``,
        ``fold``, ``seed`` and ``arm``, the names of arms with commas between them.
    references
        Ids of references; all others are samples.
    """
    identifier, *words = str(task.tag).split(" ")
    named = dict(zip(words[::2], words[1::2], strict=False))
    return Failure(
        identifier,
        "reference" if identifier in references else "sample",
        step_of(task.process),
        explain(task),
        settings=named.get("arm", ""),
        fold=named.get("fold"),
        method=named.get("method"),
    )


def explain(task: DeadTask) -> str:
    """Say how a task ended, what it requested, the cure and where its log is."""
    often = "" if task.attempts == 1 else f" {task.attempts} times"
    return f"{_what(task, often)}. Log: {task.folder}/.command.log"


def _what(task: DeadTask, often: str) -> str:
    status, cause = task.exit, task.cause or ""
    said = f" ({cause})" if cause else ""
    if status in TIME_LIMIT or "time limit" in cause:
        number = "" if status is None else f" (exit status {status})"
        return (
            f"stopped{often}{number} by its time limit or by hand, at last after {task.time}"
            f"{_ceiling(task, 'time', task.time, task.time_requested)}"
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
            f"{task.memory}{_ceiling(task, 'memory', task.memory, task.memory_requested)}"
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


def _ceiling(task: DeadTask, resource: str, had: str, requested: str) -> str:
    """Say whether a limit cut the request, and the cure."""
    if had != requested:
        larger = " or take a larger machine" if resource == "memory" else ""
        return (
            f", though {requested} was requested: --max_{resource} or the machine allows no more. "
            f"Cure: raise --max_{resource}{larger}, {LATER}"
        )
    return f". Cure: request more {resource} for {task.process} (docs/failures.md), {LATER}"
