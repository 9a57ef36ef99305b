#!/usr/bin/env python3
"""Find the cells of a type that was taken out of the reference, in simulated and real tissues.

Simulated studies: every type in turn is taken out of the reference; the tissue also has a type that
no reference holds. Real pairs in DIR (folders with scrna.h5ad and spatial.h5ad): hypothalamus_poa,
whose reference is almost all neurons; hypothalamus_rctd, where the type of a spot is the one that
makes up more than half of it when all types of the reference explain it; and mob, where layers are
known for their types. Types of the reference are groups of cells; those that resemble a removed one
go with it. Beside the AUROC stands that of the whole reference: how far the score is off for these
cells without any reason.

    python benchmarks/reference_coverage.py --data DIR
    python benchmarks/reference_coverage.py --align        (what the distance in the latent space would tell)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anndata
import click
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bin"))
sys.path.insert(0, str(ROOT / "benchmarks"))

from pairs import N_NEIGHBORS, SPLIT, alignment_settings, fit_vae, quality_control, split_genes

from stlatent import devices, slots
from stlatent.arrays import Array
from stlatent.expression import dense, library_size, linear, log_normalise
from stlatent.inputs import genes
from stlatent.simulate import Settings, simulate
from stlatent.trust import reference_coverage

SEED, N_LATENT, MAX_GENES = 0, 10, 2000
MAX_SPOTS = 2500
N_PANEL = 500
MIN_COUNTS = 20  # quality control leaves out cells below
ONE_TYPE, NO_TYPE = 0.5, 0.05
MOST_OF_A_SPOT = 0.4
RCTD = {
    "astrocytes": ["Astrocytes"],
    "vascular": ["Endothelial", "Mural"],
    "ependymal": ["Ependymal"],
    "excitatory": ["Excitatory"],
    "inhibitory": ["Inhibitory"],
    "oligodendrocytes": ["Mature oligodendrocyte", "Newly formed oligodendrocyte"],
    "precursors": ["Immature oligodendrocyte"],
    "immune": ["Microglia", "Macrophage"],
}
UNCLEAR = ["Ambiguous", "Unstable"]
POA = {
    "Ependymal": "Ependymal",
    "Oligodendrocytes": "OD Mature",
    "Astrocytes": "Astrocyte",
    "Vascular": "Endothelial",
}
MOB = {"GC": "GCL", "OSNs": "ONL", "M/TC": "MCL", "PGC": "GL"}


@dataclass(frozen=True)
class Case:
    """A tissue and a reference that lacks something.

    Attributes
    ----------
    lacking
        Spots of what the reference lacks.
    judged
        Spots whose type is clear.
    whole
        The reference that lacks nothing, or None.
    """

    name: str
    tissue: anndata.AnnData
    reference: anndata.AnnData
    panel: list[str]
    lacking: Array
    judged: Array
    whole: anndata.AnnData | None = None


def simulated(seeds: list[int]) -> Iterator[Case]:
    """Yield both samples of simulated studies, every type removed in turn."""
    for seed in seeds:
        study = simulate(Settings(), seed=seed)
        reference = study.reference
        slots.note(
            reference, kind="reference", counts=True, label_key="cell_type", batch_key="batch"
        )
        for name, sample in study.samples.items():
            tissue = sample.measured
            slots.note(tissue, kind="spatial", counts=True)
            shared = genes.shared_genes(tissue, reference)
            ranked = genes.rank_genes(reference, MAX_GENES)
            panel = [gene for gene in ranked if gene in set(shared)][:N_PANEL]
            deep = np.asarray(tissue.X.sum(axis=1)).ravel() >= MIN_COUNTS
            for column, cell_type in enumerate(study.types):
                share = sample.composition[:, column]
                lacking = share > MOST_OF_A_SPOT
                known = deep & (lacking | (share < NO_TYPE))
                if column < len(study.types) - 1:
                    known &= sample.composition[:, -1] == 0
                kept = (reference.obs["cell_type"] != cell_type).to_numpy()
                title = f"simulated {name} {seed} -{cell_type}"
                yield Case(title, tissue, reference[kept].copy(), panel, lacking, known)


def pair(data: Path, work: Path, name: str) -> tuple[anndata.AnnData, anndata.AnnData, list[str]]:
    """Return tissue, reference and panel of a real pair after the pipeline's quality control."""
    quality_control(data / name, work / name)
    split_genes(work / name, SPLIT)
    tissue = anndata.read_h5ad(work / name / "spatial.qc.h5ad")
    reference = anndata.read_h5ad(work / name / "scrna.qc.h5ad")
    panel = json.loads((work / name / "folds" / "fold_all.json").read_text())["panel"]
    if tissue.n_obs > MAX_SPOTS:
        chosen = np.random.default_rng(SEED).choice(tissue.n_obs, MAX_SPOTS, replace=False)
        tissue = tissue[np.sort(chosen)].copy()
    if "cell_type" in reference.obs:
        slots.note(reference, label_key="cell_type")
    return tissue, reference, panel


def removed(reference: anndata.AnnData, types: list[str]) -> anndata.AnnData:
    """Return the reference without some types."""
    return reference[~reference.obs["cell_type"].astype(str).isin(types)].copy()


def hypothalamus_poa(data: Path, work: Path) -> Iterator[Case]:
    """Yield neurons against the rest, and single types, of single cells with labels."""
    tissue, reference, panel = pair(data, work, "hypothalamus_poa")
    labels = tissue.obs["cell_type"].astype(str).to_numpy()
    known = labels != "Ambiguous"
    others = ~np.isin(labels, ["Inhibitory", "Excitatory"])
    neurons = reference.obs["cell_type"].astype(str).str.startswith("Neurons").to_numpy()
    yield Case("poa as given, non-neurons", tissue, reference, panel, others, known)
    alone = reference[neurons].copy()
    yield Case("poa -all but neurons", tissue, alone, panel, others, known, reference)
    for cell_type, prefix in POA.items():
        lacking = np.array([label.startswith(prefix) for label in labels])
        kept = removed(reference, [cell_type])
        yield Case(f"poa -{cell_type}", tissue, kept, panel, lacking, known, reference)


def hypothalamus_rctd(data: Path, work: Path) -> Iterator[Case]:
    """Yield single types; spots get theirs from the whole reference."""
    tissue, reference, panel = pair(data, work, "hypothalamus_rctd")
    labels = reference.obs["cell_type"].astype(str).to_numpy()
    types = np.unique(labels)
    values, cells = dense(tissue[:, panel].X), dense(reference[:, panel].X)
    profiles = reference_coverage.archetypes(
        cells / library_size(reference.X)[:, None], (labels[:, None] == types).astype(float)
    )
    weights = reference_coverage.mixture_weights(
        values, reference_coverage.learn_platform(values, profiles, True).profiles
    )
    share = weights / weights.sum(1, keepdims=True)
    reference = removed(reference, UNCLEAR)
    for name, group in RCTD.items():
        own = share[:, np.isin(types, group)].sum(1)
        lacking = own > ONE_TYPE
        if lacking.sum() < 5:
            continue
        known = lacking | (own < NO_TYPE)
        kept = removed(reference, group)
        yield Case(f"rctd -{name}", tissue, kept, panel, lacking, known, reference)


def mob(data: Path, work: Path) -> Iterator[Case]:
    """Yield types that single layers are known for, in spots of many cells."""
    tissue, reference, panel = pair(data, work, "mob")
    region = tissue.obs["region"].astype(str).to_numpy()
    for cell_type, layer in MOB.items():
        kept = removed(reference, [cell_type])
        known = region != "Unknown"
        yield Case(
            f"mob -{cell_type}, {layer}", tissue, kept, panel, region == layer, known, reference
        )


def components(reference: anndata.AnnData) -> Array:
    """Return principal components of a reference, in the place of scVI's latent space."""
    values = linear(reference)
    logged = log_normalise(dense(values), library_size(values), 1e4)
    varied = np.argsort(-logged.var(0), kind="stable")[:MAX_GENES]
    n_components = min(N_LATENT, len(logged) - 1, len(varied))
    return np.asarray(PCA(n_components, random_state=SEED).fit_transform(logged[:, varied]))


def placed(case: Case) -> tuple[Array, Array]:
    """Return positions of spots and cells from a short training of the VAE and the alignment."""
    from stlatent.alignment.inputs import prepare as inputs
    from stlatent.alignment.trainer import align

    ranked = genes.rank_genes(case.reference, MAX_GENES)
    training = fit_vae(case.reference, ranked, max_epochs=60, kl_warmup_epochs=20)
    latent = training.vae.latent
    case.reference.obsm[slots.X_VAE] = latent
    short = alignment_settings(pretrain_epochs=100, discriminator_epochs=30, epochs=60)
    aligned = align(inputs(case.tissue, case.reference, case.panel, [], N_NEIGHBORS), short)
    return aligned.after.placement.z, latent


def assess(
    case: Case, reference: anndata.AnnData, positions: tuple[Array, Array] | None
) -> pd.DataFrame:
    """Assess with the given positions, or with principal components and no positions of spots."""
    latent = components(reference) if positions is None else positions[1]
    z = np.zeros((case.tissue.n_obs, latent.shape[1])) if positions is None else positions[0]
    return reference_coverage.assess(case.tissue, reference, case.panel, z, latent, SEED)


def judge(case: Case, align: bool) -> dict[str, float]:
    """Return the figures of one case."""
    found = assess(case, case.reference, placed(case) if align else None)
    lacking, flagged = (
        case.lacking[case.judged],
        ~found[slots.REFERENCE_COVERED].to_numpy()[case.judged],
    )
    score = -found[slots.REFERENCE_COVERAGE].to_numpy()[case.judged]
    result = {
        "spots": int(lacking.sum()),
        "share": float(lacking.mean()),
        "AUROC": float(roc_auc_score(lacking, score)),
        "found": float(flagged[lacking].mean()),
        "falsely": float(flagged[~lacking].mean()),
    }
    if case.whole is not None:
        whole = assess(case, case.whole, None)[slots.REFERENCE_COVERAGE].to_numpy()[case.judged]
        result["AUROC, whole"] = float(roc_auc_score(lacking, -whole))
    if align:
        distance = found[slots.REFERENCE_DISTANCE].to_numpy()[case.judged]
        result["AUROC, distance"] = float(roc_auc_score(lacking, distance))
    return result


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--work", type=click.Path(path_type=Path), default=ROOT / "work" / "coverage")
@click.option("--seeds", default=2, show_default=True, help="Simulated studies.")
@click.option("--first-seed", default=31, show_default=True)
@click.option("--align", is_flag=True, help="Train and align, and judge the latent distance too.")
@click.option("--match", default="", help="Only cases with this in their name.")
def main(
    data: Path | None, work: Path, seeds: int, first_seed: int, align: bool, match: str
) -> None:
    devices.make_deterministic(SEED, 1)
    groups = {"simulated": simulated(list(range(first_seed, first_seed + seeds)))}
    for name, cases in (
        ("hypothalamus_poa", hypothalamus_poa),
        ("hypothalamus_rctd", hypothalamus_rctd),
        ("mob", mob),
    ):
        if data is not None and (data / name).is_dir():
            groups[name] = cases(data, work)
    for name, cases in groups.items():
        chosen = (case for case in cases if match in case.name and case.lacking[case.judged].any())
        table = {case.name: judge(case, align) for case in chosen}
        if table:
            print(
                f"\n{name}\n{pd.DataFrame(table).T.to_string(float_format='{:.3f}'.format)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
