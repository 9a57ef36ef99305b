from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import sparse

import score
from stlatent import maps as maps_of_tissue
from stlatent import slots
from stlatent.evaluation import scoring
from stlatent.evaluation.score_table import COLUMNS
from stlatent.failures import DataError
from stlatent.records.inputs import Fold

GENES = [f"G{i}" for i in range(12)]


@pytest.fixture
def spatial() -> anndata.AnnData:
    rng = np.random.default_rng(0)
    adata = anndata.AnnData(
        X=sparse.csr_matrix(rng.poisson(3.0, (120, 12)).astype(np.float32)),
        obs=pd.DataFrame(index=[f"s{i}" for i in range(120)]),
        var=pd.DataFrame(index=GENES),
        obsm={"spatial": rng.uniform(0, 1, (120, 2))},
    )
    slots.note(adata, kind="spatial", source="s1", counts=True)
    return adata


def prediction(spatial, genes, fold, layers, arm="default", x=None, seconds=None):
    obsm = {"spatial": spatial.obsm["spatial"]}
    x = next(iter(layers.values())) if x is None else x
    seconds = seconds or dict.fromkeys(layers, 1.5)
    adata = anndata.AnnData(x, spatial.obs, pd.DataFrame(index=genes), layers=layers, obsm=obsm)
    slots.note(adata, kind="spatial", source="s1", counts=True, fold=fold, arm=arm, seconds=seconds)
    return adata


def measured(spatial, genes):
    return spatial[:, genes].X.toarray()


@pytest.fixture
def run(spatial, tmp_path: Path):
    """Write the inputs of two folds, run the script, return scores and maps."""

    def _run(files: list[anndata.AnnData]) -> tuple[pd.DataFrame, dict]:
        spatial.write_h5ad(tmp_path / "s.h5ad")
        arguments = ["--spatial", str(tmp_path / "s.h5ad"), "--arm", "default"]
        arguments += ["--n-neighbors", "8"]
        for option in ("output", "maps", "failure"):
            arguments += [f"--{option}", str(tmp_path / option)]
        for name, hidden in (("1", GENES[:3]), ("2", GENES[3:6]), ("all", [])):
            path = tmp_path / f"fold_{name}.json"
            path.write_text(
                json.dumps({"sample": "s1", "fold": name, "hidden": hidden, "panel": GENES[6:]})
            )
            arguments += ["--fold", str(path)]
        for i, file in enumerate(files):
            file.write_h5ad(tmp_path / f"{i}.h5ad")
            arguments += ["--imputed", str(tmp_path / f"{i}.h5ad")]
        outcome = CliRunner().invoke(score.main, arguments)
        assert outcome.exit_code == 0, outcome.output
        return pd.read_csv(tmp_path / "output"), json.loads((tmp_path / "maps").read_text())

    return _run


def test_scores_of_imputation_and_baselines(spatial, run):
    truth1, truth2 = measured(spatial, GENES[:3]), measured(spatial, GENES[3:6])
    transfer = truth1[::-1].copy()
    decoder = truth1.copy()
    decoder[:, 1] = np.nan
    layers = {"transfer": transfer, "decoder": decoder}
    files = [
        prediction(
            spatial, GENES[:3], "1", layers, x=truth1, seconds={"transfer": 1.0, "decoder": 2.0}
        ),
        prediction(spatial, GENES[3:6], "2", {"ridge": truth2}, arm="baseline"),
    ]
    scores, maps = run(files)
    assert list(scores.columns) == list(COLUMNS)
    counts = scores.groupby("method").size().to_dict()
    assert counts == {"stlatent": 3, "stlatent_transfer": 3, "stlatent_decoder": 2, "ridge": 3}
    perfect = scores[scores["method"].isin(["stlatent", "stlatent_decoder", "ridge"])]
    np.testing.assert_allclose(perfect["pcc"], 1.0, atol=1e-5)
    np.testing.assert_allclose(perfect["morans_i_measured"], perfect["morans_i_imputed"], atol=1e-5)
    assert scores.loc[scores["method"] == "stlatent", "seconds"].eq(2.0).all()
    assert scores.loc[scores["method"] == "stlatent_transfer", "seconds"].eq(1.0).all()
    assert set(scores.loc[scores["method"] == "ridge", "arm"]) == {"baseline"}
    assert set(scores.loc[scores["method"] == "stlatent", "arm"]) == {"default"}
    assert maps["sample"] == "s1"
    assert len(maps["coordinates"]) == 120
    assert {entry["gene"] for entry in maps["genes"]} <= set(GENES[:3])
    assert all(entry["measured"] == pytest.approx(entry["imputed"]) for entry in maps["genes"])


def test_seeds_are_told_apart_and_maps_are_of_the_first(spatial, run):
    truth = measured(spatial, GENES[:3])
    files = [prediction(spatial, GENES[:3], "1", {"a": values}) for values in (truth, truth[::-1])]
    for seed, file in zip((4, 3), files, strict=True):
        slots.note(file, seed=seed)
    files.append(prediction(spatial, GENES[:3], "1", {"ridge": truth}, arm="baseline"))
    scores, maps = run(files)
    means = scores.groupby(["method", scores["seed"].fillna(-1)])["pcc"].mean()
    assert means["stlatent", 4] == pytest.approx(1, abs=1e-5)
    assert means["stlatent", 3] < 0.9
    assert means["ridge", -1] == pytest.approx(1, abs=1e-5)
    assert all(entry["pcc"] < 0.9 for entry in maps["genes"])
    assert not np.allclose(maps["genes"][0]["imputed"], maps["genes"][0]["measured"])


def test_maps_of_baselines_alone(spatial, run):
    _, maps = run(
        [prediction(spatial, GENES[:3], "1", {"knn": measured(spatial, GENES[:3])}, "baseline")]
    )
    assert maps["method"] == "knn"
    assert maps["genes"]


def test_map_genes_are_best_quartile_median_worst():
    genes = [f"G{i}" for i in range(9)]
    scores = pd.DataFrame(
        {
            "method": "stlatent",
            "gene": genes,
            "pcc_normalised": np.linspace(0.8, 0.0, 9),
            "fold": "1",
        }
    )
    detected = pd.Series(1.0, index=genes)
    assert list(scoring.map_genes(scores, detected, "stlatent")["gene"]) == ["G0", "G2", "G4", "G8"]
    detected["G8"] = 0.01
    assert scoring.map_genes(scores, detected, "stlatent")["gene"].iloc[-1] == "G7"


def test_maps_take_a_subset_of_many_spots(spatial, monkeypatch):
    monkeypatch.setattr(maps_of_tissue, "MAX_LOCATIONS", 50)
    fold = Fold("s1", "1", GENES[:3], GENES[6:])
    file = prediction(spatial, GENES[:3], "1", {"a": measured(spatial, GENES[:3])})
    rows = [
        {"method": "stlatent", "gene": g, "fold": "1", "pcc": 1.0, "pcc_normalised": 1.0}
        for g in GENES[:3]
    ]
    maps = scoring.build_maps(spatial, {"1": fold}, [file], pd.DataFrame(rows), "default")
    assert len(maps.coordinates) == len(maps.genes[0].measured) == 50


def test_other_spots_are_refused(spatial):
    file = prediction(spatial, GENES[:3], "1", {"a": measured(spatial, GENES[:3])})[::-1].copy()
    with pytest.raises(DataError, match="other spots"):
        scoring.score_file(
            spatial, Fold("s1", "1", GENES[:3], []), file, sparse.eye(120).tocsr(), "default"
        )
