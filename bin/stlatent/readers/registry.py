"""The registry of formats: each says how it is recognised, what it consists of and how it is read.

Importing it, and the formats, loads no library that reads files: parsing a samplesheet stays quick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stlatent.readers.errors import UnknownFormatError

if TYPE_CHECKING:
    from stlatent.readers.contents import Contents
    from stlatent.readers.coordinates import Coordinates

type Open = Callable[[Path, Coordinates | None], AbstractContextManager[Contents]]

COORDINATES_CURE = "name a table of observations with columns x and y in column coordinates"


@dataclass(frozen=True)
class Format:
    """One format of users' files.

    Attributes
    ----------
    name
        In descriptions of files.
    title
        In messages.
    rank
        Formats are tried in this order, the lowest first.
    recognises
        Whether a file or folder is of the format.
    open
        Context manager that yields `Contents` of a file or folder. It gets the table of coordinates
        too, where there is one.
    suffixes
        Endings of the names of its files, in lower case; none for folders of any name.
    members
        The files of a folder that are read, which have checksums.
    positions
        Where a table of coordinates may lie, likeliest first: of the path of an input, relative,
        absolute or an address, paths of the same form.
    coordinates_cure
        What to do about an input without coordinates.
    """

    name: str
    title: str
    rank: int
    recognises: Callable[[Path], bool]
    open: Open
    suffixes: tuple[str, ...]
    members: Callable[[Path], Iterable[Path]]
    positions: Callable[[str], list[str]]
    coordinates_cure: str


FORMATS: dict[str, Format] = {}


def register(
    name: str,
    title: str,
    *,
    rank: int,
    suffixes: tuple[str, ...] = (),
    recognises: Callable[[Path], bool] | None = None,
    members: Callable[[Path], Iterable[Path]] = lambda _folder: (),
    positions: Callable[[str], list[str]] = lambda _path: [],
    coordinates_cure: str = COORDINATES_CURE,
) -> Callable[[Open], Open]:
    """Register the decorated context manager as the reader of a format; see `Format`.

    Without ``recognises`` a format is recognised by its suffixes, in lower case.
    """

    def by_suffix(path: Path) -> bool:
        return path.name.endswith(suffixes)

    def decorate(function: Open) -> Open:
        recognised = recognises or by_suffix
        FORMATS[name] = Format(
            name, title, rank, recognised, function, suffixes, members, positions, coordinates_cure
        )
        return function

    return decorate


def ranked() -> list[Format]:
    """Return all formats in the order in which they are tried."""
    return sorted(FORMATS.values(), key=lambda known: (known.rank, known.name))


def recognised(path: Path) -> Format | None:
    """Return the format of a file or folder, or None."""
    return next((known for known in ranked() if known.recognises(path)), None)


def detect(path: str | Path) -> Format:
    """Return the format of a file or folder.

    Raises
    ------
    UnknownFormatError
        When no reader recognises it.
    """
    found = recognised(Path(path))
    if found is None:
        titles = "; ".join(known.title for known in ranked())
        msg = f"'{Path(path).name}' is in no known format. Known: {titles}"
        raise UnknownFormatError(msg)
    return found


def without_suffix(path: str) -> str:
    """Return a path without the suffix of a known format, in upper or lower case."""
    suffixes = [suffix for known in FORMATS.values() for suffix in known.suffixes]
    endings = [suffix for suffix in suffixes if path.lower().endswith(suffix)]
    return path[: len(path) - max(map(len, endings), default=0)]


def coordinates_candidates(path: str) -> list[str]:
    """Return where coordinates of an input may lie, likeliest first, without looking at it.

    A path that has no format's suffix may be a folder of any format without one.
    """
    name = path.rstrip("/").lower()
    named = [known for known in ranked() if name.endswith(known.suffixes)]
    possible = named[:1] or [known for known in ranked() if not known.suffixes]
    found = [position for known in possible for position in known.positions(path)]
    return [position for position in dict.fromkeys(found) if position != path]
