"""The registry of methods to compare with, and what must agree with it."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from builders.project import ROOT
from stlatent.baselines.registry import METHODS, is_published, parse_names
from stlatent.report.page import colours

SLOW = ("anndata", "pandas", "scanpy", "scvi", "sklearn", "torch")


def test_the_parameter_allows_the_methods_that_there_are():
    schema = json.loads((ROOT / "nextflow_schema.json").read_text())
    rules = [group["properties"].get("baselines") for group in schema["$defs"].values()]
    (rule,) = [rule for rule in rules if rule]
    (names,) = set(re.findall(r"\(,?\(?([a-z_|]+)\)", rule["pattern"]))
    assert rule["pattern"] == f"^({names})(,({names}))*$"
    assert sorted(names.split("|")) == sorted(METHODS)


def test_the_workflow_knows_which_methods_are_plain():
    text = (ROOT / "functions" / "methods.nf").read_text()
    listed = text.split("def plainMethods()")[1].split("]")[0]
    plain = {name for name in METHODS if not is_published(name)}
    assert set(re.findall(r"'(\w+)'", listed)) == plain


def test_published_methods_are_cited_and_every_method_has_a_colour():
    citations = (ROOT / "CITATIONS.md").read_text()
    for method in METHODS.values():
        address = method.cite.rpartition(", ")[2]
        assert address in citations
        assert address.startswith("https://") == method.published
        assert method.name in colours.METHODS


def test_names_are_looked_up_without_what_takes_long():
    command = "import sys, stlatent.baselines.registry; print(*sys.modules)"
    loaded = subprocess.check_output(
        [sys.executable, "-c", command], cwd=ROOT / "bin", text=True
    ).split()
    assert "stlatent.baselines.tangram" in loaded
    assert not set(SLOW) & set(loaded)


def test_a_list_of_names():
    assert parse_names("knn, null,knn") == ["knn", "null"]
    for wrong in ("knn,magic", " ,"):
        with pytest.raises(ValueError, match=r"allowed are .*tangram"):
            parse_names(wrong)


@pytest.mark.parametrize(
    ("names", "packages"), [("null,knn", "scikit-learn"), ("gimvi", "scviva-tools")]
)
def test_a_task_says_which_package_its_methods_are_from(names, packages):
    command = [sys.executable, ROOT / "bin" / "package_of.py", names]
    assert subprocess.check_output(command, text=True).strip() == packages
