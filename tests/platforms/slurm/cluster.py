"""A Slurm cluster of two nodes, cpu1 and gpu1, on this machine and in a folder of its own."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo")
PATHS = os.pathsep.join((os.environ["PATH"], "/usr/local/sbin", "/usr/sbin", "/sbin"))
NODES = ("cpu1", "gpu1")


def missing_programs() -> list[str]:
    return [name for name in (*DAEMONS, *CLIENTS) if not shutil.which(name, path=PATHS)]


@dataclass
class Cluster:
    """Daemons that are running, and how to ask them."""

    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"PATH": PATHS, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def ask(self, *command: object) -> str:
        """Run a client of Slurm and return what it prints."""
        run = subprocess.run(
            [str(part) for part in command],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if run.returncode:
            raise RuntimeError(f"{' '.join(map(str, command))}: {run.stdout.strip()}")
        return run.stdout

    def jobs(self) -> list[dict[str, str]]:
        """Return the controller's record of every job, as ``scontrol show job`` names its fields."""
        lines = self.ask("scontrol", "show", "job", "--oneliner").splitlines()
        return [
            dict(part.split("=", 1) for part in line.split() if "=" in part)
            for line in lines
            if line.startswith("JobId=")
        ]

    def node_states(self) -> dict[str, str]:
        lines = self.ask("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines()
        return dict(line.split() for line in lines)

    def start(self, name: str, *command: object) -> None:
        """Start a daemon in the foreground of a process group of its own."""
        with (self.folder / f"{name}.out").open("wb") as out:
            self.processes[name] = subprocess.Popen(
                [str(part) for part in command],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start_node(self, name: str) -> None:
        self.start(name, "slurmd", "-D", "-N", name)

    def end_jobs(self) -> None:
        """Cancel what is left, and wait for its processes: a slurmd does not end before them."""
        self.ask("scancel", "--user", getpass.getuser())
        end = time.monotonic() + 45
        while time.monotonic() < end:
            if not self.ask("squeue", "--noheader").strip():
                return
            time.sleep(0.5)
        raise RuntimeError("squeue still lists some after 45 s")

    def stop(self) -> None:
        """End all jobs and then the daemons, the youngest first."""
        try:
            self.end_jobs()
        except (RuntimeError, OSError) as error:
            print(f"Jobs may be left: {error}", file=sys.stderr)
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes.values()):
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for opened in sockets:
        opened.bind(("127.0.0.1", 0))
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def write_configuration(folder: Path) -> None:
    controller_port, cpu_port, gpu_port = free_ports(3)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    text = (HERE / "slurm.conf").read_text()
    (folder / "slurm.conf").write_text(
        text.format(
            host=socket.gethostname().split(".")[0],
            user=getpass.getuser(),
            folder=folder,
            memory=memory,
            controller_port=controller_port,
            cpu_port=cpu_port,
            gpu_port=gpu_port,
        )
    )
    # A device file that every machine has stands in for the GPU.
    (folder / "gres.conf").write_text("NodeName=gpu1 Name=gpu Count=1 File=/dev/null\n")
    (folder / "cgroup.conf").write_text("")
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))


def wait_until_idle(cluster: Cluster, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        dead = [name for name, process in cluster.processes.items() if process.poll() is not None]
        if dead:
            out = (cluster.folder / f"{dead[0]}.out").read_text(errors="replace")
            raise RuntimeError(f"{dead[0]} ended: {out[-2000:]}")
        try:
            if set(cluster.node_states().values()) == {"idle"}:
                return
        except RuntimeError:
            pass
        time.sleep(0.5)
    raise RuntimeError(f"the nodes are not idle after {seconds:.0f} s; logs: {cluster.folder}")


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Start munged, slurmctld and two slurmd below ``folder``; stop them at the end."""
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    write_configuration(folder)
    cluster = Cluster(folder)
    try:
        cluster.start(
            "munged",
            "munged",
            "--foreground",
            "--force",
            f"--key-file={folder}/munge.key",
            f"--socket={folder}/munge.socket",
            f"--pid-file={folder}/munged.pid",
            f"--log-file={folder}/munged.log",
            f"--seed-file={folder}/munge.seed",
        )
        cluster.start("slurmctld", "slurmctld", "-D", "-c")
        for node in NODES:
            cluster.start_node(node)
        wait_until_idle(cluster)
        yield cluster
    finally:
        cluster.stop()
