#!/usr/bin/env python3
"""Remove genes from a tissue, run the pipeline's scripts, and compare what they promise with the truth.

    benchmarks/never_measured.py --data DIR --work DIR [--pairs pdac_a,mob]

DIR has a folder a pair with scrna.h5ad and spatial.h5ad; pairs should share 1000 genes or more.
Scenario ``random`` removes 500 random genes of those that would be both imputed and measured: they
were drawn like the genes that are scored. A number is a pretend panel: that many marker genes are
chosen from the reference as the designer of a panel would, and everything else is removed. What is
left goes through the scripts of the pipeline with its defaults. Finished steps are not repeated.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import anndata
import click
import numpy as np
import pandas as pd
import scanpy as sc
from pairs import ROOT, SEED, SPLIT, imputed_and_calibrated, quality_control, train_vae

sys.path.insert(0, str(ROOT / "bin"))

from stlatent.evaluation import metrics
from stlatent.expression import dense, visible_library
from stlatent.inputs import genes
from stlatent.trust import intervals, reliability

RANDOM = "random"
N_REMOVED = 500
MIN_GROUP = 5


def panel(reference: anndata.AnnData, candidates: list[str], n: int) -> list[str]:
    """Return ``n`` marker genes, of every cell type in turn its next best one.

    Markers are ranked by a t-test of log-normalised expression in a type against all others.
    """
    adata = reference[:, candidates].copy()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    types = adata.obs["cell_type"].astype(str)
    adata = adata[(types.map(types.value_counts()) >= MIN_GROUP).to_numpy()].copy()
    adata.obs["group"] = adata.obs["cell_type"].astype(str).astype("category")
    sc.tl.rank_genes_groups(adata, "group", method="t-test_overestim_var")
    ranked = pd.DataFrame(adata.uns["rank_genes_groups"]["names"]).to_numpy().ravel()
    return list(dict.fromkeys(ranked.tolist()))[:n]


def kept_genes(
    scenario: str, spatial: anndata.AnnData, reference: anndata.AnnData, hvg: list[str]
) -> list[str]:
    """Return the genes that a scenario leaves in the tissue, in its order."""
    shared = genes.shared_genes(spatial, reference)
    if scenario != RANDOM:
        chosen = set(panel(reference, shared, int(scenario)))
        return [gene for gene in spatial.var_names if gene in chosen]
    delivered = sorted(set(hvg) & set(shared))
    drawn = np.random.default_rng(SEED).permutation(np.array(delivered, dtype=object))
    removed = set(drawn[:N_REMOVED].tolist())
    return [gene for gene in spatial.var_names if gene not in removed]


def run(data: Path, work: Path, pair: str, scenario: str) -> tuple[anndata.AnnData, Any, Any]:
    """Run the scripts; return the calibrated output, the whole tissue, and that which was left."""
    whole, folder = work / pair / "whole", work / pair / scenario
    quality_control(data / pair, whole)
    train_vae(whole)
    tissue = anndata.read_h5ad(whole / "spatial.qc.h5ad")
    reference = anndata.read_h5ad(whole / "scrna.qc.h5ad")
    hvg = (whole / "hvg.txt").read_text().splitlines()
    if not (folder / "input" / "spatial.h5ad").exists():
        (folder / "input").mkdir(parents=True, exist_ok=True)
        kept = kept_genes(scenario, tissue, reference, hvg)
        given = anndata.read_h5ad(data / pair / "spatial.h5ad")
        given[:, kept].copy().write_h5ad(folder / "input" / "spatial.h5ad")
        shutil.copyfile(data / pair / "scrna.h5ad", folder / "input" / "scrna.h5ad")
    quality_control(folder / "input", folder)
    imputed_and_calibrated(folder, whole / "vae", whole / "scrna.qc.h5ad", SPLIT)
    found = anndata.read_h5ad(folder / "imputed.h5ad")
    return found, tissue, anndata.read_h5ad(folder / "spatial.qc.h5ad")


def judge(
    imputed: anndata.AnnData, tissue: anndata.AnnData, left: anndata.AnnData
) -> dict[str, Any]:
    """Compare labels and intervals of the genes that were removed with their measurements."""
    removed = [g for g in imputed.var_names if g in tissue.var_names and g not in left.var_names]
    truth = dense(tissue[left.obs_names, removed].X)
    found = imputed[:, removed]
    scores = metrics.score(truth, dense(found.X), visible_library(left, []))
    table = found.var.assign(pcc=scores["pcc"], pcc_normalised=scores["pcc_normalised"])
    tested = table[table["reliability"].notna()]
    row: dict[str, Any] = {
        "genes": len(removed),
        "median PCC": float(table["pcc_normalised"].median()),
        "not testable": len(table) - len(tested),
    }
    if len(tested):
        validation = reliability.validation(tested, tested)
        row["ECE"] = validation.pcc_normalised.calibration_error
        row["AUROC"] = validation.pcc_normalised.auroc
        for label, entry in validation.labels.items():
            row[label] = f"{entry.above}/{entry.genes}"
    return row | hit_rates(found, truth)


def hit_rates(found: anndata.AnnData, truth: np.ndarray) -> dict[str, Any]:
    """Return the hit rate of every level over genes that have intervals."""
    try:
        bounds = {level: intervals.interval(found, level) for level in intervals.LEVELS}
    except ValueError:
        return {"with interval": 0}
    known = ~np.isnan(bounds[intervals.LEVELS[0]][0]).any(axis=0)
    row: dict[str, Any] = {"with interval": int(known.sum())}
    if not known.any():
        return row
    errors = []
    for level, (lower, upper) in bounds.items():
        share = 100 * float(((lower <= truth) & (truth <= upper))[:, known].mean())
        row[f"{level} %"] = share
        errors.append(abs(share - level))
    return row | {"mean error": float(np.mean(errors)), "largest": max(errors)}


@click.command(help=__doc__)
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--work", required=True, type=click.Path(path_type=Path))
@click.option("--pairs", default="pdac_a,mob", show_default=True)
@click.option("--scenarios", default="random,100,200,500", show_default=True)
def main(data: Path, work: Path, pairs: str, scenarios: str) -> None:
    rows = []
    for pair in pairs.split(","):
        for scenario in scenarios.split(","):
            rows.append(
                {"pair": pair, "scenario": scenario, **judge(*run(data, work, pair, scenario))}
            )
            print(pd.Series(rows[-1]).to_string(), "\n", flush=True)
    pd.set_option("display.width", 300)
    print(pd.DataFrame(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
