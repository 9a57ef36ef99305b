"""How a delimited text file is laid out, by its first lines."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from stlatent.failures import DataError

DELIMITERS = ("\t", ",", ";", " ")


@dataclass(frozen=True)
class Layout:
    """Delimiter and the fields of the first two lines."""

    delimiter: str
    first: list[str]
    second: list[str]


def open_text(path: Path) -> TextIO:
    """Open a text file, gzipped (by its name) or not, without a byte order mark."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def sniff(path: Path) -> Layout:
    """Find the delimiter (tab, comma, semicolon or space) in the first line.

    Raises
    ------
    DataError
        When the file is empty or its first line holds one field.
    """
    with open_text(path) as lines:
        head = [line.rstrip("\r\n") for line, _ in zip(lines, range(2), strict=False)]
    if not head or not head[0].strip():
        msg = f"'{path.name}' is empty or starts with a blank line"
        raise DataError(msg)
    delimiter = next((symbol for symbol in DELIMITERS if symbol in head[0]), None)
    if delimiter is None:
        msg = f"'{path.name}' is not a table: its first line has no comma, tab or semicolon"
        raise DataError(msg)
    fields = list(csv.reader(head, delimiter=delimiter))
    return Layout(delimiter, fields[0], fields[1] if len(fields) > 1 else [])


def is_number(value: str) -> bool:
    """Whether a field holds a number."""
    try:
        float(value)
    except ValueError:
        return False
    return True
