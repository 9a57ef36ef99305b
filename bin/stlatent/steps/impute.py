"""IMPUTE: genes of the reference at every location of one tissue."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stlatent import slots
from stlatent.alignment import inner_folds
from stlatent.alignment.placement import Placement
from stlatent.imputation.candidates import CANDIDATES, Candidates
from stlatent.imputation.imputer import Block, Imputer, gene_blocks
from stlatent.imputation.output import ImputedFile, gene_table
from stlatent.imputation.view import LatentSpace, Views
from stlatent.imputation.weights import inner_view, stack_weights
from stlatent.inputs.genes import delivered_genes
from stlatent.records.base import FULL_FIT
from stlatent.records.imputation import Imputation
from stlatent.records.inputs import Fold
from stlatent.trust import reference_coverage
from stlatent.trust.gene_features import COMPARED, GeneFeatures

if TYPE_CHECKING:
    from anndata import AnnData

    from stlatent.vae.storage import SavedVAE


@dataclass(frozen=True)
class Options:
    """What a run chooses.

    Attributes
    ----------
    genes
        ``hvg``, ``all``, or the path of a file with one gene a line; of the full fit only.
    imputer
        The method of ``X``.
    seed
        Of whatever is sampled.
    settings
        Key of the settings of this step and those before it.
    """

    genes: str
    imputer: str
    seed: int
    settings: str = ""


def impute(
    tissue: AnnData,
    reference: AnnData,
    vae: SavedVAE,
    aligned: AnnData,
    fold: Fold,
    options: Options,
    output: Path,
) -> Imputation:
    """Impute the hidden genes of a fold, or in the full fit the genes that a run delivers.

    Folds carry every candidate, so that each is scored; the full fit those of the latent space, the
    paper's two ways, the normalised scale, and what reliability and reference coverage need.

    Parameters
    ----------
    tissue, reference
        After QC.
    vae
        Of the reference.
    aligned
        Output of ALIGN in this fold.
    fold
        Of the genes.
    options
        What to impute, and how.
    output
        The h5ad file to write.

    Raises
    ------
    DataError
        When genes are missing, or no gene of a list is known.
    """
    is_full, method = fold.name == FULL_FIT, options.imputer
    views = views_of(tissue, reference, vae, aligned, options.seed)
    imputer, learning = learned_imputer(views, aligned, fold)
    genes, unknown = list(fold.hidden), list[str]()
    if is_full:
        genes, unknown = delivered_genes(options.genes, imputer.genes(method), vae.genes)
    var = gene_table(genes, method, set(tissue.var_names), set(vae.genes))
    skeleton = without_expression(tissue, var, aligned, is_full, options.settings)
    covered = None
    if is_full:
        judged = reference_coverage.assess(
            tissue, reference, fold.panel, placement_of(aligned).z, vae.latent, options.seed
        )
        covered = reference_coverage.summarise(judged, tissue, options.seed)
        # What was not judged is left out: readers differ in how they take missing truth values.
        skeleton.obs = skeleton.obs.assign(**judged.dropna(axis=1, how="all"))
    if imputer.view.expected_library is not None:
        skeleton.obs = skeleton.obs.assign(
            **{slots.EXPECTED_LIBRARY: imputer.view.expected_library}
        )
    layers = [
        name
        for name, candidate in CANDIDATES.items()
        if name != method and (candidate.needs_alignment or not is_full)
    ]
    with ImputedFile(output, skeleton, method, layers, normalised=is_full) as file:
        table = pd.concat(described(imputer, genes, method, layers, file.write))
        if is_full:
            inner = inner_folds.load(aligned)
            table = without_own_measurements(table, views, inner, imputer, method)
        file.replace_var(skeleton.var.join(table))
        seconds = imputer.seconds(float(slots.facts(aligned)["seconds"]), learning)
        file.note(
            seconds={**seconds, "stlatent": seconds[method]}, weights=imputer.stack.by_candidate
        )
    return Imputation(
        sample=fold.sample,
        settings=options.settings,
        fold=fold.name,
        seed=options.seed,
        default_method=method,
        weights=imputer.stack.by_candidate,
        inner_correlation=imputer.stack.correlation,
        genes_not_in_reference=unknown,
        coverage=covered,
    )


def views_of(
    tissue: AnnData, reference: AnnData, space: LatentSpace, aligned: AnnData, seed: int
) -> Views:
    """Return what makes the views of a tissue, with as many neighbours as it was aligned with."""
    return Views(tissue, reference, int(slots.facts(aligned)["n_neighbors"]), seed, space)


def placement_of(aligned: AnnData) -> Placement:
    """Return the placement that ALIGN chose for the imputation."""
    noted = slots.facts(aligned)
    z = np.asarray(aligned.obsm[noted["imputation_space"]], dtype=np.float32)
    return Placement(z, float(noted["precision"]))


def learned_imputer(views: Views, aligned: AnnData, fold: Fold) -> tuple[Imputer, float]:
    """Return the imputer of a fold, its weights learned on inner folds, and the seconds it took."""
    began = time.perf_counter()
    inner = inner_folds.load(aligned)
    weights = stack_weights(inner, views, fold.panel, fold.hidden)
    seconds = time.perf_counter() - began
    view = views.view(fold.panel, fold.hidden, placement_of(aligned))
    return Imputer(Candidates(view), weights), seconds


def without_expression(
    tissue: AnnData, var: pd.DataFrame, aligned: AnnData, is_full: bool, settings: str
) -> AnnData:
    """Return the output but for its expression; in the full fit with the latent spaces."""
    import anndata

    noted = slots.facts(aligned)
    kept = [name for name in aligned.obsm if is_full and not slots.is_inner_slot(name)]
    facts = {name: value for name, value in noted.items() if name != "inner_folds"}
    return anndata.AnnData(
        obs=tissue.obs,
        var=var,
        obsm={slot: aligned.obsm[slot] for slot in kept or [slots.SPATIAL]},
        uns={slots.UNS: {**facts, "settings": settings}},
    )


def described(
    imputer: Imputer,
    genes: list[str],
    method: str,
    others: list[str] | None = None,
    use: Callable[[Block], None] | None = None,
) -> Iterator[pd.DataFrame]:
    """Impute genes block by block and yield what speaks for their predictions, a row a gene.

    Parameters
    ----------
    imputer
        What predicts.
    genes
        To impute.
    method
        Whose predictions are described.
    others
        Further methods that ``use`` needs.
    use
        Called with every block.
    """
    view = imputer.view
    features = GeneFeatures(view, view.latent, view.expected_library)
    methods = list(dict.fromkeys([method, *(others or []), *COMPARED]))
    for names in gene_blocks(genes):
        block = imputer.predict(names, methods)
        if use is not None:
            use(block)
        compared = [block.predicted[name] for name in COMPARED]
        yield features.table(
            block.targets,
            block.predicted[method],
            compared,
            block.normalised(method),
            block.counts(method),
        ).set_axis(names)


def without_own_measurements(
    table: pd.DataFrame,
    views: Views,
    inner: list[inner_folds.InnerFold],
    imputer: Imputer,
    method: str,
) -> pd.DataFrame:
    """Return features in which no gene of the panel vouches for itself.

    Predicted from its own measurements, any gene looks reliable. The features of a gene of the panel
    come from the inner fold that hides it, or it has none.

    Parameters
    ----------
    table
        Of `described`, in the full fit.
    views
        Of the tissue.
    inner
        The inner folds.
    imputer, method
        Of ``table``.
    """
    table, panel = table.copy(), imputer.view.panel
    # The moments stay: intervals standardise the values that are written by them.
    columns = [name for name in table if name not in (slots.NORMALISED_MEAN, slots.NORMALISED_SD)]
    for fold in inner:
        genes = [gene for gene in fold.hidden if gene in table.index]
        if genes:
            blind = Imputer(Candidates(inner_view(fold, views, panel, [])), imputer.stack)
            found = pd.concat(described(blind, genes, method))
            table.loc[genes, columns] = found[columns]
    hidden = {gene for fold in inner for gene in fold.hidden}
    never = [gene for gene in panel if gene in table.index and gene not in hidden]
    table.loc[never, list(slots.FEATURES)] = np.nan
    return table
