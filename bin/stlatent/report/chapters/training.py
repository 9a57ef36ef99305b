"""Training: the curves of the VAE and of the alignment's full fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from stlatent.records.training import AlignmentHistory, VaeHistory
from stlatent.report.page.blocks import Axis, Block, Lines, Mark, Panel
from stlatent.report.page.colours import series_colours
from stlatent.report.page.markup import escape
from stlatent.report.run.health import WARMUP_WARN
from stlatent.report.run.model import Run

ID = "training"
TITLE = "Training"
TEXT = "Whether the models learned."

LOSSES = {
    "reconstruction": "Reconstruction",
    "transfer": "Transfer",
    "anchor": "Anchor",
    "graph": "Graph",
    "kl": "KL",
    "adversarial": "Adversarial",
    "divergence": "Divergence",
    "discriminator_loss": "Discriminator",
}
VAE_COLOURS = {"training": "#0072B2", "validation": "#D55E00"}
MAX_POINTS = 300
Points = list[list[float]]


def overview(run: Run) -> list[Block]:
    """Return the chapter; only the full fit is drawn, not the folds."""
    fits = {sample: fit for sample in run.samples if (fit := run.alignment(sample)) is not None}
    coloured = series_colours(run.samples)
    return [
        *vae_curves(run),
        *alignment_curves(fits, coloured),
        *discriminator_curve(fits, coloured),
    ]


def curve(values: Sequence[float | None], steps: Sequence[float]) -> Points:
    """Return the known points of a series, thinned to about `MAX_POINTS`."""
    pairs = zip(steps, values, strict=False)
    points = [[float(x), round(y, 5)] for x, y in pairs if y is not None and math.isfinite(y)]
    every = max(1, math.ceil(len(points) / MAX_POINTS))
    thinned = points[::every]
    return thinned if not points or thinned[-1] == points[-1] else [*thinned, points[-1]]


def vae_curves(run: Run) -> list[Lines]:
    """Return training and validation loss of every reference's VAE, one panel each."""
    panels = []
    histories = run.vaes_of()
    for reference, history in sorted(histories.items()):
        lines: dict[str, Points] = {}
        for key, name in (("train_loss", "training"), ("validation_loss", "validation")):
            values = history.series.get(key, [])
            epochs = history.epoch or list(range(1, len(values) + 1))
            points = curve(values, epochs)
            if points:
                lines[f"{reference}, {name}"] = points
        if lines:
            panels.append(Panel(lines, reference))
    if not panels:
        return []
    names = [name for panel in panels for name in panel.lines]
    best = [
        Mark(history.best_epoch, "best epoch")
        for history in histories.values()
        if history.best_epoch is not None
    ]
    text = (
        "One VAE a reference, trained once and then frozen; one tab each. Both curves should fall and level off; "
        "a validation curve that rises again means overfitting."
    ) + smaller_batches(histories)
    return [
        Lines(
            id="training_vae",
            title="VAE",
            text=text,
            caption="Loss of the VAE on the reference",
            x=Axis("Epoch"),
            y=Axis("Loss (negative ELBO per cell)"),
            panels=panels,
            colours={name: VAE_COLOURS[name.rpartition(", ")[2]] for name in names},
            dashed=frozenset(name for name in names if name.endswith("validation")),
            x_marks=best if len(panels) == 1 else [],
            decimals=1,
        )
    ]


def phase_starts(history: AlignmentHistory) -> list[tuple[str, int]]:
    """Return the phases of a fit with the step at which each starts, counted from 1."""
    phases = history.phase
    changes = [
        place for place, name in enumerate(phases) if place == 0 or phases[place - 1] != name
    ]
    return [(phases[place], place + 1) for place in changes]


def phase_marks(fits: dict[str, AlignmentHistory]) -> list[Mark]:
    """Return marks at the starts of phases, when all samples share them."""
    starts = [phase_starts(fit) for fit in fits.values()]
    if not starts or any(other != starts[0] for other in starts):
        return []
    return [Mark(start, name) for name, start in starts[0]]


def _steps(fit: AlignmentHistory) -> list[float]:
    return [float(place + 1) for place in range(len(fit.phase))]


def smaller_batches(histories: Mapping[str, VaeHistory | AlignmentHistory]) -> str:
    """Say which trainings a GPU could hold with smaller batches alone: their results depend on it."""
    reduced = [
        f"{escape(name)} ({sizes[0]} to {sizes[-1]})"
        for name, history in sorted(histories.items())
        if len(sizes := history.batch_sizes) > 1
    ]
    said = "Trained with smaller batches than asked for, because the GPU's memory ran out"
    return f" <b>{said}:</b> {', '.join(reduced)}." if reduced else ""


def alignment_curves(fits: dict[str, AlignmentHistory], coloured: dict[str, str]) -> list[Lines]:
    """Return one panel a loss, one line a sample."""
    panels = []
    for series, title in LOSSES.items():
        lines = {
            sample: points
            for sample, fit in fits.items()
            if (points := curve(fit.series.get(series, []), _steps(fit)))
        }
        if lines:
            panels.append(Panel(lines, title, y=f"{title} loss"))
    if not panels:
        return []
    text = (
        "The fit that gives the final result (no gene hidden). Reconstruction, transfer and graph "
        "should fall in the first phase and not jump up later. Dotted lines are the starts of the "
        "phases: <em>pretrain</em> (encoder alone), <em>discriminator</em> (its warm-up), "
        "<em>adversarial</em>, <em>paper</em>, <em>sinkhorn</em> or <em>mmd</em> (the tissue is matched to the "
        "reference; <em>continued</em> is the encoder alone where it is not)."
    ) + smaller_batches(fits)
    return [
        Lines(
            id="training_alignment",
            title="Alignment",
            text=text,
            caption="Losses of the alignment",
            x=Axis("Epoch, through all phases"),
            y=Axis("Loss"),
            panels=panels,
            colours=coloured,
            x_marks=phase_marks(fits),
            decimals=3,
        )
    ]


def discriminator_curve(fits: dict[str, AlignmentHistory], coloured: dict[str, str]) -> list[Lines]:
    """Return the balanced accuracy of the training discriminator."""
    lines = {
        sample: points
        for sample, fit in fits.items()
        if (points := curve(fit.series.get("discriminator_accuracy", []), _steps(fit)))
    }
    if not lines:
        return []
    text = (
        "On the fifth of locations and cells that is kept out of its training: few on a small tissue, so the "
        "curve is rough. It has to rise in the warm-up, and to fall towards .5 where the encoder plays against it. "
        "The health check does not read the end of the warm-up off this curve: five more discriminators judge every "
        "location once. Whether the alignment worked is judged below by a fresh classifier."
    )
    return [
        Lines(
            id="training_discriminator",
            title="Discriminator",
            text=text,
            caption="Accuracy of the discriminator on what it was not trained on",
            x=Axis("Epoch, through all phases"),
            y=Axis("Balanced accuracy", low=0.3, high=1),
            panels=[Panel(lines)],
            colours=coloured,
            x_marks=phase_marks(fits),
            y_marks=[
                Mark(0.5, "chance"),
                Mark(WARMUP_WARN, "expected at the end of warm-up", warns=True),
            ],
        )
    ]
