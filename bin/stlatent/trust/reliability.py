"""How far the imputed values of a gene can be believed.

A model predicts the correlation (PCC) that a measurement would show, from what is known of any gene
(`stlatent.trust.gene_features`). A measurement is noisy, and no prediction correlates with it by
more than the square root of its reliability (attenuation; Spearman, Am. J. Psychol. 1904). So the PCC
is that ceiling, which sampling of molecules sets, times a linear function of all features. A sum
would believe genes that are alike in the reference equally, however few molecules of them are there.

The model starts from a prior, fitted on other tissues, and moves away from it as far as the held-out
genes of the tissue itself give reason: with none it is the prior. The error of its predictions on
genes it did not see gives the probability that the PCC exceeds `BELIEVABLE`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata

from stlatent import slots
from stlatent.arrays import Array
from stlatent.evaluation.score_table import BELIEVABLE
from stlatent.records.evaluation import Judged, LabelCount, Validation
from stlatent.trust.gene_features import fisher
from stlatent.trust.variance import fit_variance

HIGH, MEDIUM = 0.8, 0.5
LABELS = ("high", "medium", "low")
UNTESTABLE = "not testable"
NORMALISED, RAW = "pcc_normalised", "pcc"
PRIOR_FILE = Path(__file__).with_name("reliability_prior.json")

# The prior counts as much as this many genes: little for the tissue's general level, in which
# tissues differ most, much for what the features mean.
LEVEL_GENES = 5.0
SLOPE_GENES = 100.0
ERROR_GENES = 20.0
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0)
MOST = 3.0
MIN_VALIDATION_GENES = 10
_TINY = 0.01
_LEAST_VARIANCE = 1e-4


def _logit(share: Array) -> Array:
    return np.log((share + _TINY) / (1 - share + _TINY))


def _log(values: Array) -> Array:
    return np.log(values + _TINY)


def _same(values: Array) -> Array:
    return values


# Correlations, unless named here.
_TRANSFORMS = {
    "reference_detection": _logit,
    "reference_mean": _log,
    "prediction_spread": _log,
    "morans_i": _same,
    "panel_context": _same,
}
CEILINGS = {NORMALISED: slots.SAMPLING_CEILING_NORMALISED, RAW: slots.SAMPLING_CEILING}


def transformed(table: pd.DataFrame) -> Array:
    """Return the features of n genes on scales on which they act linearly, n x features."""
    columns = [
        _TRANSFORMS.get(name, fisher)(table[name].to_numpy(float)) for name in slots.FEATURES
    ]
    return np.stack(columns, axis=1)


@dataclass(frozen=True)
class LinearModel:
    """Predicts one PCC: ``ceiling * (intercept + x @ slopes)``.

    Attributes
    ----------
    intercept, slopes
        Of the correlation without sampling noise.
    noise, scatter
        The variance of the error is ``noise + scatter * ceiling^2``.
    """

    intercept: float
    slopes: Array
    noise: float
    scatter: float

    def predict(self, x: Array, ceiling: Array) -> Array:
        """Return predicted PCCs of n genes, x: n x features, ceiling: n."""
        return np.clip(ceiling * (self.intercept + x @ self.slopes), -1.0, 1.0)

    def probability(self, x: Array, ceiling: Array) -> Array:
        """Return the probability that the PCC exceeds `BELIEVABLE`, for normal errors."""
        error = np.sqrt(self.noise + self.scatter * ceiling**2)
        return norm.cdf((self.predict(x, ceiling) - BELIEVABLE) / error)

    def coefficients(self) -> Array:
        """Return intercept and slopes as one vector."""
        return np.append(self.intercept, self.slopes)


@dataclass(frozen=True)
class Model:
    """Reliability of genes.

    Attributes
    ----------
    centre, scale
        Of the transformed features.
    linear
        By target, `NORMALISED` and `RAW`.
    n_genes
        Genes of the tissue itself that had a say; 0: the prior.
    """

    centre: Array
    scale: Array
    linear: dict[str, LinearModel]
    n_genes: int = 0

    def design(self, table: pd.DataFrame) -> Array:
        """Return standardised features, n x features; what is missing counts as average."""
        x = (transformed(table) - self.centre) / self.scale
        return np.clip(np.nan_to_num(x, nan=0.0), -MOST, MOST)

    def predict(self, table: pd.DataFrame, counts: bool) -> pd.DataFrame:
        """Return the columns that the output holds, one row a gene.

        ``reliability``: probability that the normalised PCC exceeds `BELIEVABLE`, ``reliability_raw``
        of the raw one, ``predicted_pcc`` (normalised) and ``reliability_label``. Without counts there
        is no library to divide out, and raw is the same. A gene without features has none of these
        and is labelled `UNTESTABLE`.

        Parameters
        ----------
        table
            Columns `slots.FEATURES`.
        counts
            Whether the tissue holds counts.
        """
        x = self.design(table)
        raw = RAW if counts else NORMALISED
        found = {}
        for name, expected, target in (
            (slots.RELIABILITY, slots.PREDICTED_PCC, NORMALISED),
            (slots.RELIABILITY_RAW, slots.PREDICTED_PCC_RAW, raw),
        ):
            linear, ceiling = self.linear[target], ceilings(table, target)
            found[name] = linear.probability(x, ceiling)
            found[expected] = linear.predict(x, ceiling)
        known = table[list(slots.FEATURES)].notna().any(axis=1)
        predicted = pd.DataFrame(found, index=table.index).where(known)
        label = labels(predicted[slots.RELIABILITY].to_numpy())
        return predicted.assign(**{slots.RELIABILITY_LABEL: label})


def ceilings(table: pd.DataFrame, target: str) -> Array:
    """Return the largest PCC that sampling leaves each gene; 1 for intensities, where it is unknown."""
    return np.nan_to_num(table[CEILINGS[target]].to_numpy(float), nan=1.0)


def labels(probability: Array) -> Array:
    """Return high (at least `HIGH`), medium (at least `MEDIUM`), low, or `UNTESTABLE` for NaN."""
    limits = [np.isnan(probability), probability >= HIGH, probability >= MEDIUM]
    return np.select(limits, (UNTESTABLE, *LABELS[:2]), LABELS[2])


def read_prior(path: Path = PRIOR_FILE) -> Model:
    """Read a prior: numbers in JSON."""
    content = json.loads(path.read_text())
    if tuple(content["features"]) != slots.FEATURES:
        msg = (
            f"{path.name} was fitted with other features: run benchmarks/reliability.py --fit-prior"
        )
        raise ValueError(msg)
    by_target = {
        name: LinearModel(
            linear["intercept"], np.array(linear["slopes"]), linear["noise"], linear["scatter"]
        )
        for name, linear in content["targets"].items()
    }
    return Model(np.array(content["centre"]), np.array(content["scale"]), by_target)


def prior_content(prior: Model, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `read_prior` reads."""
    return {
        "features": list(slots.FEATURES),
        "centre": prior.centre.round(6).tolist(),
        "scale": prior.scale.round(6).tolist(),
        "targets": {
            name: {
                "intercept": round(linear.intercept, 6),
                "slopes": linear.slopes.round(6).tolist(),
                "noise": round(linear.noise, 6),
                "scatter": round(linear.scatter, 6),
            }
            for name, linear in prior.linear.items()
        },
        "provenance": dict(provenance),
    }


def fit_prior(tissues: Mapping[str, pd.DataFrame], counts: Mapping[str, bool]) -> Model:
    """Fit on the held-out genes of several tissues, every tissue weighing the same.

    Ridge regression whose penalty is the one of `PENALTIES` that predicts tissues left out best; the
    error is the one made on tissues left out. Raw PCCs are learned from tissues of counts alone.

    Parameters
    ----------
    tissues
        Tables with `slots.FEATURES`, ``pcc`` and ``pcc_normalised``, one row a held-out gene.
    counts
        Whether a tissue holds counts.

    Raises
    ------
    ValueError
        When fewer than two tissues hold counts.
    """
    every = pd.concat([table[list(slots.FEATURES)] for table in tissues.values()])
    weights = np.concatenate([np.full(len(table), 1 / len(table)) for table in tissues.values()])
    raw = transformed(every)
    centre = _weighted_mean(raw, weights)
    scale = np.sqrt(_weighted_mean((raw - centre) ** 2, weights))
    blank = Model(centre, np.where(scale > 0, scale, 1.0), {})
    counted = {name: table for name, table in tissues.items() if counts[name]}
    if len(counted) < 2:
        msg = "a prior needs at least two tissues of counts"
        raise ValueError(msg)
    by_target = {
        NORMALISED: _prior_linear(blank, list(tissues.values()), NORMALISED),
        RAW: _prior_linear(blank, list(counted.values()), RAW),
    }
    return Model(blank.centre, blank.scale, by_target)


def _weighted_mean(values: Array, weights: Array) -> Array:
    known = ~np.isnan(values)
    total = (known * weights[:, None]).sum(0)
    return (np.where(known, values, 0.0) * weights[:, None]).sum(0) / np.where(total > 0, total, 1)


def _prior_linear(model: Model, tables: list[pd.DataFrame], target: str) -> LinearModel:
    known = [
        (_attenuated(model.design(table), ceilings(table, target)), table[target].to_numpy(float))
        for table in tables
    ]

    def left_out(penalty: float) -> list[Array]:
        found = []
        for number, (design, pcc) in enumerate(known):
            others = [other for place, other in enumerate(known) if place != number]
            found.append((design @ _ridge(others, penalty) - pcc) ** 2)
        return found

    penalty = min(
        PENALTIES, key=lambda value: float(np.mean([part.mean() for part in left_out(value)]))
    )
    squares = left_out(penalty)
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for part in squares])
    ceiling = np.concatenate([design[:, 0] for design, _ in known])
    coefficients = _ridge(known, penalty)
    noise, scatter = _error_variance(np.concatenate(squares), ceiling, weights)
    return LinearModel(float(coefficients[0]), coefficients[1:], float(noise), float(scatter))


def _attenuated(x: Array, ceiling: Array) -> Array:
    """Return the design of `LinearModel`, n x (1 + features): intercept and features times the ceiling."""
    return np.column_stack([np.ones(len(x)), x]) * ceiling[:, None]


def _ridge(tables: Sequence[tuple[Array, Array]], penalty: float) -> Array:
    """Return coefficients of a ridge regression in which every table weighs the same."""
    gram = np.mean([design.T @ design / len(design) for design, _ in tables], axis=0)
    product = np.mean([design.T @ pcc / len(design) for design, pcc in tables], axis=0)
    # The level is free.
    return np.linalg.solve(gram + penalty * np.diag([1e-9, *[1.0] * (len(gram) - 1)]), product)


def _error_variance(squares: Array, ceiling: Array, weights: Array | None = None) -> Array:
    """Return ``noise`` and ``scatter`` of `LinearModel` from squared errors."""
    design = np.column_stack([np.ones(len(ceiling)), ceiling**2])
    noise, scatter = fit_variance(design, squares, _LEAST_VARIANCE, weights)
    return np.array([max(noise, _LEAST_VARIANCE), scatter])


def fit(table: pd.DataFrame, folds: Array, prior: Model) -> Model:
    """Adapt the prior to the held-out genes of a tissue.

    What the prior leaves unexplained is regressed on the features, penalised as if `LEVEL_GENES` and
    `SLOPE_GENES` further genes had shown the prior to be right. The error is that of genes in folds
    left out, the prior's own counting as `ERROR_GENES` genes.

    Parameters
    ----------
    table
        `slots.FEATURES`, ``pcc`` and ``pcc_normalised``, one row a held-out gene; may be empty.
    folds
        The fold of every gene.
    """
    if table.empty:
        return prior
    x = prior.design(table)
    by_target = {}
    for target, linear in prior.linear.items():
        pcc, ceiling = table[target].to_numpy(float), ceilings(table, target)
        design = _attenuated(x, ceiling)
        squares = np.empty(len(pcc))
        for fold in np.unique(folds):
            away = folds == fold
            kept = _adapted(linear, design[~away], pcc[~away])
            squares[away] = (design[away] @ kept - pcc[away]) ** 2
        own = _error_variance(squares, ceiling)
        n = len(pcc)
        error = (n * own + ERROR_GENES * np.array([linear.noise, linear.scatter])) / (
            n + ERROR_GENES
        )
        adapted = _adapted(linear, design, pcc)
        by_target[target] = LinearModel(
            float(adapted[0]), adapted[1:], float(error[0]), float(error[1])
        )
    return Model(prior.centre, prior.scale, by_target, len(table))


def _adapted(linear: LinearModel, design: Array, pcc: Array) -> Array:
    """Return the coefficients of ``linear`` moved towards genes; the penalty is in genes of their kind."""
    start = linear.coefficients()
    genes = np.array([LEVEL_GENES, *[SLOPE_GENES] * len(linear.slopes)])
    weight = float((design[:, 0] ** 2).mean()) if len(design) else 1.0
    penalty = np.diag(genes) * max(weight, _LEAST_VARIANCE)
    rest = pcc - design @ start
    return start + np.linalg.solve(design.T @ design + penalty, design.T @ rest)


def cross_fitted(table: pd.DataFrame, folds: Array, prior: Model, counts: bool) -> pd.DataFrame:
    """Return `Model.predict` of every gene by a model that did not see its fold."""
    parts = []
    for fold in np.unique(folds):
        away = folds == fold
        model = fit(table[~away], folds[~away], prior)
        parts.append(model.predict(table[away], counts))
    return pd.concat(parts).loc[table.index]


def validation(predicted: pd.DataFrame, table: pd.DataFrame) -> Validation:
    """Compare predicted with true PCCs of genes that a model did not see.

    Parameters
    ----------
    predicted
        Of `Model.predict`.
    table
        ``pcc`` and ``pcc_normalised`` of the same genes.
    """
    above = table[NORMALISED].to_numpy() > BELIEVABLE
    label = predicted[slots.RELIABILITY_LABEL].to_numpy()
    return Validation(
        n_genes=len(table),
        pcc_normalised=_judge(
            predicted[slots.RELIABILITY], predicted[slots.PREDICTED_PCC], table[NORMALISED]
        ),
        pcc=_judge(
            predicted[slots.RELIABILITY_RAW], predicted[slots.PREDICTED_PCC_RAW], table[RAW]
        ),
        labels={
            name: LabelCount(int((label == name).sum()), int(above[label == name].sum()))
            for name in LABELS
        },
    )


def _judge(
    probability: pd.Series[float], predicted: pd.Series[float], true: pd.Series[float]
) -> Judged:
    p, expected, pcc = (series.to_numpy(float) for series in (probability, predicted, true))
    above = pcc > BELIEVABLE
    spread = float(expected.std() * pcc.std())
    enough = len(pcc) >= MIN_VALIDATION_GENES
    return Judged(
        auroc=auroc(p, above) if enough else None,
        calibration_error=calibration_error(p, above) if enough else None,
        correlation=float(np.corrcoef(expected, pcc)[0, 1]) if enough and spread > 0 else None,
        share=float(above.mean()),
        mean=float(pcc.mean()),
        risk_coverage=risk_coverage(p, pcc),
    )


def auroc(score: Array, positive: Array) -> float | None:
    """Area under the ROC curve, by the Mann-Whitney statistic; None with one class alone."""
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return None
    ranks = float(rankdata(score)[positive].sum())
    return (ranks - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def calibration_error(probability: Array, positive: Array, n_bins: int = 10) -> float:
    """Expected calibration error: mean |mean probability - observed share| over equal bins."""
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, n_bins) if len(part)]
    gaps = [abs(probability[part].mean() - positive[part].mean()) * len(part) for part in parts]
    return float(sum(gaps) / len(order))


def risk_coverage(score: Array, pcc: Array) -> list[tuple[float, float]]:
    """Return [share of genes kept, their mean PCC], keeping the genes of the highest scores."""
    ranked = pcc[np.argsort(-score, kind="stable")]
    means = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    shares = np.linspace(0.05, 1.0, 20)
    at = np.maximum(np.ceil(shares * len(ranked) - 1e-9).astype(int), 1)
    return [(round(float(s), 2), float(means[i - 1])) for s, i in zip(shares, at, strict=True)]
