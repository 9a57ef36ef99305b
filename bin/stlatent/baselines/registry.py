"""The registry of methods to compare with.

The report and scripts that only need names import it: modules of methods import what takes long,
or predicts, inside their functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stlatent.baselines.interface import Predict


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes
    ----------
    package
        The installed package whose version says which method it is.
    cite
        Authors, journal and year, and the address of the paper; empty for textbook methods.
    published
        Whether it is somebody's method, which takes minutes to hours, and so a task of its own.
    """

    name: str
    package: str
    cite: str
    published: bool
    predict: Predict


METHODS: dict[str, Method] = {}


def register(
    name: str, *, package: str, cite: str = "", published: bool = False
) -> Callable[[Predict], Predict]:
    """Register the decorated function as a method; the parameters are attributes of `Method`."""

    def decorate(function: Predict) -> Predict:
        METHODS[name] = Method(name, package, cite, published, function)
        return function

    return decorate


def is_published(name: str) -> bool:
    """Tell published methods from plain ones, and from names that are no method."""
    return name in METHODS and METHODS[name].published


def parse_names(text: str) -> list[str]:
    """Split a list of methods at its commas.

    Raises
    ------
    ValueError
        When a name is unknown or there is none; the message lists the known ones.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        what = f"unknown method '{unknown[0]}'" if unknown else "name at least one method"
        msg = f"{what}: allowed are {', '.join(METHODS)}"
        raise ValueError(msg)
    return names
