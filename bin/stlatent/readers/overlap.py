"""Signs that a file joins several tissue sections whose coordinates overlap.

A graph of such a file would join locations of different sections, and nobody would notice.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from stlatent.records.inputs import Overlap
from stlatent.sampling import subset

# Of names in lower case, with underscores for dots, blanks and hyphens.
SECTION_COLUMN = re.compile(
    r"(((tissue|brain)_)?(section|slice)|slide|sample|library|puck|batch|replicate|animal|mouse"
    r"|donor|patient|subject|specimen)(_(id|name|label))?|capture_area|orig_ident|bregma"
)
# Of 10x: a list of barcodes that all slides share, or the places of Visium HD.
BARCODE = re.compile(r"[ACGT]{12,}|s_\d{3}um_\d+_\d+")
MIN_LOCATIONS = 50
MAX_SECTIONS = 200
MIN_MINORITY = 0.05
N_NEAREST = 6
MAX_LOCATIONS = 5000
# Sections side by side have 0 to 0.02, two that overlap by half 0.24 to 0.54, wholly 1 or more.
MIXED = 0.25
# Cells may lie closer (22 % of a section of osmFISH do, 476 of them on one place with another).
NEAR, SHARE_NEAR = 0.05, 0.5


def overlapping_sections(obs: pd.DataFrame, coordinates: np.ndarray) -> Overlap | None:
    """Find a sign that locations are of several sections which lie on each other.

    There are three: values of a column with a name such as ``section`` lie among each other; locations
    that share barcodes do; or most locations lie on another one.

    Parameters
    ----------
    obs
        Annotations of ``n_obs`` locations, indexed by their names.
    coordinates
        ``n_obs x 2`` or 3.

    Returns
    -------
    None when there is no sign. At most `MAX_LOCATIONS` are looked at, among all others.
    """
    if len(obs) < MIN_LOCATIONS:
        return None
    rows = subset(len(obs), MAX_LOCATIONS, seed=0)
    distances, nearest = cKDTree(coordinates).query(coordinates[rows], k=N_NEAREST + 1)
    for place, column in enumerate(obs.columns):
        name = re.sub(r"[.\s-]", "_", str(column).strip().lower())
        if SECTION_COLUMN.fullmatch(name) and mixed(obs.iloc[:, place].astype(str), rows, nearest):
            sign = f"locations of different values of column '{column}' lie among each other"
            return Overlap(sign, str(column))
    parts = [BARCODE.search(str(name)) for name in obs.index]
    if all(parts):
        barcodes = pd.Index([part.group() for part in parts if part])
        names = pd.Series(obs.index.astype(str))
        rest = [BARCODE.sub("", name, count=1) for name in names]
        if barcodes.has_duplicates and mixed(pd.Series(rest), rows, nearest):
            same = names[barcodes == barcodes[barcodes.duplicated()][0]]
            shown = " and ".join(f"'{name}'" for name in same[:2])
            sign = f"locations that share barcodes, such as {shown}, lie among each other"
            return Overlap(sign, None)
    share = float(np.mean(distances[:, 1] <= NEAR * distances[:, -1]))
    if share > SHARE_NEAR:
        return Overlap(f"{share:.0%} of the locations lie on another one", None)
    return None


def mixed(labels: pd.Series[str], rows: np.ndarray, nearest: np.ndarray) -> bool:
    """Whether neighbours differ in their label at least `MIXED` times as often as random pairs do.

    Parameters
    ----------
    labels
        Of all locations.
    rows, nearest
        Some locations, and the places of their nearest, themselves among them: ``m x (k + 1)``.
    """
    codes, values = pd.factorize(labels)
    shares = np.bincount(codes) / len(codes)
    if not 1 < len(values) <= MAX_SECTIONS or 1 - shares.max() < MIN_MINORITY:
        return False
    others = nearest != rows[:, None]
    differ = (codes[nearest] != codes[rows][:, None])[others].mean()
    return bool(differ >= MIXED * (1 - (shares**2).sum()))
