"""What the tasks of a run cost: the workflow engine's table of tasks, read and summed by process."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stlatent.records.run import ProcessCost, RunCost

HOUR = 3600.0
GB = 1024.0**3
COMPLETED = "COMPLETED"
KILLED_FOR_MEMORY = "137"

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": HOUR, "d": 24 * HOUR}
_BYTES = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": GB, "TB": 1024**4}
_TEXT = ("process", "status", "exit", "queue", "container")


@dataclass(frozen=True)
class Cost:
    """What the tasks of one process cost.

    Attributes
    ----------
    tasks, retried, failed
        Tasks that succeeded; those of them that needed more than one attempt; failed attempts.
    requested, used, wasted
        CPU-hours: run time by requested CPUs, and by CPUs in use, of tasks that succeeded; and run
        time by requested CPUs of failed attempts. A task that was not measured counts as in use;
        where none was, used is not a number.
    gpu
        GPU-hours: run time by requested accelerators, failed attempts included.
    peak, peak_95, memory
        GB: the highest and the 95th percentile of peak memory, and what the attempt with the highest
        peak had requested; the most that was requested where no peak is known.
    memory_use
        The highest share that an attempt used of the memory that it had requested.
    longest, time
        Hours: the longest run time, and the longest that was requested.
    measured
        Tasks that were long enough for their memory to be measured.
    killed
        GB requested by the largest attempt that was killed for memory; 0 without any.
    rescued
        GB requested by the largest task that succeeded after such an attempt, or after attempts of an
        earlier run, of which nothing is known.
    """

    process: str
    tasks: int
    retried: int
    failed: int
    requested: float
    used: float
    wasted: float
    gpu: float
    peak: float
    peak_95: float
    memory: float
    memory_use: float
    longest: float
    time: float
    measured: int
    killed: float
    rescued: float


def seconds(text: str) -> float:
    """Return a duration, ``1h 2m 3s`` or a number of milliseconds, in seconds; or not a number."""
    return _measure(text, _SECONDS, 0.001)


def size(text: str) -> float:
    """Return a size, ``1.5 GB`` or a number of bytes, in bytes; or not a number."""
    return _measure(text, _BYTES, 1)


def _measure(text: str, units: dict[str, float], bare: float) -> float:
    parts = re.findall(r"([\d.]+)\s*([A-Za-z]*)", str(text))
    known = [(float(value), unit) for value, unit in parts if unit in units or not unit]
    if not parts or len(known) < len(parts):
        return math.nan
    return sum(value * (units[unit] if unit else bare) for value, unit in known)


def share(text: str) -> float:
    """Return ``98.5%`` or ``98.5`` as CPUs in use, 0.985; or not a number."""
    return _measure(str(text).rstrip("%"), {}, 0.01)


def read_tasks(path: Path) -> pd.DataFrame:
    """Read the table of tasks; a line an attempt, a dash for what is not known.

    Returns
    -------
    Text columns ``process`` (its simple name), ``status``, ``exit``, ``queue``, ``container``, and
    numbers ``attempt``, ``cpus``, ``cpus_used``, ``memory`` and ``peak`` (bytes), ``time`` and
    ``realtime`` (seconds).
    """
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, quoting=3)
    numbers: dict[str, tuple[str, Callable[[str], float]]] = {
        "attempt": ("attempt", lambda text: _measure(text, {}, 1)),
        "cpus": ("cpus", lambda text: _measure(text, {}, 1)),
        "cpus_used": ("%cpu", share),
        "memory": ("memory", size),
        "peak": ("peak_rss", size),
        "time": ("time", seconds),
        "realtime": ("realtime", seconds),
    }
    empty = pd.Series("-", index=table.index)
    tasks = pd.DataFrame({name: table.get(name, empty) for name in _TEXT})
    for name, (column, convert) in numbers.items():
        tasks[name] = table.get(column, empty).map(convert).astype(float)
    tasks["process"] = tasks["process"].map(lambda name: name.rpartition(":")[2])
    # A task that ends before the first measurement has a peak of nothing.
    tasks["peak"] = tasks["peak"].where(tasks["peak"] > 0)
    return tasks


def costs(tasks: pd.DataFrame, accelerators: Mapping[str, int]) -> list[Cost]:
    """Return what each process cost, the dearest first.

    Parameters
    ----------
    tasks
        From `read_tasks`.
    accelerators
        How many a task of a process requested, by process.
    """
    found = [
        cost(str(process), own, accelerators.get(str(process), 0))
        for process, own in tasks.groupby("process")
    ]
    return sorted(found, key=lambda one: (-(one.requested + one.wasted), one.process))


def cost(process: str, tasks: pd.DataFrame, accelerators: int) -> Cost:
    """Return what the tasks of one process cost."""
    hours = tasks["realtime"].fillna(0) / HOUR
    cpus = tasks["cpus"].fillna(1)
    done = tasks["status"] == COMPLETED
    used = (hours * tasks["cpus_used"].fillna(cpus))[done]
    is_measured = bool(tasks.loc[done, "cpus_used"].notna().any())
    peaks = tasks["peak"].dropna() / GB
    requested = tasks["memory"] / GB
    killed = ~done & (tasks["exit"] == KILLED_FOR_MEMORY)
    rescued = done & (tasks["attempt"] > 1) & bool(killed.any() or done.all())
    return Cost(
        process=process,
        tasks=int(done.sum()),
        retried=int((tasks.loc[done, "attempt"] > 1).sum()),
        failed=int((~done).sum()),
        requested=float((hours * cpus)[done].sum()),
        used=float(used.sum()) if is_measured else math.nan,
        wasted=float((hours * cpus)[~done].sum()),
        gpu=float(hours.sum() * accelerators),
        peak=float(peaks.max()),
        peak_95=float(peaks.quantile(0.95)),
        memory=float(
            requested.loc[tasks["peak"] == tasks["peak"].max()].max()
            if len(peaks)
            else requested.max()
        ),
        memory_use=float((peaks / requested).max()),
        longest=float((tasks["realtime"] / HOUR).max()),
        time=float((tasks["time"] / HOUR).max()),
        measured=int(tasks.loc[done, "peak"].notna().sum()),
        killed=_most(requested[killed]),
        rescued=_most(requested[rescued]),
    )


def _most(values: pd.Series[float]) -> float:
    known = values.dropna()
    return float(known.max()) if len(known) else 0.0


def total(found: Sequence[Cost], name: str) -> float:
    """Return the sum of one attribute over processes, without those where it is not known."""
    values = [float(getattr(one, name)) for one in found]
    return sum(value for value in values if not math.isnan(value))


def run_cost(tasks: pd.DataFrame, accelerators: dict[str, int]) -> RunCost:
    """Return the totals, and one record a process, for the machine-readable record."""
    found = costs(tasks, accelerators)
    return RunCost(
        cpu_hours=total(found, "requested") + total(found, "wasted"),
        cpu_hours_failed=total(found, "wasted"),
        gpu_hours=total(found, "gpu"),
        tasks=int(total(found, "tasks")),
        processes=[
            ProcessCost(
                one.process,
                one.tasks,
                one.requested + one.wasted,
                one.gpu,
                None if math.isnan(one.peak) else one.peak,
            )
            for one in found
        ],
    )
