"""Tissues with known truth: a reference, an imaging-like sample and a spot-like sample.

Every count matrix is drawn from one model. A cell of type t at place s with program activities a has
the gene proportions ``p_g ∝ exp(base_g + type_tg + sum_k a_k loading_kg)``; a matrix observes
``NegativeBinomial(mean = library * p_g * platform_g / norm, theta)``, thinned by dropout in the
reference. Spots add up the proportions of their cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from stlatent.arrays import Array

if TYPE_CHECKING:
    from anndata import AnnData


CELL_TYPES = (
    "Excitatory",
    "Inhibitory",
    "Progenitor",
    "Astrocyte",
    "Oligodendrocyte",
    "Microglia",
    "Endothelial",
)
TISSUE_ONLY_TYPE = "Ependymal"
REGIONS = ("Marginal", "Upper", "Deep", "White", "Nucleus")
# Share of each of CELL_TYPES in each of REGIONS.
COMPOSITION = np.array(
    [
        [0.05, 0.20, 0.02, 0.45, 0.08, 0.10, 0.10],
        [0.60, 0.16, 0.02, 0.10, 0.04, 0.04, 0.04],
        [0.35, 0.30, 0.08, 0.10, 0.09, 0.04, 0.04],
        [0.03, 0.04, 0.05, 0.18, 0.58, 0.07, 0.05],
        [0.05, 0.62, 0.12, 0.08, 0.05, 0.04, 0.04],
    ]
)
REFERENCE_COMPOSITION = np.array([0.22, 0.20, 0.08, 0.14, 0.14, 0.12, 0.10])
LINEAGE = (0, 0, 0, 1, 1, 2, 2)
MITOCHONDRIAL = ("mt-Nd1", "mt-Nd2", "mt-Co1", "mt-Co2", "mt-Atp6", "mt-Co3", "mt-Nd4", "mt-Cytb")
TISSUE_WIDTH = 2000.0
NUCLEUS_CENTRE = (1400.0, 700.0)
NUCLEUS_RADIUS = 330.0
PATCH_CENTRE = (250.0, 250.0)
PATCH_RADIUS = 160.0


@dataclass(frozen=True)
class Settings:
    """Sizes and strengths of a simulated study; libraries are medians in counts per observation."""

    n_genes: int = 1000
    n_panel: int = 150
    n_cells: int = 900
    n_spots: int = 400
    n_reference: int = 1200
    markers_per_type: int = 22
    lineage_genes: int = 30
    program_genes: int = 90
    weak_genes: int = 150
    reference_library: float = 1800.0
    cell_library: float = 160.0
    spot_library: float = 2500.0
    dispersion: float = 4.0
    dropout: float = 0.3
    batch_effect: float = 0.25
    platform_effect: float = 0.4
    poor_fraction: float = 0.02
    tissue_only_type: bool = True


@dataclass(frozen=True)
class SimulatedSample:
    """One tissue sample with its truth.

    Attributes
    ----------
    measured
        What a user would have: counts (n x measured genes), ``obsm['spatial']`` in micrometres.
    expected
        n x all genes: noise-free expected counts, with the library and platform effects.
    proportions
        n x all genes: noise-free expression, rows sum to one, without platform effects.
    composition
        n x types: share of each type in the observation; columns are those of ``Study.types``.
    """

    measured: AnnData
    expected: Array
    proportions: Array
    composition: Array


@dataclass(frozen=True)
class Study:
    """A simulated reference and its samples.

    Attributes
    ----------
    reference
        Counts (cells x genes) with ``obs['cell_type']`` and ``obs['batch']``.
    samples
        By name: ``sample_a`` (single cells, a panel) and ``sample_b`` (spots, all genes).
    genes
        One row a gene in the order of the truth: ``structure`` (``marker``, ``lineage``,
        ``gradient``, ``state``, ``weak``, ``none`` or ``mitochondrial``) and ``mean`` proportion.
    types
        Names of the cell types, the tissue-only one last.
    """

    reference: AnnData
    samples: dict[str, SimulatedSample]
    genes: pd.DataFrame
    types: tuple[str, ...]


@dataclass(frozen=True)
class _Programs:
    names: list[str]
    structure: Array
    base: Array
    types: Array
    gradient: Array
    state: Array


def simulate(settings: Settings | None = None, seed: int = 0) -> Study:
    """Draw a study.

    Parameters
    ----------
    settings
        Sizes and strengths; the defaults give the demo.
    seed
        The same seed and settings give the same study.

    Raises
    ------
    ValueError
        When the structured genes do not fit into ``n_genes`` or the panel does not.
    """
    settings = settings or Settings()
    rng = np.random.default_rng(seed)
    programs = _programs(settings, rng)
    mean = np.exp(programs.base) / np.exp(programs.base).sum()
    genes = pd.DataFrame(
        {"structure": programs.structure, "mean": mean}, index=pd.Index(programs.names, name="gene")
    )
    return Study(
        reference=_reference(settings, programs, rng),
        samples={
            "sample_a": _cells(settings, programs, rng),
            "sample_b": _spots(settings, programs, rng),
        },
        genes=genes,
        types=(*CELL_TYPES, TISSUE_ONLY_TYPE),
    )


def _gene_names(n: int, rng: np.random.Generator) -> list[str]:
    """Mouse-like symbols, unique ignoring case; the first are mitochondrial."""
    consonants, vowels = list("BCDFGKLMNPRSTVZ"), list("aeiou")
    names = list(MITOCHONDRIAL[:n])
    seen = {name.lower() for name in names}
    while len(names) < n:
        stem = "".join([rng.choice(consonants), rng.choice(vowels), rng.choice(consonants).lower()])
        name = f"{stem}{rng.integers(1, 40)}"
        # Spreadsheets turn these into dates.
        if name.lower() in seen or stem in {"Mar", "Dec", "Sep"}:
            continue
        seen.add(name.lower())
        names.append(name)
    return names


def _programs(settings: Settings, rng: np.random.Generator) -> _Programs:
    n, n_types = settings.n_genes, len(CELL_TYPES) + 1
    sizes = [
        ("marker", settings.markers_per_type * n_types),
        ("lineage", settings.lineage_genes * (max(LINEAGE) + 1)),
        ("gradient", settings.program_genes),
        ("state", settings.program_genes),
        ("weak", settings.weak_genes),
    ]
    n_mito = len(MITOCHONDRIAL)
    if n_mito + sum(size for _, size in sizes) > n:
        msg = f"{n} genes cannot hold {n_mito + sum(size for _, size in sizes)} structured ones"
        raise ValueError(msg)
    if settings.n_panel > n - n_mito:
        msg = f"a panel of {settings.n_panel} does not fit into {n - n_mito} genes"
        raise ValueError(msg)
    structure = np.full(n, "none", dtype=object)
    structure[:n_mito] = "mitochondrial"
    order = n_mito + rng.permutation(n - n_mito)
    start = 0
    for name, size in sizes:
        structure[order[start : start + size]] = name
        start += size
    base = rng.normal(0.0, 1.2, n)
    base[:n_mito] = np.log(np.exp(base[n_mito:]).sum() * 0.05 / n_mito) + rng.normal(0, 0.3, n_mito)
    types = np.zeros((n_types, n))
    members = np.flatnonzero(structure == "marker").reshape(n_types, -1)
    for cell_type, markers in enumerate(members):
        types[:, markers] -= 0.8
        types[cell_type, markers] += 0.8 + rng.normal(2.0, 0.5, len(markers))
    for lineage, shared in enumerate(
        np.flatnonzero(structure == "lineage").reshape(max(LINEAGE) + 1, -1)
    ):
        effect = rng.normal(1.0, 0.3, len(shared))
        for member in np.flatnonzero(np.array(LINEAGE) == lineage):
            types[member, shared] += effect
    weak = np.flatnonzero(structure == "weak")
    types[rng.integers(0, n_types, len(weak)), weak] += rng.uniform(0.3, 0.8, len(weak))
    gradient, state = np.zeros(n), np.zeros(n)
    for loading, name in ((gradient, "gradient"), (state, "state")):
        at = np.flatnonzero(structure == name)
        loading[at] = rng.choice([-1.0, 1.0], len(at)) * rng.uniform(0.4, 1.2, len(at))
    return _Programs(_gene_names(n, rng), structure, base, types, gradient, state)


def _proportions(programs: _Programs, types: Array, gradient: Array, state: Array) -> Array:
    """Proportions (cells x genes): neurons follow the gradient, glia and others the state."""
    neuron = (types < 3)[:, None]
    log = programs.base + programs.types[types]
    log = log + np.where(
        neuron, gradient[:, None] * programs.gradient, state[:, None] * programs.state
    )
    weights = np.exp(log)
    return weights / weights.sum(axis=1, keepdims=True)


def _platform(settings: Settings, n: int, rng: np.random.Generator) -> Array:
    return np.exp(rng.normal(0.0, settings.platform_effect, n))


def _counts(mean: Array, dispersion: float, rng: np.random.Generator) -> sparse.csr_matrix:
    drawn = rng.poisson(rng.gamma(dispersion, np.maximum(mean, 1e-12) / dispersion))
    return sparse.csr_matrix(drawn.astype(np.float32))


def _libraries(
    median: float, n: int, poor_fraction: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Log-normal libraries and which observations are of poor quality (a tenth of the counts)."""
    poor = rng.random(n) < poor_fraction
    return median * np.exp(rng.normal(0.0, 0.35, n)) * np.where(poor, 0.1, 1.0), poor


def _annotated(
    counts: sparse.csr_matrix, obs: dict[str, Array], names: list[str], prefix: str
) -> AnnData:
    from anndata import AnnData

    index = [f"{prefix}{i:04d}" for i in range(counts.shape[0])]
    table = pd.DataFrame({key: pd.Categorical(values) for key, values in obs.items()}, index=index)
    return AnnData(X=counts, obs=table, var=pd.DataFrame(index=names))


def _reference(settings: Settings, programs: _Programs, rng: np.random.Generator) -> AnnData:
    n = settings.n_reference
    types = rng.choice(len(CELL_TYPES), n, p=REFERENCE_COMPOSITION)
    batch = rng.integers(0, 2, n)
    p = _proportions(programs, types, rng.normal(0, 1, n), rng.normal(0, 1, n))
    p = p * np.where(
        batch[:, None] == 1, np.exp(rng.normal(0, settings.batch_effect, settings.n_genes)), 1.0
    )
    library, poor = _libraries(settings.reference_library, n, settings.poor_fraction, rng)
    library = library * np.where(batch == 1, 0.7, 1.0)
    p[np.ix_(poor, programs.structure == "mitochondrial")] *= 15.0
    mean = library[:, None] * p / p.sum(axis=1, keepdims=True)
    counts = _counts(mean, settings.dispersion, rng)
    kept = rng.random(mean.shape) >= settings.dropout * np.exp(-mean)
    counts = sparse.csr_matrix(counts.multiply(kept))
    obs = {"cell_type": np.array(CELL_TYPES)[types], "batch": np.array(["batch1", "batch2"])[batch]}
    return _annotated(counts, obs, programs.names, "cell_")


def _regions(xy: Array) -> Array:
    """Wavy layers along y with a round nucleus in them."""
    depth = xy[:, 1] / TISSUE_WIDTH + 0.05 * np.sin(xy[:, 0] / TISSUE_WIDTH * 2 * np.pi)
    layer = np.digitize(depth, [0.15, 0.50, 0.80])
    inside = np.linalg.norm(xy - np.array(NUCLEUS_CENTRE), axis=1) < NUCLEUS_RADIUS
    return np.where(inside, len(REGIONS) - 1, layer)


def _gradient(xy: Array, rng: np.random.Generator) -> Array:
    """Smooth activity over the tissue, of about unit variance, with noise between cells."""
    x, y = xy.T / TISSUE_WIDTH
    return 1.7 * np.sin(np.pi * (x + 0.3 * y)) * np.cos(np.pi * x) * 1.4 + rng.normal(
        0, 0.35, len(xy)
    )


def _tissue(
    settings: Settings, programs: _Programs, xy: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Types of cells at ``xy`` and their proportions."""
    region = _regions(xy)
    cumulative = COMPOSITION[region].cumsum(axis=1)
    types = (rng.random(len(xy))[:, None] > cumulative[:, :-1]).sum(axis=1)
    if settings.tissue_only_type:
        patch = np.linalg.norm(xy - np.array(PATCH_CENTRE), axis=1) < PATCH_RADIUS
        types = np.where(patch & (rng.random(len(xy)) < 0.8), len(CELL_TYPES), types)
    return types, _proportions(programs, types, _gradient(xy, rng), rng.normal(0, 1, len(xy)))


def _panel(settings: Settings, programs: _Programs, rng: np.random.Generator) -> Array:
    """Indices of the panel: mostly well-structured genes, some weak, some without structure."""
    shares = {
        "marker": 5.0,
        "lineage": 3.0,
        "gradient": 3.0,
        "state": 2.0,
        "weak": 1.0,
        "none": 0.3,
    }
    weights = np.array([shares.get(s, 0.0) for s in programs.structure]) * (programs.base > -1.5)
    chosen = rng.choice(
        settings.n_genes, settings.n_panel, replace=False, p=weights / weights.sum()
    )
    return np.sort(chosen)


def _cells(settings: Settings, programs: _Programs, rng: np.random.Generator) -> SimulatedSample:
    xy = rng.uniform(0, TISSUE_WIDTH, (settings.n_cells, 2))
    types, p = _tissue(settings, programs, xy, rng)
    panel = _panel(settings, programs, rng)
    library, _ = _libraries(settings.cell_library, len(xy), settings.poor_fraction, rng)
    observed = p * _platform(settings, settings.n_genes, rng)
    # The library is that of the panel: genes outside it are expected at the same sensitivity.
    expected = library[:, None] * observed / observed[:, panel].sum(axis=1).mean()
    counts = _counts(expected[:, panel], settings.dispersion, rng)
    labels = np.array([*CELL_TYPES, TISSUE_ONLY_TYPE])[types]
    obs = {"region": np.array(REGIONS)[_regions(xy)], "cell_type": labels}
    measured = _annotated(counts, obs, [programs.names[i] for i in panel], "a_")
    measured.obsm["spatial"] = xy
    return SimulatedSample(measured, expected, p, np.eye(len(CELL_TYPES) + 1)[types])


def _hexagonal(n: int) -> Array:
    """Centres (n x 2) of a hexagonal grid that fills the tissue."""
    columns = int(np.ceil(np.sqrt(n * np.sqrt(3) / 2)))
    step = TISSUE_WIDTH / columns
    row, column = np.divmod(np.arange(n), columns)
    return np.column_stack(
        [(column + 0.25 + 0.5 * (row % 2)) * step, (row + 0.5) * step * np.sqrt(3) / 2]
    )


def _spots(settings: Settings, programs: _Programs, rng: np.random.Generator) -> SimulatedSample:
    xy = _hexagonal(settings.n_spots)
    n_cells = rng.integers(3, 9, len(xy))
    spot = np.repeat(np.arange(len(xy)), n_cells)
    types, p = _tissue(settings, programs, xy[spot] + rng.normal(0, 25, (len(spot), 2)), rng)
    size = np.exp(rng.normal(0, 0.3, len(spot)))
    member = sparse.csr_matrix((size, (spot, np.arange(len(spot)))), shape=(len(xy), len(spot)))
    cells = np.asarray(member.sum(axis=1))
    mixed = (member @ p) / cells
    composition = (member @ np.eye(len(CELL_TYPES) + 1)[types]) / cells
    library, _ = _libraries(settings.spot_library, len(xy), settings.poor_fraction, rng)
    library = library * cells[:, 0] / cells.mean()
    observed = mixed * _platform(settings, settings.n_genes, rng)
    expected = library[:, None] * observed / observed.sum(axis=1, keepdims=True)
    counts = _counts(expected, settings.dispersion * 2, rng)
    measured = _annotated(counts, {"region": np.array(REGIONS)[_regions(xy)]}, programs.names, "b_")
    measured.obsm["spatial"] = xy
    return SimulatedSample(measured, expected, mixed, composition)
