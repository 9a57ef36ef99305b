"""Numbers as readers of the report see them."""

from __future__ import annotations


def signed(found: float) -> str:
    """Return two decimals with a true minus sign, and no minus before a zero."""
    return f"{round(found, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")
