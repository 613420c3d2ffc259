"""Displacements are those of an independent program, positions those that the sections were moved by."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from cristae.data.section_positions import Positions, drift_of, positions_of
from cristae.data.section_shifts import PairShift, shift_between, sketch_of, spectrum_of


def field(seed: int, side: int = 160) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return ndimage.gaussian_filter(rng.normal(size=(side, side)), 2, mode="wrap") * 200 + 100


def between(first: np.ndarray, second: np.ndarray, side: int = 256) -> PairShift:
    (a, step), (b, _) = sketch_of(first, side), sketch_of(second, side)
    found = shift_between(spectrum_of(a), spectrum_of(b), (a.shape[0], a.shape[1]), step, (3, 4))
    assert found is not None
    return found


@given(y=st.floats(-12, 12), x=st.floats(-12, 12), seed=st.integers(0, 20))
@settings(max_examples=15, deadline=None)
def test_displacements_are_those_of_scikit_image(y: float, x: float, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 2, (2, 160, 160))
    first = field(seed)
    second = ndimage.shift(first, (y, x), mode="wrap")
    found = between(first + noise[0], second + noise[1])
    reference, _, _ = phase_cross_correlation(first, second, upsample_factor=10)
    assert found.certain
    assert np.abs(np.subtract((found.y, found.x), -reference)).max() <= 0.35
    assert np.abs(np.subtract((found.y, found.x), (y, x))).max() <= 0.35


def test_coarse_sketches_give_voxels() -> None:
    first = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(640, 640)), 8, mode="wrap")
    found = between(first, np.roll(first, (24, -40), (0, 1)), side=160)
    assert (found.y, found.x) == pytest.approx((24, -40), abs=1)


@pytest.mark.parametrize("seed", range(8))
def test_unrelated_sections_are_not_certain(seed: int) -> None:
    assert not between(field(seed), field(seed + 100)).certain
    rng = np.random.default_rng(seed)
    assert not between(rng.normal(size=(96, 96)), rng.normal(size=(96, 96))).certain


def test_what_repeats_itself_is_not_certain() -> None:
    stripes = np.tile(np.sin(np.arange(160) * 2 * np.pi / 16), (160, 1))
    assert not between(stripes, np.roll(stripes, 3, 1)).certain


def test_small_or_empty_sections_are_not_compared() -> None:
    assert spectrum_of(np.ones((20, 90))) is None
    assert not between(np.ones((40, 40)), field(0, 40)).certain


def pair(first: int, second: int, y: float, x: float = 0.0, clearness: float = 5.0) -> PairShift:
    return PairShift(first, second, y, x, clearness)


def test_pairs_that_agree_give_their_sums() -> None:
    found = positions_of([pair(0, 1, 2), pair(1, 2, -1, 3), pair(0, 2, 1, 3)], 3)
    np.testing.assert_allclose(found.yx, [[0, 0], [2, 0], [1, 3]], atol=1e-3)
    assert found.certain.tolist() == [True, True, True]


def test_a_wrong_pair_moves_nobody_and_a_lost_section_lies_between() -> None:
    true = np.array([0.0, 1, 3, 3, 6, 6, 7, 9])
    pairs = [pair(a, b, true[b] - true[a]) for a in range(8) for b in (a + 1, a + 2) if b < 8]
    wrong = [pair(2, 3, 30.0) if (one.first, one.second) == (2, 3) else one for one in pairs]
    np.testing.assert_allclose(positions_of(wrong, 8).yx[:, 0], true, atol=0.1)
    lost = [one for one in pairs if 4 not in (one.first, one.second)]
    found = positions_of([*lost, pair(3, 4, 50, clearness=1.1)], 8)
    np.testing.assert_allclose(np.delete(found.yx[:, 0], 4), np.delete(true, 4), atol=0.1)
    assert found.yx[4, 0] == pytest.approx((3 + 6) / 2, abs=0.1)
    assert np.flatnonzero(~found.certain).tolist() == [4, 5]


def test_nothing_certain_leaves_all_in_place() -> None:
    found = positions_of([pair(0, 1, 9, clearness=1.0)], 3)
    np.testing.assert_array_equal(found.yx, 0)
    assert found.certain.tolist() == [True, False, False]
    assert positions_of([], 1).yx.shape == (1, 2)


def test_slow_drift_is_no_jitter_but_steps_and_single_sections_are() -> None:
    z = np.arange(80)
    drift = np.stack([0.8 * z, -0.3 * z], axis=1)
    jumps = np.zeros((80, 2))
    jumps[30:] = (12, -5)
    jumps[50] += (0, 7)
    certain = np.ones(80, bool)
    np.testing.assert_allclose(Positions(drift, certain).jitter(), 0, atol=1e-9)
    np.testing.assert_allclose(Positions(drift + jumps, certain).jitter(), jumps, atol=1e-9)


def test_what_is_moved_does_not_add_up() -> None:
    """Skewed steps without jumps leave positions that follow the drift; sections that shake are moved back."""
    rng = np.random.default_rng(0)
    certain, z = np.ones(200, bool), np.arange(200)
    winding = np.cumsum(ndimage.gaussian_filter1d(rng.normal(0, 2, (200, 2)), 8, axis=0), axis=0)
    assert np.ptp(winding) > 10
    assert abs(Positions(winding, certain).jitter()).max() < 1
    skewed = np.cumsum(rng.beta(1, 3, (200, 2)) * 3, axis=0)  # the median step is not the mean one
    assert abs(Positions(skewed, certain).jitter().mean(axis=0)).max() < 0.5
    shaking = np.stack([0.3 * z, np.zeros(200)], axis=1) + rng.normal(0, 4, (200, 2))
    left = shaking - Positions(shaking, certain).jitter()
    assert np.diff(left, axis=0).std() < 0.1 * np.diff(shaking, axis=0).std()


def test_a_drift_names_the_largest_steps_and_what_is_not_known() -> None:
    pairs = [pair(10, 11, 1.0), pair(11, 12, -4.0, 3.0), pair(12, 13, 0.0, 2.0), pair(13, 14, 0.5, clearness=1.0)]
    found = drift_of(pairs, range(10, 15))
    assert (found.steps, found.certain, found.known) == (4, 3, True)
    assert [(one.slice, one.y, one.x) for one in found.largest] == [(12, -4.0, 3.0), (13, 0.0, 2.0), (11, 1.0, 0.0)]
    assert found.reach_vox == (4.0, 5.0)
    assert not drift_of(pairs[3:], range(10, 15)).known
