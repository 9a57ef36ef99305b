"""What a chapter shows: tables, bars, lines, pictures and text. A page decides how they look."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Point = Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Block:
    """One thing under one heading.

    Attributes
    ----------
    id
        Unique in the report; starts with the id of its chapter.
    title
        The heading; empty for none.
    text
        A paragraph that says what is shown (HTML).
    """

    id: str
    title: str
    text: str = ""

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to show: the report leaves such a block out."""
        return False


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    description
        What the values are, in a sentence.
    kind
        A ``verdict`` is a word of `stlatent.report.page.colours.STATUSES`.
    decimals, unit
        How exactly a number is shown, and what follows it.
    bar
        Whether the size of a number is drawn behind it: an ``amount``, where more is more, or one
        of which a ``low`` value is good.
    least, most
        Ends of the bar's scale, where they are not those of the values.
    is_extra
        Shown on request only.
    """

    title: str
    description: str
    kind: Literal["number", "text", "verdict"] = "text"
    decimals: int = 2
    unit: str = ""
    bar: Literal["none", "amount", "low"] = "none"
    least: float | None = None
    most: float | None = None
    is_extra: bool = False


def number(title: str, description: str, decimals: int = 2, **more: Any) -> Column:
    """Return a column of numbers."""
    return Column(title, description, "number", decimals, **more)


def score(title: str, description: str, **more: Any) -> Column:
    """Return a column of scores between 0 and 1, with a bar."""
    return number(title, description, **{"bar": "amount", "least": 0, "most": 1, **more})


def words(title: str, description: str, **more: Any) -> Column:
    """Return a column of text."""
    return Column(title, description, **more)


def verdict(title: str, description: str) -> Column:
    """Return a column of statuses, each with its colour."""
    return Column(title, description, "verdict")


@dataclass(frozen=True, kw_only=True)
class Table(Block):
    """Rows by name. A value that is None, not a number or absent is unknown.

    Attributes
    ----------
    rows
        Values by the name of the row and the key of the column; text is HTML.
    of
        What a row is, the heading of the first column.
    """

    columns: Mapping[str, Column]
    rows: Mapping[str, Mapping[str, Any]]
    of: str = "Sample"

    @property
    def is_empty(self) -> bool:
        """Tell whether no cell has a value."""
        return all(is_unknown(value) for row in self.rows.values() for value in row.values())


@dataclass(frozen=True)
class Axis:
    """An axis: what it measures, its unit, and its ends where they are fixed."""

    label: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    is_logarithmic: bool = False


@dataclass(frozen=True)
class Part:
    """What the pieces of bars mean: a name and a colour."""

    name: str
    colour: str


@dataclass(frozen=True, kw_only=True)
class Bars(Block):
    """One bar, or one group of bars, a name.

    Attributes
    ----------
    caption
        What is drawn; stands above the plot.
    parts
        The parts of every bar by key, in order.
    bars
        The size of every part, by the name of the bar.
    layout
        Parts side by side (``grouped``), or on top of each other as ``amounts`` or as ``shares``
        of the whole; of the last two the reader may choose the other.
    decimals
        Of the numbers; as they are, if None.
    is_half
        The plot stands beside its neighbour where the page is wide enough.
    """

    caption: str
    axis: Axis
    parts: Mapping[str, Part]
    bars: Mapping[str, Mapping[str, float]]
    layout: Literal["grouped", "amounts", "shares"]
    decimals: int | None = None
    is_half: bool = False


@dataclass(frozen=True)
class Panel:
    """The lines of one view of a plot.

    Attributes
    ----------
    lines
        Points (x, y) by name.
    name
        What the reader picks the view by.
    x, y
        Labels of the axes, where they are not those of the plot.
    """

    lines: Mapping[str, Sequence[Point]]
    name: str = ""
    x: str = ""
    y: str = ""


@dataclass(frozen=True)
class Mark:
    """A line across a plot at a value of an axis; one that ``warns`` is a limit to keep."""

    at: float
    label: str = ""
    warns: bool = False


@dataclass(frozen=True, kw_only=True)
class Lines(Block):
    """Lines over a common axis, in one view or in several to choose from.

    Attributes
    ----------
    caption
        What is drawn; stands above the plot.
    colours
        By the name of the line.
    dashed
        Names of the lines that are told from the others by dashes.
    x_marks, y_marks
        Marks at values of either axis.
    expected
        Name and points of the line on which all others should lie, if there is one.
    decimals
        Of the numbers.
    is_half
        The plot stands beside its neighbour where the page is wide enough.
    """

    caption: str
    x: Axis
    y: Axis
    panels: Sequence[Panel]
    colours: Mapping[str, str]
    dashed: frozenset[str] = frozenset()
    x_marks: Sequence[Mark] = ()
    y_marks: Sequence[Mark] = ()
    expected: tuple[str, Sequence[Point]] | None = None
    decimals: int = 2
    is_half: bool = False


@dataclass(frozen=True, kw_only=True)
class Html(Block):
    """Text, lists and plain tables, marked up (`stlatent.report.page.markup`)."""

    body: str


@dataclass(frozen=True, kw_only=True)
class Figure(Block):
    """A picture.

    Attributes
    ----------
    title
        Whom it shows.
    text
        Its caption (HTML).
    alt
        The same in words, for those who do not see it.
    png
        The picture.
    file
        Where it is to be written beside the report as well, relative to it; empty for nowhere.
    """

    alt: str
    png: bytes
    file: str = ""


@dataclass(frozen=True, kw_only=True)
class Gallery(Block):
    """Pictures of the same kind.

    Attributes
    ----------
    are_small
        Several fit side by side.
    kept_in
        Folder of the results that holds all of them; empty for none.
    """

    figures: Sequence[Figure]
    are_small: bool = False
    kept_in: str = ""


@dataclass(frozen=True)
class ChapterBlocks:
    """A chapter as a page shows it: its id, its name, a sentence about it, and what is in it."""

    id: str
    title: str
    text: str
    blocks: Sequence[Block]


def figures(blocks: Sequence[Block]) -> Iterator[Figure]:
    """Return all pictures."""
    for block in blocks:
        if isinstance(block, Figure):
            yield block
        elif isinstance(block, Gallery):
            yield from block.figures


def is_unknown(value: Any) -> bool:
    """Tell None and floats that are no numbers."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))
