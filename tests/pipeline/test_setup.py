"""What `make setup` does about Python on machines that have none, old ones or several."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from builders.project import ROOT

THIS = Path(sys._base_executable)  # type: ignore[attr-defined]
TOOLS = ("bash", "cat", "cmp", "dirname", "env", "grep", "rm", "sed", "sort")
UV = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
needs_uv = pytest.mark.skipif(not Path(UV).exists(), reason="no uv: make setup")


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """Give the environment of a machine without any Python."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in TOOLS:
        (tools / name).symlink_to(str(shutil.which(name)))
    site = ("CERT", "SSL", "INDEX", "PROXY", "FIND_LINKS")
    kept = {x: value for x, value in os.environ.items() if any(part in x.upper() for part in site)}
    return kept | {"PATH": str(tools), "HOME": str(tmp_path / "home"), "UV_CACHE_DIR": uv_cache()}


def uv_cache() -> str:
    return os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))


def run(script: Path, machine: dict[str, str], *arguments: object) -> tuple[int, str, str]:
    done = subprocess.run(
        [script, *map(str, arguments)], env=machine, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.strip(), done.stderr


def add(python: Path, folder: Path, name: str) -> Path:
    folder.mkdir(parents=True)
    (folder / name).symlink_to(python)
    return folder / name


def old_python(folder: Path) -> Path:
    """Write what answers as an interpreter does that the packages are not for: with nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "python3").symlink_to(str(shutil.which("true")))
    return folder / "python3"


@pytest.mark.parametrize(
    "folder", [".pyenv/versions/3.13.9/bin", "python/cpython-3.12.1-linux/bin"]
)
def test_an_old_python_on_the_path_does_not_hide_a_newer_one(folder, machine, tmp_path):
    old_python(tmp_path / "tools")
    home = Path(machine["HOME"])
    if folder.startswith("."):
        expected = add(THIS, home / folder, "python")
    else:
        expected = add(THIS, home / ".local/share/uv" / folder, "python3")
    code, found, _ = run(ROOT / "scripts" / "find_python.sh", machine)
    assert (code, found) == (0, str(expected))


def test_the_newest_is_taken(machine, tmp_path):
    home = Path(machine["HOME"])
    for version in ("3.12.11", "3.13.9", "3.13.10", "3.12.9"):
        stand_in = home / f".pyenv/versions/{version}/bin/python"
        stand_in.parent.mkdir(parents=True)
        # As the question about its version is answered.
        stand_in.write_text(f"#!{shutil.which('bash')}\necho {version} '{stand_in}'\n")
        stand_in.chmod(0o755)
    found = run(ROOT / "scripts" / "find_python.sh", machine)[:2]
    assert found == (0, str(home / ".pyenv/versions/3.13.10/bin/python"))
    without_home = {name: value for name, value in machine.items() if name != "HOME"}
    (tmp_path / "tools" / "python3").symlink_to(THIS)
    code, found, told = run(ROOT / "scripts" / "find_python.sh", without_home)
    assert (code, found) == (0, str(tmp_path / "tools" / "python3")), told


def test_without_a_python_that_suits_none_is_named(machine, tmp_path):
    script = ROOT / "scripts" / "find_python.sh"
    assert run(script, machine)[:2] == (1, "")
    assert run(script, machine, old_python(tmp_path / "old"))[:2] == (1, "")
    assert run(script, machine, THIS)[:2] == (0, str(THIS))


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Copy what installs, with one small package in each lock."""
    folder = tmp_path / "a clone"
    (folder / "containers").mkdir(parents=True)
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    for lock, package in (("requirements", "click"), ("requirements-dev", "iniconfig")):
        text = (ROOT / "containers" / f"{lock}.lock").read_text()
        (block,) = re.findall(rf"^{package}==.*?(?=^[a-z])", text, flags=re.M | re.S)
        (folder / "containers" / f"{lock}.lock").write_text(block)
    return folder


@needs_uv
def test_a_python_that_uv_fetched_is_taken(clone, machine, tmp_path):
    fetching = tmp_path / "tools" / "uv"
    fetching.write_text(
        f"""#!{shutil.which("bash")}
        set -eu
        [ "$1 ${{2:-}}" = "python install" ] || exec {UV} "$@"
        {shutil.which("mkdir")} -p "$UV_PYTHON_INSTALL_DIR/cpython-3.13.0-linux/bin"
        {shutil.which("ln")} -s {THIS} "$UV_PYTHON_INSTALL_DIR/cpython-3.13.0-linux/bin/python3"
        """
    )
    fetching.chmod(0o755)
    code, _, told = run(clone / "scripts" / "bootstrap_python.sh", machine)
    assert code == 0 and "uv fetches one into .uv" in told, told
    assert (clone / ".uv/python/cpython-3.13.0-linux/bin/python3").exists()
    python = clone / ".venv" / "bin" / "python"
    assert run(python, machine, "-c", "import click; print(1)")[1] == "1"


@pytest.mark.parametrize("has_uv", [True, False])
@needs_uv
def test_what_to_install_is_said_where_none_is_found_and_none_can_be_fetched(
    has_uv, clone, machine, tmp_path
):
    if has_uv:
        (tmp_path / "tools" / "uv").symlink_to(UV)
    settings = machine | {"UV_PYTHON_DOWNLOADS": "never", "UV_OFFLINE": "1"}
    code, _, told = run(clone / "scripts" / "bootstrap_python.sh", settings)
    assert code == 1
    for text in (
        "Python 3.12, 3.13 or 3.14",
        "Debian 12",
        "Debian 13, Ubuntu 24.04",
        "RHEL 9",
        "macOS",
    ):
        assert text in told, told
    assert not (clone / ".venv").exists()


@needs_uv
def test_an_environment_of_another_python_is_made_anew(clone, machine, tmp_path):
    (tmp_path / "tools" / "uv").symlink_to(UV)
    add(THIS, Path(machine["HOME"]) / ".pyenv/versions/3.13.9/bin", "python")
    old = old_python(clone / ".venv" / "bin").rename(clone / ".venv" / "bin" / "python")
    script = clone / "scripts" / "bootstrap_python.sh"
    code, _, told = run(script, machine)
    assert code == 0, told
    seen = "import click, iniconfig, sys; print(sys.version_info[:2])"
    assert run(old, machine, "-c", seen)[1] == str(sys.version_info[:2])
    assert told.splitlines() == [
        "Installing the Python environment into .venv (about 7 GB with CUDA libraries)"
    ]
    assert run(script, machine) == (0, "", "")
