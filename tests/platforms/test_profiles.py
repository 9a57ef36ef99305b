"""What every task would ask a cloud for: stub runs on this machine, with all else as in the profile."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from builders.project import DEMO, PROCESSES, ROOT

GPU_PROCESSES = {"CHECK_DEVICE", "TRAIN_VAE", "ALIGN"}
CPU_IMAGE, GPU_IMAGE = "registry.example/stlatent:cpu", "registry.example/stlatent:gpu"
IMAGES = ("--container_image", CPU_IMAGE, "--gpu_container_image", GPU_IMAGE)
# A comment in the task's wrapper script; what KILLED says is killed. With parser v2 Nextflow 25.04 knows
# the profiles of its last configuration file alone.
PROBE = """
profiles {
    awsbatch { env.PROBE = 1 }
    googlebatch { env.PROBE = 1 }
}
process.afterScript = {
    '# asked: ' + groovy.json.JsonOutput.toJson([
        process: task.process.tokenize(':').last(), attempt: task.attempt, queue: task.queue,
        accelerator: task.accelerator?.request, type: task.accelerator?.type,
        machine: task.machineType, memory: task.memory.toMega(), cpus: task.cpus,
        disk: task.disk?.toString(), image: task.container, options: task.containerOptions,
    ])
}
process.beforeScript = { KILLED ? 'exit 137' : '' }
"""


def wrappers(folder: Path) -> set[Path]:
    return set((folder / "work").glob("*/*/.command.run"))


@pytest.fixture
def asked(run_pipeline, tmp_path):
    """Run stubs under a profile; give what was asked by new tasks, by process and attempt."""

    def run(
        *arguments: str, killed: str = "false", parser: str = "v1"
    ) -> tuple[dict[str, dict[int, Any]], str]:
        probe, sheet = tmp_path / "probe.config", tmp_path / "sheet.csv"
        probe.write_text(PROBE.replace("KILLED", killed))
        if not sheet.exists():  # A resumed run asks for its date.
            row = f"sample_a,{DEMO}/sample_a.h5ad,{DEMO}/reference.h5ad"
            sheet.write_text(f"sample,spatial,reference\n{row}\n")
        local = ("-process.executor", "local", "-stub-run", "-c", probe, "--input", sheet)
        before = wrappers(tmp_path)
        done = run_pipeline(*arguments, *IMAGES, *local, folder=tmp_path, parser=parser)
        assert done.returncode == 0, done.stdout
        requests: dict[str, dict[int, Any]] = defaultdict(dict)
        for wrapper in wrappers(tmp_path) - before:
            (line,) = (x for x in wrapper.read_text().splitlines() if "# asked: " in x)
            request = json.loads(line.split("# asked: ")[1])
            name, attempt = request.pop("process"), request.pop("attempt")
            assert requests[name].setdefault(attempt, request) == request
        return dict(requests), done.stdout

    return run


@pytest.mark.slow
def test_aws_batch_takes_spot_queues_until_the_last_attempt(asked):
    arguments = "-profile awsbatch --region eu-central-1 --queue cpu --gpu_queue gpu "
    arguments += "--spot_queue cpu-spot --gpu_spot_queue gpu-spot --gpu_type ignored"
    requests, _told = asked(*arguments.split(), killed="task.attempt < 3")
    assert set(requests) == PROCESSES
    for name, by_attempt in requests.items():
        kind = "gpu" if name in GPU_PROCESSES else "cpu"
        assert sorted(by_attempt) == [1, 2, 3], name
        assert [by_attempt[attempt]["queue"] for attempt in (1, 2, 3)] == [
            # CALIBRATE has one more, which keeps the imputed file.
            f"{kind}-spot", f"{kind}-spot", "cpu-spot" if name == "CALIBRATE" else kind,
        ]  # fmt: skip
        memory = [by_attempt[attempt]["memory"] for attempt in (1, 2, 3)]
        assert memory[0] < memory[1] < memory[2], name
        for request in by_attempt.values():
            assert request["accelerator"] == (1 if kind == "gpu" else None), name
            assert request["image"] == (GPU_IMAGE if kind == "gpu" else CPU_IMAGE), name
            # The first is dropped there, and the others are Google's.
            assert not any(request[x] for x in ("options", "type", "machine", "disk")), name

    # Without a GPU the same again: what needs none is not repeated.
    again, told = asked(*arguments.split(), "--use_gpu", "false", "-resume")
    assert "GPU" not in told
    assert set(again) == {"TRAIN_VAE", "ALIGN", "IMPUTE", "EVALUATE", "SCORE", "CALIBRATE"} | {
        "COLLATE", "MULTIQC",
    }  # fmt: skip
    for by_attempt in again.values():
        assert by_attempt[1]["queue"] == "cpu-spot"
        assert by_attempt[1]["accelerator"] is None
        assert by_attempt[1]["image"] == CPU_IMAGE


@pytest.mark.slow
def test_google_batch_takes_machines_that_carry_the_gpu(asked):
    arguments = "-profile googlebatch --region europe-west4 --google_project project --disk 60.GB "
    arguments += "--gpu_type nvidia-l4 --machine_type e2-standard-4"
    killed = "task.attempt < 2 || task.process.endsWith('CHECK_DEVICE')"
    requests, told = asked(*arguments.split(), killed=killed, parser="v2")
    assert "CHECK_DEVICE failed. It requests a GPU as TRAIN_VAE and ALIGN do" in told
    assert set(requests) == PROCESSES
    for name, by_attempt in requests.items():
        assert sorted(by_attempt) == ([1, 2, 3] if name == "CHECK_DEVICE" else [1, 2]), name
        assert by_attempt[1]["memory"] < by_attempt[2]["memory"], name
        for request in by_attempt.values():
            assert request["disk"] == "60 GB"
            assert request["options"] == "--user root"
            found = {x: request[x] for x in ("accelerator", "type", "machine", "image", "queue")}
            assert found == (
                {
                    "accelerator": 1,
                    "type": "nvidia-l4",
                    "machine": "g2-standard-4",
                    "image": GPU_IMAGE,
                    "queue": None,
                }
                if name in GPU_PROCESSES
                else {
                    "accelerator": None,
                    "type": None,
                    "machine": "e2-standard-4",
                    "image": CPU_IMAGE,
                    "queue": None,
                }
            ), name


@pytest.mark.slow
@pytest.mark.slow
def test_google_batch_asks_for_no_gpu_when_none_is_wanted(asked):
    arguments = "-profile googlebatch --region r --google_project p --use_gpu false"
    requests, told = asked(*arguments.split(), "--gpu_machine_type", "g2-standard-8")
    assert "GPU" not in told
    assert set(requests) == PROCESSES - {"CHECK_DEVICE"}
    for by_attempt in requests.values():
        assert by_attempt[1]["accelerator"] is None
        assert by_attempt[1]["image"] == CPU_IMAGE
        assert by_attempt[1]["machine"] is None


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        ("-profile test,awsbatch", "--queue --gpu_queue --region --container_image --gpu_container_image"),
        ("-profile googlebatch --region r --use_gpu false", "--google_project --container_image"),
    ],
)  # fmt: skip
def test_what_a_cloud_needs_is_asked_for_before_any_work(
    run_pipeline, tmp_path, monkeypatch, arguments, needed
):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    given = (*arguments.split(), "--input", DEMO / "samplesheet.csv", "-process.executor", "local")
    run = run_pipeline(*given, folder=tmp_path)
    assert run.returncode != 0
    assert "Submitted process" not in run.stdout
    lines = [x.removeprefix("ERROR ~ ") for x in run.stdout.splitlines()]
    told = {x.split(":")[0] for x in lines if x.startswith("--")}
    assert told == set(needed.split()), run.stdout


def test_settings_of_a_whole_run(nextflow, tmp_path):
    def settings(profile: str) -> dict[str, Any]:
        run = nextflow("config", "-profile", profile, "-o", "json", ROOT, folder=tmp_path)
        found: dict[str, Any] = json.loads(run.stdout[run.stdout.index("{") :])
        return found

    aws = settings("awsbatch")["aws"]
    # The CLI comes with the image: cliPath would hide a folder of it.
    assert aws == {
        "region": None,
        "batch": {"maxSpotAttempts": 0, "terminateUnschedulableJobs": True},
    }
    google = settings("googlebatch")["google"]
    assert google["batch"] == {"spot": True, "maxSpotAttempts": 0}


DEVICES = f"""
include {{ deviceFact ; reportDevice }} from '{ROOT}/functions/platform'
workflow {{
    def none = [gpu: null, reason: 'no driver', node: 'gpu1', executor: 'slurm', requested: true]
    def some = none + [gpu: 'NVIDIA L4, 22.5 GiB']
    [none, some, none + [executor: 'local', requested: false], [:]].each {{ device ->
        println("fact: ${{deviceFact(device, true)}}")
        reportDevice(device, true, 'docker')
        reportDevice(device, false, 'docker')
    }}
    println("fact: ${{deviceFact([:], false)}}")
}}
"""


@pytest.mark.parametrize("parser", ["v1", "v2"])
def test_the_device_is_reported(nextflow, tmp_path, parser):
    (tmp_path / "main.nf").write_text(DEVICES)
    run = nextflow("run", "main.nf", folder=tmp_path, parser=parser)
    assert run.returncode == 0, run.stdout
    facts = [x.removeprefix("fact: ") for x in run.stdout.splitlines() if x.startswith("fact: ")]
    assert facts == [
        "CPU: a GPU was requested, but none is visible (no driver)",
        "NVIDIA L4, 22.5 GiB",
        "CPU: no GPU on this machine",
        "not known: CHECK_DEVICE failed",
        "CPU (--use_gpu false)",
    ]
    for text in (
        "torch finds none on gpu1 (executor slurm): no driver.",
        "Run nvidia-smi on that machine.",
        "Does --gpu_queue name a partition whose nodes have GPUs",
        "Docker needs the NVIDIA Container Toolkit",
        "GPU: NVIDIA L4, 22.5 GiB",
        "No GPU on this machine: TRAIN_VAE and ALIGN run on the CPU.",
        "CHECK_DEVICE failed. It requests a GPU",
    ):
        assert run.stdout.count(text) == 1, run.stdout


EXECUTES = """
process TRAIN_VAE {
    label 'process_gpu'
    input:
    val x
    output:
    val found
    exec:
    found = [
        accelerator: task.accelerator?.request, options: task.containerOptions,
        image: task.container, forks: task.maxForks, memory: task.memory.toString(),
        time: task.time.toString(),
    ]
}
workflow {
    TRAIN_VAE(channel.of(1)).subscribe { found ->
        println('asked: ' + groovy.json.JsonOutput.toJson(found))
    }
}
"""
CPU = {"accelerator": None, "options": None, "image": "stlatent:0.1.0-cpu"}
GPU = {"accelerator": 1, "image": "stlatent:0.1.0-gpu"}


@pytest.mark.parametrize(
    ("profile", "arguments", "expected", "parser"),
    [
        ("standard", "", GPU | {"options": None}, "v2"),
        ("docker", "", GPU | {"options": "--gpus all"}, "v1"),
        ("podman", "", GPU | {"options": "--device nvidia.com/gpu=all"}, "v2"),
        # A file, or Nextflow would pull it.
        (
            "apptainer",
            "--gpu_container_image /dev/null",
            {"accelerator": 1, "options": "--nv"},
            "v1",
        ),
        ("docker", "--use_gpu false", CPU, "v2"),
    ],
)
def test_a_gpu_of_this_machine(nextflow, tmp_path, profile, arguments, expected, parser):
    (tmp_path / "main.nf").write_text(EXECUTES)
    quiet = "".join(f"{x}.enabled = false\n" for x in ("trace", "report", "timeline", "dag"))
    # As on a machine with a GPU.
    config = f"includeConfig '{ROOT}/nextflow.config'\nprocess.ext.gpu = 1\n{quiet}"
    (tmp_path / "nextflow.config").write_text(config)
    run = nextflow(
        "run", "main.nf", "-profile", profile, *arguments.split(), folder=tmp_path, parser=parser
    )
    assert run.returncode == 0, run.stdout
    (line,) = (x for x in run.stdout.splitlines() if x.startswith("asked: "))
    found = json.loads(line.removeprefix("asked: "))
    assert expected.items() <= found.items()
    # The rest of the label's settings is still there.
    assert (found["memory"], found["time"]) == ("3 GB", "12h")
    # Of the command line, v2 of 25.04 knows here only what is in a closure.
    one = Path("/dev/nvidia0").exists() and (expected["accelerator"] or parser == "v2")
    assert found["forks"] == (1 if one else 0)
