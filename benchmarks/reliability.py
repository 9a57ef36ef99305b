#!/usr/bin/env python3
"""Judge intervals and reliability on held-out genes of real pairs, and fit the prior.

Every pair in DIR is a folder with scrna.h5ad and spatial.h5ad. QC and gene folds are those of the
pipeline with its defaults. What is judged is the mean of the imputer's candidates that need the
panel alone, so that nothing has to be trained: intervals and reliability take whatever the imputer
gives. The reliability of a pair is first predicted by a prior fitted on the other pairs, then by
that prior adapted to the pair's other folds. Intervals are calibrated on the other folds.

A pair with 1000 shared genes also lends the prior a pretend panel: 200 marker genes are kept, and
those removed are predicted, as genes that no panel measures.

    python benchmarks/reliability.py --data DIR
    python benchmarks/reliability.py --data DIR --fit-prior
"""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import anndata
import click
import numpy as np
import pandas as pd
from never_measured import panel as marker_panel
from pairs import N_NEIGHBORS, ROOT, SEED, SPLIT, quality_control, split_genes
from scipy.sparse import csr_matrix

sys.path.insert(0, str(ROOT / "bin"))

from stlatent import slots
from stlatent.evaluation import metrics
from stlatent.expression import (
    REFERENCE_TARGET,
    dense,
    library_size,
    linear,
    log_normalise,
)
from stlatent.imputation.candidates import (
    N_TRANSFER_NEIGHBORS,
    Candidates,
    cosine_weights,
    stacked,
    unit_rows,
)
from stlatent.imputation.imputer import STACK, Block, Imputer
from stlatent.imputation.stack import equal_weights
from stlatent.imputation.view import View, Views
from stlatent.inputs import genes
from stlatent.records.inputs import Fold
from stlatent.steps.impute import described
from stlatent.trust import intervals, reliability
from stlatent.vae import storage

N_LATENT = 10
MAX_SPOTS = 5000
N_PANEL = 200
MIN_SHARED = 1000


def latent_space(reference: anndata.AnnData, work: Path, vae: Path | None) -> np.ndarray:
    """Return scVI's latent positions where a trained folder is given, principal components if not."""
    if vae is not None and vae.exists():
        saved = storage.load(vae)
        rows = pd.Index(saved.cells).get_indexer(reference.obs_names)
        if (rows >= 0).all():
            return saved.latent[rows]
    from sklearn.decomposition import PCA

    values = linear(reference)
    genes = [g for g in (work / "hvg.txt").read_text().split() if g in reference.var_names]
    columns = dense(values[:, reference.var_names.get_indexer(genes)])
    logged = log_normalise(columns, library_size(values), REFERENCE_TARGET)
    return PCA(N_LATENT, random_state=SEED).fit_transform(logged)


class PanelView(View):
    """A view whose attention goes to the cells alike in the panel, so that nothing is trained."""

    @cached_property
    def attention(self) -> csr_matrix:
        """As that of the candidate `knn`, locations x cells."""
        cells = unit_rows(self.standard_reference)
        return cosine_weights(cells, self.standard_tissue(0.3), N_TRANSFER_NEIGHBORS)


@dataclass(frozen=True)
class Space:
    """A latent space without a decoder."""

    latent: np.ndarray
    decoder: None = None
    genes: tuple[str, ...] = ()


def panel_imputer(
    spatial: anndata.AnnData, reference: anndata.AnnData, fold: Fold, latent: np.ndarray
) -> Imputer:
    """Return the imputer that combines the panel's candidates with equal weights."""
    view = Views(spatial, reference, N_NEIGHBORS, SEED, Space(latent)).view(fold.panel, fold.hidden)
    copied = PanelView(**{field.name: getattr(view, field.name) for field in fields(view)})
    return Imputer(Candidates(copied), equal_weights(list(stacked(needs_alignment=False))))


def hold_out(
    spatial: anndata.AnnData, reference: anndata.AnnData, fold: Fold, latent: np.ndarray
) -> tuple[intervals.Genes, pd.DataFrame]:
    """Predict the genes that a fold hides, and return what is known about them."""
    hidden = fold.hidden
    imputer = panel_imputer(spatial, reference, fold, latent)
    visible, library = imputer.view.library, imputer.view.expected_library
    blocks: list[Block] = []
    table = pd.concat(described(imputer, hidden, STACK, use=blocks.append))
    normalised = np.hstack([block.normalised(STACK) for block in blocks])
    counts = np.hstack([block.counts(STACK) for block in blocks])
    measured = dense(spatial[:, hidden].X)
    scores = metrics.score(measured, counts, visible)
    table["pcc"], table["pcc_normalised"] = scores["pcc"], scores["pcc_normalised"]
    table["fold"] = fold.name
    rng = np.random.default_rng(SEED)
    spots = np.sort(rng.permutation(spatial.n_obs)[:MAX_SPOTS])
    part = None if library is None else library[spots]
    return intervals.Genes(
        normalised[spots].astype(float), intervals.measured_on_scale(measured[spots], part)
    ), table


def pretend_panel(
    spatial: anndata.AnnData, reference: anndata.AnnData, hvg: list[str], latent: np.ndarray
) -> pd.DataFrame:
    """Keep `N_PANEL` marker genes of a tissue and return what is known of the imputed others."""
    shared = genes.shared_genes(spatial, reference)
    kept = set(marker_panel(reference, shared, N_PANEL))
    removed = sorted((set(hvg) & set(shared)) - kept)
    visible = [gene for gene in spatial.var_names if gene in kept]
    counted = np.asarray(spatial[:, visible].X.sum(axis=1)).ravel() > 0
    tissue = spatial[counted, [*visible, *removed]].copy()
    panel = genes.alignment_panel(tissue, visible, hvg, SPLIT["n-alignment-genes"])
    fold = Fold("panel", "all", removed, panel)
    return hold_out(tissue, reference, fold, latent)[1]


def hit_rate_row(folds: list[intervals.Genes]) -> dict[str, float]:
    """Return the hit rate at each level, and widths relative to the plain interval."""
    found = intervals.leave_fold_out(folds)
    if found is None:
        return {}
    row = {f"{entry.level} %": entry.hit_rate for entry in found.levels}
    ratios = {f"width {entry.level}": entry.width / entry.flat_width for entry in found.levels}
    return {**row, **ratios}


def reliability_rows(
    name: str, predicted: pd.DataFrame, table: pd.DataFrame
) -> list[dict[str, object]]:
    """Return a row for the normalised and one for the raw PCC."""
    judged = reliability.validation(predicted, table)
    rows = []
    for target, entry in (
        (reliability.NORMALISED, judged.pcc_normalised),
        (reliability.RAW, judged.pcc),
    ):
        curve = dict(entry.risk_coverage)
        rows.append(
            {
                "pair": name,
                "target": target,
                "genes": len(table),
                "share > .3": entry.share,
                "AUROC": entry.auroc,
                "ECE": entry.calibration_error,
                "r": entry.correlation,
                **{f"top {share:.0%}": curve[share] for share in (0.1, 0.25, 0.5, 0.75, 1.0)},
            }
        )
    return rows


def label_rows(name: str, predicted: pd.DataFrame, table: pd.DataFrame) -> dict[str, object]:
    """Return how many genes have each label, and the share of these with a PCC above the limit."""
    found = reliability.validation(predicted, table).labels
    return {"pair": name} | {
        label: f"{entry.genes} ({entry.above / max(entry.genes, 1):.0%})"
        for label, entry in found.items()
    }


def show(title: str, rows: pd.DataFrame) -> None:
    """Print a table."""
    print(f"\n## {title}\n")
    print(rows.to_string(float_format=lambda value: f"{value:.3f}", index=False), flush=True)


def commit() -> str:
    """Return the newest commit of the code that decides what the prior is."""
    paths = ["bin/stlatent", "benchmarks/reliability.py"]
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%h", "--", *paths]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@click.command(help=__doc__)
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--pairs", help="Names, separated by commas; all by default.")
@click.option("--work", default="work/benchmark", type=click.Path(path_type=Path))
@click.option("--vae", type=click.Path(path_type=Path), help="Folder of <pair>.vae, where trained.")
@click.option("--fit-prior", is_flag=True, help="Write the prior of the package from all pairs.")
def main(data: Path, pairs: str | None, work: Path, vae: Path | None, fit_prior: bool) -> None:
    """Prepare, predict, judge, and fit when asked."""
    names = (
        pairs.split(",") if pairs else sorted(p.parent.name for p in data.glob("*/spatial.h5ad"))
    )
    held_out: dict[str, list[intervals.Genes]] = {}
    tables: dict[str, pd.DataFrame] = {}
    panels: dict[str, pd.DataFrame] = {}
    counts: dict[str, bool] = {}
    for name in names:
        quality_control(data / name, work / name)
        spatial = anndata.read_h5ad(work / name / "spatial.qc.h5ad")
        reference = anndata.read_h5ad(work / name / "scrna.qc.h5ad")
        hvg = (work / name / "hvg.txt").read_text().splitlines()
        latent = latent_space(reference, work / name, vae and vae / f"{name}.vae")
        folds = [
            fold for path in split_genes(work / name, SPLIT) if (fold := Fold.read(path)).hidden
        ]
        parts = [hold_out(spatial, reference, fold, latent) for fold in folds]
        held_out[name] = [part for part, _ in parts]
        tables[name] = pd.concat([table for _, table in parts])
        counts[name] = bool(slots.facts(spatial)["counts"])
        if len(genes.shared_genes(spatial, reference)) >= MIN_SHARED:
            panels[name] = pretend_panel(spatial, reference, hvg, latent)
        print(f"{name}: {len(tables[name])} genes in {len(folds)} folds", flush=True)

    def prior_of(chosen: list[str]) -> reliability.Model:
        of_panels = {f"{name}, panel": panels[name] for name in chosen if name in panels}
        known = {name: tables[name] for name in chosen} | of_panels
        return reliability.fit_prior(known, counts | dict.fromkeys(of_panels, True))

    hits = pd.DataFrame({name: hit_rate_row(held_out[name]) for name in names}).T
    levels = [f"{level} %" for level in intervals.LEVELS]
    errors = (hits[levels] - np.array(intervals.LEVELS)).abs()
    hits.loc["mean error"] = errors.mean()
    hits.loc["largest error"] = errors.max()
    show(
        "Intervals: hit rate on folds left out, width relative to one interval a gene",
        hits.rename_axis("pair").reset_index(),
    )
    ways: dict[str, dict[str, pd.DataFrame]] = {"prior of the other pairs": {}, "adapted": {}}
    for name in names:
        prior = prior_of([other for other in names if other != name])
        table, fold = tables[name], tables[name]["fold"].to_numpy()
        ways["prior of the other pairs"][name] = prior.predict(table, counts[name])
        ways["adapted"][name] = reliability.cross_fitted(table, fold, prior, counts[name])
    for way, found in ways.items():
        everything = pd.concat(found.values()), pd.concat(tables.values())
        rows = [row for name in names for row in reliability_rows(name, found[name], tables[name])]
        show(f"Reliability, {way}", pd.DataFrame([*rows, *reliability_rows("pooled", *everything)]))
        rows = [label_rows(name, found[name], tables[name]) for name in names]
        show(
            f"Labels, {way}: genes (share with normalised PCC > .3)",
            pd.DataFrame([*rows, label_rows("pooled", *everything)]),
        )
    if fit_prior:
        provenance = {
            "tissues": {name: len(tables[name]) for name in names},
            "pretend_panels": {name: len(table) for name, table in panels.items()},
            "latent": "scVI where trained, else principal components",
            "imputer": f"mean of {', '.join(stacked(needs_alignment=False))}",
            "commit": commit(),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "command": "python benchmarks/reliability.py --data DIR --vae DIR --fit-prior",
        }
        content = reliability.prior_content(prior_of(names), provenance)
        reliability.PRIOR_FILE.write_text(json.dumps(content, indent=1) + "\n")
        print(f"\nwrote {reliability.PRIOR_FILE}")


if __name__ == "__main__":
    main()
