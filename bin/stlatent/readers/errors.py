"""What can be wrong with a user's file, in plain words."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from stlatent.failures import DataError, is_transient

MESSAGE_LENGTH = 200


class UnknownFormatError(DataError):
    """No reader recognises the file."""


class CoordinatesError(DataError):
    """The matrix is fine, the coordinates are not."""


@contextmanager
def as_data_errors(name: str) -> Iterator[None]:
    """Turn whatever reading a broken file raises into a `DataError` in plain words.

    What is the fault of the machine or its file system, not of the file, passes through.

    Parameters
    ----------
    name
        Of the file, for the message.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, DataError) or is_transient(error):
            raise
        msg = f"'{name}' cannot be read: {explain(error)}. Cure: {cure(error)}"
        raise DataError(msg) from error


def explain(error: Exception) -> str:
    """Say in plain words why a file could not be read."""
    if isinstance(error, DataError):
        return str(error)
    if isinstance(error, EOFError | zlib.error) or "gzip" in type(error).__name__.lower():
        return "the compressed file is cut short or damaged"
    if isinstance(error, UnicodeDecodeError):
        return "the file is not text in UTF-8"
    if isinstance(error, PermissionError):
        return "permission to read the file was denied"
    if isinstance(error, FileNotFoundError):
        return "the file is no longer there"
    if isinstance(error, OSError):
        return f"the file is cut short, damaged or not of the kind its name says ({_line(error)})"
    return f"its content is not as expected ({type(error).__name__}: {_line(error)})"


def cure(error: Exception) -> str:
    """Say what to do about a file that could not be read."""
    if isinstance(error, PermissionError):
        return "let the user that runs the pipeline read it"
    return "copy or download the file again, or export it anew"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:MESSAGE_LENGTH]
