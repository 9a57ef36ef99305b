"""nf-core's own checks of a pipeline; .nf-core.yml says which do not apply, and why."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from builders.project import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy what belongs to the project into a repository of its own: nf-core reads every file."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    copy = tmp_path / "stlatent"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    author = ("-c", "user.name=stlatent", "-c", "user.email=stlatent@localhost")
    for command in (("init",), ("add", "--all"), (*author, "commit", "--message", "Checked")):
        subprocess.run(["git", *command], cwd=copy, check=True, capture_output=True)
    return copy


@pytest.mark.parametrize(
    ("arguments", "verdict"),
    [
        (("lint", "--plain-text"), "0 Tests Failed"),
        (("schema", "lint"), "Pipeline schema looks valid"),
    ],
)
def test_pipelines_lint(arguments, verdict, checkout):
    path = f"{ROOT / '.nextflow-runtime'}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": path, "NXF_ANSI_LOG": "false", "NFCORE_NO_VERSION_CHECK": "1"}
    run = subprocess.run(
        [sys.executable, "-m", "nf_core", "--hide-progress", "pipelines", *arguments],
        cwd=checkout,
        env=os.environ | settings | {"COLUMNS": "200", "XDG_CONFIG_HOME": str(checkout.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0 and verdict in run.stdout, run.stdout
