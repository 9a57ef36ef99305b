"""What the slurm profile asks sbatch for, read by a stand-in for sbatch that runs the job itself."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from builders.project import ROOT

PROBE = """
process PLAIN {
    script:
    'true'
}
process ON_GPU {
    label 'process_gpu'
    script:
    'true'
}
workflow {
    PLAIN()
    ON_GPU()
}
"""
CONFIG = """
includeConfig '{root}/nextflow.config'
includeConfig '{root}/conf/slurm.config'
manifest.mainScript = 'main.nf'
process.beforeScript = ''
executor.pollInterval = '200 ms'
executor.retry.delay = '100 ms'
"""
# Fails as often as the file `refusals` has lines.
SBATCH = """#!/bin/bash
if [ -s {folder}/refusals ]; then
    head -n 1 {folder}/refusals
    sed -i 1d {folder}/refusals
    exit 1
fi
setsid bash "$1" > /dev/null 2>&1 < /dev/null &
echo "Submitted batch job $$"
"""


@pytest.fixture
def probe(tmp_path: Path, nextflow, monkeypatch):
    """Run the two tasks on the stand-in, and return the #SBATCH options of each and the output."""
    (tmp_path / "main.nf").write_text(PROBE)
    (tmp_path / "nextflow.config").write_text(CONFIG.format(root=ROOT))
    bin_folder = tmp_path / "path"
    bin_folder.mkdir()
    for name, text in {"sbatch": SBATCH.format(folder=tmp_path), "squeue": "#!/bin/bash\n"}.items():
        (bin_folder / name).write_text(text)
        (bin_folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}{os.environ['PATH']}")

    def run(*arguments: str, parser: str = "v1") -> tuple[dict[str, list[str]], str]:
        done = nextflow("run", ".", *arguments, folder=tmp_path, parser=parser)
        assert done.returncode == 0, done.stdout
        headers = {}
        for script in (tmp_path / "work").glob("*/*/.command.run"):
            lines = re.findall(r"^#SBATCH (.*)$", script.read_text(), re.M)
            headers[lines[0].removeprefix("-J nf-")] = lines[1:]
        return headers, done.stdout

    return run


def options(header: list[str]) -> list[str]:
    """Leave out what Nextflow writes whatever the configuration says."""
    return [line for line in header if not re.match(r"-o |--no-requeue|--signal|-t |--mem ", line)]


def test_without_names_the_cluster_chooses_the_partition(probe):
    headers, _ = probe()
    assert options(headers["PLAIN"]) == []
    assert options(headers["ON_GPU"]) == ["--gres=gpu:1"]
    assert "--mem 2048M" in headers["PLAIN"] and "-t 04:00:00" in headers["PLAIN"]


@pytest.mark.parametrize("parser", ["v1", "v2"])
def test_names_of_the_site(probe, parser):
    headers, _ = probe(
        "--queue=short",
        "--gpu_queue=volta",
        "--account=lab-7",
        "--gpu_type=v100",
        "--cluster_options=--qos=long --comment='a;b'",
        parser=parser,
    )
    own = ["--account=lab-7", "--qos=long --comment='a;b'"]
    assert options(headers["PLAIN"]) == ["-p short", *own]
    assert options(headers["ON_GPU"]) == ["-p volta", own[0], "--gres=gpu:v100:1", own[1]]


def test_without_gpu_everything_goes_to_the_queue(probe):
    headers, _ = probe("--queue=short", "--gpu_queue=volta", "--use_gpu=false")
    assert options(headers["PLAIN"]) == options(headers["ON_GPU"]) == ["-p short"]


def test_gpu_tasks_go_to_the_queue_when_there_is_no_other(probe):
    headers, _ = probe("--queue=mixed")
    assert options(headers["ON_GPU"]) == ["-p mixed", "--gres=gpu:1"]


def test_a_limit_on_submitted_jobs_and_a_silent_controller_are_waited_for(probe, tmp_path):
    (tmp_path / "refusals").write_text(
        "sbatch: error: QOSMaxSubmitJobPerUserLimit\n"
        "sbatch: error: AssocGrpSubmitJobsLimit\n"
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller\n"
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n"
    )
    headers, output = probe()
    assert len(headers) == 2
    assert not (tmp_path / "refusals").read_text()
    assert "QOSMaxSubmitJobPerUserLimit" in output


def test_a_job_that_is_refused_for_good_ends_the_run_with_the_reason(probe, nextflow, tmp_path):
    (tmp_path / "refusals").write_text("sbatch: error: invalid partition specified: nope\n")
    run = nextflow("run", ".", folder=tmp_path)
    assert run.returncode != 0
    assert "sbatch: error: invalid partition specified: nope" in run.stdout, run.stdout


def test_text_that_could_leave_its_line_ends_the_run(run_pipeline, tmp_path):
    bad = {
        "account": "lab\nrm -rf ~",
        "queue": "a b",
        "gpu_type": "$(id)",
        "cluster_options": "--qos=long\nid",
    }
    arguments = [f"--{name}={value}" for name, value in bad.items()]
    run = run_pipeline("-profile", "test", *arguments, folder=tmp_path)
    assert run.returncode != 0
    for name, value in bad.items():
        assert f"--{name}: '{value}' is not allowed" in run.stdout, run.stdout
