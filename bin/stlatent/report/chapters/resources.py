"""What the run cost, process by process, and what to ask for the next time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stlatent.report.page.blocks import Axis, Bars, Block, Html, Part, Table, number
from stlatent.report.page.markup import escape, prose, tiles
from stlatent.report.run.costs import Cost, costs, total
from stlatent.report.run.model import Run

ID = "resources"
TITLE = "Resources"
TEXT = "What the run cost, and what to ask for."

MEMORY_HEADROOM = 1.25
TIME_HEADROOM = 2
LEAST_GB = 1
LEAST_HOURS = 1
FEW_TASKS = 3

PARTS = {
    "used": Part("in use", "#0072B2"),
    "idle": Part("requested, idle", "#B3CDE3"),
    "wasted": Part("failed attempts", "#D55E00"),
}
ABSENT = """<p>The table of tasks could not be read, so the cost of this run is not known here: look
for a trace file in <code>pipeline_info/</code>, or at what the cluster or the cloud billed.</p>"""
EXPLAINED = """<p>All tasks behind these results count, also those that an earlier run paid for and this
one took over with <code>-resume</code>. What this run paid is in <code>ro-crate-metadata.json</code>.
CPU-hours are run time by requested CPUs, which is what clusters and clouds bill. They leave out queueing,
pulling of images, and the steps that write this report and check the installation. Failed attempts count
where they happened in this run.</p>"""
RULE = f"""Memory: the highest measured peak, times {MEMORY_HEADROOM}, rounded up
to whole GB, at least {LEAST_GB} GB. Where an attempt was killed for memory: at least what the task
had when it then succeeded, or twice what it had if it never did. Time: the longest task, times
{TIME_HEADROOM}, rounded up to whole hours. A retry asks for
twice, then four times the memory, and for twice, then three times the time. Save the block as a file and
give it to the next run with <code>-c</code>. It holds for inputs of this size: memory and time grow with
the number of spots and cells."""


def overview(run: Run) -> list[Block]:
    """Return the chapter; nothing for a run that handed over no table of tasks."""
    if run.tasks is None:
        return []
    found = costs(run.tasks, run.accelerators)
    if not found:
        return [Html(id="resources_overview", title=TITLE, body=ABSENT)]
    opening = tiles(totals(found)) + prose(EXPLAINED)
    return [
        Html(id="resources_overview", title=TITLE, body=opening),
        bars(found),
        processes(found),
        *requests(found),
    ]


def totals(found: Sequence[Cost]) -> list[tuple[str, str, str]]:
    """Return the totals: name, value and remark."""
    requested, wasted = total(found, "requested"), total(found, "wasted")
    known = [one for one in found if not math.isnan(one.used)]
    measured = total(known, "requested")
    used = f"{total(known, 'used') / measured:.0%} of it in use" if measured else "use not measured"
    gpu = total(found, "gpu")
    tasks, failed = int(total(found, "tasks")), int(total(found, "failed"))
    retried = int(total(found, "retried"))
    return [
        ("CPU time", amount(requested + wasted, "CPU"), used),
        ("GPU time", amount(gpu, "GPU") if gpu else "none", gpu_text(found, gpu)),
        ("Tasks", f"{tasks:,}", attempts_text(retried, failed, wasted)),
    ]


def amount(hours: float, unit: str) -> str:
    """Return CPU- or GPU-time as text, in minutes below an hour."""
    if hours < 1:
        return f"{60 * hours:.1f} {unit}-minutes"
    return f"{hours:,.1f} {unit}-hours"


def gpu_text(found: Sequence[Cost], hours: float) -> str:
    """Return which processes requested a GPU."""
    names = [one.process for one in found if one.gpu]
    return f"requested by {escape(', '.join(names))}" if hours else "no task requested a GPU"


def attempts_text(retried: int, failed: int, wasted: float) -> str:
    """Return what became of attempts that did not succeed."""
    if not failed and not retried:
        return "every task succeeded at once"
    parts = [f"failed attempts: {failed}, {amount(wasted, 'CPU')}"] if failed else []
    parts += [f"succeeded after a retry: {retried}"] if retried else []
    return "; ".join(parts)


def bars(found: Sequence[Cost]) -> Bars:
    """Return where the CPU time went: in use, requested but idle, wasted in failed attempts."""
    short = total(found, "requested") + total(found, "wasted") < 1
    unit, factor = ("CPU-minutes", 60) if short else ("CPU-hours", 1)
    data = {}
    for one in found:
        used = min(one.requested if math.isnan(one.used) else one.used, one.requested)
        parts = {"used": used, "idle": one.requested - used, "wasted": one.wasted}
        data[one.process] = {name: round(factor * value, 4) for name, value in parts.items()}
    drawn = {name: look for name, look in PARTS.items() if any(bar[name] for bar in data.values())}
    return Bars(
        id="resources_bars",
        title="Where the time went",
        text="The most expensive process first. Tasks whose use was not measured count as in use.",
        caption="CPU time by process",
        axis=Axis(unit),
        parts=drawn,
        bars=data,
        layout="amounts",
        decimals=2,
    )


def processes(found: Sequence[Cost]) -> Table:
    """Return the table, a row a process."""
    short = total(found, "requested") + total(found, "wasted") < 1
    unit, factor = ("min", 60) if short else ("h", 1)
    columns = {
        "tasks": number("Tasks", "Tasks that succeeded", 0),
        "failed": number("Failed", "Attempts that failed in this run", 0),
        "requested": number(
            f"CPU-{unit}", "Run time by requested CPUs, failed attempts included", bar="amount"
        ),
        "efficiency": number(
            "CPU use", "CPUs in use, of those requested", 0, unit=" %", least=0, most=100
        ),
        "gpu": number(f"GPU-{unit}", "Run time by requested GPUs"),
        "peak": number("Peak GB", "Highest memory of a task"),
        "peak_95": number("95 % GB", "95 of 100 tasks stayed below this memory"),
        "memory": number("Requested GB", "What the task with the highest peak requested", 1),
        "memory_use": number(
            "Memory use", "Most that a task used of what it requested", 0, unit=" %", bar="amount",
            least=0, most=100,
        ),
        "longest": number(f"Longest, {unit}", "Run time of the longest task"),
        "time": number("Limit, h", "Longest time that was requested", 1),
    }  # fmt: skip
    rows = {}
    for one in found:
        rows[one.process] = {
            "tasks": one.tasks,
            "failed": one.failed,
            "requested": factor * (one.requested + one.wasted),
            "efficiency": 100 * one.used / one.requested if one.requested else None,
            "gpu": factor * one.gpu or None,
            "peak": one.peak,
            "peak_95": one.peak_95,
            "memory": one.memory,
            "memory_use": 100 * one.memory_use,
            "longest": factor * one.longest,
            "time": one.time,
        }
    text = (
        "Memory is what the task's processes held at their peak; an empty field was not measured, "
        "because the task was too short or the executor does not report it."
    )
    return Table(
        id="resources_processes",
        title="By process",
        text=text,
        columns=columns,
        rows=rows,
        of="Process",
    )


def requests(found: Sequence[Cost]) -> list[Block]:
    """Return a block of configuration with what to ask for, for processes that were measured."""
    known = [one for one in found if one.measured or one.killed]
    if not known:
        return []
    blocks = "\n".join(block(one) for one in sorted(known, key=lambda one: one.process))
    code = f'<pre class="stl-code stl-scroll">process {{\n{escape(blocks)}\n}}</pre>'
    rest = sorted(one.process for one in found if one not in known)
    left = f"<p>Too short to be measured: {escape(', '.join(rest))}.</p>" if rest else ""
    title = "What to ask for"
    return [Html(id="resources_requests", title=title, text=RULE, body=code + left)]


def block(one: Cost) -> str:
    """Return the request of one process."""
    few = ", few" if one.measured < FEW_TASKS else ""
    basis = f"peak {one.peak:.2f} of {one.memory:g} GB" if one.measured else "killed for memory"
    tasks = f"{one.measured} task{'' if one.measured == 1 else 's'} measured{few}"
    return (
        f"    withName: '{one.process}' {{\n"
        f"        memory = {{ {memory_request(one)}.GB * 2 ** (task.attempt - 1) }} // {basis}; {tasks}\n"
        f"        time = {{ {time_request(one)}.h * task.attempt }}\n"
        "    }"
    )


def memory_request(one: Cost) -> int:
    """Return GB to ask for."""
    peak = 0.0 if math.isnan(one.peak) else one.peak
    floor = one.rescued if one.rescued > one.killed else 2 * one.killed
    return max(LEAST_GB, math.ceil(MEMORY_HEADROOM * peak), math.ceil(floor))


def time_request(one: Cost) -> int:
    """Return hours to ask for."""
    longest = 0.0 if math.isnan(one.longest) else one.longest
    return max(LEAST_HOURS, math.ceil(TIME_HEADROOM * longest))
