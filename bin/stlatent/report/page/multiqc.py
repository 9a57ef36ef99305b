"""Draws chapters with MultiQC: fragments of its custom content, and its configuration.

No other file knows MultiQC, but for the constant part of its configuration in ``assets/``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any

from stlatent.report.page.blocks import (
    Bars,
    Block,
    ChapterBlocks,
    Column,
    Figure,
    Gallery,
    Html,
    Lines,
    Mark,
    Table,
    is_unknown,
)
from stlatent.report.page.colours import STATUSES
from stlatent.report.page.markup import escape, prose

Json = dict[str, Any]

CONFIGURATION = "page_config.json"
STYLE = "page_style.css"
MAX_LEGEND = 12
FIGURES_EMBEDDED = 12
FIGURES_OPEN = 4
HALF_HEIGHT = 420
GREY, WARNING = "#888888", STATUSES["warning"]
BAR_SCALES = {"none": False, "amount": "Blues", "low": "Oranges"}
HALF = "@media (min-width: 1300px) { %s { display: inline-block; width: 49.5%%; vertical-align: top; } }\n"


def write(chapters: Sequence[ChapterBlocks], folder: Path) -> None:
    """Write what MultiQC reads into ``folder``.

    Parameters
    ----------
    chapters
        In the order of the page.
    folder
        Gets a fragment a block (``<id>_mqc.json``) and the configuration that puts them in order
        (``page_config.json`` with ``page_style.css``, for ``multiqc --config``).
    """
    for chapter in chapters:
        for block in chapter.blocks:
            text = json.dumps(fragment(chapter, block), indent=1)
            (folder / f"{block.id}_mqc.json").write_text(text + "\n")
    order = {chapter.id: [block.id for block in chapter.blocks] for chapter in chapters}
    (folder / CONFIGURATION).write_text(json.dumps(configuration(order), indent=1) + "\n")
    blocks = [block for chapter in chapters for block in chapter.blocks]
    halves = [block.id for block in blocks if isinstance(block, Bars | Lines) and block.is_half]
    (folder / STYLE).write_text(style(halves))


def configuration(order: dict[str, list[str]]) -> Json:
    """Return the configuration for chapters with the ids of their blocks, both in order.

    MultiQC sorts the sections of a chapter by name unless each has a place.
    """
    places = {
        block: {"order": place}
        for blocks in order.values()
        for place, block in enumerate(blocks, 1)
    }
    return {
        "custom_content": {"order": [chapter for chapter, blocks in order.items() if blocks]},
        "report_section_order": places,
        "custom_css_files": [STYLE],
    }


def style(halves: Iterable[str]) -> str:
    """Return the style of the page, in which the blocks of ``halves`` stand side by side."""
    selected = ", ".join(f"#mqc-section-wrapper-{name}" for name in halves)
    files = [Path(__file__).with_name(name) for name in ("style.css", "multiqc.css")]
    whole = "".join(path.read_text() for path in files)
    return whole + (HALF % selected if selected else "")


def fragment(chapter: ChapterBlocks, block: Block) -> Json:
    """Return a block as a section of MultiQC's custom content."""
    content = {
        "id": block.id,
        "parent_id": chapter.id,
        "parent_name": chapter.title,
        "parent_description": chapter.text,
        "section_name": block.title,
        "description": block.text,
        **draw(block),
    }
    cleaned: Json = without_unknown(content)
    return cleaned


def without_unknown(content: Any) -> Any:
    """Drop None and not-a-number from dictionaries: MultiQC prints them as text."""
    if isinstance(content, dict):
        return {k: without_unknown(item) for k, item in content.items() if not is_unknown(item)}
    if isinstance(content, list | tuple):
        return [without_unknown(item) for item in content]
    return content


@singledispatch
def draw(block: Block) -> Json:
    """Return the plot type, its options and the data of a block."""
    raise TypeError(f"no way to draw {type(block).__name__}")


@draw.register
def _table(block: Table) -> Json:
    pconfig = {
        "id": f"{block.id}_table",
        "title": block.title,
        "col1_header": block.of,
        "namespace": "",
        "no_violin": True,
        "sort_rows": False,
        "save_data_file": False,
    }
    headers = {key: header(column) for key, column in block.columns.items()}
    rows = {name: dict(row) for name, row in block.rows.items()}
    return {"plot_type": "table", "pconfig": pconfig, "headers": headers, "data": rows}


def header(column: Column) -> Json:
    """Return MultiQC's description of a column."""
    content: Json = {
        "title": column.title,
        "description": column.description,
        "scale": BAR_SCALES[column.bar],
        "min": column.least,
        "max": column.most,
    }
    if column.kind == "number":
        content["format"] = f"{{:z,.{column.decimals}f}}"
    if column.kind == "verdict":
        content["cond_formatting_rules"] = {_rule(s): [{"s_eq": s}] for s in STATUSES}
        content["cond_formatting_colours"] = [{_rule(s): c} for s, c in STATUSES.items()]
    if column.unit:
        content["suffix"] = column.unit
    if column.is_extra:
        content["hidden"] = True
    return content


def _rule(status: str) -> str:
    return f"stlatent_{status.replace(' ', '_')}"


@draw.register
def _bars(block: Bars) -> Json:
    per_bar = 14 * (len(block.parts) + 1) if block.layout == "grouped" else 30
    pconfig: Json = {
        "id": f"{block.id}_plot",
        "title": block.caption,
        "ylab": block.axis.label,
        "ysuffix": block.axis.unit or None,
        "ymin": block.axis.low,
        "ymax": block.axis.high,
        "tt_decimals": block.decimals,
        "series_label": False,
        "sort_samples": False,
        "height": 180 + per_bar * len(block.bars),
    }
    if block.layout == "grouped":
        pconfig |= {"stacking": "group", "cpswitch": False, "hide_zero_cats": False}
    else:
        pconfig["cpswitch_c_active"] = block.layout == "amounts"
    parts = {key: {"name": part.name, "color": part.colour} for key, part in block.parts.items()}
    data = {name: dict(bar) for name, bar in block.bars.items()}
    return {"plot_type": "bargraph", "categories": parts, "pconfig": pconfig, "data": data}


@draw.register
def _lines(block: Lines) -> Json:
    first = block.panels[0]
    pconfig: Json = {
        "id": f"{block.id}_plot",
        "title": block.caption,
        "xlab": first.x or block.x.label,
        "ylab": first.y or block.y.label,
        "xsuffix": block.x.unit or None,
        "ysuffix": block.y.unit or None,
        "xmin": block.x.low,
        "xmax": block.x.high,
        "ymin": block.y.low,
        "ymax": block.y.high,
        "xlog": block.x.is_logarithmic or None,
        "ylog": block.y.is_logarithmic or None,
        "tt_decimals": block.decimals,
        "colors": dict(block.colours),
        "showlegend": max(len(panel.lines) for panel in block.panels) <= MAX_LEGEND,
        "series_label": False,
        # Points tell the lines from the one that they should lie on.
        "style": "lines+markers" if block.expected else "lines",
        "dash_styles": dict.fromkeys(sorted(block.dashed), "dash") or None,
        "x_lines": [mark(one, "dot") for one in block.x_marks] or None,
        "y_lines": [mark(one, "dash") for one in block.y_marks] or None,
        "height": HALF_HEIGHT if block.is_half else None,
    }
    if block.expected:
        name, points = block.expected
        line = {"color": "#222222", "dash": "dash", "width": 2}
        pconfig["extra_series"] = {"name": name, "pairs": [list(p) for p in points], **line}
    data: Any = [_points(panel.lines) for panel in block.panels]
    if len(block.panels) > 1:
        pconfig["data_labels"] = [
            {"name": panel.name, "xlab": panel.x or block.x.label, "ylab": panel.y or block.y.label}
            for panel in block.panels
        ]
    else:
        (data,) = data
    return {"plot_type": "linegraph", "pconfig": pconfig, "data": data}


def _points(lines: Any) -> dict[str, list[list[float]]]:
    return {name: [list(point) for point in points] for name, points in lines.items()}


def mark(one: Mark, dash: str) -> Json:
    """Return MultiQC's description of a line across the plot."""
    colour = WARNING if one.warns else GREY
    label = {"label": one.label} if one.label else {}
    return {"value": one.at, "color": colour, "dash": dash, "width": 1, **label}


@draw.register
def _html(block: Html) -> Json:
    return html(f"{paragraph(block.text)}{block.body}")


@draw.register
def _figure(block: Figure) -> Json:
    return html(
        f'<figure class="stl-map">{image(block)}<figcaption>{block.text}</figcaption></figure>'
    )


@draw.register
def _gallery(block: Gallery) -> Json:
    shown, rest = block.figures[:FIGURES_EMBEDDED], block.figures[FIGURES_EMBEDDED:]
    if block.are_small:
        body = "".join(
            f'<figure class="stl-map"><figcaption>{caption(figure)}</figcaption>{image(figure)}</figure>'
            for figure in shown
        )
        body = f'<div class="stl-columns">{body}</div>'
    else:
        body = "".join(
            f'<details class="stl-map"{" open" if place < FIGURES_OPEN else ""}>'
            f"<summary>{caption(figure)}</summary>{image(figure)}</details>"
            for place, figure in enumerate(shown)
        )
    return html(f"{paragraph(block.text)}{body}{others(rest, block.kept_in)}")


def html(body: str) -> Json:
    """Return a section of HTML; its text is part of it, so that it stands in the same place."""
    return {"plot_type": "html", "description": "", "data": body}


def paragraph(text: str) -> str:
    """Return a paragraph, or nothing."""
    return prose(f"<p>{text}</p>") if text else ""


def caption(figure: Figure) -> str:
    """Return whom a picture shows, and what (HTML)."""
    return f"<b>{escape(figure.title)}</b>: {figure.text}"


def image(figure: Figure) -> str:
    """Return a picture as part of the page."""
    code = base64.b64encode(figure.png).decode("ascii")
    return f'<img alt="{escape(figure.alt)}" src="data:image/png;base64,{code}">'


def others(figures: Sequence[Figure], kept_in: str) -> str:
    """Return where the pictures are that the page has no room for."""
    if not figures or not kept_in:
        return ""
    names = ", ".join(escape(figure.title) for figure in figures)
    return f"<p>The same pictures of {names} are in <code>{escape(kept_in)}</code>.</p>"
