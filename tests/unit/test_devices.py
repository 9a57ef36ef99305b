"""What a node's GPU looks like to a task, or why there is none."""

from __future__ import annotations

import json
import runpy
import socket
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

from stlatent import devices

SCRIPT = Path(devices.__file__).resolve().parents[1] / "check_device.py"


@pytest.fixture
def node(monkeypatch, tmp_path):
    """Set what torch and nvidia-smi say."""

    def put(cuda: str | None, visible: bool, smi: str | None = None) -> None:
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: visible)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
        if smi is not None:
            command = tmp_path / "nvidia-smi"
            command.write_text(f"#!/bin/sh\n{smi}\n")
            command.chmod(0o755)

    return put


def test_a_gpu_is_named_with_its_memory_driver_and_cuda(node, monkeypatch):
    node("12.8", True, "echo 550.90.07; echo 550.90.07")
    properties = SimpleNamespace(name="NVIDIA L4", total_memory=int(22.5 * 2**30))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _index: properties)
    monkeypatch.setattr(torch, "ones", lambda *_size, device: torch.zeros(1))
    sight = devices.look()
    assert sight == devices.Sight("NVIDIA L4, 22.5 GiB, driver 550.90.07, CUDA 12.8", "")
    # Two looks at one node say the same: the report of a resumed run stays as it was.
    assert devices.look() == sight


@pytest.fixture
def refuse(node, monkeypatch):
    """Have a GPU that answers with an error."""

    def put(text: str) -> None:
        def ones(*_size: int, device: str) -> None:
            raise RuntimeError(text)

        node("12.8", True)
        monkeypatch.setattr(torch, "ones", ones)

    return put


def test_a_gpu_that_refuses_work_is_none(refuse, capsys):
    refuse("CUDA error: no kernel image is available for execution on the device\nCompile with ..")
    reason = "CUDA error: no kernel image is available for execution on the device"
    assert devices.look() == devices.Sight(None, f"torch sees a GPU and cannot use it: {reason}")
    assert devices.resolve("gpu") == devices.resolve("auto") == "cpu"
    assert capsys.readouterr().out.count(f"torch cannot use the GPU: {reason}. Running on") == 2


def test_a_gpu_without_free_memory_is_waited_for(refuse):
    refuse("CUDA error: out of memory")
    with pytest.raises(RuntimeError, match="out of memory"):
        devices.resolve("gpu")
    assert devices.look().gpu is None


def test_a_task_takes_a_gpu_unless_told_otherwise(node, monkeypatch, capsys):
    node("12.8", True)
    monkeypatch.setattr(torch, "ones", lambda *_size, device: torch.zeros(1))
    assert [devices.resolve(x) for x in ("auto", "gpu", "cpu")] == ["cuda", "cuda", "cpu"]
    node("12.8", False)
    assert [devices.resolve(x) for x in ("auto", "cpu")] == ["cpu", "cpu"]
    assert capsys.readouterr().out == ""
    assert devices.resolve("gpu") == "cpu"
    assert "torch sees none: running on the CPU" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cuda", "smi", "hidden", "reason"),
    [
        (None, None, None, "is built without CUDA"),
        ("12.8", None, None, "nvidia-smi shows none: no GPU, no driver, or a container without"),
        ("12.8", "echo No devices were found; exit 6", None, "nvidia-smi shows none"),
        ("12.8", "echo 470.1", None, "nvidia-smi shows 1, driver 470.1; torch is for CUDA 12.8"),
        ("12.8", "echo 470.1", "", "nvidia-smi shows 1, and CUDA_VISIBLE_DEVICES is ''"),
    ],
)
def test_no_gpu_has_a_reason(node, monkeypatch, cuda, smi, hidden, reason):
    node(cuda, False, smi)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    sight = devices.look()
    assert sight.gpu is None
    assert reason in sight.reason


def test_what_cuda_says_itself_comes_first(node, monkeypatch):
    node("12.8", False, "echo 470.1")

    def available() -> bool:
        text = "The NVIDIA driver on your system is too old (found version 11040)."
        warnings.warn(f"{text} (Triggered internally at x.cpp:109.)\nmore", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", available)
    assert devices.look().reason == (
        "The NVIDIA driver on your system is too old (found version 11040)."
    )


def test_an_environment_without_torch_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    sight = devices.look()
    assert sight.gpu is None
    assert sight.reason.startswith("torch cannot be imported: ")


def test_the_script_writes_one_line_of_json(monkeypatch, tmp_path):
    found = devices.Sight(None, "nvidia-smi shows none")
    monkeypatch.setattr(devices, "look", lambda: found)
    main = runpy.run_path(str(SCRIPT))["main"]
    output = tmp_path / "device.json"
    run = CliRunner().invoke(main, ["--output", str(output)])
    assert run.exit_code == 0, run.output
    assert json.loads(output.read_text()) == {
        "gpu": None, "reason": "nvidia-smi shows none", "node": socket.gethostname(),
    }  # fmt: skip
