"""Simulated tissues and references as they are after QC, and folds of their genes."""

from __future__ import annotations

import anndata
import numpy as np

from stlatent import slots
from stlatent.records.inputs import Fold
from stlatent.simulate import Study

STRUCTURED = ("marker", "gradient", "lineage")


def noted(adata: anndata.AnnData, kind: str, counts: bool = True) -> anndata.AnnData:
    adata = adata.copy()
    slots.note(adata, kind=kind, source="s", counts=counts)
    return adata


def fold_of(study: Study, sample: str, n_hidden: int = 40, n_unused: int = 0) -> Fold:
    """Hide every other gene with structure, and leave ``n_unused`` genes out of the panel as well."""
    names = list(study.samples[sample].measured.var_names)
    structured = study.genes.loc[names, "structure"].isin(STRUCTURED)
    hidden = np.array(names)[structured][::2][:n_hidden].tolist()
    panel = [name for name in names if name not in set(hidden)]
    return Fold("s", "1", hidden, panel[: len(panel) - n_unused])
