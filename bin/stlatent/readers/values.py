"""Facts about the values of a matrix, found block by block, and the choice among matrices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class Facts:
    """What a scan of all values of a matrix found."""

    finite: bool = True
    negative: bool = False
    integer: bool = True
    nonzero: bool = False

    @property
    def counts(self) -> bool:
        """Whether the values can be counts: finite integers, none negative."""
        return self.finite and self.integer and not self.negative

    @property
    def intensities(self) -> bool:
        """Whether the values can be intensities: finite, none negative, not all zero."""
        return self.finite and self.nonzero and not self.negative


def scan(matrix: Any) -> Facts:
    """Scan a matrix in blocks, so that one on disk is never loaded whole.

    Parameters
    ----------
    matrix
        NumPy array, SciPy sparse matrix, HDF5 dataset or HDF5 group of a sparse matrix.
    """
    facts = Facts()
    for block in _blocks(matrix):
        found = _scan_block(block)
        facts = Facts(
            finite=facts.finite and found.finite,
            negative=facts.negative or found.negative,
            integer=facts.integer and found.integer,
            nonzero=facts.nonzero or found.nonzero,
        )
    return facts


def choose(matrices: Mapping[str, Any]) -> tuple[str, Facts]:
    """Return the first matrix that holds counts, or else the first one, and its facts.

    A file whose ``X`` is normalised often keeps the counts in ``layers['counts']`` or ``raw.X``.
    Where there are no counts and the first matrix holds negative values, as scaled data do, the
    first one without them is taken: scanpy's tutorials keep logarithms in ``raw.X`` then.
    """
    scanned: dict[str, Facts] = {}
    for name, matrix in matrices.items():
        scanned[name] = scan(matrix)
        if scanned[name].counts and scanned[name].nonzero:
            return name, scanned[name]
    first = next(iter(scanned))
    if scanned[first].negative:
        first = next((name for name, facts in scanned.items() if facts.intensities), first)
    return first, scanned[first]


def _blocks(matrix: Any) -> Iterator[np.ndarray]:
    values = _stored_values(matrix)
    step = max(1, BLOCK_VALUES // max(1, int(np.prod(values.shape[1:]))))
    for start in range(0, values.shape[0], step):
        yield np.asarray(values[start : start + step])


def _stored_values(matrix: Any) -> Any:
    if isinstance(matrix, h5py.Group):
        return matrix["data"]
    if isinstance(matrix, np.ndarray | h5py.Dataset):
        return matrix
    return matrix.data


def _scan_block(block: np.ndarray) -> Facts:
    if block.size == 0:
        return Facts()
    if block.dtype.kind in "bui":
        return Facts(negative=bool(block.min() < 0), nonzero=bool(block.any()))
    finite = bool(np.isfinite(block).all())
    return Facts(
        finite=finite,
        negative=bool((block < 0).any()),
        integer=finite and bool((np.rint(block) == block).all()),
        nonzero=bool(block.any()),
    )
