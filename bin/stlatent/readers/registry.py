"""The registry of formats."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from stlatent.readers.contents import Contents
from stlatent.readers.coordinates import Coordinates
from stlatent.readers.errors import UnknownFormatError

Open = Callable[[Path, Coordinates | None], AbstractContextManager[Contents]]


@dataclass(frozen=True)
class Format:
    """One format: its name, how users know it, how to recognise and how to open it."""

    name: str
    title: str
    recognises: Callable[[Path], bool]
    open: Open


FORMATS: dict[str, Format] = {}


def register(name: str, title: str, recognises: Callable[[Path], bool]) -> Callable[[Open], Open]:
    """Register the decorated context manager as the reader of a format.

    Formats are tried in the order of their registration. The reader gets the path and the
    coordinates, when the user gave a file of them, and yields `Contents`.
    """

    def decorate(function: Open) -> Open:
        FORMATS[name] = Format(name, title, recognises, function)
        return function

    return decorate


def detect(path: str | Path) -> Format:
    """Return the format of a file or folder.

    Raises
    ------
    UnknownFormatError
        When no reader recognises it.
    """
    for candidate in FORMATS.values():
        if candidate.recognises(Path(path)):
            return candidate
    known = "; ".join(candidate.title for candidate in FORMATS.values())
    msg = f"'{Path(path).name}' is in no known format. Known: {known}"
    raise UnknownFormatError(msg)
