"""Weights of the stack: what the candidates predict when some of the panel is hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stlatent.imputation.candidates import Candidates, stacked
from stlatent.imputation.stack import Weights, equal_weights, learn_weights, moments

if TYPE_CHECKING:
    from stlatent.alignment.inner_folds import InnerFold
    from stlatent.imputation.view import View, Views


def inner_view(fold: InnerFold, views: Views, panel: list[str], hidden: list[str]) -> View:
    """Return the view of an inner fold inside an outer one with ``panel`` and ``hidden`` genes."""
    away = set(fold.hidden)
    visible = [gene for gene in panel if gene not in away]
    return views.view(visible, [*hidden, *fold.hidden], fold.placement)


def stack_weights(
    folds: list[InnerFold],
    views: Views,
    panel: list[str],
    hidden: list[str],
    names: tuple[str, ...] | None = None,
) -> Weights:
    """Learn the stack's weights from inner folds, or take equal ones without any.

    Parameters
    ----------
    folds
        Inner folds of the panel.
    views
        Of the tissue.
    panel, hidden
        Of the outer fold.
    names
        Candidates to combine; those of the stack by default.
    """
    names = names or stacked()
    if not folds:
        return equal_weights(list(names))
    found = []
    for fold in folds:
        view = inner_view(fold, views, panel, hidden)
        candidates, targets = Candidates(view), view.targets(fold.hidden)
        predicted = [candidates.predict(name, targets) for name in names]
        measured = views.measured(fold.hidden, view.library)
        found.append(moments(predicted, measured, view.library))
    return learn_weights(names, found)
