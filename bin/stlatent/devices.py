"""Devices, threads and reproducibility of torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import warnings
from typing import Literal, NamedTuple

from stlatent.failures import is_out_of_memory

Device = Literal["auto", "cpu", "gpu"]


class Sight(NamedTuple):
    """What torch sees of the GPUs of a node."""

    gpu: str | None
    """The GPU that a task takes: name, memory, driver, CUDA; None without one."""
    reason: str
    """Why there is none; empty with one."""


def resolve(device: Device) -> str:
    """Return the torch device for ``device``: ``cuda`` for a GPU, ``cpu`` otherwise.

    ``auto`` takes a GPU when there is one. ``gpu`` without a GPU falls back to the CPU and says so.
    """
    import torch

    if device == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        refusal = _refusal()
        if not refusal:
            return "cuda"
        print(f"torch cannot use the GPU: {refusal}. Running on the CPU.", flush=True)
    elif device == "gpu":
        print("A GPU was asked for but torch sees none: running on the CPU.", flush=True)
    return "cpu"


def _refusal() -> str:
    """Return why a GPU that is listed does no work; empty when it does.

    It may be too old for this torch, or be another process's alone. One without free memory may
    have some later: its error is passed on, for the task to be tried again.
    """
    import torch

    try:
        torch.ones(1, device="cuda").sum().item()
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        return first_line(str(error))
    return ""


def make_deterministic(seed: int, threads: int) -> None:
    """Seed torch and prefer deterministic algorithms, in full float32.

    On the CPU all that is used here are deterministic. On a GPU an operation without a
    deterministic form warns instead of ending the run.
    """
    # cuBLAS is deterministic only with a fixed workspace.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def look() -> Sight:
    """Return which GPU torch would take here, or why it sees none."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return Sight(None, f"torch cannot be imported: {error}")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        visible = torch.cuda.is_available()
    if not visible:
        return Sight(None, _why_none(torch.__version__, torch.version.cuda, told))
    try:
        refusal = _refusal()
    except RuntimeError as error:
        refusal = first_line(str(error))
    if refusal:
        return Sight(None, f"torch sees a GPU and cannot use it: {refusal}")
    properties = torch.cuda.get_device_properties(0)
    found = [
        properties.name,
        f"{properties.total_memory / 2**30:.1f} GiB",
        *(f"driver {version}" for version in driver_versions()[:1]),
        f"CUDA {torch.version.cuda}",
    ]
    return Sight(", ".join(found), "")


def _why_none(version: str, cuda: str | None, told: list[warnings.WarningMessage]) -> str:
    if cuda is None:
        return f"torch {version} in this environment is built without CUDA"
    if told:
        return first_line(str(told[-1].message))
    drivers = driver_versions()
    if not drivers:
        return "nvidia-smi shows none: no GPU, no driver, or a container without its GPU support"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None:
        return f"nvidia-smi shows {len(drivers)}, and CUDA_VISIBLE_DEVICES is '{hidden}'"
    return f"nvidia-smi shows {len(drivers)}, driver {drivers[0]}; torch is for CUDA {cuda}"


def driver_versions() -> list[str]:
    """Return the version of the NVIDIA driver, once for each GPU that it shows."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    query = [command, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return answer.stdout.split() if answer.returncode == 0 else []


def first_line(text: str) -> str:
    """Return the first line of a message, without what torch adds about where it is from."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    return line.split(" (Triggered internally")[0].strip()
