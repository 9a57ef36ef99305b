"""SHA-256 and size of an input: a file, or the files of a folder that its reader opens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from stlatent.readers.registry import recognised
from stlatent.records.inputs import InputFile


def checksums(path: Path) -> list[InputFile]:
    """Return name, size and SHA-256 of a file, or of the files below a folder, sorted by name.

    Parameters
    ----------
    path
        A file, or a folder. Links are followed.

    Returns
    -------
    In a folder names are relative to it, and only what the reader of its format opens is read: the
    rest, which may be images or alignments of any size, has no checksum.
    """
    if not path.is_dir():
        return [_checksum(path, path.name)]
    found = {file.relative_to(path).as_posix(): file for file in _files(path)}
    known = recognised(path)
    opened = set(known.members(path)) if known else set()
    return [_checksum(file, name, file in opened) for name, file in sorted(found.items())]


def _files(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Yield the files below a folder; a link to a folder above it is not entered again."""
    above |= {folder.resolve()}
    try:
        inside = list(folder.iterdir())
    except OSError:
        return
    for path in inside:
        if path.is_dir():
            if path.resolve() not in above:
                yield from _files(path, above)
        elif path.is_file():
            yield path


def _checksum(path: Path, name: str, read: bool = True) -> InputFile:
    try:
        size, digest = path.stat().st_size, None
        if read:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        return InputFile(name, size, digest)
    except OSError:
        return InputFile(name, None, None)
