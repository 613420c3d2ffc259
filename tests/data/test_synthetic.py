"""The synthetic volume: independent of boxes and threads, exact labels, shares and looks of the real thing."""

import doctest
import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

from cristae.data import synthetic
from cristae.data.box import Box
from cristae.data.synthetic import PLATELET_CLASSES, SyntheticConfig, synthetic_volume
from cristae.data.synthetic.cells import cell_at, contents_of
from cristae.data.synthetic.noise import hash_lattice, value_noise

SMALL = SyntheticConfig(shape=(12, 150, 210), seed=3)
BIG = SyntheticConfig(shape=(20, 600, 600), seed=4)


@pytest.fixture(scope="module")
def small():
    volume = synthetic_volume(SMALL)
    return volume, volume.image.read(), volume.labels[0].read()


@pytest.fixture(scope="module")
def big():
    volume = synthetic_volume(BIG)
    return volume.image.read(), volume.labels[0].read()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_box_is_that_part_of_the_whole(small, data):
    volume, grey, labels = small
    start = [data.draw(st.integers(0, n - 1)) for n in SMALL.shape]
    stop = [data.draw(st.integers(a + 1, min(n, a + 90))) for a, n in zip(start, SMALL.shape, strict=True)]
    box = Box(tuple(start), tuple(stop))
    assert np.array_equal(volume.image.read(box), grey[box.slices])
    assert np.array_equal(volume.labels[0].read(box), labels[box.slices])


def test_tiles_do_not_show(small, monkeypatch):
    monkeypatch.setattr(SyntheticConfig, "tile", (5, 61, 37))
    volume, grey, labels = small
    assert np.array_equal(volume.image.read(), grey)
    assert np.array_equal(volume.labels[0].read(), labels)


def test_threads_read_the_same(small):
    _, grey, _ = small
    cell_at.cache_clear()
    contents_of.cache_clear()
    volume = synthetic_volume(SMALL)
    boxes = list(Box.of_shape(SMALL.shape).blocks((4, 75, 70)))
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(volume.image.read, boxes))
    assert all(np.array_equal(part, grey[box.slices]) for part, box in zip(parts, boxes, strict=True))


def test_a_larger_volume_holds_the_smaller_one(small):
    _, grey, labels = small
    larger = synthetic_volume(SMALL.model_copy(update={"shape": (4000, 40_000, 50_000)}))
    box = Box.of_shape(SMALL.shape)
    assert np.array_equal(larger.image.read(box), grey)
    assert np.array_equal(larger.labels[0].read(box), labels)


def test_far_corners_of_a_volume_larger_than_memory_can_be_read():
    shape = (100_000, 400_000, 400_000)
    volume = synthetic_volume(SyntheticConfig(shape=shape, seed=1))
    box = Box((99_998, 399_900, 399_900), shape)
    assert volume.image.read(box).std() > 5
    assert np.array_equal(volume.labels[0].read(box), volume.labels[0].read(box))


def test_finer_voxels_show_the_same_tissue():
    coarse = synthetic_volume(SyntheticConfig(shape=(4, 80, 80), voxel_size_nm=(40, 30, 30), seed=5)).labels[0].read()
    fine = synthetic_volume(SyntheticConfig(shape=(4, 240, 240), voxel_size_nm=(40, 10, 10), seed=5)).labels[0].read()
    assert np.array_equal(fine[:, 1::3, 1::3], coarse)


def test_seeds_differ_and_repeat():
    def read(seed):
        return synthetic_volume(SyntheticConfig(shape=(2, 96, 96), seed=seed)).image.read()

    assert np.array_equal(read(1), read(1))
    assert not np.array_equal(read(1), read(2))
    assert abs(np.corrcoef(read(1).ravel(), read(2).ravel())[0, 1]) < 0.9


def test_volume_says_what_it_is(small):
    volume, grey, labels = small
    assert grey.dtype == labels.dtype == volume.image.dtype == np.uint8
    assert grey.shape == labels.shape == volume.image.shape == volume.labels[0].shape == SMALL.shape
    assert volume.voxel_size_nm == volume.image.voxel_size_nm == SMALL.voxel_size_nm
    assert set(np.unique(labels)) <= set(PLATELET_CLASSES.ids)
    assert PLATELET_CLASSES.ids == tuple(range(7))


@pytest.mark.slow
def test_shares_are_those_of_platelets():
    config = SyntheticConfig(shape=(16, 280, 280), voxel_size_nm=(150, 30, 30), seed=1)  # 2.4 x 8.4 x 8.4 um
    counts = np.bincount(synthetic_volume(config).labels[0].read().ravel(), minlength=7)
    percent = 100 * counts / counts.sum()
    limits = [(24, 38), (54, 68), (0.7, 3), (2.5, 6), (2, 5), (0.3, 0.9), (0.05, 0.2)]
    for share, (low, high), name in zip(percent, limits, PLATELET_CLASSES.names, strict=True):
        assert low < share < high, (name, percent)


@pytest.mark.slow
def test_organelles_lie_where_they_do_in_cells(big):
    _, labels = big
    background = labels == 0
    near = ndimage.binary_dilation(background, np.ones((1, 3, 3), bool))
    assert not near[(labels == 2) | (labels == 3) | (labels > 4)].any()
    touching = set(np.unique(labels[ndimage.binary_dilation(labels == 6, np.ones((1, 3, 3), bool))]))
    assert touching == {5, 6}


def test_channels_open_to_the_outside(big):
    _, labels = big
    channels, _ = ndimage.label(labels == 4, np.ones((3, 3, 3)))
    shore = ndimage.binary_dilation(labels == 0, np.ones((3, 3, 3)))
    open_ones = np.unique(channels[(channels > 0) & shore])
    sizes = np.bincount(channels.ravel())
    assert sizes[open_ones].sum() > 0.25 * sizes[1:].sum()


def test_dark_is_electron_dense(big):
    grey, labels = big
    mean = [grey[labels == i].mean() for i in range(7)]
    assert mean[0] > 180
    assert mean[4] > 160
    assert 90 < mean[1] < 140
    assert mean[6] < mean[2] < mean[3] < mean[1] < mean[5] < mean[4]
    inside = labels > 0
    rim = inside & ~ndimage.binary_erosion(inside, np.ones((1, 3, 3), bool), border_value=1)
    deep = ndimage.binary_erosion(labels == 1, np.ones((1, 9, 9), bool))
    assert grey[rim & (labels == 1)].mean() < grey[deep].mean() - 8


def test_noise_is_as_strong_as_asked():
    def flat(noise, blur):
        config = SyntheticConfig(
            **(BIG.model_dump() | {"shape": (1, 600, 600), "noise": noise, "blur": blur, "drift": 0})
        )
        volume = synthetic_volume(config)
        resin = ndimage.binary_erosion(volume.labels[0].read()[0] == 0, iterations=6)
        return volume.image.read()[0][resin].std() / 255

    still = flat(0, 1)
    for noise, blur in [(0.05, 0), (0.05, 1), (0.1, 0.5)]:
        assert np.sqrt(flat(noise, blur) ** 2 - still**2) == pytest.approx(noise, rel=0.12)


def test_drift_moves_whole_sections():
    def means(drift):
        config = SyntheticConfig(shape=(30, 64, 64), noise=0, drift=drift, blur=0, seed=7)
        return synthetic_volume(config).image.read().mean((1, 2))

    change = means(0.1) - means(0)
    assert change.std() > 8
    assert np.array_equal(means(0), means(0))


def test_the_voxels_are_the_same_on_every_machine():
    # Also measured with all optional instruction sets of numpy turned off.
    volume = synthetic_volume(SyntheticConfig(shape=(4, 128, 128), seed=11))
    digests = [hashlib.sha256(image.read().tobytes()).hexdigest()[:16] for image in (volume.image, volume.labels[0])]
    assert digests == ["14d2f0027cf1b9d2", "5c5df0c702e4a3be"]


def test_the_hash_has_no_pattern():
    axes = (np.arange(-8, 8), np.arange(100, 164), np.arange(64))
    bits = np.unpackbits(hash_lattice(5, axes).view(np.uint8)).reshape(16, 64, 64, 32) * 1.0
    assert np.abs(bits.mean((0, 1, 2)) - 0.5).max() < 0.01
    for axis in range(3):
        step = np.diff(bits, axis=axis) != 0
        assert np.abs(step.mean((0, 1, 2)) - 0.5).max() < 0.01
    other = np.unpackbits(hash_lattice(6, axes).view(np.uint8)).reshape(bits.shape)
    assert (other != bits).mean() == pytest.approx(0.5, abs=0.005)


def test_value_noise_is_smooth_and_meets_its_lattice():
    at = np.arange(0.0, 400.0, 10.0)
    field = value_noise(1, (at, at, at), (100.0, 100.0, 100.0))
    assert np.abs(field).max() <= 1
    lattice = hash_lattice(1, (np.arange(4),) * 3) >> 8
    np.testing.assert_allclose(field[::10, ::10, ::10], lattice / 2.0**23 - 1, atol=1e-6)
    assert max(np.abs(np.diff(field, axis=axis)).max() for axis in range(3)) < 2 * 0.15 + 1e-6


def test_the_example_runs():
    assert doctest.testmod(synthetic) == (0, 2)


@pytest.mark.parametrize("wrong", [{"shape": (0, 5, 5)}, {"voxel_size_nm": (40, 0, 10)}, {"noise": -1}, {"seed": -1}])
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValidationError):
        SyntheticConfig(**wrong)
