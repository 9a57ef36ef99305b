from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pydantic
import pytest

from builders.project import ROOT
from stlatent.failures import DamagedFileError
from stlatent.records.failure import Failure
from stlatent.records.inputs import Fold, Population
from stlatent.records.run import FOUND, find
from stlatent.records.training import VaeHistory

FOLD = Fold("s1", "1", ["Drd1"], ["Penk", "Mbp"], Population("delivered", n_genes=30, n_drawn=10))
HISTORY = VaeHistory(
    id="atlas",
    settings="a1b2",
    vae="scvi",
    epoch=[0, 1],
    series={"train_loss": [2.0, 1.5]},
    best_epoch=1,
    seconds=3.5,
    batch_sizes=[128],
)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / FOLD.file_name
    FOLD.write(path)
    assert path.name == "fold_1.json"
    assert Fold.read(path) == FOLD
    assert json.loads(path.read_text()) == {
        "sample": "s1",
        "fold": "1",
        "hidden": ["Drd1"],
        "panel": ["Penk", "Mbp"],
        "population": {"name": "delivered", "n_genes": 30, "n_drawn": 10},
    }


@pytest.mark.parametrize(
    "change",
    [{"fold": None, "name": "1"}, {"more": 1}, {"hidden": None}, {"panel": [1]}],
    ids=["another name", "a further field", "a missing one", "another type"],
)
def test_a_file_with_other_fields_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "fold_1.json"
    FOLD.write(path)
    content = json.loads(path.read_text()) | change
    kept = {name: value for name, value in content.items() if value is not None}
    path.write_text(json.dumps(kept))
    with pytest.raises(DamagedFileError, match=r"fold_1\.json"):
        Fold.read(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "1.0"])
def test_what_is_no_finite_number_is_not_written(tmp_path: Path, value: float) -> None:
    path = tmp_path / "atlas.vae_history.json"
    with pytest.raises((pydantic.ValidationError, ValueError)):
        replace(HISTORY, seconds=value).write(path)
    assert not path.exists()


def test_records_are_found_by_the_ends_of_their_names(tmp_path: Path) -> None:
    failure = Failure("s1", "sample", "ALIGN", "too few genes", settings="a1", fold="1")
    HISTORY.write(tmp_path / "atlas.vae_history.json")
    failure.write(tmp_path / "s1.failure.json")
    (tmp_path / "s1.scores.csv").write_text("sample\n")
    (tmp_path / "settings.json").write_text("{}")
    assert find(sorted(tmp_path.iterdir())) == [HISTORY, failure]


def test_no_end_of_a_name_is_the_end_of_another() -> None:
    endings = [kind.SUFFIX for kind in FOUND]
    for ending in endings:
        assert [other for other in endings if ending.endswith(other)] == [ending]


def test_importing_records_is_cheap() -> None:
    code = "import sys, stlatent.records.run; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "bin", capture_output=True, text=True, check=True
    )
    assert not {"numpy", "pandas", "torch", "scanpy", "anndata"} & set(found.stdout.split())
