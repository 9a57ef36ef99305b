"""Readers of users' files. Each format has a file, which this line imports; order is of no matter."""

from __future__ import annotations

from stlatent.readers import h5ad, mtx, table, tenx_h5  # noqa: F401
