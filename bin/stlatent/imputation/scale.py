"""From the working scale to that of the tissue: counts, or intensities."""

from __future__ import annotations

import numpy as np

from stlatent.arrays import Array
from stlatent.imputation.view import Targets, View


def on_tissue_scale(predicted: Array, view: View, targets: Targets) -> Array:
    """Return predictions of a plain method as counts, or as intensities where the tissue holds those.

    Parameters
    ----------
    predicted
        Locations x targets, working scale.
    view, targets
        What the method predicted from, and what it predicted.
    """
    if view.library is None:
        return to_intensities(predicted)
    return to_counts(predicted, view.library, expected_total(view, targets))


def to_counts(log_predicted: Array, library: Array, total: float) -> Array:
    """Bring log-normalised predictions to the count scale: ``expm1(x) * library``, scaled.

    One factor for all genes makes them add up to ``total``: the mean of logarithms is below the
    logarithm of the mean, so that ``expm1`` alone would be too low.

    Parameters
    ----------
    log_predicted
        Locations x genes, log1p of counts per `REFERENCE_TARGET`; negative values count as 0.
    library
        Observed total of each location; a location without counts is predicted 0.
    total
        Expected sum of all predicted counts, see `expected_total`.
    """
    counts = np.expm1(np.maximum(log_predicted, 0.0)) * np.asarray(library)[:, None]
    predicted = float(counts.sum())
    return (counts * (total / predicted if predicted > 0 else 0.0)).astype(np.float32)


def to_intensities(predicted: Array) -> Array:
    """Shift the genes (columns) with negative predictions so that their least is 0."""
    return np.asarray(predicted - undershoot(predicted), dtype=np.float32)


def undershoot(predicted: Array) -> Array:
    """Return each gene's (column's) least prediction where it is negative, and 0 elsewhere."""
    return np.minimum(predicted.min(axis=0), 0.0)


def expected_total(view: View, targets: Targets) -> float:
    """Return the counts that the targets should have in the tissue, all together.

    The measured total of the panel times the reference's ratio of targets to panel.
    """
    panel = float(np.expm1(view.reference_panel).sum())
    target = float(np.expm1(targets.expression).sum())
    return view.panel_total * target / panel if panel > 0 else 0.0
