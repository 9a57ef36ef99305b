"""SHA-256 and size of what a user gave: a file, or every file of a folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any


def checksums(path: Path) -> list[dict[str, Any]]:
    """Return name, size and SHA-256 of a file, or of every file below a folder, sorted by name.

    Parameters
    ----------
    path
        A file, or a folder. Links are followed.

    Returns
    -------
    Per file ``name`` (within a folder, relative to it), ``bytes`` and ``sha256``; both are None
    for a file that cannot be read.
    """
    if not path.is_dir():
        return [_checksum(path, path.name)]
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return [_checksum(file, file.relative_to(path).as_posix()) for file in files]


def _checksum(path: Path, name: str) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"name": name, "bytes": path.stat().st_size, "sha256": digest}
    except OSError:
        return {"name": name, "bytes": None, "sha256": None}
