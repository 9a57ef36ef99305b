from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import evaluate
from builders.clusters import clusters
from stlatent import slots
from stlatent.evaluation.domains import SPACES
from stlatent.vae import storage
from stlatent.vae.geometry import PLANE
from stlatent.vae.interface import Run, TrainedVAE, Training
from stlatent.vae.models.scvi import Options


def write_inputs(folder: Path, reference_labels: bool, tissue_labels: bool) -> list[str]:
    rng = np.random.default_rng(0)
    space, labels = clusters(200)
    tissue, known = clusters(120, seed=1)
    genes = [f"G{i}" for i in range(20)]
    reference = anndata.AnnData(
        rng.poisson(2.0, (200, 20)).astype(np.float32),
        pd.DataFrame({"cell_type": pd.Categorical(labels)}, index=[f"c{i}" for i in range(200)]),
        pd.DataFrame(index=genes),
    )
    slots.note(reference, kind="reference", source="r", counts=True)
    if reference_labels:
        slots.note(reference, label_key="cell_type")
    obs = pd.DataFrame({"type": pd.Categorical(known)}, index=[f"s{i}" for i in range(120)])
    xy = rng.uniform(0, 1, (120, 2))
    spatial = anndata.AnnData(
        rng.poisson(2.0, (120, 20)).astype(np.float32),
        obs,
        pd.DataFrame(index=genes),
        obsm={slots.SPATIAL: xy},
    )
    slots.note(spatial, kind="spatial", source="s", counts=True)
    if tissue_labels:
        slots.note(spatial, label_key="type")
    aligned = anndata.AnnData(obs=obs)
    slots.note(aligned, kind="spatial", source="s", counts=True, n_neighbors=8)
    aligned.obsm[slots.SPATIAL] = xy
    aligned.obsm[slots.X_ALIGNED], aligned.obsm[slots.X_UNALIGNED] = tissue, tissue + 2.0
    aligned.obsm[slots.X_SPATIAL] = aligned.obsm[slots.X_JOINT] = tissue
    slots.write(reference, folder / "r.h5ad", slots.INGESTED_REFERENCE)
    trained = TrainedVAE(space, PLANE, None, {})
    training = Training("scvi", {}, genes, Options(1, 0, 128, 4), Run(), trained, 0.0, [])
    storage.save(folder / "vae", reference, training)
    slots.write(spatial, folder / "s.h5ad", slots.INGESTED_SPATIAL)
    slots.write(aligned, folder / "a.h5ad", slots.ALIGNED)
    fold = {"sample": "s", "fold": "all", "hidden": [], "panel": genes}
    (folder / "fold.json").write_text(json.dumps(fold))
    options = {
        "aligned": "a.h5ad",
        "spatial": "s.h5ad",
        "reference": "r.h5ad",
        "vae": "vae",
        "fold": "fold.json",
    }
    options |= {"output": "evaluation.json", "failure": "f.json"}
    paths = [part for key, value in options.items() for part in (f"--{key}", str(folder / value))]
    return [*paths, "--settings", "key", "--seed", "0"]


@pytest.mark.parametrize(
    ("reference_labels", "tissue_labels"), [(True, True), (True, False), (False, False)]
)
def test_parts_that_need_labels_are_there_when_labels_are(
    tmp_path, reference_labels, tissue_labels
):
    arguments = write_inputs(tmp_path, reference_labels, tissue_labels)
    outcome = CliRunner().invoke(evaluate.main, arguments)
    assert outcome.exit_code == 0, outcome.output
    result = json.loads((tmp_path / "evaluation.json").read_text())
    assert (result["sample"], result["settings"], result["n_shared_genes"]) == ("s", "key", 20)
    alignment = result["alignment"]
    assert alignment["auroc_before"] > 0.95
    assert alignment["auroc_after"] < 0.65
    assert alignment["auroc_all_before"] > 0.95
    assert 0 < alignment["reference_used"] <= 1
    if reference_labels:
        assert result["knn_reference"]["label_key"] == "cell_type"
        spaces = result["knn_reference"]["spaces"]
        assert spaces["X_vae"]["15"]["accuracy"] > spaces["pca"]["15"]["accuracy"]
        assert alignment["clisi_after"] > 0.95
        assert alignment["label_purity_joint"] > 0.95
    else:
        assert result["knn_reference"] is None
        assert alignment["clisi_after"] is None
    if tissue_labels:
        domains = result["domains"]
        assert (domains["n_labels"], domains["n_locations"]) == (3, 120)
        assert list(domains["spaces"]) == list(SPACES)
        assert domains["spaces"]["X_joint"]["ari"] > 0.95
        assert domains["spaces"]["X_joint"]["macro_f1"] > 0.95
        # The measured values are noise.
        assert domains["spaces"]["pca"]["ari"] < 0.1
        assert result["knn_cross_modal"]["n_shared_labels"] == 3
        assert result["knn_cross_modal"]["k"]["5"]["accuracy"] > 0.95
        assert set(result["knn_cross_modal"]["k_before"]) == {"5", "15", "30"}
    else:
        assert result["domains"] is None
        assert result["knn_cross_modal"] is None
