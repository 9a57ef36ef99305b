"""Devices, threads and reproducibility of torch."""

from __future__ import annotations

import os
import warnings
from typing import Literal

Device = Literal["auto", "cpu", "gpu"]


def resolve(device: Device) -> str:
    """Return the torch device for ``device``: ``cuda`` for a GPU, ``cpu`` otherwise.

    ``auto`` takes a GPU when there is one. ``gpu`` without a GPU falls back to the CPU and says so.
    """
    import torch

    if device == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if device == "gpu":
        print("A GPU was asked for but torch sees none: running on the CPU.", flush=True)
    return "cpu"


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
