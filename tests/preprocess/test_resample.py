"""Working voxel size: laws of resampling, hand-worked values, and independence of the box."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cristae.data.box import Box
from cristae.data.image import Image, image_of_array
from cristae.data.volume import Volume
from cristae.errors import VoxelSizeError
from cristae.preprocess import resample
from cristae.preprocess.resample import (
    Grid,
    needed_box,
    resample_array,
    resample_image,
    resample_volume,
    working_grid,
)

SIZES = st.sampled_from([3.7, 5.0, 8.0, 8.004, 10.0, 13.6, 17.0, 27.3, 40.0])
VOXELS = st.tuples(SIZES, SIZES, SIZES)
SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 14), st.integers(1, 14))


def known(array, size, name="stack") -> Image:
    return image_of_array(array, voxel_size_nm=size, name=name)


def random_box(data, shape) -> Box:
    start = [data.draw(st.integers(0, n - 1)) for n in shape]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True)]
    return Box(tuple(start), tuple(stop))


def line(values, to, *, size=10.0, method="linear", dtype=np.float64):
    """Resample along x only."""
    image = known(np.asarray(values, dtype)[None, None], (1.0, 1.0, size))
    return resample_image(image, (1.0, 1.0, to), method=method).read()[0, 0]


@settings(max_examples=150, deadline=None)
@given(st.data(), SHAPES, VOXELS, VOXELS, st.sampled_from(["linear", "nearest"]), st.sampled_from(["uint8", "float32"]))
def test_a_box_equals_that_part_of_the_whole_bit_for_bit(data, shape, size, to, method, dtype):
    array = (np.random.default_rng(7).random(shape) * 255).astype(dtype)
    image = resample_image(known(array, size), to, method=method)
    box = random_box(data, image.shape)
    part, whole = image.read(box), image.read()
    assert part.dtype == whole.dtype == array.dtype
    assert whole.shape == image.shape
    assert np.array_equal(part, whole[box.slices])


@settings(max_examples=80, deadline=None)
@given(st.data(), SHAPES, VOXELS, VOXELS, st.sampled_from(["linear", "nearest"]))
def test_the_needed_box_is_enough_and_right(data, shape, size, to, method):
    source = Grid(shape, size)
    target = working_grid(source, to)
    box = random_box(data, target.shape)
    array = np.random.default_rng(8).random((2, *shape)).astype(np.float32)
    whole = resample_array(array, Box.of_shape(shape), source, Box.of_shape(target.shape), target, method=method)
    needed = needed_box(box, target, source, method)
    part = resample_array(array[(slice(None), *needed.slices)], needed, source, box, target, method=method)
    assert np.array_equal(part, whole[(slice(None), *box.slices)])


@settings(max_examples=80, deadline=None)
@given(SHAPES, VOXELS, VOXELS, st.integers(0, 65535), st.sampled_from(["linear", "nearest"]))
def test_constants_stay(shape, size, to, value, method):
    image = resample_image(known(np.full(shape, value, np.uint16), size), to, method=method)
    assert (image.read() == value).all()


@settings(max_examples=80, deadline=None)
@given(SHAPES, VOXELS, VOXELS)
def test_values_stay_between_the_extremes(shape, size, to):
    array = np.random.default_rng(9).random(shape).astype(np.float32)
    out = resample_image(known(array, size), to, method="linear").read()
    assert array.min() - 1e-6 <= out.min()
    assert out.max() <= array.max() + 1e-6


@pytest.mark.parametrize("to", [3.7, 5.0, 9.1, 20.0, 30.0])
def test_a_ramp_stays_a_ramp_when_enlarging_and_for_whole_factors(to):
    centres = (np.arange(60) + 0.5) * 10
    out = line(centres, to)
    expected = (np.arange(len(out)) + 0.5) * to
    inside = (expected > 10) & (expected < 590 - to)
    np.testing.assert_allclose(out[inside], expected[inside], rtol=1e-12)


@pytest.mark.parametrize("to", [17.0, 27.3, 13.6, 10.4])
def test_a_ramp_moves_by_less_than_an_eighth_of_a_voxel_for_broken_factors(to):
    out = line((np.arange(80) + 0.5) * 10, to)
    expected = (np.arange(len(out)) + 0.5) * to
    inside = expected < 800 - to
    assert np.abs(out - expected)[inside].max() <= 10 / 8


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)), st.integers(0, 99))
def test_whole_factor_shrinking_is_the_mean_of_blocks(factors, seed):
    array = np.random.default_rng(seed).random((factors[0] * 2, factors[1] * 3, factors[2] * 5))
    to = tuple(4.0 * f for f in factors)
    out = resample_image(known(array, (4.0, 4.0, 4.0)), to, method="linear").read()
    blocks = array.reshape(2, factors[0], 3, factors[1], 5, factors[2]).mean((1, 3, 5))
    np.testing.assert_allclose(out, blocks, rtol=1e-12)


@pytest.mark.parametrize(("n", "to"), [(34, 17.0), (137, 13.7), (9, 10.0 * 9 / 4)])
def test_broken_shrinking_keeps_the_mean_when_the_grids_end_together(n, to):
    values = np.random.default_rng(3).random(n)
    assert line(values, to).mean() == pytest.approx(values.mean(), rel=1e-9)


def test_values_worked_by_hand():
    assert line([0, 10], 5.0).tolist() == [0, 2.5, 7.5, 10]
    assert line([0, 6, 12], 15.0).tolist() == [2, 10]  # (0 + 6/2) / 1.5 and (6/2 + 12) / 1.5
    assert line([0, 1, 2, 4], 20.0, dtype=np.uint8).tolist() == [0, 3]  # 0.5 and 3.0, half to even
    assert line([4, 8, 16], 20.0).tolist() == [6, 16]  # the last voxel averages what there is
    assert line([1, 2, 3], 7.0, method="nearest").tolist() == [1, 2, 2, 3, 3]


def test_shrinking_does_not_alias():
    stripes = np.tile([0.0, 1.0], 200)
    assert np.abs(line(stripes, 40.0) - 0.5).max() < 1e-12
    assert np.abs(line(stripes, 37.0)[1:-1] - 0.5).max() < 0.15


@settings(max_examples=50, deadline=None)
@given(SHAPES, st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)), st.integers(0, 99))
def test_labels_come_back_exactly_after_whole_factors(shape, factors, seed):
    labels = np.random.default_rng(seed).integers(0, 7, shape).astype(np.uint8)
    size = (40.0, 12.0, 10.0)
    finer = tuple(s / f for s, f in zip(size, factors, strict=True))
    enlarged = resample_image(known(labels, size), finer, method="nearest")
    assert np.array_equal(resample_image(enlarged, size, method="nearest").read(), labels)


def test_smooth_images_come_back_nearly_after_broken_factors():
    y, x = np.mgrid[:80, :90] * 1.0
    image = known((np.sin(y / 9) * np.cos(x / 11))[None], (40.0, 10.0, 10.0))
    back = resample_image(
        resample_image(image, (40.0, 17.0, 7.3), method="linear"), (40.0, 10.0, 10.0), method="linear"
    )
    box = Box((0, 3, 3), (1, 77, 87))
    assert np.abs(back.read(box) - image.read(box)).max() < 0.02


@pytest.mark.parametrize(
    ("n", "s", "t", "expected"),
    [(100, 10, 17, 59), (100, 8, 16, 50), (101, 8, 16, 51), (7, 4, 40, 1), (10, 5, 0.5, 100), (1, 1, 1000, 1)],
)
def test_the_working_grid_covers_the_extent(n, s, t, expected):
    assert working_grid(Grid((1, 1, n), (1.0, 1.0, float(s))), (1.0, 1.0, float(t))).shape[2] == expected


def test_equal_sizes_give_the_image_itself():
    image = known(np.zeros((2, 3, 4), np.uint8), (40.0, 10.0, 10.0))
    assert resample_image(image, (40.02, 10.0, 9.995), method="linear") is image
    assert resample_image(image, (40.0, 10.0, 10.2), method="linear") is not image


def test_one_axis_nearly_equal_keeps_its_slices():
    image = replace(known(np.zeros((2000, 2, 4), np.uint8), (40.0, 10.0, 10.0)), slice_names=("s",) * 2000)
    out = resample_image(image, (40.03, 10.0, 20.0), method="linear")
    assert out.shape == (2000, 2, 2)
    assert out.slice_names == image.slice_names
    assert resample_image(image, (80.0, 10.0, 10.0), method="linear").slice_names is None


def test_first_voxels_share_their_outer_corner():
    image = replace(known(np.zeros((4, 4, 4), np.uint8), (40.0, 10.0, 10.0)), origin_nm=(100.0, 0.0, 5.0))
    out = resample_image(image, (20.0, 10.0, 30.0), method="linear")
    corner = [o - s / 2 for o, s in zip(image.origin_nm, image.voxel_size_nm, strict=True)]
    assert [o - s / 2 for o, s in zip(out.origin_nm, out.voxel_size_nm, strict=True)] == corner


def test_an_unknown_voxel_size_is_refused():
    with pytest.raises(VoxelSizeError, match=r"stack.*40 x 10 x 10 nm"):
        resample_image(image_of_array(np.zeros((1, 2, 2)), name="stack"), (40.0, 10.0, 10.0), method="linear")


def test_large_reads_go_piece_by_piece(monkeypatch):
    array = np.random.default_rng(1).integers(0, 255, (12, 60, 70)).astype(np.uint8)
    sizes = []
    image = known(array, (40.0, 10.0, 10.0))
    image = replace(image, reader=lambda box: sizes.append(box.size) or array[box.slices])
    small = resample_image(image, (80.0, 23.0, 23.0), method="linear")
    whole = small.read()
    assert max(sizes) == array.size
    sizes.clear()
    monkeypatch.setattr(resample, "_MAX_SOURCE_VOXELS", 4000)
    assert np.array_equal(small.read(), whole)
    assert max(sizes) <= 4000


def test_colours_and_wrong_arrays():
    array = np.random.default_rng(2).integers(0, 255, (2, 6, 6, 3)).astype(np.uint8)
    image = replace(known(array[..., 0], (4.0, 4.0, 4.0)), colors=3, reader=lambda box: array[box.slices])
    out = resample_image(image, (4.0, 8.0, 8.0), method="linear").read()
    one = resample_image(known(array[..., 1], (4.0, 4.0, 4.0)), (4.0, 8.0, 8.0), method="linear").read()
    assert np.array_equal(out[..., 1], one)
    grid = Grid((4, 4, 4), (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="does not fit"):
        resample_array(
            np.zeros((3, 3, 3)), Box.of_shape((4, 4, 4)), grid, Box.of_shape((4, 4, 4)), grid, method="linear"
        )
    with pytest.raises(ValueError, match="does not hold"):
        resample_array(
            np.zeros((3, 4, 4)), Box.of_shape((3, 4, 4)), grid, Box.of_shape((4, 4, 4)), grid, method="linear"
        )


def test_a_volume_moves_as_one():
    grey = np.random.default_rng(4).integers(0, 255, (6, 8, 8)).astype(np.uint8)
    labels = np.random.default_rng(5).integers(0, 3, (6, 8, 8)).astype(np.uint8)
    valid = (labels > 0).astype(np.uint8)
    volume = Volume(
        "v", image_of_array(grey), (image_of_array(labels),), image_of_array(valid), None, (40.0, 10.0, 10.0), (1, 4)
    )
    out = resample_volume(volume, (20.0, 20.0, 20.0))
    assert out.image.shape == out.labels[0].shape == (12, 4, 4)
    assert out.valid is not None
    assert out.valid.shape == (12, 4, 4)
    assert out.voxel_size_nm == (20.0, 20.0, 20.0)
    assert out.labelled_slices == (2, 3, 8, 9)
    assert set(np.unique(out.labels[0].read())) <= {0, 1, 2}
    assert np.array_equal(out.valid.read(), (out.labels[0].read() > 0).astype(np.uint8))
    with pytest.raises(VoxelSizeError):
        resample_volume(replace(volume, voxel_size_nm=None), (20.0, 20.0, 20.0))
