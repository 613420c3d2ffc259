"""Estimates from labelled units and a prediction of all: values by hand, laws, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cristae.errors import ScoreError
from cristae.metrics.uncertainty.designs import Sample, plan_units, sample_of, slabs_of
from cristae.metrics.uncertainty.estimates import estimate_batch, needed_units, tuning_of

RNG = np.random.default_rng(5)
N, K = 60, 12


def drawn(seed=0, n=K, population=N, error=0.1):
    """y, x, v of a random sample, and the true fraction."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(50, 150, population)
    truth = size * rng.uniform(0.05, 0.2, population)
    predicted = 0.7 * truth + error * size * rng.uniform(0, 0.2, population)
    control = predicted - size * predicted.sum() / size.sum()
    places = np.sort(rng.choice(population, n, replace=False))
    return truth[places], size[places], control[places], truth.sum() / size.sum()


def test_labels_alone_are_the_ratio_estimator_by_hand():
    """Four slices of ten with 1, 2, 3, 6 of 10 voxels: mean 0.3; s^2 of the residuals 14/3; 1 - n/N = 0.6."""
    truth, size = np.array([1.0, 2, 3, 6]), np.full(4, 10.0)
    found = estimate_batch(truth, size, np.zeros(4), Sample.of("random", 4, 10), "labels")
    assert found.value == pytest.approx(0.3)
    leverage = 1 - 1 / 4  # residuals are those of slices left out
    assert found.error == pytest.approx(np.sqrt(0.6 * (14 / 3) / 4) / 10 / leverage)


def test_the_difference_estimator_is_the_prediction_plus_its_mean_error():
    """Equal slices: R = F/X + mean(y - f)/x (Cochran 1977, section 7.2; Angelopoulos et al. 2023, equation 1)."""
    rng = np.random.default_rng(1)
    predicted, truth = rng.uniform(0, 9, 40), rng.uniform(0, 9, 8)
    control = predicted[:8] - predicted.mean()
    found = estimate_batch(truth, np.full(8, 10.0), control, Sample.of("random", 8, 40), "difference")
    assert found.value == pytest.approx(predicted.mean() / 10 + (truth - predicted[:8]).mean() / 10)


def test_a_perfect_prediction_leaves_no_error():
    truth, size, _, _ = drawn()
    found = estimate_batch(truth, size, truth - 0.1 * size, Sample.of("random", K, N), "difference")
    assert found.value == pytest.approx(0.1)
    assert found.error == pytest.approx(0, abs=1e-12)


def test_lambda_is_the_slope_of_all_other_units():
    truth, size, control, _ = drawn(3)
    found = tuning_of(truth, size, control, np.arange(K))
    for one in range(K):
        others = np.arange(K) != one
        y, x, v = truth[others], size[others], control[others]
        u, w = y - x * y.sum() / x.sum(), v - x * v.sum() / x.sum()
        assert found[one] == pytest.approx(max((u * w / x).sum() / (w * w / x).sum(), 0))


def test_a_prediction_that_says_nothing_gets_no_weight():
    truth, size, _, _ = drawn()
    sample = Sample.of("random", K, N)
    assert (tuning_of(truth, size, np.zeros(K), sample.groups) == 0).all()
    nothing = estimate_batch(truth, size, np.zeros(K), sample, "tuned")
    assert nothing.value == pytest.approx(estimate_batch(truth, size, np.zeros(K), sample, "labels").value)


@given(st.floats(0.01, 1e6), st.sampled_from(["labels", "difference", "tuned"]))
def test_units_of_measurement_change_nothing(scale, method):
    truth, size, control, _ = drawn(7)
    sample = Sample.of("random", K, N)
    one, other = (estimate_batch(s * truth, s * size, s * control, sample, method) for s in (1, scale))
    assert other.value == pytest.approx(float(one.value))
    assert (other.low, other.high) == (pytest.approx(float(one.low)), pytest.approx(float(one.high)))


@pytest.mark.parametrize("method", ["labels", "difference", "tuned"])
def test_many_data_sets_at_once_are_each_as_alone(method):
    sets = [drawn(seed)[:3] for seed in range(4)]
    sample = Sample.of("systematic", K, N)
    together = estimate_batch(*(np.stack(arrays) for arrays in zip(*sets, strict=True)), sample, method)
    for place, one in enumerate(sets):
        alone = estimate_batch(*one, sample, method)
        for name in ("value", "low", "high", "free", "tuning"):
            assert getattr(together, name)[place] == pytest.approx(float(getattr(alone, name)))


def test_intervals_stay_inside_what_is_possible():
    truth, size = np.array([0.0] * 9 + [9.0]), np.full(10, 10.0)
    found = estimate_batch(truth, size, np.zeros(10), Sample.of("random", 10, 500), "labels")
    assert 0 <= found.low < found.value < found.high <= 1
    other = estimate_batch(size - truth, size, np.zeros(10), Sample.of("random", 10, 500), "labels")
    assert (1 - other.high, 1 - other.low) == (pytest.approx(float(found.low)), pytest.approx(float(found.high)))


def test_a_census_has_no_error():
    """Finite population correction: 1 - n / N."""
    truth, size, control, _ = drawn(n=N)
    assert estimate_batch(truth, size, control, Sample.of("random", N, N), "tuned").error == 0


def test_systematic_slices_do_not_mind_a_trend():
    """A straight line over the volume spreads random slices, but hardly the steps between neighbours."""
    truth, size = np.linspace(1, 20, 20), np.full(20, 100.0)
    errors = [
        float(estimate_batch(truth, size, np.zeros(20), Sample.of(design, 20, 400), "labels").error)
        for design in ("random", "systematic")
    ]
    assert errors[1] < errors[0] / 5


def test_parts_of_a_stratified_sample_vary_only_inside():
    truth = np.repeat([1.0, 5, 9, 2], 2) + np.tile([0.0, 0.2], 4)
    sample = Sample.of("stratified", 8, 80)
    variance, free = sample.variance(truth)
    assert variance == pytest.approx(sum((1 / 4) ** 2 * (1 / 2 - 1 / 20) * 0.02 for _ in range(4)))
    assert free == 4


def test_volumes_together_weigh_by_their_slices():
    samples = [Sample.of("random", 3, 10), Sample.of("random", 2, 40)]
    together = Sample.together(samples)
    assert together.weights == pytest.approx([10 / 3 / 50] * 3 + [40 / 2 / 50] * 2)
    assert together.weights.sum() == pytest.approx(1)


def test_more_slices_are_needed_for_half_the_width():
    sample = Sample.of("random", 20, 10_000)
    wide, narrow = needed_units(sample, 0.01, 0.02), needed_units(sample, 0.01, 0.01)
    assert wide < narrow
    assert 3.5 < narrow / wide < 4.5
    assert needed_units(Sample.of("random", 20, 30), 0.01, 1e-9) == 30


@given(st.integers(20, 3000), st.integers(4, 20), st.integers(0, 50), st.sampled_from(["random", "systematic"]))
def test_planned_slices_are_a_sample_of_their_design(population, n, seed, design):
    chosen = plan_units(population, n, design, seed=seed)
    assert len(set(chosen)) == n
    assert list(chosen) == sorted(chosen)
    assert 0 <= chosen[0] <= chosen[-1] < population
    assert chosen == plan_units(population, n, design, seed=seed)
    if design == "systematic" and population >= 2 * n:
        assert sample_of(chosen, population, design).design == "systematic"


@given(st.integers(30, 999), st.integers(2, 10), st.integers(0, 99))
def test_planned_strata_are_recognised(population, pairs, seed):
    chosen = plan_units(population, 2 * pairs, "stratified", seed=seed)
    sample = sample_of(chosen, population, "stratified")
    assert (sample.counts == 2).all()
    assert sample.population == population


def test_each_slice_is_as_likely_to_be_planned():
    """Systematic and random sampling are fair: over all seeds every slice comes as often as every other."""
    for design in ("systematic", "random", "stratified"):
        counts = np.zeros(30)
        for seed in range(3000):
            counts[list(plan_units(30, 6, design, seed=seed))] += 1
        assert counts.min() > 0.82 * 600, design
        assert counts.max() < 1.18 * 600, design


@pytest.mark.parametrize(
    ("places", "stated", "text"),
    [
        (range(40, 60), None, "neighbours"),
        (range(40, 60), "random", "neighbours"),
        (range(10, 40, 2), None, "lie between 10 and 38 of 200"),
        ([3, 40, 90, 91, 170], "systematic", "not evenly spaced"),
        ([3, 7, 90, 140], "stratified", "2, 0"),
        ([3, 60, 90, 140, 180], "stratified", "two slices in each"),
    ],
)
def test_what_is_no_sample_of_the_volume_is_refused(places, stated, text):
    if stated == "stratified":
        text = "two slices in each"
    with pytest.raises(ScoreError, match=text):
        sample_of(list(places), 200, stated)


def test_designs_are_recognised():
    assert sample_of(range(5, 200, 20), 200, None).design == "systematic"
    assert sample_of([5, 14, 80, 81, 150, 190], 200, None).design == "random"
    assert sample_of(range(200), 200, None).design == "random"


def test_slabs_are_runs_longer_than_chance():
    runs, slabs = slabs_of([1, 2, 3, 50, 51, 52, 90, 91, 92], 100)
    assert slabs
    assert runs.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert not slabs_of([1, 20, 21, 50, 80], 100)[1]
    assert not slabs_of(np.flatnonzero(np.random.default_rng(0).random(100) < 0.6).tolist(), 100)[1]


@pytest.mark.parametrize("n", [3, 7, 12, 16, 18])
def test_what_is_planned_systematically_can_be_stated_so(n):
    """Also where steps are of one and two slices, which are not recognised by themselves."""
    for seed in range(20):
        assert sample_of(plan_units(20, n, seed=seed), 20, "systematic").design == "systematic"


@pytest.mark.parametrize(("n", "design"), [(0, "random"), (11, "systematic"), (5, "stratified"), (2, "stratified")])
def test_what_cannot_be_planned_is_refused(n, design):
    with pytest.raises(ScoreError):
        plan_units(10, n, design)


def test_units_without_size_have_no_fraction():
    nothing = np.zeros(8)
    for method in ("labels", "difference", "tuned"):
        found = estimate_batch(nothing, nothing, nothing, Sample.of("random", 8, 80), method)
        assert np.isnan(found.value)
