"""Pieces of HTML that every page can show; ``style.css`` says how they look."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from stlatent.report.page.colours import STATUSES


def escape(value: Any) -> str:
    """Return ``value`` as text that is safe inside HTML."""
    return html.escape(str(value))


def prose(text: str) -> str:
    """Return paragraphs (HTML) in lines of a readable length."""
    return f'<div class="stl-prose">{text}</div>'


def scroll(content: str) -> str:
    """Return content (HTML) that scrolls where it is long."""
    return f'<div class="stl-scroll">{content}</div>'


def badge(status: str) -> str:
    """Return a coloured status word."""
    colour = STATUSES.get(status, STATUSES["not run"])
    return f'<span class="badge" style="background:{colour}">{escape(status)}</span>'


def tiles(items: Iterable[tuple[str, str, str]]) -> str:
    """Return figures in large print: for each its name, its value and a remark (HTML)."""
    inside = "".join(
        f'<div class="stl-tile"><span>{name}</span><b>{value}</b><span>{remark}</span></div>'
        for name, value, remark in items
    )
    return f'<div class="stl-tiles">{inside}</div>'


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]], style: str = "") -> str:
    """Return a plain table; cells are HTML already. Headings may break behind an underscore."""
    head = "".join(f"<th>{escape(name).replace('_', '_<wbr>')}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    thead = f"<thead><tr>{head}</tr></thead>" if header else ""
    return f'<table class="table table-sm stl-table {style}">{thead}<tbody>{body}</tbody></table>'
