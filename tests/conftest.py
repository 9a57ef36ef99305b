from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from builders.project import ROOT


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Give the folder of one pair of real data, or skip the test where there is none."""

    def find(name: str) -> Path:
        folder = Path(os.environ.get("STLATENT_TEST_DATA", ROOT.parent / "shared" / "data")) / name
        if not folder.is_dir():
            pytest.skip(f"no real data: {name} (set STLATENT_TEST_DATA)")
        return folder

    return find


@pytest.fixture(scope="session")
def nextflow() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Nextflow as `make` does; output and errors come back in ``stdout``."""

    def run(
        *arguments: object, folder: Path, parser: str = "v1"
    ) -> subprocess.CompletedProcess[str]:
        settings = {"NXF_ANSI_LOG": "false", "NXF_SYNTAX_PARSER": parser}
        # Runs this short are over before thorough compilation pays.
        settings["JAVA_TOOL_OPTIONS"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | settings | {"PATH": path}
        return subprocess.run(
            [str(ROOT / ".nextflow-runtime" / "nextflow"), *map(str, arguments)],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def run_pipeline(
    nextflow: Callable[..., subprocess.CompletedProcess[str]],
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the pipeline in a folder, with its results in ``results`` there."""

    def run(
        *arguments: object, folder: Path, project: Path = ROOT, parser: str = "v1"
    ) -> subprocess.CompletedProcess[str]:
        return nextflow("run", project, *arguments, folder=folder, parser=parser)

    return run
