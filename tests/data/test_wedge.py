"""The point-spread function of a tomogram: what its theory says, and the convolution with it."""

from math import cos, radians, sin, sqrt

import numpy as np
import pytest
from scipy.signal import correlate

from cristae.data.synthetic.wedge import REACH_VOX, point_spread, smear


def transfer(spread: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Strength, angle to kx in degrees and length of each frequency."""
    k = np.abs(np.fft.fftfreq(128))
    strength = np.abs(np.fft.fft2(spread, (128, 128)))
    return strength, np.degrees(np.arctan2(k[:, None], k)), np.hypot(k[:, None], k)


@pytest.mark.parametrize("tilt", [60.0, 70.0])
def test_a_ball_is_longer_along_the_beam_by_radermachers_factor(tilt: float) -> None:
    """Radermacher (1988): sqrt((a + sin a cos a) / (a - sin a cos a)); 1.55 for 60 degrees, 1.31 for 70."""
    a = radians(tilt)
    factor = sqrt((a + sin(a) * cos(a)) / (a - sin(a) * cos(a)))
    assert factor == pytest.approx({60.0: 1.55, 70.0: 1.31}[tilt], abs=0.005)
    strength, _, length = transfer(point_spread(tilt, 2.0, 1.0))
    k = np.fft.fftfreq(128)
    seen = length > 0.02
    found = sqrt((strength * k[None, :] ** 2)[seen].sum() / (strength * k[:, None] ** 2)[seen].sum())
    assert found == pytest.approx(factor, rel=0.02)


@pytest.mark.parametrize("tilt", [60.0, 70.0])
def test_frequencies_beyond_the_tilts_are_missing(tilt: float) -> None:
    strength, angle, length = transfer(point_spread(tilt, 2.0, 1.0))
    ring = (length > 0.08) & (length < 0.3)
    assert strength[ring & (angle < tilt - 6)].mean() > 0.55
    assert strength[ring & (angle > tilt + 6)].mean() < 0.08


def test_a_full_range_of_tilts_smears_nothing() -> None:
    spread = point_spread(90.0, 1.0, 1.0)
    np.testing.assert_allclose(spread, spread.T, atol=1e-5)


def test_the_mean_stays() -> None:
    for tilt, z_per_x in ((60.0, 1.0), (45.0, 2.0), (70.0, 0.5)):
        assert point_spread(tilt, 2.0, z_per_x).sum(dtype=float) == pytest.approx(1, abs=3e-4)


def test_the_wedge_is_that_of_space_where_voxels_are_no_cubes() -> None:
    """In voxels half as wide along x, the directions of nm are other directions of voxels."""
    strength, _, _ = transfer(point_spread(60.0, 2.0, 2.0))
    k = np.abs(np.fft.fftfreq(128))
    angle, length = np.degrees(np.arctan2(k[:, None] / 2, k)), np.hypot(k[:, None] / 2, k)
    ring = (length > 0.05) & (length < 0.2)
    assert strength[ring & (angle < 54)].mean() > 5 * strength[ring & (angle > 66)].mean()


def test_the_convolution_is_scipys() -> None:
    grey = np.random.default_rng(0).random((40, 3, 45), np.float32)
    spread = point_spread(60.0, 2.0, 1.0)
    found = smear(grey, spread)
    expected = correlate(grey.astype(float), spread[:, None].astype(float), mode="valid")
    assert found.shape == (40 - 2 * REACH_VOX, 3, 45 - 2 * REACH_VOX)
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_each_voxel_is_the_same_sum_wherever_a_box_ends() -> None:
    grey = np.random.default_rng(1).random((50, 4, 79), np.float32)
    spread = point_spread(60.0, 2.0, 1.0)
    whole = smear(grey, spread)
    assert np.array_equal(smear(grey[3:-4, 1:3, 5:-9], spread), whole[3:-4, 1:3, 5:-9])


def test_the_function_is_symmetric_and_fixed() -> None:
    spread = point_spread(60.0, 2.0, 1.0)
    assert np.array_equal(spread, spread[::-1, ::-1])
    assert (spread * 2**20 % 1 == 0).all(), "the last bits of sines do not reach the coefficients"
    assert not spread.flags.writeable
