"""Compare the results of two runs of the pipeline, and fail where they differ by too much.

Usage: compare_results.py EXPECTED OTHER [--tolerance 0.001]
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

KEYS = {
    "evaluation/scores.csv": ["sample", "arm", "method", "fold", "seed", "gene"],
    "reliability.csv": ["gene"],
}
HEADLINE = "evaluation/headline.json"
NOT_COMPARED = {"seconds"}  # a method's running time


@dataclass(frozen=True)
class Difference:
    """The largest difference of one quantity, and where it is."""

    file: str
    what: str
    size: float
    where: str

    def line(self) -> str:
        """Give it as a line of text."""
        where = f": {self.what} ({self.where})" if self.size > 0 else ""
        return f"{self.size:10.3g}  {self.file}{where}"


def largest(expected: np.ndarray, other: np.ndarray) -> tuple[float, int]:
    """Find the largest absolute difference, with two missing values alike, and its position."""
    difference = np.abs(np.asarray(expected, float) - np.asarray(other, float)).ravel()
    missing = np.isnan(expected).ravel() != np.isnan(other).ravel()
    difference = np.where(missing, np.inf, np.nan_to_num(difference, nan=0.0))
    if not difference.size:
        return 0.0, -1
    position = int(difference.argmax())
    return float(difference[position]), position


def compare_tables(name: str, expected: pd.DataFrame, other: pd.DataFrame) -> list[Difference]:
    """Compare two tables with the same keys, one column after the other."""
    key = next(keys for suffix, keys in KEYS.items() if name.endswith(suffix))
    key = [column for column in key if column in expected]
    expected, other = expected.set_index(key).sort_index(), other.set_index(key).sort_index()
    if not expected.index.equals(other.index) or set(expected) != set(other):
        return [Difference(name, "table", np.inf, "other rows or columns")]
    found = []
    for column in [name for name in expected if name not in NOT_COMPARED]:
        a, b = expected[column], other[column]
        if pd.api.types.is_numeric_dtype(a) and not pd.api.types.is_bool_dtype(a):
            size, position = largest(a.to_numpy(float), b.to_numpy(float))
        else:
            differ = ((a != b) & ~(a.isna() & b.isna())).to_numpy(dtype=bool)
            size, position = float(differ.mean()), int(differ.argmax())
        found.append(Difference(name, str(column), size, str(expected.index[position])))
    return found


def compare_matrices(name: str, expected: anndata.AnnData, other: anndata.AnnData) -> Difference:
    """Compare imputed expression in units of each gene's standard deviation over the tissue."""
    if not (
        expected.obs_names.equals(other.obs_names) and expected.var_names.equals(other.var_names)
    ):
        return Difference(name, "matrix", np.inf, "other locations or genes")
    a, b = np.asarray(expected.X, float), np.asarray(other.X, float)
    deviation = np.maximum(a.std(axis=0), 1e-6)
    size, position = largest(a / deviation, b / deviation)
    gene = expected.var_names[position % a.shape[1]]
    return Difference(name, "imputed expression in standard deviations", size, f"gene {gene}")


def compared_files(folder: Path) -> list[str]:
    """List the files of a run that are compared."""
    patterns = [
        "evaluation/scores.csv",
        "evaluation/*/*.reliability.csv",
        "samples/*/*.imputed.h5ad",
    ]
    return sorted(str(p.relative_to(folder)) for pattern in patterns for p in folder.glob(pattern))


def compare(expected: Path, other: Path) -> list[Difference]:
    """Compare scores, reliability, imputed expression and failed samples of two runs."""
    names = compared_files(expected)
    if not names or not (expected / HEADLINE).exists():
        raise SystemExit(f"{expected} holds no finished run")
    missing = set(names) ^ set(compared_files(other))
    found = [Difference(name, "file", np.inf, "in one run only") for name in sorted(missing)]
    for name in sorted(set(names) - missing):
        if name.endswith(".h5ad"):
            pair = [anndata.read_h5ad(folder / name) for folder in (expected, other)]
            found.append(compare_matrices(name, *pair))
        else:
            # A method is called null, which pandas would take for a missing value.
            tables = [
                pd.read_csv(folder / name, keep_default_na=False, na_values=[""])
                for folder in (expected, other)
            ]
            found.extend(compare_tables(name, *tables))
    # Its figures are of the scores; cost may stand beside them.
    ends = [
        {name: json.loads((folder / HEADLINE).read_text())[name] for name in ("finished", "failed")}
        for folder in (expected, other)
    ]
    size = 0.0 if ends[0] == ends[1] else np.inf
    return [*found, Difference(HEADLINE, "samples finished and failed", size, "not the same")]


def main() -> None:
    """Compare two folders named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("expected", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--tolerance", type=float, default=0.001)
    arguments = parser.parse_args()
    found = compare(arguments.expected, arguments.other)
    print("Largest difference in each file:")
    for name in dict.fromkeys(item.file for item in found):
        print(max((item for item in found if item.file == name), key=lambda item: item.size).line())
    worst = max(found, key=lambda item: item.size)
    if worst.size > arguments.tolerance:
        print(
            f"Too large, tolerance {arguments.tolerance:g}: {worst.line().strip()}", file=sys.stderr
        )
        sys.exit(1)
    print(f"All within {arguments.tolerance:g}")


if __name__ == "__main__":
    main()
