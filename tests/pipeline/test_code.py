"""Fingerprints of scripts, against what Python imports."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from builders.project import copy_project

SCRIPT = """include {{ fingerprints }} from '{project}/functions/code'

workflow {{
    println('code ' + groovy.json.JsonOutput.toJson(fingerprints(file('{project}/bin'))))
}}
"""


def imported(path: Path) -> set[Path]:
    """Return the files of the package that a file imports, but for those of type checkers alone."""
    found: set[Path] = set()
    text = path.read_text()
    tree = ast.parse(text)
    checked = {
        id(inner)
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in checked:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            packages = [
                bin_of(path, *parts[:size], "__init__.py") for size in range(1, len(parts) + 1)
            ]
            module = bin_of(path, *parts[:-1], f"{parts[-1]}.py")
            found |= {file for file in (*packages, module) if file.exists()}
            if "pkgutil.iter_modules" in text and name.startswith("stlatent."):
                found |= set(bin_of(path, *parts).glob("*.py"))
    return found


def bin_of(path: Path, *parts: str) -> Path:
    """Return a path below the folder of scripts that a file is in."""
    return next(parent for parent in path.parents if parent.name == "bin").joinpath(*parts)


def closure(script: Path) -> set[Path]:
    found, todo = {script}, [script]
    while todo:
        new = imported(todo.pop()) - found
        found |= new
        todo += new
    return found


@pytest.mark.slow
def test_a_script_is_known_by_what_it_imports(nextflow, tmp_path):
    project = copy_project(tmp_path / "project")
    (tmp_path / "main.nf").write_text(SCRIPT.format(project=project))

    def fingerprints() -> dict[str, str]:
        run = nextflow("-q", "run", "main.nf", folder=tmp_path)
        (line,) = [line for line in run.stdout.splitlines() if line.startswith("code ")]
        return json.loads(line.removeprefix("code "))

    before = fingerprints()
    scripts = {path.stem: closure(path) for path in (project / "bin").glob("*.py")}
    assert before.keys() == scripts.keys()
    changed = [
        "alignment/trainer.py", "imputation/stack.py", "report/chapters/trust.py", "slots.py",
        "inputs/qc.py", "trust/reliability.py",
    ]  # fmt: skip
    for name in changed:
        file = project / "bin" / "stlatent" / name
        with file.open("a") as module:
            module.write("# changed\n")
        after = fingerprints()
        assert {script for script in after if after[script] != before[script]} == {
            script for script, files in scripts.items() if file in files
        }, name
        before = after

    # Data beside the code, and models that are found by looking into a folder.
    for name, script in (
        ("trust/reliability_prior.json", "calibrate"),
        ("vae/models/scvi.py", "train_vae"),
        ("report/page/style.css", "collate"),
        ("readers/formats/mtx.py", "ingest"),
    ):
        with (project / "bin" / "stlatent" / name).open("a") as file:
            file.write(" \n")
        after = fingerprints()
        assert after[script] != before[script] and after["score"] == before["score"], name
        before = after
