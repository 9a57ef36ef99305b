"""Numbers drawn from the tidy table of held-out scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stlatent.baselines.registry import is_published
from stlatent.evaluation.score_table import BELIEVABLE, METRICS, OURS
from stlatent.report.run.model import Run

NULL = "null"
CORRELATIONS = ("pcc", "pcc_normalised", "spearman")
N_BOOTSTRAP = 2000


def is_ours(method: str) -> bool:
    """Tell stlatent and its variants (``stlatent_decoder``, ...) from what it is judged by."""
    return method == OURS or method.startswith(f"{OURS}_")


def without_gaps(scores: pd.DataFrame) -> pd.DataFrame:
    """Count a flat prediction, which has no correlation, as one of 0.

    Otherwise a method would be judged by the genes that suit it. A gene without a value of any
    method (nothing measured) keeps its gap.
    """
    filled = scores.copy()
    for measure in CORRELATIONS:
        known = scores.groupby(["sample", "gene"])[measure].transform("count") > 0
        filled[measure] = scores[measure].mask(scores[measure].isna() & known, 0.0)
    return filled


def sample_medians(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the median of every measure over genes, indexed by (sample, method)."""
    return without_gaps(scores).groupby(["sample", "method"])[list(METRICS)].median()


def methods_in_order(scores: pd.DataFrame) -> list[str]:
    """Return stlatent, its variants, plain and published baselines by name, and the null last."""
    found = sorted(set(scores["method"]))
    ours = [method for method in found if is_ours(method)]
    others = [method for method in found if method not in ours and method != NULL]
    others.sort(key=is_published)
    return [*ours, *others, *([NULL] if NULL in found else [])]


def compared_methods(scores: pd.DataFrame) -> list[str]:
    """Return the methods worth a place in a plot: stlatent without its variants, and the others."""
    found = methods_in_order(scores)
    return [name for name in found if name == OURS or not is_ours(name)] if OURS in found else found


def baselines(scores: pd.DataFrame) -> list[str]:
    """Return the methods other than stlatent and the null."""
    return [name for name in methods_in_order(scores) if not is_ours(name) and name != NULL]


def value(medians: pd.DataFrame, sample: str, method: str, measure: str) -> float | None:
    """Return one median, or None where there is none."""
    if (sample, method) not in medians.index:
        return None
    found = float(medians.loc[(sample, method), measure])  # type: ignore[arg-type]
    return None if np.isnan(found) else found


def best_baseline(
    medians: pd.DataFrame, sample: str, names: list[str], measure: str
) -> tuple[str, float] | None:
    """Return the name and median of the best baseline of ``sample`` by ``measure``."""
    found = [(value(medians, sample, name, measure), name) for name in names]
    known = [(number, name) for number, name in found if number is not None]
    if not known:
        return None
    number, name = max(known)
    return name, number


def share_above(scores: pd.DataFrame, sample: str, measure: str) -> float | None:
    """Return the share of stlatent's held-out genes of ``sample`` above `BELIEVABLE`, in percent.

    Genes without a value (nothing measured, or a flat prediction) count as not predicted.
    """
    genes = scores[(scores["sample"] == sample) & (scores["method"] == OURS)]
    if genes.empty:
        return None
    return float(100 * (genes[measure] > BELIEVABLE).mean())


def across_samples(run: Run, method: str, measure: str) -> float | None:
    """Return the median over samples of the samples' medians of one method."""
    medians = sample_medians(run.scores_of())
    found = [value(medians, sample, method, measure) for sample in run.samples]
    known = [number for number in found if number is not None]
    return float(np.median(known)) if known else None


@dataclass(frozen=True)
class Difference:
    """The normalised PCC of stlatent in one arm less that in another, on the same genes.

    Attributes
    ----------
    median, low, high
        Of the difference over genes, with an interval of 95 % of a bootstrap over genes.
    better
        Percent of the genes with a positive difference.
    genes
        Those scored in both arms, all samples together.
    """

    median: float
    low: float
    high: float
    better: float
    genes: int


def paired_difference(scores: pd.DataFrame, other: pd.DataFrame) -> Difference | None:
    """Return how the scores of an arm differ from those of another, or None without common genes.

    Parameters
    ----------
    scores, other
        What `Run.scores_of` returns for either arm.
    """
    first, second = (_ours(table) for table in (scores, other))
    gain = (first - second).dropna().to_numpy()
    if not len(gain):
        return None
    rng = np.random.default_rng(0)
    drawn = [np.median(gain[rng.integers(len(gain), size=len(gain))]) for _ in range(N_BOOTSTRAP)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    better = 100 * float((gain > 0).mean())
    return Difference(float(np.median(gain)), float(low), float(high), better, len(gain))


def _ours(scores: pd.DataFrame) -> pd.Series[float]:
    known = without_gaps(scores)
    return known[known["method"] == OURS].set_index(["sample", "gene"])["pcc_normalised"]
