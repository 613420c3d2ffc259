"""Intervals, tests and corrections on numbers worked by hand and against scipy."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cristae.errors import ScoreError
from cristae.metrics.uncertainty.bootstrap import interval, resample_counts
from cristae.metrics.uncertainty.corrections import holm
from cristae.metrics.uncertainty.folds import compare_folds, folds_needed, mean_over_folds
from cristae.metrics.uncertainty.instances import compare_instances, instances_needed, quantiles, superiority
from cristae.metrics.uncertainty.paired import compare_paired, permutation_p
from cristae.metrics.uncertainty.statistic import best_mean, mean, mean_rows, pooled_score
from cristae.metrics.uncertainty.units import (
    Unit,
    correlation_length,
    group_rows,
    parse_unit,
    slab_of,
)

F1 = pooled_score("F1")


def slices(n, seed=0, errors=30):
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(400, 900, n), *rng.poisson(errors, (2, n)), np.full(n, 9000)], axis=1).astype(float)


def test_statistics_by_hand():
    total = np.array([3, 1, 1, 5])
    expected = {"F1": 0.75, "Jaccard": 0.6, "accuracy": 0.8, "sensitivity": 0.75, "PPV": 0.75}
    for name, value in (expected | {"specificity": 5 / 6, "NPV": 5 / 6}).items():
        assert pooled_score(name)(total) == pytest.approx(value)
    assert np.isnan(F1(np.zeros(4)))
    rows = mean_rows(np.array([0.8, 1 / 3, np.nan]))
    assert mean(rows.sum(axis=0)) == pytest.approx(0.566667, abs=1e-6)
    curves = mean_rows(np.array([[0.2, 0.6, np.nan], [0.4, 0.2, np.nan]]))
    assert best_mean(curves.sum(axis=0)) == pytest.approx(0.4)
    assert np.isnan(best_mean(np.zeros(6)))
    with pytest.raises(ScoreError, match="not a ratio of voxel counts"):
        pooled_score("V_rand")


def test_an_interval_holds_its_score_and_repeats():
    units = slices(20)
    found = interval(units, F1)
    assert 0 < found.low < F1(units.sum(axis=0)) < found.high < 1
    assert found == interval(units, F1)
    assert found != interval(units, F1, seed=1)


def test_the_interval_of_a_normal_mean_is_near_students():
    values = np.random.default_rng(1).normal(0, 1, 200)
    found = interval(mean_rows(values), mean, bounds=None)
    half = stats.t.ppf(0.975, 199) * values.std(ddof=1) / np.sqrt(200)
    assert found.low == pytest.approx(values.mean() - half, abs=0.015)
    assert found.high == pytest.approx(values.mean() + half, abs=0.015)


def test_an_interval_does_not_depend_on_the_unit_of_counts():
    units = slices(12)
    one, other = interval(units, F1), interval(units * 1000, F1)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-6)


@pytest.mark.parametrize(
    ("units", "reason"),
    [
        (slices(5), "at least 6 independent units, found 5"),
        (np.tile([9.0, 1, 1, 5], (8, 1)), "all units agree"),
        (np.zeros((8, 4)), "undefined"),
        (np.array([[5.0, 1, 1, 0]] + [[0.0, 0, 0, 5]] * 7), "undefined"),
    ],
)
def test_no_interval_and_why(units, reason):
    found = interval(units, F1)
    assert found.low is None
    assert found.high is None
    assert reason in found.reason


def test_mostly_perfect_units_give_a_finite_interval():
    values = np.ones(20)
    values[:2] = 0.5, 0.7
    found = interval(mean_rows(values), mean)
    assert 0.5 < found.low < 0.96 < found.high <= 1


def test_units_must_be_a_finite_table():
    with pytest.raises(ScoreError, match="unit 1 holds NaN"):
        interval(np.array([[1.0, 1], [np.nan, 1]]), mean)
    with pytest.raises(ScoreError, match="expected one row"):
        interval(np.zeros(7), mean)


def test_resamples_draw_n_units_evenly():
    counts = np.concatenate(list(resample_counts(7, 3000, seed=3)))
    assert counts.shape == (3000, 7)
    assert (counts.sum(axis=1) == 7).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.06)
    np.testing.assert_allclose(counts.var(axis=0), 6 / 7, atol=0.1)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(0, 10_000))
def test_all_swaps_are_tried(n, seed):
    a, b = slices(n, seed), slices(n, seed + 1)
    found = abs(F1(a.sum(axis=0)) - F1(b.sum(axis=0)))
    larger = 0
    for choice in itertools.product([0.0, 1.0], repeat=n):
        swap = np.array(choice)[:, None]
        first, second = a + swap * (b - a), b + swap * (a - b)
        larger += abs(F1(first.sum(axis=0)) - F1(second.sum(axis=0))) >= found - 1e-12
    assert permutation_p(a, b, F1) == pytest.approx(larger / 2**n)


def test_the_paired_test_of_means_is_scipys():
    rng = np.random.default_rng(4)
    a, b = rng.normal(0.3, 1, 11), rng.normal(0, 1, 11)
    reference = stats.permutation_test((a, b), lambda x, y: np.mean(x - y), permutation_type="samples")
    assert permutation_p(mean_rows(a), mean_rows(b), mean) == pytest.approx(reference.pvalue)


def test_random_swaps_come_near_all_swaps():
    a, b = slices(21, 0, errors=30), slices(21, 1, errors=33)
    exact = permutation_p(a[:20], b[:20], F1)
    assert 0 < exact < 0.5
    assert exact == permutation_p(b[:20], a[:20], F1)
    zero = np.zeros((1, 4))
    drawn = permutation_p(np.concatenate([a[:20], zero]), np.concatenate([b[:20], zero]), F1, draws=20_000)
    assert drawn == pytest.approx(exact, abs=0.015)


def test_a_paired_comparison():
    a, b = slices(6, 0, errors=10), slices(6, 0, errors=60)
    found = compare_paired(a, b, F1)
    assert found.p == 2 / 2**6
    assert 0 < found.low < found.value < found.high
    back = compare_paired(b, a, F1)
    assert (back.value, back.p) == (-found.value, found.p)


def test_five_units_have_no_p():
    found = compare_paired(slices(5, 0), slices(5, 1), F1)
    assert (found.p, found.low, found.high) == (None, None, None)
    assert "found 5; with 5 the smallest possible p is 0.0625" in found.reason


def test_large_values_in_nm_keep_their_ties():
    a, b = np.array([101.0, 99, 103, 98, 102, 97, 105]), np.array([100.0, 101, 99, 97, 104, 98, 101])
    small, large = (permutation_p(mean_rows(a * f), mean_rows(b * f), mean) for f in (1, 1e6 / 3))
    assert small == large
    assert interval(mean_rows(np.full(9, 1e6 / 3)), mean, bounds=None).reason.startswith("all units agree")


def test_equal_methods_have_p_1():
    found = compare_paired(slices(8), slices(8), F1)
    assert (found.value, found.p, found.low) == (0, 1, None)
    assert "agree in every unit" in found.reason


def test_methods_need_the_same_units():
    with pytest.raises(ScoreError, match="scored on the same"):
        compare_paired(slices(8), slices(7), F1)


def test_the_corrected_t_by_hand():
    found = compare_folds([0.02, 0.03, 0.01, 0.04, 0.02, 0.03], 5, 1)
    error = np.sqrt((1 / 6 + 1 / 5) * 1.1e-4)
    assert found.value == pytest.approx(0.025)
    assert found.p == pytest.approx(2 * stats.t.sf(0.025 / error, 5))
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, 5) * error)
    plain = compare_folds([0.02, 0.03, 0.01, 0.04, 0.02, 0.03], 1e12, 1)
    assert plain.p == pytest.approx(stats.ttest_1samp([0.02, 0.03, 0.01, 0.04, 0.02, 0.03], 0).pvalue)


def test_folds_that_cannot_be_compared():
    assert "5 folds" in compare_folds([0.1, 0.2, 0.3, 0.1, 0.1], 4, 1).reason
    assert "same difference" in compare_folds([0.1] * 6, 5, 1).reason
    with pytest.raises(ScoreError, match="finite"):
        compare_folds([0.1, np.nan], 4, 1)
    with pytest.raises(ScoreError, match="greater than 0"):
        compare_folds([0.1] * 6, 0, 1)


def test_the_mean_over_folds_has_the_interval_of_nadeau_and_bengio() -> None:
    """By hand: values 1, 2, 3, 4, 5 have s^2 = 2.5, t(4) = 2.7764, and five folds test / train = 1 / 4."""
    found = mean_over_folds([1, 2, 3, 4, 5], 4, 1, bounds=None)
    half = 2.7764451 * (2.5 * (1 / 5 + 1 / 4)) ** 0.5
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half))
    plain = mean_over_folds([1, 2, 3, 4, 5], 1e12, 1, bounds=None)
    assert plain.high is not None
    assert half / (plain.high - 3) == pytest.approx(1.5, abs=1e-6)
    values = [0.95, 0.99, 0.9, 0.97, 0.99, 0.8]
    zero = compare_folds(values, 5, 1)
    both = mean_over_folds(values, 5, 1)
    assert both.low == pytest.approx(zero.low)
    assert (both.high, both.n) == (1.0, 6), "a score ends at its bound"
    assert "at least 3 folds, found 2" in mean_over_folds([0.1, 0.2], 1, 1).reason
    with pytest.raises(ScoreError, match="finite"):
        mean_over_folds([0.1, float("nan"), 0.3], 1, 1)
    with pytest.raises(ScoreError, match="greater than 0"):
        mean_over_folds([0.1, 0.2, 0.3], 1, 0)


def test_folds_needed_reach_the_power_that_they_promise() -> None:
    """Against draws of the model behind the corrected test: differences of folds correlate by test / (test + train)."""
    values = np.array([0.03, 0.01, 0.02, -0.01, 0.03, 0.01])
    found = folds_needed(values, 5, 1)
    assert (found.n, found.extrapolated) == (19, True)
    assert found.reason.startswith("folds as large as these, with 3.2 times as many labels; the difference found may")

    def power(n: int) -> float:
        rng, rounds, share = np.random.default_rng(n), 20000, 1 / n  # of n folds each is trained on n - 1
        own = values.var(ddof=1) ** 0.5 * rng.normal(size=(rounds, n))
        common = (values.var(ddof=1) * share / (1 - share)) ** 0.5 * rng.normal(size=(rounds, 1))
        draws = values.mean() + own + common
        t = draws.mean(1) / np.sqrt((1 / n + 1 / (n - 1)) * draws.var(1, ddof=1))
        return float((np.abs(t) > stats.t.ppf(0.975, n - 1)).mean())

    assert power(19) > 0.795
    assert power(17) < 0.785


def test_folds_of_which_no_number_follows() -> None:
    assert "fewer than 3" in folds_needed([0.1, 0.2], 1, 1).reason
    assert "same mean" in folds_needed([0.1, -0.1, 0.0], 2, 1).reason
    assert "same difference" in folds_needed([0.1, 0.1, 0.1], 2, 1).reason
    assert folds_needed([0.1, -0.1, 0.0003], 2, 1).reason == "more than 1000 folds as large as these"
    few = folds_needed([0.1, 0.11, 0.12], 2, 1)
    assert (few.n, few.extrapolated) == (6, True), "the test itself takes no fewer than six"
    assert few.reason == "folds as large as these, with 2.0 times as many labels; a guess, from 3 folds alone"
    assert folds_needed([0.1, 0.11, 0.12] * 3, 8, 1).n == 6
    with pytest.raises(ScoreError, match="between 0 and 1"):
        folds_needed([0.1, 0.2, 0.3], 2, 1, power=80)
    with pytest.raises(ScoreError, match="greater than 0"):
        folds_needed([0.1, 0.2, 0.3], 0, 1)


def test_corrections_by_hand():
    p = [0.01, None, 0.04, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.03, None, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()
    with pytest.raises(ScoreError, match="between 0 and 1"):
        holm([1.2])
    with pytest.raises(ScoreError, match="between 0 and 1"):
        holm([float("nan")])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.lists(st.integers(0, 9), min_size=1, max_size=20))
def test_superiority_is_mann_whitneys(a, b):
    found = superiority(a, b)
    assert found.value == pytest.approx(stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)))
    if found.interval.low is not None:
        assert 0 <= found.interval.low <= found.value <= found.interval.high <= 1
        assert found.interval.high - found.interval.low > 0.1


def test_instances_are_compared():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.62, 0.02, 26), rng.normal(0.59, 0.04, 26)
    found = compare_instances(a, b)
    welch = stats.ttest_ind(a, b, equal_var=False)
    assert found.p == pytest.approx(welch.pvalue, abs=0.01)
    assert found.low == pytest.approx(welch.confidence_interval().low)
    assert quantiles([1, 2, 3], [0.5]) == (2.0,)
    assert compare_instances(a[:5], b).p is None
    assert superiority(a[:5], b).interval.low is None
    with pytest.raises(ScoreError, match="finite"):
        superiority([], b)


def test_training_runs_needed():
    grid = stats.norm.ppf((np.arange(200) + 0.5) / 200)
    few = instances_needed(0.6 + 0.02 * grid, 0.58 + 0.02 * grid)
    assert not few.extrapolated
    assert 15 <= few.n <= 19  # the power of the two-sample t-test for one standard deviation asks for 17
    many = instances_needed(0.6 + 0.02 * grid, 0.599 + 0.02 * grid)
    assert many.extrapolated
    expected = (1.959964 + 0.841621) ** 2 * 2 * grid.var(ddof=1) * 20**2
    assert many.n == pytest.approx(expected, rel=0.01)
    assert "may be chance" in many.reason
    assert instances_needed([0.1] * 5, [0.2] * 9).n is None
    assert "same mean" in instances_needed([0.1, 0.2] * 4, [0.1, 0.2] * 4).reason
    assert "do not vary" in instances_needed([0.1] * 8, [0.2] * 8).reason
    with pytest.raises(ScoreError, match="between 0 and 1"):
        instances_needed(grid, grid, power=80)


def test_units_are_read():
    assert parse_unit("slab:500nm") == Unit("slab", thickness_nm=500)
    assert parse_unit("column:animal") == Unit("column", column="animal")
    for text in ("slice", "volume", "slab:62.5nm", "column:animal"):
        assert str(parse_unit(text)) == text
    for text in ("slab", "slab:500", "slab:0nm", "column:", "brick"):
        with pytest.raises(ScoreError, match="is not a unit"):
            parse_unit(text)


def test_slices_are_grouped():
    np.testing.assert_array_equal(slab_of(np.arange(7), 50, 150), [0, 0, 0, 1, 1, 1, 2])
    names, sums = group_rows(["b", "a", "b"], np.array([[1.0, 2], [3, 4], [5, 6]]))
    assert names == ("b", "a")
    np.testing.assert_array_equal(sums, [[6, 8], [3, 4]])
    with pytest.raises(ScoreError, match="thinner"):
        slab_of(np.arange(7), 50, 40)
    with pytest.raises(ScoreError, match="greater than 0"):
        slab_of(np.arange(7), 0, 40)


def test_the_correlation_length_of_a_known_process():
    rng = np.random.default_rng(0)
    series = np.zeros(20_000)
    for i, step in enumerate(rng.standard_normal(19_999), start=1):
        series[i] = 0.8 * series[i - 1] + step
    assert correlation_length(series) == pytest.approx(1.8 / 0.2, rel=0.2)
    assert correlation_length(rng.standard_normal(20_000)) == pytest.approx(1, abs=0.15)
    slabs = series[: 20_000 // 36 * 36].reshape(-1, 36).mean(axis=1)
    assert np.corrcoef(slabs[1:], slabs[:-1])[0, 1] < 0.15
    series[::7] = np.nan
    assert correlation_length(series) == pytest.approx(9, rel=0.25)
    assert np.isnan(correlation_length(np.ones(50)))
    assert np.isnan(correlation_length(np.full(50, np.nan)))
    assert np.isnan(correlation_length(rng.random(9)))
