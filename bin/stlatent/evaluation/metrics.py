"""Agreement of imputed with measured expression, one value a gene.

Arrays are spots x genes. PCC, SSIM, RMSE and JS are those of SpatialBenchmarking (Li et al., Nature
Methods 2022, ``Benchmarking/GenesMetrics.py``): moments are taken over all spots, without a window.

Where a gene is constant on either side (see `stlatent.correlation`), correlations are 0 and RMSE, by
its identity ``RMSE = sqrt(2 (1 - PCC))``, is sqrt(2).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from stlatent.arrays import Array
from stlatent.correlation import is_constant, pcc
from stlatent.evaluation.score_table import METRICS
from stlatent.expression import enough_counts

_CHUNK_VALUES = 20_000_000


def spearman(measured: Array, imputed: Array) -> Array:
    """Spearman correlation: `pcc` of ranks, ties averaged; 0 where either is constant."""
    usable = ~(is_constant(measured) | is_constant(imputed))
    return np.where(usable, pcc(rankdata(measured, axis=0), rankdata(imputed, axis=0)), 0.0)


def rmse(measured: Array, imputed: Array) -> Array:
    """Root mean squared difference of z-scores (ddof 0), computed as sqrt(2 (1 - PCC))."""
    return np.sqrt(2.0 * (1.0 - pcc(measured, imputed)))


def ssim(measured: Array, imputed: Array) -> Array:
    """Structural similarity with global moments.

    Columns are divided by their maximum, then with C1 = .01^2, C2 = .03^2 and C3 = C2 / 2:
    ``(2 mx my + C1) / (mx^2 + my^2 + C1) * (2 sx sy + C2) / (sx^2 + sy^2 + C2) * (sxy + C3) / (sx sy + C3)``.
    A column without a positive value is an image of zeros.
    """
    x, y = _over_maximum(measured), _over_maximum(imputed)
    c1, c2 = 0.01**2, 0.03**2
    c3 = c2 / 2
    mx, my, sx, sy = x.mean(axis=0), y.mean(axis=0), x.std(axis=0), y.std(axis=0)
    sxy = ((x - mx) * (y - my)).mean(axis=0)
    luminance = (2 * mx * my + c1) / (mx**2 + my**2 + c1)
    contrast = (2 * sx * sy + c2) / (sx**2 + sy**2 + c2)
    return np.asarray(luminance * contrast * (sxy + c3) / (sx * sy + c3))


def jensen_shannon(measured: Array, imputed: Array) -> Array:
    """Jensen-Shannon divergence of the distributions over spots, in nats (at most ln 2).

    ``.5 KL(p || m) + .5 KL(q || m)``, p and q the columns divided by their sums, m = (p + q) / 2.
    Negative values count as 0; a column without a positive value is uniform.
    """
    p, q = _distribution(measured), _distribution(imputed)
    m = (p + q) / 2
    return np.clip((_divergence(p, m) + _divergence(q, m)) / 2, 0.0, np.log(2.0))


def library_normalised(values: Array, library: Array | None) -> Array:
    """Divide the library out: ``log1p(values / max(library, 1) * median(library))``.

    Parameters
    ----------
    values
        n x genes on the count scale; negative values count as 0.
    library
        n totals of the measured genes that the fold does not hide, or None for intensities, which
        are returned as they are.
    """
    values = np.asarray(values, dtype=float)
    if library is None:
        return values
    library = np.maximum(np.asarray(library, dtype=float), 1.0)[:, None]
    return np.log1p(np.maximum(values, 0.0) / library * np.median(library))


def score(measured: Array, imputed: Array, library: Array | None) -> dict[str, Array]:
    """Compute all `METRICS` for each gene.

    Missing predictions count as 0, and so do negative ones of genes that have no negative
    measurement. The normalised PCC is over locations with
    `enough_counts` alone, and 0 where these are fewer
    than two. Genes are taken in chunks, so that memory stays bounded.

    Parameters
    ----------
    measured, imputed
        n x genes, counts or intensities.
    library
        As for `library_normalised`.

    Raises
    ------
    ValueError
        When the shapes differ.
    """
    if measured.shape != imputed.shape:
        msg = f"measured is {measured.shape}, imputed {imputed.shape}"
        raise ValueError(msg)
    width = max(1, _CHUNK_VALUES // max(len(measured), 1))
    chunks = [
        _score_chunk(measured[:, start : start + width], imputed[:, start : start + width], library)
        for start in range(0, measured.shape[1], width)
    ]
    return {
        name: np.concatenate([chunk[name] for chunk in chunks] or [np.zeros(0)]) for name in METRICS
    }


def _score_chunk(measured: Array, imputed: Array, library: Array | None) -> dict[str, Array]:
    x = np.asarray(measured, dtype=float)
    y = np.nan_to_num(np.asarray(imputed, dtype=float), nan=0.0)
    y = np.where(x.min(axis=0) >= 0, np.maximum(y, 0.0), y)
    raw = pcc(x, y)
    return {
        "pcc": raw,
        "pcc_normalised": raw if library is None else _normalised_pcc(x, y, np.asarray(library)),
        "spearman": spearman(x, y),
        "ssim": ssim(x, y),
        "rmse": np.sqrt(2.0 * (1.0 - raw)),
        "js": jensen_shannon(x, y),
    }


def _normalised_pcc(x: Array, y: Array, library: Array) -> Array:
    kept = enough_counts(library, len(x))
    if kept.sum() < 2:
        return np.zeros(x.shape[1])
    known = library[kept]
    return pcc(library_normalised(x[kept], known), library_normalised(y[kept], known))


def _over_maximum(values: Array) -> Array:
    values = np.asarray(values, dtype=float)
    top = values.max(axis=0)
    return np.where(top > 0, values / np.where(top > 0, top, 1.0), 0.0)


def _distribution(values: Array) -> Array:
    values = np.maximum(np.asarray(values, dtype=float), 0.0)
    total = values.sum(axis=0)
    return np.where(total > 0, values / np.where(total > 0, total, 1.0), 1.0 / len(values))


def _divergence(p: Array, m: Array) -> Array:
    ratio = np.divide(p, m, out=np.ones_like(p), where=p > 0)
    return np.asarray((p * np.log(ratio)).sum(axis=0))
