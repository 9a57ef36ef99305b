#!/usr/bin/env python3
"""Correlation of imputed with measured values of held-out genes, for every method on the same folds.

    benchmarks/accuracy.py --data DIR --cache DIR [--pairs a,b] [--methods stlatent,tangram,...]

DIR has a folder a pair with ``scrna.h5ad`` and ``spatial.h5ad``; QC is that of the pipeline, and so is
the scoring. Every finished fold of a method is kept as ``CACHE/<pair>/predicted/<method>.<fold>.npz`` and
not repeated; the tables are printed at the end.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import anndata
import click
import numpy as np
import pandas as pd
from anndata import AnnData
from pairs import DEFAULTS, N_NEIGHBORS, alignment_settings, fit_vae, quality_control

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bin"))

from stlatent import devices, expression, slots
from stlatent.alignment import inner_folds
from stlatent.arrays import Array
from stlatent.baselines.interface import Inputs, Prediction
from stlatent.baselines.registry import METHODS, is_published, register
from stlatent.evaluation import metrics
from stlatent.failures import DataError
from stlatent.imputation.candidates import CANDIDATES, Candidates, stacked
from stlatent.imputation.imputer import STACK
from stlatent.imputation.weights import stack_weights
from stlatent.inputs import genes
from stlatent.records.inputs import Fold
from stlatent.steps.align import align_tissue
from stlatent.steps.compare import compare
from stlatent.steps.impute import learned_imputer, views_of
from stlatent.vae import storage

# Limits under which slow methods stay affordable: (genes, spots, cells).
LIMITS: dict[str, tuple[int | None, int | None, int | None]] = {
    "pdac_a": (300, None, None),
    "mob": (300, None, None),
    "drosophila_bdtnp": (None, 1500, None),
    "hypothalamus_rctd": (None, None, None),
    "osmfish_ssp": (None, 2000, 2500),
    "hypothalamus_poa": (None, 2000, None),
}
SEED = 0
N_BOOTSTRAP = 2000


@dataclass
class Pair:
    """A tissue restricted to the genes of the benchmark, and its reference with all genes."""

    name: str
    spatial: AnnData
    reference: AnnData
    cache: Path

    @cached_property
    def vae(self) -> storage.SavedVAE:
        """The VAE of the reference, trained with the pipeline's defaults at first use."""
        folder = self.cache / "vae"
        if not folder.exists():
            hvg = genes.rank_genes(self.reference, 2000)[:2000]
            storage.save(folder, self.reference, fit_vae(self.reference, hvg))
        saved = storage.load(folder)
        storage.attach(self.reference, saved)
        return saved


@dataclass(frozen=True)
class Predicted:
    """Spots x hidden genes as counts or intensities, NaN where a method does not know a gene."""

    values: Array
    seconds: float


def sample_rows(adata: AnnData, n: int | None, ordered: bool) -> AnnData:
    """Return ``n`` rows drawn with a fixed seed, or all."""
    if n is None or adata.n_obs <= n:
        return adata
    rows = np.random.default_rng(SEED).choice(adata.n_obs, n, replace=False)
    return adata[np.sort(rows) if ordered else rows].copy()


def varying(adata: AnnData) -> set[str]:
    """Return the genes that are not constant."""
    return set(adata.var_names[genes.variances(adata.X) > 0])


def most_variable(spatial: AnnData, names: list[str], n_top: int) -> list[str]:
    """Return the ``n_top`` genes with the largest variance of log(1 + counts per 10,000), in order."""
    values = expression.dense(spatial[:, names].X)
    library = np.maximum(values.sum(axis=1), 1)
    spread = expression.log_normalise(values, library, 1e4).var(axis=0)
    return [names[i] for i in np.sort(np.argsort(-spread)[:n_top])]


def read_pair(data: Path, name: str, cache: Path) -> Pair:
    """Read a pair after QC and cut it to `LIMITS`."""
    n_genes, n_spots, n_cells = LIMITS.get(name, (300, 2000, 5000))
    quality_control(data / name, cache / name)
    spatial, reference = (
        anndata.read_h5ad(cache / name / f"{kind}.qc.h5ad") for kind in ("spatial", "scrna")
    )
    reference = sample_rows(reference, n_cells, ordered=False)
    spatial = sample_rows(spatial, n_spots, ordered=True)
    both = varying(reference) & varying(spatial)
    shared = [gene for gene in spatial.var_names if gene in both]
    if n_genes:
        shared = most_variable(spatial, shared, n_genes)
    return Pair(name, spatial[:, shared].copy(), reference, cache / name)


def folds(names: list[str], n_folds: int) -> Iterator[tuple[int, list[str], list[str]]]:
    """Yield (number, panel, hidden)."""
    shuffled = np.array(names)
    np.random.default_rng(SEED).shuffle(shuffled)
    for number, hidden in enumerate(np.array_split(shuffled, n_folds)):
        away = set(hidden)
        yield number, [gene for gene in names if gene not in away], hidden.tolist()


def ours(pair: Pair, panel: list[str], hidden: list[str]) -> dict[str, Predicted]:
    """Return the default imputer and each of its candidates, as ALIGN and IMPUTE make them.

    ``stlatent_panel`` combines the candidates that need no alignment.
    """
    vae, fold = pair.vae, Fold(pair.name, "", hidden, panel)
    settings = alignment_settings(seed=SEED)
    aligned, history = align_tissue(
        pair.spatial, pair.reference, fold, settings, N_NEIGHBORS, DEFAULTS["inner_folds"]
    )
    views = views_of(pair.spatial, pair.reference, vae, aligned, SEED)
    imputer, learning = learned_imputer(views, aligned, fold)
    panel_alone = stack_weights(
        inner_folds.load(aligned), views, panel, hidden, stacked(needs_alignment=False)
    ).by_candidate
    block = imputer.predict(hidden, [STACK, *CANDIDATES])
    block.predicted["panel"] = np.sum(
        [weight * block.predicted[name] for name, weight in panel_alone.items()], axis=0
    )
    seconds = {**imputer.seconds(history.seconds, learning), "panel": learning}
    weights = imputer.stack.by_candidate
    print(f"  weights { ({k: round(v, 2) for k, v in weights.items()}) }", flush=True)
    return {
        "stlatent" if name == STACK else f"stlatent_{name}": Predicted(
            block.counts(name), seconds[name]
        )
        for name in block.predicted
    }


@register("mean_of_three", package="numpy")
def mean_of_three(inputs: Inputs) -> Prediction:
    """Return the mean of two kernel ridges and of a linear ridge with a fixed penalty."""
    view, targets = inputs.view, inputs.targets
    reference, tissue = view.standard_reference, view.standard_tissue(0.3)
    target = targets.expression
    mean, spread = target.mean(0), target.std(0) + 1e-6
    covariance = reference.T @ reference / len(reference) + 3 * np.eye(reference.shape[1])
    weights = np.linalg.solve(covariance, reference.T @ ((target - mean) / spread))
    linear = mean + spread * (tissue @ (weights / len(reference)))
    candidates = Candidates(view)
    smooth, sharp = (
        candidates.predict(name, targets) for name in ("kernel_ridge", "kernel_ridge_sharp")
    )
    return Prediction(np.asarray((linear + smooth + sharp) / 3, dtype=np.float32), "log")


PUBLISHED = tuple(name for name in METHODS if is_published(name))


def baseline(pair: Pair, panel: list[str], hidden: list[str], method: str) -> dict[str, Predicted]:
    """Return the prediction of a method to compare with, as COMPARE makes it."""
    fold = Fold(pair.name, "", hidden, panel)
    compared = compare(pair.spatial, pair.reference, fold, [method], SEED, N_NEIGHBORS)
    if compared.predicted is None:
        raise DataError(compared.reason)
    seconds = slots.facts(compared.predicted)["seconds"][method]
    return {method: Predicted(np.asarray(compared.predicted.X), seconds)}


def methods(names: list[str]) -> dict[str, Callable[..., dict[str, Predicted]]]:
    """Return how each of the methods asked for is run."""
    known: dict[str, Callable[..., dict[str, Predicted]]] = {"stlatent": ours}
    known |= {name: partial(baseline, method=name) for name in METHODS}
    return {name: known[name] for name in names}


def stored(pair: Pair, method: str, fold: int) -> Path:
    """Return where the predictions of a fold are kept."""
    return pair.cache / "predicted" / f"{method}.{fold}.npz"


def keep(pair: Pair, method: str, fold: int, predicted: Predicted) -> None:
    """Keep the predictions of a fold; a file is there whole or not at all."""
    path = stored(pair, method, fold)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, values=predicted.values.astype(np.float32), seconds=predicted.seconds)
    part.rename(path)


def score(pair: Pair, method: str, fold: int, hidden: list[str]) -> pd.DataFrame:
    """Score kept predictions as SCORE does; genes that the method does not know are left out."""
    with np.load(stored(pair, method, fold)) as content:
        values, seconds = content["values"], float(content["seconds"])
    known = np.flatnonzero(~np.isnan(values).all(axis=0))
    measured = expression.dense(pair.spatial[:, hidden].X)[:, known]
    library = expression.visible_library(pair.spatial, hidden)
    found = metrics.score(measured, np.nan_to_num(values[:, known]), library)
    table = pd.DataFrame({name: found[name] for name in ("pcc", "pcc_normalised")})
    return table.assign(
        pair=pair.name, method=method, fold=fold, seconds=seconds, gene=np.array(hidden)[known]
    )


def finished(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of the pairs of which a method has finished all folds."""
    n_folds = scores.groupby("pair")["fold"].transform("nunique")
    return scores[scores.groupby(["method", "pair"])["fold"].transform("nunique") == n_folds]


def table(scores: pd.DataFrame, statistic: str) -> pd.DataFrame:
    """Return the mean or median PCC over genes, raw / normalised, methods x pairs, and their mean."""
    by_gene = scores.groupby(["method", "pair"], sort=False)[["pcc", "pcc_normalised"]]
    found = by_gene.agg(statistic)
    raw, normalised = (found[name].unstack() for name in ("pcc", "pcc_normalised"))
    best = [method for method in PUBLISHED if method in raw.index]
    if best:
        raw.loc["best published"] = raw.loc[best].max()
        normalised.loc["best published"] = normalised.loc[best].max()
    complete = raw.notna().all(axis=1)
    raw["mean"], normalised["mean"] = (t.mean(axis=1).where(complete) for t in (raw, normalised))
    text = raw.map("{:.3f}".format) + " / " + normalised.map("{:.3f}".format)
    return text.loc[raw["mean"].sort_values(ascending=False).index]


def differences(scores: pd.DataFrame) -> pd.DataFrame:
    """Return stlatent's mean PCC over genes less that of each method, with an interval of 95 %.

    The interval is that of a bootstrap over genes, both methods always on the same ones; genes that
    the other method does not know are left out.
    """
    rows = []
    for name, of_pair in scores.groupby("pair", sort=False):
        for measure in ("pcc", "pcc_normalised"):
            wide = of_pair.pivot(index="gene", columns="method", values=measure)
            for method in wide.columns.drop("stlatent"):
                gain = (wide["stlatent"] - wide[method]).dropna().to_numpy()
                rng = np.random.default_rng(SEED)
                drawn = gain[rng.integers(len(gain), size=(N_BOOTSTRAP, len(gain)))].mean(axis=1)
                low, high = np.quantile(drawn, [0.025, 0.975])
                text = f"{gain.mean():+.3f} [{low:+.3f}, {high:+.3f}]"
                rows.append(
                    (
                        method,
                        name,
                        measure,
                        text if len(gain) == len(wide) else f"{text} n={len(gain)}",
                    )
                )
    long = pd.DataFrame(rows, columns=["method", "pair", "measure", "gain"])
    return long.pivot(index=["measure", "method"], columns="pair", values="gain")


def seconds(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the median seconds of a fold, methods x pairs."""
    folded = scores.groupby(["method", "pair", "fold"], sort=False)["seconds"].first()
    return folded.groupby(["method", "pair"], sort=False).median().unstack().round(1)


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--cache", type=click.Path(path_type=Path), required=True)
@click.option("--pairs", default=",".join(LIMITS), show_default=True)
@click.option("--methods", "names", default=",".join(["stlatent", *METHODS]))
@click.option("--n-folds", default=5, show_default=True)
@click.option("--first", default=None, type=int, help="Run only the first folds.")
@click.option("--threads", default=1, show_default=True)
def main(
    data: Path, cache: Path, pairs: str, names: str, n_folds: int, first: int | None, threads: int
) -> None:
    devices.make_deterministic(SEED, threads)
    scores = []
    for name in pairs.split(","):
        pair = read_pair(data, name, cache)
        measured = pair.spatial.var_names.tolist()
        print(
            f"{name}: {pair.spatial.shape} spots x genes, {pair.reference.n_obs} cells", flush=True
        )
        for number, panel, hidden in folds(measured, n_folds):
            if first is not None and number >= first:
                continue
            for method, run in methods(names.split(",")).items():
                if not stored(pair, method, number).exists():
                    devices.make_deterministic(SEED + zlib.crc32(name.encode()) % 1000, threads)
                    for label, predicted in run(pair, panel, hidden).items():
                        keep(pair, label, number, predicted)
                        print(f"  fold {number} {label} {predicted.seconds:.0f} s", flush=True)
            for path in sorted((pair.cache / "predicted").glob(f"*.{number}.npz")):
                scores.append(score(pair, path.name.split(".")[0], number, hidden))
    every = finished(pd.concat(scores, ignore_index=True))
    pd.set_option("display.width", 300)
    for statistic in ("mean", "median"):
        print(
            f"\n{statistic.capitalize()} PCC, raw / normalised\n{table(every, statistic).to_string()}"
        )
    counted = every.groupby(["method", "pair"], sort=False)["gene"].nunique().unstack()
    print(f"\nGenes that each method knows\n{counted.to_string()}")
    if "stlatent" in set(every["method"]):
        print(
            f"\nstlatent less each method, bootstrap over genes\n{differences(every).to_string()}"
        )
    print(f"\nSeconds per fold\n{seconds(every).to_string()}")


if __name__ == "__main__":
    main()
