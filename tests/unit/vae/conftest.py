from __future__ import annotations

import anndata
import pytest

from stlatent import slots
from stlatent.simulate import Settings, simulate


@pytest.fixture(scope="module")
def reference() -> anndata.AnnData:
    study = simulate(
        Settings(n_genes=620, n_panel=40, n_cells=50, n_spots=30, n_reference=257), seed=2
    )
    slots.note(study.reference, kind="reference", source="ref", counts=True, batch_key="batch")
    return study.reference


@pytest.fixture(scope="module")
def genes(reference: anndata.AnnData) -> list[str]:
    return reference.var_names[:100].tolist()
