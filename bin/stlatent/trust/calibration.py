"""What held-out genes say about intervals and reliability of one sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd

from stlatent import slots
from stlatent.arrays import Array
from stlatent.evaluation import metrics
from stlatent.evaluation.score_table import BELIEVABLE
from stlatent.expression import dense, visible_library
from stlatent.failures import DataError, reading
from stlatent.imputation.output import SPOTS_PER_CHUNK, create_matrix, replace_var
from stlatent.inputs.qc import PANEL_GENES
from stlatent.records.evaluation import (
    Calibration,
    IntervalHitRates,
    ListedGene,
    Reliability,
    Validation,
)
from stlatent.records.inputs import Fold, Population
from stlatent.sampling import subset
from stlatent.trust import intervals, reliability

if TYPE_CHECKING:
    from anndata import AnnData


N_LISTED = 15
PANEL_SHARE = 0.5
MAX_LIBRARY_CORRELATION = 0.9
_BLOCK_VALUES = 20_000_000


@dataclass(frozen=True)
class HeldOut:
    """Held-out genes of one fold.

    Attributes
    ----------
    genes
        Predicted and measured values on the normalised scale, of all spots or a subset.
    table
        A row a gene: features, ``pcc``, ``pcc_normalised``, ``fold``.
    """

    genes: intervals.Genes
    table: pd.DataFrame


def read_without_layers(path: str | Path) -> AnnData:
    """Read X, obs, var and uns of an output of IMPUTE; see `read_var`."""
    import anndata

    with reading(path), h5py.File(path) as file:
        found = {name: anndata.io.read_elem(file[name]) for name in ("X", "obs", "uns")}
    return anndata.AnnData(var=read_var(path), **found)


def read_var(path: str | Path) -> pd.DataFrame:
    """Read ``var`` of an output of IMPUTE.

    Raises
    ------
    DataError
        When it lacks what calibration needs.
    """
    import anndata

    with reading(path), h5py.File(path) as file:
        var: pd.DataFrame = anndata.io.read_elem(file["var"])
    needed = (*slots.FEATURES, slots.NORMALISED_MEAN, slots.NORMALISED_SD)
    missing = [name for name in needed if name not in var]
    if missing:
        msg = f"{Path(path).name} lacks var['{missing[0]}']: it is not an output of IMPUTE"
        raise DataError(msg)
    return var


def hold_out(spatial: AnnData, fold: Fold, imputed: AnnData, seed: int = 0) -> HeldOut:
    """Compare the genes that a fold hides with their measurements.

    Intervals look at no more than `intervals.MAX_SPOTS` spots, correlations at all.

    Parameters
    ----------
    spatial
        The QC'd sample.
    fold, imputed
        The fold, and what IMPUTE made of it.

    Raises
    ------
    DataError
        When spots or genes do not belong together.
    """
    slots.require_genes(imputed, fold.hidden, f"the prediction of fold {fold.name}")
    slots.require_genes(spatial, fold.hidden, "the spatial sample")
    if list(imputed.obs_names) != list(spatial.obs_names):
        msg = f"the prediction of fold {fold.name} has other spots than the sample"
        raise DataError(msg)
    predicted = dense(imputed[:, fold.hidden].X)
    # A method may not know a gene, as the decoder those beyond its own.
    known = ~np.isnan(predicted).all(axis=0)
    hidden = [gene for gene, is_known in zip(fold.hidden, known, strict=True) if is_known]
    predicted = np.nan_to_num(predicted[:, known], nan=0.0)
    measured = dense(spatial[:, hidden].X)
    scores = metrics.score(measured, predicted, visible_library(spatial, fold.hidden))
    table = imputed.var.loc[hidden].assign(
        pcc=scores["pcc"], pcc_normalised=scores["pcc_normalised"], fold=fold.name
    )
    spots = subset(spatial.n_obs, intervals.MAX_SPOTS, seed)
    library = _library(imputed, spots)
    genes = intervals.Genes(
        intervals.measured_on_scale(predicted[spots], library),
        intervals.measured_on_scale(measured[spots], library),
    )
    return HeldOut(genes, table)


def _library(adata: AnnData, spots: Array) -> Array | None:
    if slots.EXPECTED_LIBRARY not in adata.obs:
        return None
    return adata.obs[slots.EXPECTED_LIBRARY].to_numpy(dtype=float)[spots]


@dataclass(frozen=True)
class Findings:
    """What a sample's held-out genes taught.

    Attributes
    ----------
    intervals
        None when it could not be calibrated; ``reason`` says why.
    reliability
        The prior when there are no held-out genes.
    hit_rates
        Of `intervals.leave_fold_out`; None where the folds are too few.
    validation
        Of `reliability.validation`, by models that did not see the gene's fold; and the same of the
        prior alone. None without held-out genes.
    held_out
        Tables of all folds.
    """

    intervals: intervals.Model | None
    reason: str
    reliability: reliability.Model
    hit_rates: IntervalHitRates | None
    validation: Validation | None
    prior_validation: Validation | None
    held_out: pd.DataFrame


def calibrate(folds: list[HeldOut], prior: reliability.Model, counts: bool) -> Findings:
    """Calibrate on the held-out genes of ``folds``, which may be none; empty folds count as none.

    Parameters
    ----------
    folds
        One entry a fold that was imputed.
    prior
        Of reliability.
    counts
        Whether the tissue holds counts.
    """
    folds = [fold for fold in folds if fold.genes.n]
    n_genes = sum(fold.genes.n for fold in folds)
    if not folds:
        table = pd.DataFrame(columns=[*slots.FEATURES, "pcc", "pcc_normalised", "fold"])
        reason = "no genes were held out, or their folds failed"
        return Findings(None, reason, prior, None, None, None, table)
    table = pd.concat([fold.table for fold in folds])
    names = table["fold"].astype(str).to_numpy()
    model, reason, hit_rates = None, "", None
    if n_genes < intervals.MIN_GENES:
        reason = f"{n_genes} genes were held out, {intervals.MIN_GENES} are needed"
    else:
        parts = [fold.genes for fold in folds]
        model = intervals.fit(intervals.joined(parts))
        hit_rates = intervals.leave_fold_out(parts)
    # A gene is hidden in one fold, so that its name is a key.
    by_other_folds = reliability.cross_fitted(table, names, prior, counts)
    return Findings(
        model,
        reason,
        reliability.fit(table, names, prior),
        hit_rates,
        reliability.validation(by_other_folds, table),
        reliability.validation(prior.predict(table, counts), table),
        table,
    )


def gene_table(
    var: pd.DataFrame, found: Findings, counts: bool, panel: bool = False
) -> pd.DataFrame:
    """Return ``var`` with the reliability of every imputed gene.

    On a panel, genes that were not measured and seem reliable, but whose prediction follows the
    panel's library, are not testable: what is left of their pattern without that library depends on
    how well the platform catches them, and the panel's own genes, chosen for being caught, do not
    say it.
    """
    predicted = found.reliability.predict(var, counts)
    if panel:
        follows = var[slots.LIBRARY_CORRELATION] > MAX_LIBRARY_CORRELATION
        doubtful = (
            ~var[slots.MEASURED] & follows & (predicted[slots.RELIABILITY] >= reliability.MEDIUM)
        )
        for name in (slots.RELIABILITY, slots.PREDICTED_PCC):
            predicted[name] = predicted[name].mask(doubtful)
        predicted.loc[doubtful, slots.RELIABILITY_LABEL] = reliability.UNTESTABLE
    kept = var.drop(columns=[name for name in slots.CALIBRATED if name in var])
    return kept.join(predicted[list(slots.CALIBRATED)])


def is_panel(var: pd.DataFrame, n_measured: int) -> bool:
    """Whether the tissue's genes were chosen, and most of those imputed are not among them.

    Parameters
    ----------
    var
        Of the imputed genes.
    n_measured
        Genes of the tissue; from `qc.PANEL_GENES` on it is a whole transcriptome.
    """
    return n_measured < PANEL_GENES and float(var[slots.MEASURED].mean()) < PANEL_SHARE


def published_table(var: pd.DataFrame, held_out: pd.DataFrame) -> pd.DataFrame:
    """Return the table for reading: most reliable genes first, true PCCs where they were tested."""
    leading = [slots.MEASURED, *slots.CALIBRATED]
    tested = held_out[["pcc", "pcc_normalised"]].rename(
        columns={"pcc": "held_out_pcc", "pcc_normalised": "held_out_pcc_normalised"}
    )
    rest = [
        name for name in var if name not in leading and name not in {slots.METHOD, slots.IN_DECODER}
    ]
    table = var[leading].join(tested).join(var[rest])
    return table.rename_axis("gene").sort_values(slots.RELIABILITY, ascending=False, kind="stable")


def summary(
    var: pd.DataFrame,
    found: Findings,
    level: int,
    panel: bool,
    sample: str,
    arm: str,
    population: Population | None,
) -> Calibration:
    """Return the record of a calibration.

    Parameters
    ----------
    var
        Of `gene_table`.
    found
        Of `calibrate`.
    level
        Of the layers with bounds; 0 for none.
    panel
        Of `is_panel`.
    sample, arm, population
        Noted.
    """
    unmeasured = var[~var[slots.MEASURED]]
    tested = (unmeasured if len(unmeasured) else var).dropna(subset=slots.RELIABILITY)
    listed = tested.sort_values(slots.RELIABILITY, ascending=False, kind="stable")
    n = min(N_LISTED, len(listed) // 2)
    return Calibration(
        sample=sample,
        arm=arm,
        population=population,
        n_genes=len(var),
        panel=panel,
        n_unmeasured=len(unmeasured),
        n_held_out=len(found.held_out),
        n_without_interval=without_interval(var, found.intervals),
        labels=_counted(var),
        labels_unmeasured=_counted(unmeasured),
        intervals=found.hit_rates,
        intervals_calibrated=found.intervals is not None,
        intervals_reason=found.reason,
        interval_level=level if found.intervals is not None else 0,
        reliability=Reliability(
            threshold=BELIEVABLE,
            learned_from="tissue" if found.reliability.n_genes else "prior",
            n_genes=found.reliability.n_genes,
            validation=found.validation,
            prior_validation=found.prior_validation,
        ),
        most_reliable=_listed(listed.head(n)),
        least_reliable=_listed(listed.tail(n)[::-1]),
    )


def _counted(var: pd.DataFrame) -> dict[str, int]:
    found = var[slots.RELIABILITY_LABEL]
    return {
        label: int((found == label).sum())
        for label in (*reliability.LABELS, reliability.UNTESTABLE)
    }


def without_interval(var: pd.DataFrame, model: intervals.Model | None) -> int:
    """Return how many genes have no interval: all without a model, else those not like any tested."""
    if model is None:
        return len(var)
    mean, sd = (var[name].to_numpy(float) for name in (slots.NORMALISED_MEAN, slots.NORMALISED_SD))
    return int((~model.supported(mean, sd)).sum())


def _listed(var: pd.DataFrame) -> list[ListedGene]:
    return [
        ListedGene(
            gene=str(gene),
            reliability=round(float(row[slots.RELIABILITY]), 3),
            predicted_pcc=round(float(row[slots.PREDICTED_PCC]), 3),
            label=row[slots.RELIABILITY_LABEL],
            measured=bool(row[slots.MEASURED]),
        )
        for gene, row in var.iterrows()
    ]


def write_calibration(
    path: str | Path, var: pd.DataFrame, model: intervals.Model | None, level: int, arm: str
) -> None:
    """Add to the full output of IMPUTE what was found, in place and block by block.

    Parameters
    ----------
    path
        A copy of the file.
    var
        Of `gene_table`.
    model
        Of intervals, or None.
    level
        Of the layers ``lower_<level>`` and ``upper_<level>`` on the count scale; 0 for none.
    arm
        Noted.
    """
    with h5py.File(path, "r+") as file:
        replace_var(file, var)
        _note(file, slots.ARM, arm)
        if model is None:
            return
        _note(file, slots.INTERVALS, model.to_dict())
        if level:
            _write_bounds(file, var, model, level)


def _note(file: h5py.File, name: str, value: Any) -> None:
    import anndata

    noted = file[f"uns/{slots.UNS}"]
    if name in noted:
        del noted[name]
    anndata.io.write_elem(noted, name, value)


def _write_bounds(file: h5py.File, var: pd.DataFrame, model: intervals.Model, level: int) -> None:
    import anndata

    obs = anndata.io.read_elem(file["obs"])
    library = obs[slots.EXPECTED_LIBRARY].to_numpy(float) if slots.EXPECTED_LIBRARY in obs else None
    values = file[f"layers/{slots.NORMALISED}"]
    mean, sd = var[slots.NORMALISED_MEAN].to_numpy(float), var[slots.NORMALISED_SD].to_numpy(float)
    targets = []
    for name in slots.bound_layers(level):
        if name in file["layers"]:
            del file["layers"][name]
        targets.append(create_matrix(file["layers"], name, values.shape))
    for rows in _row_blocks(values.shape):
        seen = None if library is None else library[rows]
        bounds = model.bounds(values[rows], mean, sd, level)
        for target, bound in zip(targets, bounds, strict=True):
            target[rows] = intervals.on_count_scale(bound, seen).astype(np.float32)


def _row_blocks(shape: tuple[int, int]) -> Iterator[slice]:
    """Whole chunks of the file, so that each is read and compressed once."""
    n_chunks = max(1, _BLOCK_VALUES // (SPOTS_PER_CHUNK * max(shape[1], 1)))
    for start in range(0, shape[0], n_chunks * SPOTS_PER_CHUNK):
        yield slice(start, start + n_chunks * SPOTS_PER_CHUNK)
