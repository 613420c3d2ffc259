"""Histograms: percentiles against numpy, adding up, and clear refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import cristae.preprocess.histogram
from cristae.data.box import Box
from cristae.data.image import image_of_array
from cristae.errors import VolumeError
from cristae.preprocess.histogram import MAX_BINS, IntensityHistogram, add_up, histogram_of

PERCENTS = (0, 0.5, 1, 5, 25, 50, 75, 95, 99, 99.5, 100)


def same(first: IntensityHistogram, second: IntensityHistogram) -> bool:
    return (
        np.array_equal(first.keys, second.keys)
        and np.array_equal(first.counts, second.counts)
        and (first.kind, first.shift, first.low, first.high) == (second.kind, second.shift, second.low, second.high)
    )


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "bool", ">u2", "float16", "float32", "int32"])
def test_percentiles_equal_numpy_where_every_value_has_its_bin(dtype):
    rng = np.random.default_rng(1)
    values = (rng.normal(60, 25, (7, 40, 41)) * (1 if "8" in dtype else 100)).clip(-120, 30000)
    values = np.abs(values).clip(0, 120).astype(dtype) if "8" in dtype else values.astype(dtype)
    histogram = IntensityHistogram.of(values)
    assert histogram.shift == 0
    for percent in PERCENTS:
        expected = np.percentile(values.astype(np.float64), percent, method="inverted_cdf")
        assert histogram.percentile(percent) == expected


@pytest.mark.parametrize("offset", [0, 1e4, -3e5])
def test_percentiles_of_floats_are_within_a_ten_thousandth(offset):
    values = np.random.default_rng(2).normal(offset, 3, (20, 100, 100)).astype(np.float32)
    histogram = sum((IntensityHistogram.of(part) for part in values), IntensityHistogram.empty(values.dtype))
    assert len(histogram.keys) <= MAX_BINS
    for percent in PERCENTS:
        expected = np.percentile(values, percent, method="inverted_cdf")
        assert histogram.percentile(percent) == pytest.approx(expected, rel=2e-4, abs=1e-3)
    assert (histogram.low, histogram.high) == (values.min(), values.max())


@given(
    st.sampled_from(["uint8", "uint16", "float32", "uint32"]).flatmap(
        lambda dtype: arrays(
            dtype,
            st.integers(1, 60),
            elements={"allow_nan": False, "allow_infinity": False} if "float" in dtype else None,
        )
    ),
    st.integers(0, 60),
)
def test_parts_add_up_to_the_whole(values, cut):
    assert same(
        IntensityHistogram.of(values[:cut]) + IntensityHistogram.of(values[cut:]), IntensityHistogram.of(values)
    )


def test_order_does_not_matter_when_bins_are_merged():
    parts = np.random.default_rng(3).normal(0, 1, (5, 60_000)).astype(np.float32)
    forward = sum((IntensityHistogram.of(part) for part in parts), IntensityHistogram.empty(parts.dtype))
    backward = sum((IntensityHistogram.of(part) for part in parts[::-1]), IntensityHistogram.empty(parts.dtype))
    assert forward.shift > 0
    assert same(forward, backward)
    assert same(forward, IntensityHistogram.of(parts))


@pytest.mark.parametrize("most", [MAX_BINS, 50])
def test_many_small_parts_add_up_in_few_steps(monkeypatch, most):
    monkeypatch.setattr("cristae.preprocess.histogram.MAX_BINS", most)
    parts = np.random.default_rng(3).normal(0, 1, (40, 20)).astype(np.float32)
    merged = monkeypatch_counter(monkeypatch, "_merged")
    total = add_up(IntensityHistogram.of(part) for part in parts)
    assert same(total, IntensityHistogram.of(parts))
    assert len(merged) <= 1 + 40 * 20 // (3 * most)


def monkeypatch_counter(monkeypatch, name):
    """A list that grows with each call of a function of the module."""
    calls, function = [], getattr(cristae.preprocess.histogram, name)
    monkeypatch.setattr(cristae.preprocess.histogram, name, lambda parts: calls.append(1) or function(parts))
    return calls


def test_values_without_some():
    histogram = IntensityHistogram.of(np.array([0, 0, 0, 5, 6, 255], np.uint8)).without((0, 255, 3.5))
    assert (histogram.size, histogram.low, histogram.high) == (2, 5, 6)
    assert IntensityHistogram.of(np.array([0.0, -0.0, 1.5], np.float32)).without((0.0,)).size == 1


def test_share_outside():
    assert IntensityHistogram.of(np.array([1, 2, 3, 9], np.int16)).share_outside(2, 8) == 0.5


def test_types_on_different_scales_do_not_add():
    with pytest.raises(VolumeError, match=r"uint8.*uint16.*scope: volume"):
        IntensityHistogram.of(np.zeros(2, np.uint8)) + IntensityHistogram.of(np.zeros(2, np.uint16))


def test_complex_numbers_are_refused():
    with pytest.raises(VolumeError, match="complex64"):
        IntensityHistogram.of(np.zeros(3, np.complex64))


def test_an_image_is_counted_block_by_block():
    array = np.random.default_rng(4).integers(0, 4000, (20, 600, 530)).astype(np.uint16)
    seen = []
    image = image_of_array(array)
    spy = image.map(lambda block: seen.append(block.size) or block, image.dtype)
    assert same(histogram_of(spy), IntensityHistogram.of(array))
    assert max(seen) <= 16 * 512 * 512
    box = Box((2, 5, 7), (9, 300, 512))
    assert same(histogram_of(image, box), IntensityHistogram.of(array[box.slices]))


def test_a_sample_is_spread_and_small():
    array = np.broadcast_to(np.arange(100, dtype=np.uint8)[:, None, None], (100, 512, 512))
    sample = histogram_of(image_of_array(array), max_voxels=100 * 256 * 256)
    assert sample.size <= 1.1 * 100 * 256 * 256
    assert len(sample.keys) >= 60
    assert abs(sample.percentile(50) - 50) < 4
    assert same(sample, histogram_of(image_of_array(array), max_voxels=100 * 256 * 256))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_float_image_with_nan_says_which_slice(bad):
    array = np.ones((9, 30, 30), np.float32)
    array[6, 12, 3] = bad
    with pytest.raises(VolumeError, match=r"scan.*slice 6 .*y 12, x 3"):
        histogram_of(image_of_array(array, name="scan"))


def test_colour_images_are_refused():
    image = image_of_array(np.zeros((1, 4, 4), np.uint8)).map(
        lambda block: np.stack([block] * 3, -1), "uint8", colors=3
    )
    with pytest.raises(VolumeError, match="3 colour channels"):
        histogram_of(image)
