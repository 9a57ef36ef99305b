"""What the JSON files that steps exchange or that the report reads have in common.

Each is one frozen dataclass, in the module of its step. `Record.write` and `Record.read` refuse what
a class does not name, what it lacks and numbers that are not finite, so that a step whose output
changes fails in its own test.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, TypeAdapter

from stlatent.failures import reading

Point = tuple[float, float]
Series = dict[str, list[float | None]]

# Name of the fold that hides nothing.
FULL_FIT = "all"


class Strict:
    """What records and their parts share."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)


class Record(Strict):
    """A JSON file.

    Attributes
    ----------
    SUFFIX
        How the file's name ends.
    STEP
        The process that writes it; empty where several do.
    INDENT
        For files that people read; None for those that would be many lines of numbers.
    """

    SUFFIX: ClassVar[str]
    STEP: ClassVar[str] = ""
    INDENT: ClassVar[int | None] = 1

    def write(self, path: str | Path) -> None:
        """Write the record.

        Raises
        ------
        pydantic.ValidationError
            When a value is not of the type that the class names, or not finite.
        """
        adapter = _adapter(type(self))
        content = adapter.dump_python(self, mode="json", by_alias=True, warnings="error")
        adapter.validate_python(content)
        text = json.dumps(content, indent=self.INDENT, allow_nan=False)
        Path(path).write_text(text + "\n")

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read the record of an earlier step."""
        with reading(path):
            found: Self = _adapter(cls).validate_json(Path(path).read_bytes())
        return found


_adapters: dict[type, TypeAdapter[Any]] = {}


def _adapter(kind: type) -> TypeAdapter[Any]:
    # Made when first needed, as scripts write one or two kinds.
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def read_known(paths: Iterable[Path], kinds: Iterable[type[Record]]) -> list[Record]:
    """Read the records of some kinds among any files, each recognised by the end of its name."""
    known = tuple(kinds)
    return [kind.read(path) for path in paths for kind in known if path.name.endswith(kind.SUFFIX)]
