"""Arms of the study: what differs between them, and how each of them did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from statistics import median
from typing import Any

from stlatent.evaluation.score_table import OURS
from stlatent.records.run import Arm
from stlatent.report.page.blocks import Block, Html, Table, number, score, verdict, words
from stlatent.report.page.markup import badge, escape, html_table, scroll
from stlatent.report.run.health import KNN
from stlatent.report.run.model import Run
from stlatent.report.run.outcome import Outcome, outcome
from stlatent.report.run.scores import paired_difference, sample_medians, value

ID = "arms"
TITLE = "Arms of the study"
TEXT = "How the same samples fared under other settings."

MEASURES = {
    "normalised": score(
        "PCC norm.",
        "Median over held-out genes of the Pearson correlation of library-size normalised expression",
    ),
    "raw": score("PCC raw", "The same of raw counts"),
    "genes": number("Genes", "Held-out genes scored", 0),
    "auroc": score(
        "AUROC after",
        "A fresh classifier of tissue against reference, after alignment: 0.5 is perfectly mixed",
        bar="low",
        least=0.5,
    ),
    "discriminator": score(
        "Discriminator",
        "Balanced accuracy of the alignment's own discriminator in the last epoch: "
        "0.5 cannot tell tissue and reference apart",
        bar="low",
        least=0.5,
    ),
    "macro_f1": score(
        "kNN macro-F1",
        f"Cell types of the reference from the {KNN} nearest cells in the VAE's latent space",
    ),
    "accuracy": score("kNN accuracy", "The same: share of cells with the right type"),
    "reliable": number(
        "Reliable",
        "Imputed genes whose reliability is high",
        0,
        unit=" %",
        bar="amount",
        least=0,
        most=100,
    ),
    "seconds": number(
        "Time",
        "Training of the VAE, then alignment and imputation of one fold",
        0,
        unit=" s",
    ),
}
ARM_COLUMNS = {
    "changes": words("Settings", "Parameters that differ from those of the run"),
    "finished": words("Finished", "Samples that finished, with or without a warning"),
    **MEASURES,
}
SAMPLE_COLUMNS = {
    "status": verdict("Status", "finished, warning (a fold is missing) or failed"),
    **MEASURES,
}
DIFFERENCE_COLUMNS = {
    "median": number("Difference", "Median over genes of the difference of normalised PCC", 3),
    "low": number("from", "Lower end of its interval of 95 %", 3),
    "high": number("to", "Upper end of its interval of 95 %", 3),
    "better": number(
        "Genes better",
        "Held-out genes that this arm predicts better than the first",
        0,
        unit=" %",
        bar="amount",
        least=0,
        most=100,
    ),
    "genes": number("Genes", "Held-out genes scored in both arms", 0),
}


def overview(run: Run) -> list[Block]:
    """Return the arms side by side, or nothing where there is one."""
    if len(run.arms) < 2:
        return []
    ended = {arm.name: {s: outcome(run, s, arm) for s in run.samples} for arm in run.arms}
    measured = {arm.name: measures(run, arm) for arm in run.arms}
    return [
        arm_table(run, measured, ended),
        differences(run),
        *([sample_table(run, measured, ended)] if len(run.samples) > 1 else []),
        *failures(run, ended),
    ]


def measures(run: Run, arm: Arm) -> dict[str, dict[str, float | None]]:
    """Return what is known of every sample under an arm, by the keys of `MEASURES`."""
    scores = run.scores_of(arm)
    medians = sample_medians(scores)
    ours = scores[scores["method"] == OURS].groupby("sample")
    genes, seconds = ours["gene"].count().to_dict(), ours["seconds"].median().to_dict()
    return {
        sample: {
            "normalised": value(medians, sample, OURS, "pcc_normalised"),
            "raw": value(medians, sample, OURS, "pcc"),
            "genes": genes.get(sample),
            **spaces(run, sample, arm),
            "reliable": reliable(run, sample, arm),
            "seconds": total_seconds(run, sample, arm, seconds.get(sample)),
        }
        for sample in run.samples
    }


def spaces(run: Run, sample: str, arm: Arm) -> dict[str, float | None]:
    """Return how well tissue and reference mix, and how well the VAE keeps cell types apart."""
    evaluation, history = run.evaluation(sample, arm), run.alignment(sample, arm)
    curve = history.series.get("discriminator_accuracy", []) if history else []
    known = [accuracy for accuracy in curve if accuracy is not None]
    neighbours = evaluation.knn_reference if evaluation else None
    types = neighbours.spaces["X_vae"][KNN] if neighbours else None
    return {
        "auroc": evaluation.alignment.auroc_after if evaluation else None,
        "discriminator": known[-1] if known else None,
        "macro_f1": types.macro_f1 if types else None,
        "accuracy": types.accuracy if types else None,
    }


def reliable(run: Run, sample: str, arm: Arm) -> float | None:
    """Return the share of imputed genes whose reliability is high, in percent."""
    found = run.calibration(sample, arm)
    return 100 * found.labels.get("high", 0) / found.n_genes if found and found.n_genes else None


def total_seconds(run: Run, sample: str, arm: Arm, of_fold: float | None) -> float | None:
    """Return the seconds of the VAE and of one fold."""
    history = run.vae(sample, arm)
    return history.seconds + of_fold if history and of_fold is not None else None


def arm_table(
    run: Run,
    measured: dict[str, dict[str, dict[str, float | None]]],
    ended: dict[str, dict[str, Outcome]],
) -> Table:
    """Return one row an arm: its settings, and the median over samples of every measure."""
    rows: dict[str, dict[str, Any]] = {}
    for arm in run.arms:
        of_samples = measured[arm.name].values()
        done = sum(one.status != "failed" for one in ended[arm.name].values())
        rows[arm.name] = {
            "changes": changes(run, arm),
            "finished": f"{done} of {len(run.samples)}",
            **{key: middle(found[key] for found in of_samples) for key in MEASURES},
            "genes": sum(int(found["genes"] or 0) for found in of_samples) or None,
        }
    text = (
        "Every arm runs the same samples with other settings. Values are medians over samples; "
        "genes are counted over all of them. All other chapters show the first arm, "
        f"<b>{escape(run.arm.name)}</b>."
    )
    return Table(
        id="arms_table",
        title="Settings and results",
        text=text,
        columns=ARM_COLUMNS,
        rows=rows,
        of="Arm",
    )


def changes(run: Run, arm: Arm) -> str:
    """Return the parameters of an arm that differ from those of the run."""
    if arm.same_as:
        return f"the same as {escape(arm.same_as)}"
    changed = (f"{name} {escape(value)}" for name, value in arm.parameters.items())
    return ", ".join(changed) or "those of the run"


def middle(values: Iterable[float | None]) -> float | None:
    """Return the median of what is known."""
    known = [value for value in values if value is not None]
    return float(median(known)) if known else None


def differences(run: Run) -> Table:
    """Return how every arm differs from the first on the genes that both held out."""
    first = run.scores_of(run.arm)
    found = {
        arm.name: paired_difference(run.scores_of(arm), first)
        for arm in run.arms[1:]
        if arm.same_as != run.arm.name
    }
    text = (
        f"Each arm less the first, <b>{escape(run.arm.name)}</b>, gene by gene, all samples together. "
        "Arms may hold out other genes: only those scored in both count. "
        "The interval comes from a bootstrap over genes. Where it holds 0, chance may explain the "
        "difference."
    )
    return Table(
        id="arms_differences",
        title="Differences on the same genes",
        text=text,
        columns=DIFFERENCE_COLUMNS,
        rows={name: asdict(row) for name, row in found.items() if row},
        of="Arm",
    )


def sample_table(
    run: Run,
    measured: dict[str, dict[str, dict[str, float | None]]],
    ended: dict[str, dict[str, Outcome]],
) -> Table:
    """Return one row a sample and arm."""
    rows = {
        f"{sample}: {arm.name}": {
            "status": ended[arm.name][sample].status,
            **measured[arm.name][sample],
        }
        for sample in run.samples
        for arm in run.arms
    }
    return Table(
        id="arms_samples",
        title="Sample by sample",
        text="The values whose medians stand above.",
        columns=SAMPLE_COLUMNS,
        rows=rows,
        of="Sample and arm",
    )


def failures(run: Run, ended: dict[str, dict[str, Outcome]]) -> list[Block]:
    """Return what failed or is incomplete, and in which arms, or nothing."""
    arms: dict[Outcome, list[str]] = {}
    for sample in run.samples:
        for arm in run.arms:
            one = ended[arm.name][sample]
            if one.status != "finished":
                arms.setdefault(one, []).append(arm.name)
    if not arms:
        return []
    rows = [
        (
            f"<b>{escape(one.sample)}</b>",
            "all" if len(names) == len(run.arms) else escape(", ".join(names)),
            badge(one.status),
            escape(one.step),
            escape(one.reason),
        )
        for one, names in arms.items()
    ]
    header = ("Sample", "Arms", "Status", "Step", "Reason")
    text = "A failure costs the arms that it names; the other arms stand."
    body = scroll(html_table(header, rows, "stl-narrow"))
    return [Html(id="arms_failures", title="What failed", text=text, body=body)]
