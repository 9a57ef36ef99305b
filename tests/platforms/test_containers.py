"""The images' recipes and the profiles of container engines, as far as no daemon is needed."""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from builders.project import ROOT

CONTAINERS = ROOT / "containers"
ENGINES = ("docker", "podman", "apptainer", "singularity", "charliecloud", "conda")
KINDS = ("cpu", "gpu")


def instructions(kind: str) -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", "", (CONTAINERS / f"{kind}.Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def final_stage(kind: str) -> list[tuple[str, str]]:
    listed = instructions(kind)
    last = max(number for number, (name, _) in enumerate(listed) if name == "FROM")
    return listed[last:]


def pins(lock: str) -> dict[str, str]:
    text = (CONTAINERS / lock).read_text()
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", text, flags=re.MULTILINE))


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", KINDS)
def test_image_has_an_ordinary_user_and_no_entrypoint(kind: str) -> None:
    stage = final_stage(kind)
    assert [rest for name, rest in stage if name == "ENTRYPOINT"] == ["[]"]
    (user,) = [rest for name, rest in stage if name == "USER"]
    assert user not in {"", "0", "root"}
    # Nothing after USER needs root, and what needs the package index is another stage's.
    assert not [name for name, _ in stage[stage.index(("USER", user)) :] if name == "RUN"]
    assert not [rest for _, rest in stage if "PIP_" in rest or "INDEX" in rest]


def test_images_differ_in_little() -> None:
    cpu, gpu = (dict.fromkeys(instructions(kind)) for kind in KINDS)
    only_gpu = [line for line in gpu if line not in cpu]
    assert [name for name, _ in only_gpu] == ["ENV", "LABEL"]
    assert "NVIDIA_VISIBLE_DEVICES=all" in only_gpu[0][1]


def test_versions_agree() -> None:
    config = (ROOT / "nextflow.config").read_text()
    manifest = re.search(r"manifest \{.*?\n    version = '([^']+)'", config, flags=re.DOTALL)
    assert manifest
    version = manifest.group(1)
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == version
    assert f"container_image = 'stlatent:{version}-cpu'" in config
    assert f"gpu_container_image = 'stlatent:{version}-gpu'" in config


def test_images_hold_what_the_demo_runs_with() -> None:
    recipes = ["containers/install.sh", "containers/environment.yml", "scripts/bootstrap_python.sh"]
    recipes += [f"containers/{kind}.Dockerfile" for kind in KINDS]
    for recipe in recipes:
        used = r"(COPY |-r |locks=\().*requirements\.lock\b"
        assert re.search(used, (ROOT / recipe).read_text()), recipe
    assert "awscli" in pins("requirements-awscli.lock")
    shared = pins("requirements.lock").keys() & pins("requirements-dev.lock").keys()
    assert shared
    assert {x: pins("requirements.lock")[x] for x in shared}.items() <= pins(
        "requirements-dev.lock"
    ).items()


def test_the_front_page_has_no_gaps() -> None:
    readme = (ROOT / "README.md").read_text()
    assert not re.search(r"@[A-Z]+@", readme)
    for link in re.findall(r"\]\(([^)#:]+)", readme):
        assert (ROOT / link).exists(), link


def test_all_speak_of_the_same_pythons() -> None:
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert oldest == ">=3.12"
    for script in ("scripts/find_python.sh", "containers/install.sh"):
        assert "(3, 12) <= sys.version_info < (3, 15)" in (ROOT / script).read_text()
    for recipe in [f"containers/{kind}.Dockerfile" for kind in KINDS]:
        assert "BASE_IMAGE=python:3.13-" in (ROOT / recipe).read_text()
    assert "python=3.13" in (CONTAINERS / "environment.yml").read_text()


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-awscli.lock"])
def test_every_package_has_hashes(lock: str) -> None:
    blocks = re.split(r"^(?=[a-z0-9])", (CONTAINERS / lock).read_text(), flags=re.MULTILINE)[1:]
    assert blocks
    assert all("--hash=sha256:" in block for block in blocks)


def test_another_torch_replaces_only_torch_and_its_cuda_libraries() -> None:
    lock = CONTAINERS / "requirements.lock"
    rest = run("sh", CONTAINERS / "install.sh", "--without-torch", lock).stdout
    kept = set(re.findall(r"^([a-z0-9][a-z0-9._-]*)==", rest, flags=re.MULTILINE))
    left_out = set(pins(lock.name)) - kept
    assert {"torch", "triton"} <= left_out
    assert all(name.startswith(("nvidia-", "cuda-")) for name in left_out - {"torch", "triton"})
    assert {"torchmetrics", "scvi-tools", "scviva-tools"} <= kept
    assert rest.count("--hash=") > len(kept)


def test_conda_environment_names_the_lock_it_installs() -> None:
    text = (CONTAINERS / "environment.yml").read_text()
    digest = hashlib.sha256((CONTAINERS / "requirements.lock").read_bytes()).hexdigest()
    assert f"sha256 {digest}" in text, "run `make lock`"
    assert "- -r requirements.lock" in text


def test_builder_gets_the_recipe_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = [rule.removeprefix("!") for rule in rules[1:]]
    copied = {
        source
        for kind in KINDS
        for name, rest in instructions(kind)
        if name == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    sent = [path for path in map(str, _files()) if any(fnmatch.fnmatch(path, a) for a in allowed)]
    assert copied <= set(sent)
    assert all(
        re.fullmatch(r"containers/(install\.sh|requirements.*\.lock)", path) for path in sent
    )


def _files() -> list[Path]:
    return [path.relative_to(ROOT) for path in CONTAINERS.rglob("*") if path.is_file()]


@pytest.mark.parametrize("before", ["docker", "apptainer", "charliecloud"])
def test_profile_enables_one_engine(
    nextflow: Callable[..., subprocess.CompletedProcess[str]], before: str, tmp_path: Path
) -> None:
    engine = ENGINES[ENGINES.index(before) + 1]
    result = nextflow(
        "config", "-o", "json", "-profile", f"{before},{engine}", ROOT, folder=tmp_path
    )
    config = json.loads(result.stdout[result.stdout.index("{") :])
    assert [name for name in ENGINES if config[name]["enabled"]] == [engine]


@pytest.mark.parametrize("engine", ENGINES)
def test_profile_disables_all_others_and_asks_for_no_gpu(engine: str) -> None:
    config = (ROOT / "nextflow.config").read_text()
    block = re.search(rf"^    {engine} \{{\n(.*?)^    \}}\n", config, re.DOTALL | re.MULTILINE)
    assert block
    enabled = dict(re.findall(r"(\w+)\.enabled = (\w+)", block.group(1)))
    assert enabled == {name: "true" if name == engine else "false" for name in ENGINES}
    assert not re.search(r"gpu|--nv", block.group(1))


def test_missing_packages_are_named_with_their_cure(tmp_path: Path) -> None:
    (tmp_path / "main.nf").write_text("process A {\n script:\n 'true'\n}\nworkflow { A() }\n")
    (tmp_path / "nextflow.config").write_text(
        f"includeConfig '{ROOT}/nextflow.config'\nprocess.errorStrategy = 'terminate'\n"
    )
    folders = [f for f in os.environ["PATH"].split(":") if not (Path(f) / "multiqc").exists()]
    result = subprocess.run(
        [ROOT / ".nextflow-runtime" / "nextflow", "run", tmp_path],
        cwd=tmp_path,
        env=os.environ | {"PATH": ":".join(folders), "NXF_ANSI_LOG": "false"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "make setup" in result.stdout, result.stdout


def _results(folder: Path, pcc: float, label: str = "high") -> Path:
    (folder / "evaluation/a").mkdir(parents=True)
    scores = {"sample": ["a"], "method": ["null"], "gene": ["G"], "pcc": [pcc], "seconds": [pcc]}
    pd.DataFrame(scores).to_csv(folder / "evaluation/scores.csv", index=False)
    table = pd.DataFrame({"gene": ["G"], "reliability": [0.5], "label": [label]})
    table.to_csv(folder / "evaluation/a/a.reliability.csv", index=False)
    (folder / "evaluation/headline.json").write_text('{"finished": 1, "failed": []}')
    return folder


def test_comparison_of_runs_names_the_largest_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ROOT / "scripts" / "compare_results.py"
    spec = importlib.util.spec_from_file_location("compare_results", path)
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, script)
    spec.loader.exec_module(script)
    expected = _results(tmp_path / "expected", 0.5)

    def compare(other: Path) -> str:
        monkeypatch.setattr(sys, "argv", [str(path), str(expected), str(other)])
        try:
            script.main()
        except SystemExit as end:
            assert end.code == 1
        return capsys.readouterr().err

    assert compare(_results(tmp_path / "same", 0.5)) == ""
    assert "0.02  evaluation/scores.csv: pcc" in compare(_results(tmp_path / "other", 0.52))
    assert "label" in compare(_results(tmp_path / "relabelled", 0.5, "low"))
    missing = _results(tmp_path / "missing", 0.5)
    (missing / "evaluation/a/a.reliability.csv").unlink()
    assert "in one run only" in compare(missing)
