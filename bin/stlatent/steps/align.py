"""ALIGN: a tissue in the latent space of its reference, and what imputation takes from there."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from anndata import AnnData

from stlatent import slots
from stlatent.alignment.inner_folds import InnerFold, split_panel, store
from stlatent.alignment.inputs import prepare
from stlatent.alignment.result import Alignment
from stlatent.alignment.trainer import BLOCK_SIZE, align, align_unmatched
from stlatent.records.training import AlignmentHistory
from stlatent.smaller_batches import with_smaller_batches

if TYPE_CHECKING:
    import scipy.sparse as sp

    from stlatent.alignment.settings import AlignmentSettings
    from stlatent.records.inputs import Fold


def align_tissue(
    spatial: AnnData,
    reference: AnnData,
    fold: Fold,
    settings: AlignmentSettings,
    n_neighbors: int,
    n_inner_folds: int,
    key: str = "",
) -> tuple[AnnData, AlignmentHistory]:
    """Align a tissue to its reference, and once more for every inner fold of the panel.

    Parameters
    ----------
    spatial, reference
        After QC; the reference with its latent space.
    fold
        Genes hidden from everything, and the panel.
    settings
        Of the alignment. The warm-up is judged in the full fit alone, which the report shows.
    n_neighbors
        Spatial neighbours per location.
    n_inner_folds
        Parts of the panel to hide in turn; 0 for none.
    key
        Of the settings of this step and of those before it.

    Returns
    -------
    The tissue without expression, with its latent spaces, and how they were trained.
    """
    start = time.perf_counter()
    settings = replace(settings, judge_warm_up=settings.judge_warm_up and not fold.hidden)
    inputs = prepare(spatial, reference, fold.panel, fold.hidden, n_neighbors)

    def fit(batch_size: int) -> tuple[Alignment, list[InnerFold]]:
        sized = settings.with_batch_size(batch_size)
        alignment = align(inputs, sized)
        return alignment, align_inner(spatial, reference, fold, sized, n_neighbors, n_inner_folds)

    (alignment, inner), sizes = with_smaller_batches(fit, settings.batch_size, BLOCK_SIZE)
    seconds = time.perf_counter() - start
    aligned = latent_spaces(spatial, alignment, inputs.graph)
    slots.note(
        aligned,
        settings=key,
        fold=fold.name,
        seed=settings.seed,
        seconds=seconds,
        n_neighbors=n_neighbors,
        imputation_space=alignment.imputation_space,
        precision=alignment.chosen.placement.precision,
    )
    store(aligned, inner)
    history = AlignmentHistory(
        id=fold.sample,
        settings=key,
        fold=fold.name,
        seed=settings.seed,
        phase=alignment.history.phase,
        epoch=list(range(len(alignment.history.phase))),
        series=alignment.history.series,
        n_panel_genes=len(fold.panel),
        n_neighbors=n_neighbors,
        warm_up_accuracy=alignment.warm_up_accuracy,
        validation={slot: state.validation for slot, state in alignment.states.items()},
        imputation_space=alignment.imputation_space,
        seconds=seconds,
        batch_sizes=sizes,
    )
    return aligned, history


def align_inner(
    spatial: AnnData,
    reference: AnnData,
    fold: Fold,
    settings: AlignmentSettings,
    n_neighbors: int,
    n_folds: int,
) -> list[InnerFold]:
    """Align a tissue without each of ``n_folds`` parts of its panel in turn, matched to nothing.

    Parameters are those of `align_tissue`.
    """
    inner = []
    for hidden in split_panel(fold.panel, n_folds, settings.seed):
        visible = [gene for gene in fold.panel if gene not in set(hidden)]
        inputs = prepare(spatial, reference, visible, [*fold.hidden, *hidden], n_neighbors)
        inner.append(InnerFold(hidden, align_unmatched(inputs, settings)))
    return inner


def latent_spaces(spatial: AnnData, alignment: Alignment, adjacency: sp.csr_matrix) -> AnnData:
    """Return the locations without expression, with every latent space of their alignment.

    Parameters
    ----------
    spatial
        After QC.
    alignment
        Of the same locations.
    adjacency
        Symmetric 0/1 graph of the locations.
    """
    aligned = AnnData(obs=spatial.obs, uns={slots.UNS: slots.facts(spatial)})
    aligned.obsm[slots.SPATIAL] = spatial.obsm[slots.SPATIAL]
    for slot, state in alignment.states.items():
        aligned.obsm[slot] = state.placement.z
    aligned.obsm[slots.X_SPATIAL] = alignment.spatial
    aligned.obsm[slots.X_JOINT] = alignment.joint(adjacency)
    return aligned
