"""Chapter 6: the curves of the VAE and of the alignment's full fit."""

from __future__ import annotations

import math
from typing import Any

from stlatent.report.page.content import TRAINING, Fragment, escape, series_colours, series_style
from stlatent.report.run.health import WARMUP_WARN
from stlatent.report.run.read import Json, Run

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


def sections(run: Run) -> list[Fragment]:
    """Return the chapter; only the full fit is drawn, not the folds."""
    fits = {sample: fit for sample in run.samples if (fit := run.alignment(sample)) is not None}
    curves = [*alignment_curves(fits), *discriminator_curve(fits)]
    for fragment in curves:
        fragment.options["pconfig"]["colors"] = series_colours(run.samples)
    return [*vae_curves(run), *curves]


def curve(values: list[float | None], steps: list[float]) -> Points:
    """Return the known points of a series, thinned to about `MAX_POINTS`."""
    pairs = zip(steps, values, strict=False)
    points = [[float(x), round(y, 5)] for x, y in pairs if y is not None and math.isfinite(y)]
    every = max(1, math.ceil(len(points) / MAX_POINTS))
    thinned = points[::every]
    return thinned if not points or thinned[-1] == points[-1] else [*thinned, points[-1]]


def vae_curves(run: Run) -> list[Fragment]:
    """Return training and validation loss of every reference's VAE."""
    views: dict[str, dict[str, Points]] = {}
    for reference, history in sorted(run.vae.items()):
        data: dict[str, Points] = {}
        for key, name in (("train_loss", "training"), ("validation_loss", "validation")):
            values = history["series"].get(key, [])
            epochs = history.get("epoch") or list(range(1, len(values) + 1))
            points = curve(values, epochs)
            if points:
                data[f"{reference}, {name}"] = points
        if data:
            views[reference] = data
    if not views:
        return []
    names = [name for data in views.values() for name in data]
    ylab = "Loss (negative ELBO per cell)"
    lines = [
        {"value": history["best_epoch"], "color": "#888888", "dash": "dot", "width": 1,
         "label": "best epoch"}
        for history in run.vae.values() if history.get("best_epoch") is not None
    ]  # fmt: skip
    pconfig = {
        "id": "training_vae_plot",
        "title": "Loss of the VAE on the reference",
        "xlab": "Epoch",
        "ylab": ylab,
        **series_style(names),
        "showlegend": True,
        "colors": {name: VAE_COLOURS[name.rpartition(", ")[2]] for name in names},
        "x_lines": lines if len(views) == 1 else [],
        "dash_styles": {name: "dash" for name in names if name.endswith("validation")},
        "tt_decimals": 1,
    }
    if len(views) > 1:
        pconfig["data_labels"] = [{"name": reference, "ylab": ylab} for reference in views]
    shown = list(views.values()) if len(views) > 1 else next(iter(views.values()))
    text = (
        "One VAE a reference, trained once and then frozen; one tab each. Both curves should fall and level off; "
        "a validation curve that rises again means overfitting."
    ) + smaller_batches(run.vae)
    return [
        Fragment(TRAINING, "training_vae", "VAE", text, "linegraph", shown, {"pconfig": pconfig})
    ]


def phase_starts(history: Json) -> list[tuple[str, int]]:
    """Return the phases of a fit with the step at which each starts, counted from 1."""
    phases = history.get("phase", [])
    changes = [
        place for place, name in enumerate(phases) if place == 0 or phases[place - 1] != name
    ]
    return [(phases[place], place + 1) for place in changes]


def phase_lines(fits: dict[str, Json]) -> list[dict[str, Any]]:
    """Return marks at the starts of phases, when all samples share them."""
    starts = [phase_starts(fit) for fit in fits.values()]
    if not starts or any(other != starts[0] for other in starts):
        return []
    return [
        {"value": start, "color": "#888888", "dash": "dot", "width": 1, "label": name}
        for name, start in starts[0]
    ]


def _steps(fit: Json) -> list[float]:
    return [float(place + 1) for place in range(len(fit.get("phase", [])))]


def smaller_batches(histories: dict[str, Json]) -> str:
    """Say which trainings a GPU could hold with smaller batches alone: their results depend on it."""
    reduced = [
        f"{escape(name)} ({sizes[0]} to {sizes[-1]})"
        for name, history in sorted(histories.items())
        if len(sizes := history.get("batch_sizes", [])) > 1
    ]
    said = "Trained with smaller batches than asked for, because the GPU's memory ran out"
    return f" <b>{said}:</b> {', '.join(reduced)}." if reduced else ""


def alignment_curves(fits: dict[str, Json]) -> list[Fragment]:
    """Return one tab a loss, one line a sample."""
    views: list[dict[str, Points]] = []
    titles: list[dict[str, str]] = []
    for series, title in LOSSES.items():
        lines = {
            sample: points
            for sample, fit in fits.items()
            if (points := curve(fit["series"].get(series, []), _steps(fit)))
        }
        if lines:
            views.append(lines)
            titles.append({"name": title, "ylab": f"{title} loss"})
    if not views:
        return []
    pconfig = {
        "id": "training_alignment_plot",
        "title": "Losses of the alignment",
        "xlab": "Epoch, through all phases",
        "ylab": titles[0]["ylab"],
        **series_style(list(fits)),
        "data_labels": titles,
        "x_lines": phase_lines(fits),
        "tt_decimals": 3,
    }
    text = (
        "The fit that gives the final result (no gene hidden). Reconstruction, transfer and graph "
        "should fall in the first phase and not jump up later. Dotted lines are the starts of the "
        "phases: <em>pretrain</em> (encoder alone), <em>discriminator</em> (its warm-up), "
        "<em>adversarial</em>, <em>paper</em>, <em>sinkhorn</em> or <em>mmd</em> (the tissue is matched to the "
        "reference; <em>continued</em> is the encoder alone where it is not)."
    ) + smaller_batches(fits)
    options = {"pconfig": pconfig}
    return [
        Fragment(TRAINING, "training_alignment", "Alignment", text, "linegraph", views, options)
    ]


def discriminator_curve(fits: dict[str, Json]) -> list[Fragment]:
    """Return the balanced accuracy of the training discriminator."""
    data = {
        sample: points
        for sample, fit in fits.items()
        if (points := curve(fit["series"].get("discriminator_accuracy", []), _steps(fit)))
    }
    if not data:
        return []
    levels = [
        {"value": 0.5, "color": "#888888", "dash": "dash", "width": 1, "label": "chance"},
        {"value": WARMUP_WARN, "color": "#a66200", "dash": "dash", "width": 1,
         "label": "wanted at the end of warm-up"},
    ]  # fmt: skip
    pconfig = {
        "id": "training_discriminator_plot",
        "title": "Accuracy of the discriminator on what it was not trained on",
        "xlab": "Epoch, through all phases",
        "ylab": "Balanced accuracy",
        **series_style(list(fits)),
        "ymin": 0.3,
        "ymax": 1,
        "y_lines": levels,
        "x_lines": phase_lines(fits),
        "tt_decimals": 2,
    }
    text = (
        "On the fifth of locations and cells that is kept out of its training: few on a small tissue, so the "
        "curve is rough. It has to rise in the warm-up, and to fall towards .5 where the encoder plays against it. "
        "The health check does not read the end of the warm-up off this curve: five more discriminators judge every "
        "location once. Whether the alignment worked is judged below by a fresh classifier."
    )
    name, options = "Discriminator", {"pconfig": pconfig}
    return [Fragment(TRAINING, "training_discriminator", name, text, "linegraph", data, options)]
