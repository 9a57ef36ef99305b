"""Selection of genes, and folds that leak nothing."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import sparse

from select_genes import main as select_genes
from split_genes import main as split_genes
from stlatent import slots
from stlatent.expression import like_counts
from stlatent.failures import DataError
from stlatent.inputs import genes
from stlatent.records.inputs import Fold


def simulated(
    n_obs: int, n_vars: int, seed: int, kind: str, counts: bool = True
) -> anndata.AnnData:
    rng = np.random.default_rng(seed)
    rates = rng.gamma(1.0, 2.0, size=(1, n_vars)) * rng.gamma(2.0, 0.5, size=(n_obs, 1))
    values = rng.poisson(rates).astype(np.float32)
    values[: n_obs // 10, :3] += rng.poisson(12, size=(n_obs // 10, 3))
    matrix = sparse.csr_matrix(values if counts else values * 0.37)
    names = pd.DataFrame(index=[f"g{number}" for number in range(n_vars)])
    obs = pd.DataFrame(index=[f"c{number}" for number in range(n_obs)])
    adata = anndata.AnnData(matrix, obs, names)
    if kind == "spatial":
        adata.obsm["spatial"] = rng.uniform(size=(n_obs, 2))
    slots.note(adata, kind=kind, source="s1", counts=counts)
    return adata


@pytest.fixture(scope="module")
def tissue() -> anndata.AnnData:
    return simulated(120, 60, 0, "spatial")


def test_all_genes_are_ranked_and_variable_ones_first(tissue: anndata.AnnData) -> None:
    ranked = genes.rank_genes(tissue)
    assert sorted(ranked) == sorted(tissue.var_names)
    assert set(ranked[:3]) == {"g0", "g1", "g2"}


def without_counts(adata: anndata.AnnData, total: float, logged: bool) -> anndata.AnnData:
    """Return counts as shares of ``total``, or as their logarithms."""
    values = adata.X.toarray()
    shares = values * (total / values.sum(axis=1, keepdims=True))
    changed = adata.copy()
    changed.X = sparse.csr_matrix(np.log1p(shares) if logged else shares, dtype=np.float32)
    slots.note(changed, counts=False)
    return changed


@pytest.fixture(scope="module")
def cells() -> anndata.AnnData:
    """Give 300 genes from rare to abundant, of which g0 to g9 mark a tenth of the cells."""
    rng = np.random.default_rng(5)
    rates = np.geomspace(0.05, 50, 300)
    values = rng.poisson(rates * rng.gamma(20.0, 0.05, size=(300, 1)))
    values[:30, :10] += rng.poisson(3, size=(30, 10))
    adata = anndata.AnnData(
        sparse.csr_matrix(values.astype(np.float32)),
        pd.DataFrame(index=[f"c{number}" for number in range(300)]),
        pd.DataFrame(index=[f"g{number}" for number in range(300)]),
    )
    slots.note(adata, kind="reference", source="r", counts=True)
    return adata


@pytest.mark.parametrize(
    ("total", "logged"), [(1e6, False), (1e6, True), (1e4, True)], ids=["tpm", "log_tpm", "log"]
)
@pytest.mark.parametrize("batched", [False, True])
def test_values_without_counts_are_ranked_by_variance_for_their_abundance(
    cells: anndata.AnnData, total: float, logged: bool, batched: bool
) -> None:
    adata = without_counts(cells, total, logged)
    if batched:
        adata.obs["donor"] = np.where(np.arange(300) % 2, "a", "b")
        slots.note(adata, batch_key="donor")
    ranked = genes.rank_genes(adata, 50)
    assert sorted(ranked) == sorted(adata.var_names)
    assert set(ranked[:10]) == set(adata.var_names[:10])
    # By their variance it is 48 of TPM, and of neither scale a marker is among the first ten.
    assert len(set(ranked[:50]) & set(adata.var_names[250:])) < 20


def test_scale_of_values_without_counts_does_not_matter(cells: anndata.AnnData) -> None:
    tpm, logged = without_counts(cells, 1e6, False), without_counts(cells, 1e4, True)
    np.testing.assert_allclose(like_counts(tpm).toarray(), like_counts(logged).toarray(), rtol=1e-3)
    np.testing.assert_allclose(like_counts(tpm).sum(axis=1), 1e4, rtol=1e-4)
    assert genes.rank_genes(tpm)[:10] == genes.rank_genes(logged)[:10]


def test_few_values_without_counts_are_ranked_by_variance_of_logarithms(
    cells: anndata.AnnData,
) -> None:
    panel = without_counts(cells, 1e6, False)[:, 5:14].copy()
    logged = np.log1p(like_counts(panel).toarray())
    expected = panel.var_names[np.argsort(-logged.var(axis=0))]
    with pytest.warns(UserWarning, match="log-normalised variance: 9 varying genes are too few"):
        assert genes.rank_genes(panel) == list(expected)


def test_tissues_of_bright_intensities_are_ranked_by_the_variance_of_logarithms() -> None:
    switched = np.repeat([0.0, 20.0], 25)
    bright = 1000 + np.random.default_rng(0).normal(0, 15, 50)
    adata = simulated(50, 3, 1, "spatial", counts=False)[:, :2].copy()
    adata.X = sparse.csr_matrix(np.column_stack([bright, switched]))
    assert genes.rank_by_signal(adata) == ["g1", "g0"]
    # Small values are taken as they are, as before.
    adata.X = adata.X / 1000
    expected = np.argsort(-adata.X.toarray().var(axis=0))
    assert genes.rank_by_signal(adata) == [f"g{number}" for number in expected]


@pytest.mark.parametrize("n_vars", [3, 5, 12])
def test_failed_fit_falls_back_with_a_warning(n_vars: int) -> None:
    adata = simulated(20, n_vars, 1, "spatial")
    values = np.tile(np.arange(n_vars) % 3, (20, 1)) + (np.arange(20) % 2)[:, None]
    adata.X = sparse.csr_matrix(values.astype(np.float32))
    with pytest.warns(UserWarning, match="log-normalised variance"):
        assert sorted(genes.rank_genes(adata)) == sorted(adata.var_names)


def test_variances_by_hand() -> None:
    assert genes.variances(sparse.csr_matrix([[1.0, 0.1], [3, 0.1]])).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"a": 60, "b": 60}, {"a": 60, "b": 60}),
        ({"a": 60, "b": 30, "c": 30}, {"a": 60, "pooled": 60}),
        ({"a": 60, "b": 70, "c": 10}, {"a": 60, "b": 80}),
        ({"a": 60, "c": 10}, None),
        ({"a": 20, "b": 20, "c": 20}, None),
    ],
)
def test_small_batches_are_pooled(sizes: dict[str, int], expected: dict[str, int] | None) -> None:
    labels = np.repeat(list(sizes), list(sizes.values()))
    adata = simulated(len(labels), 4, 0, "reference")
    adata.obs["donor"] = pd.Categorical(labels)
    slots.note(adata, batch_key="donor")
    found = genes.batches(adata)
    assert (None if found is None else found.value_counts().to_dict()) == expected


def test_a_gene_that_varies_only_between_batches_comes_last() -> None:
    adata = simulated(160, 40, 2, "reference")
    values = adata.X.toarray()
    values[:80, 20], values[80:, 20] = 1, 30
    adata.X = sparse.csr_matrix(values)
    assert genes.rank_genes(adata).index("g20") < 20
    adata.obs["donor"] = np.repeat(["a", "b"], 80)
    slots.note(adata, batch_key="donor")
    assert genes.rank_genes(adata)[-1] == "g20"


@pytest.mark.parametrize(("n_genes", "n_folds", "sizes"), [(10, 3, [4, 3, 3]), (3, 5, [1, 1, 1]),
                                                          (1, 5, []), (10, 1, [])])  # fmt: skip
def test_folds_partition_the_genes(n_genes: int, n_folds: int, sizes: list[int]) -> None:
    names = [f"g{number}" for number in range(n_genes)]
    folds = genes.partition(names, n_folds, seed=1)
    assert [len(fold) for fold in folds] == sizes
    assert folds == genes.partition(names, n_folds, seed=1)
    if sizes:
        assert sorted(gene for fold in folds for gene in fold) == sorted(names)
        assert folds != genes.partition(names, n_folds, seed=2)


def folds_of(tissue: anndata.AnnData, **changes: int) -> list[Fold]:
    asked = {"n_folds": 4, "n_alignment_genes": 15, "seed": 0}
    shared = list(tissue.var_names)
    return list(genes.make_folds(tissue, shared, shared[::-1], shared[::3], **(asked | changes)))


def test_scored_genes_stand_for_those_delivered() -> None:
    names = [f"g{number}" for number in range(1000)]
    abundance = pd.Series(np.random.default_rng(0).lognormal(size=1000), index=names)
    scored = genes.evaluation_genes(names, abundance, 100, seed=0)
    assert len(set(scored)) == 100 and set(scored) <= set(names)
    shares = np.searchsorted(np.sort(abundance), abundance[scored]) / 1000
    deciles = np.histogram(shares, bins=10, range=(0, 1))[0]
    assert (deciles == 10).all()
    assert scored == genes.evaluation_genes(names, abundance, 100, seed=0)
    assert scored != genes.evaluation_genes(names, abundance, 100, seed=1)
    assert genes.evaluation_genes(names, abundance, 0, seed=0) == sorted(names)


def test_scored_genes_do_not_depend_on_the_tissue(tissue: anndata.AnnData, tmp_path: Path) -> None:
    other = tissue.copy()
    other.X = tissue.X @ sparse.diags(np.random.default_rng(5).integers(1, 50, tissue.n_vars))
    scored = []
    for number, adata in enumerate((tissue, other)):
        folds = split(adata, tmp_path / str(number), "hvg")
        scored.append({gene for fold in folds for gene in fold["hidden"]})
    assert scored[0] == scored[1]


@pytest.mark.parametrize(
    ("n_delivered", "n_hvg", "name", "size"),
    [(160, 180, "delivered", 160), (5, 155, "variable", 155), (5, 100, "shared", 200)],
)
def test_population(n_delivered: int, n_hvg: int, name: str, size: int) -> None:
    shared = [f"g{number}" for number in range(200)]
    delivered = [*shared[:n_delivered], "not measured"]
    found, members = genes.population(shared, delivered, [*shared[:n_hvg], "neither"])
    assert (found, len(members)) == (name, size)
    assert set(members) <= set(shared)


def test_a_small_panel_is_its_own_population() -> None:
    assert genes.population(["a", "b", "c"], ["a", "b", "c", "d"], []) == (
        "delivered",
        ["a", "b", "c"],
    )


def split(tissue: anndata.AnnData, folder: Path, choice: str) -> list[dict]:
    folder.mkdir()
    tissue.write_h5ad(folder / "s.h5ad")
    simulated(90, 60, 5, "reference").write_h5ad(folder / "r.h5ad")
    (folder / "hvg.txt").write_text("\n".join(tissue.var_names[:40]) + "\n")
    done = CliRunner().invoke(
        split_genes,
        ["--spatial", str(folder / "s.h5ad"), "--reference", str(folder / "r.h5ad"),
         "--hvg", str(folder / "hvg.txt"), "--n-folds", "2", "--evaluation-genes", "10",
         "--genes", choice, "--n-alignment-genes", "500", "--seed", "0", "--output-dir",
         str(folder / "folds"),
         "--failure", str(folder / "failure.json")],
    )  # fmt: skip
    assert done.exit_code in (0, 66), done.output
    return [json.loads(path.read_text()) for path in sorted((folder / "folds").glob("*.json"))]


def test_scored_genes_are_of_those_imputed(
    tissue: anndata.AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join([*tissue.var_names[-35:], "unknown"]))
    monkeypatch.setattr(genes, "MIN_SCORED_GENES", 30)
    for choice, allowed, name in (
        ("hvg", tissue.var_names[:40], "delivered"),
        (str(listed), tissue.var_names[-35:], "delivered"),
        ("all", tissue.var_names, "delivered"),
    ):
        folds = split(tissue, tmp_path / Path(choice).name.replace(".", "_"), choice)
        hidden = {gene for fold in folds for gene in fold["hidden"]}
        assert len(hidden) == 10 and hidden <= set(allowed)
        assert {fold["population"]["name"] for fold in folds} == {name}


def test_hidden_genes_are_in_no_panel(tissue: anndata.AnnData) -> None:
    whole, *folds = folds_of(tissue)
    assert (whole.name, whole.hidden, len(whole.panel)) == ("all", [], 15)
    assert [fold.name for fold in folds] == ["1", "2", "3", "4"]
    assert len({gene for fold in folds for gene in fold.hidden}) == 20
    for fold in folds:
        assert len(fold.panel) == 15
        assert not set(fold.panel) & set(fold.hidden)


def test_values_of_hidden_genes_do_not_change_the_panel(tissue: anndata.AnnData) -> None:
    hidden = folds_of(tissue)[1].hidden
    visible = [gene for gene in tissue.var_names if gene not in hidden]
    ranking = list(tissue.var_names)
    before = genes.alignment_panel(tissue, visible, ranking, 20)
    changed = tissue.copy()
    values = changed.X.toarray()
    values[:, changed.var_names.isin(hidden)] = np.random.default_rng(9).poisson(500, (120, 5))
    changed.X = sparse.csr_matrix(values)
    assert genes.alignment_panel(changed, visible, ranking, 20) == before
    assert genes.rank_genes(changed) != genes.rank_genes(tissue)


def test_panel_averages_both_rankings() -> None:
    adata = simulated(50, 4, 3, "spatial", counts=False)
    adata.X = sparse.csr_matrix(np.outer(np.arange(50), [4.0, 3, 2, 1]))
    shared = ["g0", "g1", "g2", "g3"]
    assert genes.alignment_panel(adata, shared, ["g3", "x", "g1"], 3) == ["g1", "g3", "g0"]


def test_small_panels_are_used_whole(tissue: anndata.AnnData) -> None:
    assert len(folds_of(tissue, n_alignment_genes=500)[0].panel) == 60


def test_no_folds(tissue: anndata.AnnData) -> None:
    assert [fold.name for fold in folds_of(tissue, n_folds=0)] == ["all"]


def test_too_few_shared_genes(tissue: anndata.AnnData) -> None:
    other = simulated(30, 60, 4, "reference")
    other.var_names = ["g0", "g1", *(f"other{number}" for number in range(58))]
    with pytest.raises(DataError, match="only 2 genes"):
        genes.shared_genes(tissue, other)


def test_constant_genes_are_not_shared(tissue: anndata.AnnData) -> None:
    other = simulated(30, 60, 4, "reference")
    values = other.X.toarray()
    values[:, 5] = 2
    other.X = sparse.csr_matrix(values)
    assert "g5" not in genes.shared_genes(tissue, other)


def test_scripts(tissue: anndata.AnnData, tmp_path: Path) -> None:
    paths = {"spatial": tmp_path / "s.h5ad", "reference": tmp_path / "r.h5ad"}
    tissue.write_h5ad(paths["spatial"])
    simulated(90, 60, 5, "reference").write_h5ad(paths["reference"])
    hvg, folder, failure = tmp_path / "r.hvg.txt", tmp_path / "folds", tmp_path / "f.json"
    selected = CliRunner().invoke(
        select_genes,
        ["--reference", str(paths["reference"]), "--n-top", "20", "--output", str(hvg),
         "--failure", str(failure)],
    )  # fmt: skip
    assert selected.exit_code == 0, selected.output
    assert len(hvg.read_text().splitlines()) == 20
    split = CliRunner().invoke(
        split_genes,
        ["--spatial", str(paths["spatial"]), "--reference", str(paths["reference"]),
         "--hvg", str(hvg), "--n-folds", "2", "--evaluation-genes", "10",
         "--genes", "hvg", "--n-alignment-genes", "8", "--seed", "0", "--output-dir", str(folder),
         "--failure", str(failure)],
    )  # fmt: skip
    assert split.exit_code == 0, split.output
    assert sorted(path.name for path in folder.iterdir()) == [
        "fold_1.json", "fold_2.json", "fold_all.json",
    ]  # fmt: skip
    fold = json.loads((folder / "fold_1.json").read_text())
    assert set(fold) == {"sample", "fold", "hidden", "panel", "population"}
    assert (fold["sample"], fold["fold"], len(fold["hidden"]), len(fold["panel"])) == (
        "s1",
        "1",
        5,
        8,
    )
    assert not failure.exists()
