"""The demo on a real Slurm of two nodes, with jobs killed and a node drained on the way.

``make test-slurm`` starts it. Arguments after ``--`` go to Nextflow.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import Cluster, missing_programs, running

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
NEXTFLOW = ROOT / ".nextflow-runtime" / "nextflow"
ON_GPU = {"TRAIN_VAE", "ALIGN", "CHECK_DEVICE"}
INSTALL = "Debian and Ubuntu: apt-get install slurm-wlm munge"

Job = dict[str, str]


class Failure(Exception):
    """What the run should have shown, and did not."""


@dataclass(frozen=True)
class Trouble:
    """What was done to a job, and the exit status that Nextflow must see; None is none at all."""

    what: str
    job: Job
    exit: int | None


def process_of(job: Job) -> str:
    """Return the process of a job named ``nf-WORKFLOW_SUBWORKFLOW_PROCESS_(tag)``."""
    parts = "|".join(path.stem.upper() for path in (ROOT / "subworkflows").glob("*.nf"))
    return re.sub(rf"^nf-(({parts})_)*", "", job["JobName"]).split("_(")[0]


class Watch:
    """Waits for things to happen on the cluster while Nextflow runs."""

    def __init__(self, cluster: Cluster, head: subprocess.Popen[bytes], end: float) -> None:
        self.cluster, self.head, self.end = cluster, head, end

    def until(self, what: str, look: Callable[[], Any]) -> Any:
        while time.monotonic() < self.end:
            if found := look():
                return found
            if self.head.poll() is not None:
                raise Failure(f"the run ended before this was seen: {what}")
            time.sleep(1)
        raise Failure(f"no time left, and not seen: {what}")

    def jobs(self, state: str, partition: str) -> list[Job]:
        return [
            job
            for job in self.cluster.jobs()
            if job["JobState"] == state and job["Partition"] == partition
        ]

    def pids(self, job: Job) -> list[int]:
        """Return the processes of a job, none when it has just ended."""
        try:
            lines = self.cluster.ask("scontrol", "listpids", job["JobId"], job["NodeList"])
        except RuntimeError:
            return []
        pids = (line.split()[0] for line in lines.splitlines()[1:])
        return [int(pid) for pid in pids if int(pid) > 0]

    def python_of(self, job: Job) -> list[int]:
        return [pid for pid in self.pids(job) if command_of(pid).startswith("python")]

    def busy_job(self, process: str, done: Sequence[Trouble] = ()) -> Job:
        """Return a job of ``process`` whose script runs, and to which nothing was done before."""
        names = {trouble.job["JobName"] for trouble in done}

        def look() -> Job | None:
            jobs = self.jobs("RUNNING", "gpu")
            fresh = (job for job in jobs if job["JobName"] not in names)
            return next((j for j in fresh if process_of(j) == process and self.python_of(j)), None)

        return self.until(f"a running job of {process}", look)


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def cause_trouble(watch: Watch) -> list[Trouble]:
    """Kill three jobs, each in another way; then drain the GPU node under waiting jobs."""
    done: list[Trouble] = []

    job = watch.busy_job("TRAIN_VAE")
    kill(watch.python_of(job))
    done.append(Trouble("its Python killed, as the kernel does out of memory", job, 137))

    job = watch.busy_job("ALIGN", done)
    watch.cluster.ask("scancel", job["JobId"])
    done.append(Trouble("cancelled, as a preemption does", job, 143))

    job = watch.busy_job("ALIGN", done)
    kill(watch.pids(job))
    done.append(Trouble("every process killed, as a lost node does", job, None))

    drain_and_resume(watch)
    return done


def drain_and_resume(watch: Watch, seconds: float = 20) -> None:
    watch.until("a job that waits for the GPU", lambda: watch.jobs("PENDING", "gpu"))
    watch.cluster.ask(
        "scontrol", "update", "NodeName=gpu1", "State=DRAIN", "Reason=tests/platforms/slurm/run.py"
    )
    say("gpu1 set to drain")
    watch.until("gpu1 drained", lambda: watch.cluster.node_states()["gpu1"] == "drained")
    time.sleep(seconds)
    waiting = watch.jobs("PENDING", "gpu")
    if not waiting or watch.jobs("RUNNING", "gpu"):
        raise Failure("jobs ran on the drained node, or none waited for it")
    say(f"gpu1 drained, {len(waiting)} jobs wait: {waiting[0]['Reason']}")
    watch.cluster.ask("scontrol", "update", "NodeName=gpu1", "State=RESUME")
    watch.until("a job on the resumed gpu1", lambda: watch.jobs("RUNNING", "gpu"))
    say("gpu1 resumed, jobs run on it")


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def run_pipeline(
    cluster: Cluster, folder: Path, arguments: Sequence[str], limit: float
) -> list[Trouble]:
    """Run the demo in ``folder`` and return what was done to its jobs."""
    command = [NEXTFLOW, "run", ROOT, "-profile", "test,slurm", "-c", HERE / "impatient.config"]
    options = ["--queue", "cpu", "--gpu_queue", "gpu", "--outdir", "results", *arguments]
    log = folder / "nextflow.out"
    with log.open("wb") as out:
        head = subprocess.Popen(
            [*map(str, command), *options],
            cwd=folder,
            env=cluster.environment | {"NXF_ANSI_LOG": "false"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    say(f"Nextflow started; its output: {log}")
    end = time.monotonic() + limit
    try:
        done = cause_trouble(Watch(cluster, head, end))
        status = head.wait(timeout=max(1, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise Failure(f"Nextflow still runs after {limit:.0f} s") from None
    finally:
        if head.poll() is None:
            head.terminate()
            head.wait()
    if status:
        raise Failure(f"Nextflow ended with status {status}: {log.read_text()[-3000:]}")
    return done


def check_partitions(jobs: Sequence[Job]) -> list[str]:
    """Say which jobs are not where they belong."""
    seen = {process_of(job) for job in jobs}
    wrong = [f"no job of {name}" for name in sorted({"TRAIN_VAE", "ALIGN", "MULTIQC"} - seen)]
    for job in jobs:
        partition, gres = ("gpu", "gpu:1") if process_of(job) in ON_GPU else ("cpu", "none")
        if (job["Partition"], gres_of(job)) != (partition, gres):
            wrong.append(f"{job['JobName']} ran on {job['Partition']} with {gres_of(job)}")
    return wrong


def gres_of(job: Job) -> str:
    """Return ``gpu:1`` from ``gres:gpu:1``, or from ``gres/gpu:1`` of newer versions."""
    return re.sub(r"^gres[:/]", "", job.get("TresPerNode", "none"))


def check_retries(done: Sequence[Trouble], tasks: Sequence[dict[str, str]]) -> list[str]:
    """Say which killed jobs Nextflow did not see, or did not repeat with success."""
    wrong = []
    for trouble in done:
        (killed,) = [task for task in tasks if task["native_id"] == trouble.job["JobId"]]
        others = [task for task in tasks if task["name"] == killed["name"] and task is not killed]
        expected = "-" if trouble.exit is None else str(trouble.exit)
        if (killed["status"], killed["exit"]) != ("FAILED", expected):
            wrong.append(
                f"{killed['name']}, {trouble.what}: {killed['status']} {killed['exit']}, "
                f"not FAILED {expected}"
            )
        if not any(task["status"] == "COMPLETED" for task in others):
            wrong.append(f"{killed['name']}, {trouble.what}: no later attempt succeeded")
    return wrong


def check_results(results: Path) -> list[str]:
    report = results / "multiqc" / "multiqc_report.html"
    if not report.is_file():
        return [f"no report: {report}"]
    headline = json.loads((results / "evaluation" / "headline.json").read_text())
    imputed = sorted(path.name for path in results.glob("samples/*/*.imputed.h5ad"))
    wrong = [] if headline["finished"] == 2 else [f"{headline['finished']} of 2 samples finished"]
    if imputed != ["sample_a.imputed.h5ad", "sample_b.imputed.h5ad"]:
        wrong.append(f"imputed samples: {imputed}")
    return wrong


def read_trace(results: Path) -> list[dict[str, str]]:
    (trace,) = (results / "pipeline_info").glob("trace_*.txt")
    with trace.open() as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def print_jobs(jobs: Sequence[Job]) -> None:
    rows: dict[tuple[str, ...], int] = {}
    for job in jobs:
        row = (process_of(job), job["Partition"], job["NodeList"], gres_of(job), job["JobState"])
        rows[row] = rows.get(row, 0) + 1
    print(f"\n{'process':26}{'partition':11}{'node':8}{'gres':8}{'state':12}jobs")
    for (name, partition, node, gres, state), number in sorted(rows.items()):
        print(f"{name:26}{partition:11}{node:8}{gres:8}{state:12}{number}")


def print_troubles(
    done: Sequence[Trouble], jobs: Sequence[Job], tasks: Sequence[dict[str, str]]
) -> None:
    """One line a killed job: what Nextflow saw, and what its attempts asked for."""
    print()
    for trouble in done:
        name = trouble.job["JobName"]
        asked = [job["MinMemoryNode"] for job in jobs if job["JobName"] == name]
        (killed,) = [task for task in tasks if task["native_id"] == trouble.job["JobId"]]
        print(
            f"{name}: {trouble.what}; exit {killed['exit']}; memory of its attempts: {', '.join(asked)}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to work; kept (else temporary)")
    parser.add_argument("--limit", type=float, default=5400, help="seconds for the run")
    parser.add_argument("arguments", nargs="*", help="more arguments for Nextflow")
    given = parser.parse_args()
    if missing := missing_programs():
        sys.exit(f"Not installed: {', '.join(missing)}. {INSTALL}")

    folder = (given.folder or Path(tempfile.mkdtemp(prefix="stlatent-slurm-"))).resolve()
    (folder / "run").mkdir(parents=True)
    try:
        with running(folder / "cluster") as cluster:
            say(f"Slurm is up: {cluster.ask('sinfo', '--version').strip()}, {folder}/cluster")
            done = run_pipeline(cluster, folder / "run", given.arguments, given.limit)
            jobs = cluster.jobs()
        results = folder / "run" / "results"
        tasks = read_trace(results)
        print_jobs(jobs)
        print_troubles(done, jobs, tasks)
        wrong = check_partitions(jobs) + check_retries(done, tasks) + check_results(results)
        if wrong:
            raise Failure("\n".join(wrong))
    except (Failure, RuntimeError) as error:
        sys.exit(f"\nFAILED: {error}\nLogs: {folder}")
    print("\nOK: GPU jobs ran on gpu1, all else on cpu1; killed jobs were repeated; 2 samples.")
    if not given.folder:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
