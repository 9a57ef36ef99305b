"""Readers of users' files: one file a format, one registry."""

from __future__ import annotations

from stlatent.readers import h5ad, mtx, table, tenx_h5
from stlatent.readers.describe import describe
from stlatent.readers.errors import CoordinatesError, UnknownFormatError
from stlatent.readers.load import read
from stlatent.readers.registry import FORMATS, detect

__all__ = [
    "FORMATS",
    "CoordinatesError",
    "UnknownFormatError",
    "describe",
    "detect",
    "h5ad",
    "mtx",
    "read",
    "table",
    "tenx_h5",
]
