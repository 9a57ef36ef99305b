"""MultiQC's custom content: fragments of data that MultiQC draws, and the look they share."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Headers = dict[str, dict[str, Any]]

# Okabe and Ito's palette, made for colour-blind readers.
METHOD_COLOURS = {
    "stlatent": "#0072B2",
    "null": "#999999",
    "ridge": "#E69F00",
    "kernel_ridge": "#CC79A7",
    "knn": "#009E73",
    "tangram": "#D55E00",
    "gimvi": "#56B4E9",
    "spage": "#5D3A9B",
}
SERIES_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B")
MAX_LEGEND = 12
SPARE_COLOURS = ("#B8A900", "#8C564B", "#17BECF", "#E377C2", "#7F9C3B")
STATUS_COLOURS = {
    "passed": "#00795a",
    "finished": "#00795a",
    "warned": "#a66200",
    "warning": "#a66200",
    "failed": "#b3371b",
    "not run": "#8a8a8a",
}


@dataclass(frozen=True)
class Group:
    """A chapter of the report."""

    id: str
    name: str
    description: str


SUMMARY = Group("summary", "Summary", "What became of the samples, and how good the result is.")
HEALTH = Group("health", "Health checks", "The known ways in which such a model fails.")
ACCURACY = Group(
    "accuracy", "Held-out accuracy", "How well genes are predicted that the method never saw."
)
TRUST = Group(
    "trust",
    "Which genes to trust",
    "Reliability of imputed genes, and intervals of their values.",
)
MAPS = Group("maps", "Spatial maps", "Held-out genes on the tissue: measured above imputed.")
COVERAGE = Group(
    "coverage",
    "Reference coverage",
    "Where the tissue has no counterpart in the reference.",
)
QUALITY = Group("quality", "Quality control", "What went into the analysis and what was left out.")
TRAINING = Group("training", "Training", "Whether the models learned.")
ALIGNMENT = Group(
    "alignment", "Latent spaces and alignment", "Whether tissue and reference live in one space."
)
RESOURCES = Group("resources", "Resources", "What the run cost, and what to ask for.")
ABOUT = Group("about", "About this run", "Method, parameters and provenance.")


@dataclass(frozen=True)
class Fragment:
    """One section of the report, as MultiQC reads it.

    Attributes
    ----------
    group
        The chapter.
    id
        Unique; also the name of the file and the anchor in the page.
    name
        Heading; empty for none.
    description
        A sentence or two under the heading (HTML).
    plot_type
        ``html``, ``table``, ``bargraph`` or ``linegraph``.
    data
        What MultiQC expects for the plot type.
    options
        Further keys of MultiQC's custom content: ``pconfig``, ``headers``, ``categories``, ...
    """

    group: Group
    id: str
    name: str
    description: str
    plot_type: str
    data: Any
    options: dict[str, Any] = field(default_factory=dict)

    def payload(self) -> dict[str, Any]:
        """Return the content of the file."""
        content = {
            "id": self.id,
            "parent_id": self.group.id,
            "parent_name": self.group.name,
            "parent_description": self.group.description,
            "section_name": self.name,
            "description": self.description,
            "plot_type": self.plot_type,
            **self.options,
            "data": self.data,
        }
        cleaned: dict[str, Any] = without_gaps(content)
        return cleaned

    def write(self, folder: Path) -> None:
        """Write ``<id>_mqc.json`` into ``folder``."""
        (folder / f"{self.id}_mqc.json").write_text(json.dumps(self.payload(), indent=1) + "\n")


def without_gaps(content: Any) -> Any:
    """Drop None and not-a-number from dictionaries: MultiQC prints them as text."""
    if isinstance(content, dict):
        return {key: without_gaps(item) for key, item in content.items() if not _is_gap(item)}
    if isinstance(content, list | tuple):
        return [without_gaps(item) for item in content]
    return content


def _is_gap(item: Any) -> bool:
    return item is None or (isinstance(item, float) and not math.isfinite(item))


def text_section(group: Group, identifier: str, name: str, body: str) -> Fragment:
    """Return a section of plain HTML."""
    return Fragment(group, identifier, name, "", "html", body)


def table(
    group: Group,
    identifier: str,
    name: str,
    description: str,
    rows: dict[str, dict[str, Any]],
    headers: Headers,
    first_column: str = "Sample",
) -> list[Fragment]:
    """Return a table, or nothing when it would have no values."""
    if not any(not _is_gap(item) for row in rows.values() for item in row.values()):
        return []
    pconfig = {
        "id": f"{identifier}_table",
        "title": name or group.name,
        "col1_header": first_column,
        "namespace": "",
        "no_violin": True,
        "sort_rows": False,
        "save_data_file": False,
    }
    options = {"pconfig": pconfig, "headers": headers}
    return [Fragment(group, identifier, name, description, "table", rows, options)]


def number(title: str, description: str, decimals: int = 2, **more: Any) -> dict[str, Any]:
    """Return the header of a column of numbers, without a background bar."""
    shown = {"title": title, "description": description, "format": f"{{:z,.{decimals}f}}"}
    return {**shown, "scale": False, **more}


def score(title: str, description: str, **more: Any) -> dict[str, Any]:
    """Return the header of a column of scores between 0 and 1, with a bar."""
    return number(title, description, **{"scale": "Blues", "min": 0, "max": 1, **more})


def words(title: str, description: str, **more: Any) -> dict[str, Any]:
    """Return the header of a column of text."""
    return {"title": title, "description": description, "scale": False, **more}


def verdict(title: str, description: str) -> dict[str, Any]:
    """Return the header of a column of statuses, coloured by `STATUS_COLOURS`."""
    rules = {_rule(name): [{"s_eq": name}] for name in STATUS_COLOURS}
    colours = [{_rule(name): colour} for name, colour in STATUS_COLOURS.items()]
    return words(title, description, cond_formatting_rules=rules, cond_formatting_colours=colours)


def _rule(status: str) -> str:
    return f"stlatent_{status.replace(' ', '_')}"


def method_colours(methods: Sequence[str]) -> dict[str, str]:
    """Return one colour a method, the same in every plot of every run."""
    spare = [name for name in methods if name not in METHOD_COLOURS]
    extra = {name: SPARE_COLOURS[i % len(SPARE_COLOURS)] for i, name in enumerate(spare)}
    return {name: METHOD_COLOURS.get(name) or extra[name] for name in methods}


def series_style(names: Sequence[str]) -> dict[str, Any]:
    """Return the options of a line plot with one line a name: colours, and a legend if short."""
    return {
        "colors": series_colours(names),
        "showlegend": len(names) <= MAX_LEGEND,
        "series_label": False,
        "style": "lines",
    }


def series_colours(names: Iterable[str]) -> dict[str, str]:
    """Return one colour a name, by its place."""
    return {name: SERIES_COLOURS[i % len(SERIES_COLOURS)] for i, name in enumerate(names)}


def escape(value: Any) -> str:
    """Return ``value`` as text that is safe inside HTML."""
    return html.escape(str(value))


def signed(found: float) -> str:
    """Return two decimals with a true minus sign, and no minus before a zero."""
    return f"{round(found, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")


def badge(status: str) -> str:
    """Return a coloured status word."""
    colour = STATUS_COLOURS.get(status, STATUS_COLOURS["not run"])
    return f'<span class="badge" style="background:{colour}">{escape(status)}</span>'


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]], style: str = "") -> str:
    """Return a plain table; cells are HTML already. Headings may break behind an underscore."""
    head = "".join(f"<th>{escape(name).replace('_', '_<wbr>')}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    thead = f"<thead><tr>{head}</tr></thead>" if header else ""
    return f'<table class="table table-sm stl-table {style}">{thead}<tbody>{body}</tbody></table>'
