"""Health checks: the ways the method is known to fail, each looked for in every sample.

The signatures are those the method's authors name (the latent space, the discriminator before and
after alignment, reconstruction and graph losses) plus what makes any imputation meaningless: too
few shared genes, too little tissue left, predictions no better than the null.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from stlatent.evaluation.score_table import OURS
from stlatent.records.training import AlignmentHistory
from stlatent.report.run.model import Run
from stlatent.report.run.scores import NULL, sample_medians, value
from stlatent.report.run.wording import signed

Verdict = Literal["passed", "warned", "failed", "not_run"]
SEVERITY: tuple[Verdict, ...] = ("not_run", "passed", "warned", "failed")

KEPT_WARN, KEPT_FAIL = 0.5, 0.1
SHARED_GENES_WARN, SHARED_GENES_FAIL = 50, 15
WARMUP_WARN, WARMUP_FAIL = 0.7, 0.6
AUROC_WARN, AUROC_FAIL = 0.75, 0.9
FALL_WARN, FALL_FAIL = 0.05, 0.0
LATENT_WARN, LATENT_FAIL = 0.02, 0.1
MARGIN_WARN, MARGIN_FAIL = 0.02, 0.0
HIT_RATE_WARN, HIT_RATE_FAIL = 6.0, 12.0
UNCOVERED_WARN = 0.2
KNN = "15"


@dataclass(frozen=True)
class Result:
    """What one check found in one sample."""

    status: Verdict
    message: str


@dataclass(frozen=True)
class Check:
    """One check: its name, what it asks, and what to do when the answer is no."""

    id: str
    title: str
    question: str
    cure: str
    run: Callable[[Run, str], Result]


def grade_low(number: float, warn: float, fail: float) -> Verdict:
    """Grade a number that should be high: failed below ``fail``, warned below ``warn``."""
    return "failed" if number < fail else "warned" if number < warn else "passed"


def grade_high(number: float, warn: float, fail: float) -> Verdict:
    """Grade a number that should be low: failed above ``fail``, warned above ``warn``."""
    return "failed" if number > fail else "warned" if number > warn else "passed"


def in_phase(history: AlignmentHistory, series: str, phase: str) -> list[float]:
    """Return the values of one series in one phase, without the gaps."""
    pairs = zip(history.phase, history.series.get(series, []), strict=False)
    return [value for name, value in pairs if name == phase and value is not None]


def tissue(run: Run, sample: str) -> Result:
    """Check that quality control left most of the tissue.

    Less than half left warns, less than a tenth fails: a map with holes is no map. The limits are
    a convention, not a measurement.
    """
    summary = run.quality.get(sample)
    if summary is None or not summary.before.observations:
        return Result("not_run", "no quality control summary")
    before, after = summary.before.observations, summary.after.observations
    status = grade_low(after / before, KEPT_WARN, KEPT_FAIL)
    return Result(status, f"{after:,} of {before:,} locations kept ({after / before:.0%})")


def shared_genes(run: Run, sample: str) -> Result:
    """Check that tissue and reference share enough genes.

    They are all that ties the two together. With fewer than 15 the encoder sees next to nothing of
    a cell's state; panels of 50 and more are what the method's benchmarks use.
    """
    number = shared_gene_count(run, sample)
    if number is None:
        return Result("not_run", "the sample was not aligned")
    status = grade_low(number, SHARED_GENES_WARN, SHARED_GENES_FAIL)
    return Result(status, f"{number} genes used to align tissue and reference")


def shared_gene_count(run: Run, sample: str) -> int | None:
    """Return the number of genes that tie ``sample`` to its reference, or None."""
    evaluation, history = run.evaluation(sample), run.alignment(sample)
    if evaluation is not None:
        return evaluation.n_shared_genes
    return None if history is None else history.n_panel_genes


def latent_space(run: Run, sample: str) -> Result:
    """Check that the VAE's latent space keeps cell types apart as well as PCA does.

    The paper chooses its VAE by a kNN classification of held-out cells; a space below PCA means
    that the VAE did not train. Judged by macro-F1, so that rare types count, at k = 15.
    """
    evaluation = run.evaluation(sample)
    if evaluation is None or evaluation.knn_reference is None:
        return Result("not_run", "needs cell labels in the reference (label_key)")
    spaces = evaluation.knn_reference.spaces
    vae, pca = (spaces[name][KNN].macro_f1 for name in ("X_vae", "pca"))
    status = grade_high(pca - vae, LATENT_WARN, LATENT_FAIL)
    return Result(status, f"cell types recovered with macro-F1 {vae:.2f}, by PCA {pca:.2f}")


def reconstruction(run: Run, sample: str) -> Result:
    """Check that the loss of expression reconstruction fell while the encoder was pretrained."""
    return _fall(run, sample, "reconstruction")


def graph(run: Run, sample: str) -> Result:
    """Check that the loss of the neighbourhood graph fell while the encoder was pretrained."""
    return _fall(run, sample, "graph")


def _fall(run: Run, sample: str, series: str) -> Result:
    """Grade the relative fall of a loss over phase ``pretrain``.

    The paper names a loss that does not fall as a signature of failure; below 5 % it is doubtful.
    The scale is the first value's magnitude, since a likelihood can be negative.
    """
    history = run.alignment(sample)
    values = in_phase(history, series, "pretrain") if history else []
    if len(values) < 2 or not values[0]:
        return Result("not_run", f"no {series} loss in the training history")
    fall = (values[0] - values[-1]) / abs(values[0])
    status: Verdict = "failed" if fall <= FALL_FAIL else "warned" if fall < FALL_WARN else "passed"
    change = "fell" if fall > 0 else "rose"
    return Result(status, f"{series} loss {change} by {abs(fall):.0%} in pretraining")


def discriminator(run: Run, sample: str) -> Result:
    """Check that discriminators can tell tissue from reference before the two are matched.

    Trained alone first, a discriminator must separate the two before it can teach the encoder to
    mix them. Judged by the balanced accuracy of five, each on the fifth of locations and cells that
    it was not trained on: on its own training data a discriminator separates any small tissue from
    anything. A tissue drawn from the reference itself gives .5, within .03 at 300 locations and
    .1 at 60 (three standard errors); so .6 fails, and .7 is a difference too small to train on with
    ease. Both limits are conventions.
    """
    history = run.alignment(sample)
    if history is None or "discriminator" not in history.phase:
        return Result("not_run", "the tissue was matched to nothing (alignment none)")
    accuracy = history.warm_up_accuracy
    if accuracy is None:
        return Result("not_run", "too few locations or cells to keep any out of its training")
    status = grade_low(accuracy, WARMUP_WARN, WARMUP_FAIL)
    return Result(
        status, f"balanced accuracy {accuracy:.2f} on locations and cells that were kept out"
    )


def mixing(run: Run, sample: str) -> Result:
    """Check that tissue and reference cannot be told apart after alignment.

    Judged by the AUROC of a fresh, cross-validated classifier, never by the training
    discriminator, which can lose to the encoder and still leave the spaces apart.
    """
    evaluation = run.evaluation(sample)
    after = evaluation.alignment.auroc_after if evaluation else None
    if evaluation is None or after is None:
        return Result("not_run", "the alignment was not evaluated")
    before = evaluation.alignment.auroc_before
    was = "" if before is None else f", {before:.2f} before alignment"
    message = f"a fresh classifier tells tissue from reference with AUROC {after:.2f}{was}"
    return Result(grade_high(after, AUROC_WARN, AUROC_FAIL), message)


def above_null(run: Run, sample: str) -> Result:
    """Check that held-out genes are predicted better than by the null.

    The null knows a location's library size and nothing else. On spots that alone gives high raw
    correlations, so stlatent has to win raw and normalised; a margin below .02 is within noise.
    A null without a normalised value predicts a constant, which counts as 0.
    """
    medians = sample_medians(run.scores_of())
    margins = {}
    for measure, name in (("pcc", "raw"), ("pcc_normalised", "normalised")):
        ours, null = (value(medians, sample, method, measure) for method in (OURS, NULL))
        if ours is not None and (sample, NULL) in medians.index:
            margins[name] = (ours, null or 0.0)
    if not margins:
        return Result("not_run", "no held-out genes were scored")
    worst = min(ours - null for ours, null in margins.values())
    failed: Verdict = "failed" if worst <= MARGIN_FAIL else "passed"
    status = "warned" if failed == "passed" and worst < MARGIN_WARN else failed
    shown = ", ".join(
        f"{name} {signed(ours)} vs {signed(null)}" for name, (ours, null) in margins.items()
    )
    return Result(status, f"median held-out PCC, stlatent vs null: {shown}")


def reference_coverage(run: Run, sample: str) -> Result:
    """Check that the reference holds a counterpart of most of the tissue.

    More than a fifth uncovered warns; what is covered can still be used, so nothing fails. The limit
    is a convention.
    """
    imputation = run.imputation(sample)
    found = imputation.coverage if imputation else None
    if found is None:
        return Result("not_run", "coverage by the reference was not judged")
    if found.uncovered is None:
        return Result("not_run", f"coverage was not judged, as {found.not_judged}")
    share = found.uncovered
    status: Verdict = "warned" if share > UNCOVERED_WARN else "passed"
    return Result(status, f"{share:.0%} of the locations have no counterpart in the reference")


def intervals(run: Run, sample: str) -> Result:
    """Check that intervals hold as often as they promise, on genes that took no part.

    The largest difference, in percentage points, of hit rate and level.
    """
    calibration = run.calibration(sample)
    found = calibration.intervals if calibration else None
    if found is None:
        return Result("not_run", "intervals were not tested: too few genes were held out")
    gap, level = max((abs(one.hit_rate - one.level), one.level) for one in found.levels)
    measured = next(one.hit_rate for one in found.levels if one.level == level)
    message = (
        f"worst: intervals of {level} % hold {measured:.0f} % of {found.n_genes} genes' values"
    )
    return Result(grade_high(gap, HIT_RATE_WARN, HIT_RATE_FAIL), message)


CHECKS: tuple[Check, ...] = (
    Check(
        "tissue",
        "Tissue kept",
        "Did quality control leave most of the tissue?",
        "Look at the QC section for what was removed. If the tissue is good but shallow, lower "
        "spatial_min_counts and spatial_min_genes; if most locations lie off the tissue, use the "
        "vendor's in-tissue output.",
        tissue,
    ),
    Check(
        "shared_genes",
        "Shared genes",
        "Do tissue and reference share enough genes?",
        "Make sure both use the same species and the same kind of gene names (symbols against "
        "Ensembl ids). If the panel really is that small, trust only genes with a high held-out "
        "accuracy.",
        shared_genes,
    ),
    Check(
        "latent_space",
        "Latent space",
        "Does the VAE keep the reference's cell types apart as well as PCA?",
        "Train longer (vae_max_epochs), check that batch_key names the technical batches and not "
        "the biology, and that the labels are right. More cells in the reference also help.",
        latent_space,
    ),
    Check(
        "reconstruction",
        "Expression loss",
        "Did the expression reconstruction improve in pretraining?",
        "See the training curves. A flat curve means too few epochs or no signal: check that the "
        "input holds raw counts, then raise alignment_pretrain_epochs.",
        reconstruction,
    ),
    Check(
        "graph",
        "Graph loss",
        "Did the spatial graph reconstruction improve in pretraining?",
        "Check that the coordinates belong to these locations (same order, same section) and try "
        "another n_neighbors. Scattered cells without spatial structure also look like this.",
        graph,
    ),
    Check(
        "discriminator",
        "Discriminator",
        "Could a discriminator separate tissue and reference before they were matched?",
        "A discriminator that sees no difference teaches the adversary nothing, and shows the other "
        "kinds of alignment nothing to mend. Raise alignment_discriminator_epochs. If tissue "
        "and reference were mixed from the start (AUROC before alignment near 0.5), this is "
        "harmless: run with alignment none.",
        discriminator,
    ),
    Check(
        "mixing",
        "Mixing",
        "Are tissue and reference inseparable after alignment?",
        "Part of the tissue may have no counterpart in the reference: compare cell types, and "
        "find a reference that covers the tissue. Otherwise raise alignment_epochs or try another "
        "alignment (adversarial, sinkhorn, mmd). With alignment none nothing else is expected. "
        "Believe genes by their held-out accuracy, not by the alignment.",
        mixing,
    ),
    Check(
        "reference_coverage",
        "Coverage",
        "Does the reference cover the tissue?",
        "See the section on reference coverage for where. Do not use imputed genes of uncovered "
        "locations (obs['reference_covered']); add cells of the lacking kind to the reference.",
        reference_coverage,
    ),
    Check(
        "above_null",
        "Beats the null",
        "Are held-out genes predicted better than from library size alone?",
        "Do not use the imputed genes of this sample. Check that the reference is of the same "
        "tissue and species, then the other checks.",
        above_null,
    ),
    Check(
        "intervals",
        "Intervals",
        "Do the intervals of imputed values hold as often as they promise?",
        "Read the intervals as too narrow or too wide by what is shown in the chapter on trust. More "
        "held-out genes (evaluation_genes) make them steadier.",
        intervals,
    ),
)


def run_checks(run: Run, sample: str) -> dict[str, Result]:
    """Return the result of every check of `CHECKS` on one sample."""
    return {check.id: check.run(run, sample) for check in CHECKS}


def worst(results: dict[str, Result]) -> Verdict:
    """Return the most severe verdict."""
    return max((result.status for result in results.values()), key=SEVERITY.index)
