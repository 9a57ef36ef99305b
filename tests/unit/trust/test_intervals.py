"""Conformal intervals: how often they hold on genes that took no part, order of levels, the public function."""

from __future__ import annotations

import itertools
import json

import anndata
import numpy as np
import pandas as pd
import pytest

from stlatent import slots
from stlatent.trust import intervals
from stlatent.trust.intervals import (
    LEVELS,
    Genes,
    Model,
    fit,
    fit_centre,
    interval,
    joined,
    leave_fold_out,
    measured_on_scale,
    on_count_scale,
)
from stlatent.trust.variance import fit_variance

N_SPOTS = 400


def counts_tissue(
    n_genes: int, seed: int, depth: float = 1500.0, efficiency: float = 0.5
) -> tuple[Genes, np.ndarray, np.ndarray]:
    """Poisson counts around a pattern that the prediction knows in part.

    The platform's efficiency differs from gene to gene. Returns genes, counts and libraries.
    """
    rng = np.random.default_rng(seed)
    library = depth * rng.lognormal(0, 0.3, N_SPOTS)
    abundance = rng.lognormal(np.log(4e-4), 1.0, n_genes)
    known, unknown = rng.normal(size=(2, N_SPOTS, n_genes))
    share = abundance * np.exp(0.5 * known - 0.125)
    truth = share * np.exp(0.4 * unknown - 0.08) * rng.lognormal(0, efficiency, n_genes)
    counts = rng.poisson(truth * library[:, None]).astype(float)
    predicted = np.log1p(1e4 * share)
    return Genes(predicted, measured_on_scale(counts, library)), counts, library


def intensity_tissue(n_genes: int, seed: int) -> Genes:
    """Measurements in units of their own, with a spread that differs from gene to gene."""
    rng = np.random.default_rng(seed)
    known, noise = rng.normal(size=(2, N_SPOTS, n_genes))
    mean = rng.lognormal(0, 0.7, n_genes)
    predicted = np.maximum(mean * (1 + 0.3 * known), 0)
    level = 0.02 * mean**0.5 * rng.lognormal(0, 0.3, n_genes)
    return Genes(predicted, np.maximum(level * (1 + 0.3 * known + 0.3 * noise), 0))


def split(genes: Genes, n_folds: int) -> list[Genes]:
    parts = np.array_split(np.random.default_rng(0).permutation(genes.n), n_folds)
    return [genes[part] for part in parts]


@pytest.mark.parametrize("depth", [3e4, 1500.0, 200.0])
def test_hit_rate_of_genes_left_out_is_near_nominal(depth: float) -> None:
    genes, _, _ = counts_tissue(150, seed=1, depth=depth)
    found = leave_fold_out(split(genes, 5))
    assert found is not None
    for entry in found.levels:
        assert abs(entry.hit_rate - entry.level) < 4, (depth, entry)


def test_hit_rate_of_intensities_in_other_units_is_near_nominal() -> None:
    genes = intensity_tissue(100, seed=2)
    found = leave_fold_out(split(genes, 5))
    assert found is not None
    for entry in found.levels:
        assert abs(entry.hit_rate - entry.level) < 4, entry
    # What the prediction knows makes intervals narrower than one interval a gene.
    assert found.levels[3].width < found.levels[3].flat_width


def test_new_genes_of_the_same_kind_are_covered() -> None:
    genes, _, _ = counts_tissue(200, seed=3)
    model = fit(genes[np.arange(120)])
    found = np.nanmean(intervals.interval_hit_rate(model, genes[np.arange(120, 200)])[0], axis=1)
    np.testing.assert_allclose(100 * found, LEVELS, atol=5)


def test_genes_chosen_for_their_abundance_cover_rarer_ones_or_say_nothing() -> None:
    """Calibrated on the most abundant half, intervals hold on the other, as far as they reach."""
    genes, _, _ = counts_tissue(400, seed=12)
    order = np.argsort(-genes.predicted.mean(0))
    chosen, others = genes[np.sort(order[:150])], genes[np.sort(order[100:])]
    model = fit(chosen)
    found = intervals.interval_hit_rate(model, others)[0]
    without = np.isnan(found).any(axis=0)
    assert 0.2 < without.mean() < 0.9
    mean, sd = others.predicted.mean(0), others.predicted.std(0)
    expected, _ = model.centre.expected(mean, sd)
    assert (expected[without] < expected[~without].min()).mean() > 0.95
    np.testing.assert_allclose(100 * np.nanmean(found, axis=1), LEVELS, atol=5)
    bounds = model.bounds(others.predicted, mean, sd, 90)
    assert all((np.isnan(bound).all(axis=0) == without).all() for bound in bounds)


def test_markers_promise_nothing_of_genes_that_are_everywhere() -> None:
    """At one predicted mean, genes of few places have more to be measured."""
    rng = np.random.default_rng(13)
    n_genes, mean = 300, rng.lognormal(0, 0.5, 300)
    contrast = np.exp(rng.normal(-1, 0.5, n_genes))
    pattern = rng.normal(size=(N_SPOTS, n_genes))
    predicted = np.maximum(mean * (1 + contrast * pattern), 0)
    level = mean * contrast / np.exp(-1)
    measured = np.maximum(level * (1 + 0.5 * rng.normal(size=pattern.shape)), 0)
    genes, markers = Genes(predicted, measured), contrast > np.exp(-0.9)
    centre = fit_centre(genes[np.flatnonzero(markers)])
    others = genes[np.flatnonzero(~markers)]
    expected, _ = centre.expected(others.predicted.mean(0), others.predicted.std(0))
    assert np.median(np.log(expected / others.measured.mean(0))) == pytest.approx(0, abs=0.15)


def test_higher_levels_contain_lower_ones() -> None:
    genes, _, _ = counts_tissue(60, seed=4)
    model = fit(genes)
    mean, sd = genes.predicted.mean(0), genes.predicted.std(0)
    bounds = [model.bounds(genes.predicted, mean, sd, level) for level in LEVELS]
    known = model.supported(mean, sd)
    assert known.mean() > 0.9
    bounds = [(lower[:, known], upper[:, known]) for lower, upper in bounds]
    for (lower, upper), (wider_lower, wider_upper) in itertools.pairwise(bounds):
        assert (wider_lower <= lower).all() and (upper <= wider_upper).all()
    assert all((lower >= 0).all() for lower, _ in bounds)


def test_bounds_equal_those_of_a_loop_over_values() -> None:
    genes, _, _ = counts_tissue(40, seed=5)
    model = fit(genes)
    mean, sd = genes.predicted.mean(0), genes.predicted.std(0)
    lower, upper = model.bounds(genes.predicted, mean, sd, 80)
    for gene in (0, 7, 31):
        centre = model.centre
        logs = np.log(mean[gene]), np.log(max(sd[gene], centre.floor))
        level, spread = (
            np.exp(line[0] + line[1] * logs[0] + line[2] * logs[1])
            for line in (centre.level, centre.spread)
        )
        rarer = sum(level > other for other in model.abundance)
        window = min(rarer, len(model.quantiles) - 1)
        for spot in (0, 100, 399):
            z = np.clip((genes.predicted[spot, gene] - mean[gene]) / sd[gene], -5, 5)
            middle = max(level + centre.pattern * spread * z, 0)
            v = model.variance
            half = model.quantiles[window, 2] * np.sqrt(v[0] + v[1] * middle + v[2] * spread**2)
            assert lower[spot, gene] == pytest.approx(max(middle - half, 0))
            assert upper[spot, gene] == pytest.approx(middle + half)


def test_the_centre_finds_the_tissue_s_units() -> None:
    genes = intensity_tissue(120, seed=6)
    centre = fit_centre(genes)
    # The spread is proportional to the mean here, so that the two slopes act as one.
    assert sum(centre.level[1:]) == pytest.approx(0.5, abs=0.15)
    level, _ = centre.expected(genes.predicted.mean(0), genes.predicted.std(0))
    assert np.median(level / genes.measured.mean(0)) == pytest.approx(1, abs=0.1)
    # Beyond what was seen, level and prediction are proportional.
    ratio = np.array([1.0, 2.0])
    two = centre.expected(ratio * centre.highest, ratio)[0]
    assert two[1] == pytest.approx(2 * two[0])


def test_genes_without_measured_values_do_no_harm() -> None:
    genes, _, _ = counts_tissue(40, seed=7)
    empty = Genes(genes.predicted[:, :5], np.zeros((N_SPOTS, 5)))
    model = fit(joined([genes, empty]))
    assert np.isfinite(model.quantiles).all() and np.isfinite(model.variance).all()
    nothing = fit(Genes(genes.predicted, np.zeros_like(genes.predicted)))
    assert np.isfinite(nothing.quantiles).all()


def test_too_few_genes_are_refused() -> None:
    genes, _, _ = counts_tissue(12, seed=8)
    with pytest.raises(ValueError, match="9 held-out genes, 10 are needed"):
        fit(genes[np.arange(9)])
    assert leave_fold_out(split(genes, 2)) is None


def test_models_survive_json() -> None:
    model = fit(counts_tissue(40, seed=9)[0])
    stored = {name: np.asarray(value).tolist() for name, value in model.to_dict().items()}
    again = Model.from_dict(json.loads(json.dumps(stored)))
    assert again.centre == model.centre
    np.testing.assert_array_equal(again.abundance, model.abundance)
    np.testing.assert_array_equal(again.quantiles, model.quantiles)
    assert again.levels == LEVELS


def imputed_file(seed: int) -> tuple[anndata.AnnData, np.ndarray]:
    genes, counts, library = counts_tissue(50, seed)
    names = [f"g{i}" for i in range(50)]
    adata = anndata.AnnData(
        obs=pd.DataFrame(
            {slots.EXPECTED_LIBRARY: library}, index=[f"s{i}" for i in range(N_SPOTS)]
        ),
        var=pd.DataFrame(
            {
                slots.NORMALISED_MEAN: genes.predicted.mean(0),
                slots.NORMALISED_SD: genes.predicted.std(0),
            },
            index=names,
        ),
        layers={slots.NORMALISED: genes.predicted},
    )
    slots.note(adata, counts=True, intervals=fit(genes).to_dict())
    return adata, counts


def test_interval_of_a_file_on_both_scales(tmp_path) -> None:
    adata, counts = imputed_file(seed=10)
    adata.write_h5ad(tmp_path / "a.h5ad")
    read = anndata.read_h5ad(tmp_path / "a.h5ad")
    lower, upper = interval(read, 90)
    known = ~np.isnan(lower).any(axis=0)
    assert known.mean() > 0.9
    inside = (lower <= counts) & (counts <= upper)
    assert inside[:, known].mean() == pytest.approx(0.9, abs=0.03)
    normal_lower, normal_upper = interval(read, 90, scale="normalised")
    library = read.obs[slots.EXPECTED_LIBRARY].to_numpy()
    normal = measured_on_scale(counts, library)
    # The map between the scales is monotone: what is inside on one is inside on the other.
    assert (((normal_lower <= normal) & (normal <= normal_upper)) == inside).mean() > 0.9999
    np.testing.assert_allclose(on_count_scale(normal_upper, library), upper)
    some, _ = interval(read[:20], 90, genes=["g7", "g3"])
    np.testing.assert_allclose(some, lower[:20][:, [7, 3]])


def test_interval_says_what_is_wrong() -> None:
    adata, _ = imputed_file(seed=11)
    with pytest.raises(ValueError, match="no interval of 75 %: choose 50, 67, 80, 90, 95"):
        interval(adata, 75)
    with pytest.raises(ValueError, match="no scale 'log'"):
        interval(adata, 90, scale="log")
    del adata.uns[slots.UNS]["intervals"]
    with pytest.raises(ValueError, match="no intervals: too few genes"):
        interval(adata, 90)


def test_variance_of_errors_is_found_and_no_outlier_decides() -> None:
    rng = np.random.default_rng(14)
    scale = rng.uniform(0, 1, 4000)
    design = np.column_stack([np.ones(4000), scale])
    squares = (0.2 + 3 * scale) * rng.chisquare(1, 4000)
    np.testing.assert_allclose(fit_variance(design, squares, 1e-6), [0.2, 3], rtol=0.25)
    squares[0] = 1e4
    robust = fit_variance(design, squares, 1e-6, most=9.0)
    np.testing.assert_allclose(robust, [0.2, 3], rtol=0.25)
    left_out = fit_variance(design, squares, 1e-6, weights=(squares < 1e4).astype(float))
    np.testing.assert_allclose(left_out, fit_variance(design[1:], squares[1:], 1e-6), rtol=1e-6)
