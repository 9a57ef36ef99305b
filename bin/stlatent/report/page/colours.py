"""What colours mean, the same on every page: methods, samples and statuses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# Okabe and Ito's palette, made for colour-blind readers.
METHODS = {
    "stlatent": "#0072B2",
    "null": "#999999",
    "ridge": "#E69F00",
    "kernel_ridge": "#CC79A7",
    "knn": "#009E73",
    "tangram": "#D55E00",
    "gimvi": "#56B4E9",
    "spage": "#5D3A9B",
}
SPARE = ("#B8A900", "#8C564B", "#17BECF", "#E377C2", "#7F9C3B")
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B")
STATUSES = {
    "passed": "#00795a",
    "finished": "#00795a",
    "warned": "#a66200",
    "warning": "#a66200",
    "failed": "#b3371b",
    "not run": "#8a8a8a",
}


def method_colours(methods: Sequence[str]) -> dict[str, str]:
    """Return one colour a method, the same in every plot of every run."""
    spare = [name for name in methods if name not in METHODS]
    extra = {name: SPARE[i % len(SPARE)] for i, name in enumerate(spare)}
    return {name: METHODS.get(name) or extra[name] for name in methods}


def series_colours(names: Iterable[str]) -> dict[str, str]:
    """Return one colour a name, by its place."""
    return {name: SERIES[i % len(SERIES)] for i, name in enumerate(names)}
