"""Statistics of images, against numpy on the whole array."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cristae.data.image import Image, image_of_array
from cristae.data.statistics import PERCENTS, image_statistics

RNG = np.random.default_rng(23)


def image(array: np.ndarray) -> Image:
    return replace(image_of_array(array), chunks=(1, 8, 8))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"])
def test_percentiles_of_integers_are_exact(dtype: str) -> None:
    limits = np.iinfo(dtype)
    array = RNG.integers(limits.min, limits.max, (4, 33, 21), dtype=dtype, endpoint=True)
    array[0] //= 5
    found = image_statistics(image(array))
    assert (found.minimum, found.maximum) == (float(array.min()), float(array.max()))
    exact = np.sort(array.ravel())
    for percent, value in found.percentiles:
        assert value == float(exact[max(0, int(np.ceil(percent / 100 * array.size)) - 1)])


@settings(max_examples=40, deadline=None)
@given(arrays(np.int32, (2, 3, 5), elements=st.integers(-(2**31), 2**31 - 1)))
def test_any_integers(array: np.ndarray) -> None:
    found = dict(image_statistics(image(array)).percentiles)
    for percent in PERCENTS:
        assert found[percent] == np.percentile(array, percent, method="inverted_cdf")


def test_floats_with_gaps() -> None:
    array = RNG.normal(1000, 3, (5, 40, 40)).astype(np.float32)
    array[0, 0, :3] = np.nan, np.inf, -np.inf
    array[1] = np.nan
    array[2] = 7
    finite = array[np.isfinite(array)]
    found = image_statistics(image(array))
    assert found.not_finite == 3 + 1600
    assert found.constant_slices == ((2, 7.0),)
    assert (found.minimum, found.maximum) == (finite.min(), finite.max())
    for percent, value in found.percentiles:
        assert value == pytest.approx(
            np.percentile(finite, percent, method="inverted_cdf"), abs=float(2 * np.ptp(finite) / 65536 + 0.01)
        )
    assert found.values is None


@pytest.mark.parametrize(
    ("dtype", "colors", "expected"),
    [
        ("u1", 3, {0x0102FF: 8}),
        ("i1", 3, {0x0102FF: 8}),
        ("u2", 4, {0x000100020003FFFF: 8}),
        ("i2", 2, {0x0001FFFF: 8}),
        ("u4", 3, None),
        ("f4", 2, None),
        ("f8", 3, None),
    ],
)
def test_values_of_colours(dtype: str, colors: int, expected: dict[int, int] | None) -> None:
    last = -1 if dtype[0] == "i" else np.iinfo(dtype).max if dtype[0] == "u" else 0.25
    array = np.broadcast_to(np.array([*range(1, colors), last]).astype(dtype), (2, 2, 2, colors))
    found = image_statistics(
        replace(image_of_array(array[..., 0]), reader=lambda box: array[box.slices], colors=colors)
    )
    assert found.values == (None if expected is None else tuple(expected.items()))
    assert found.maximum == float(array.max())


def test_nothing_but_nan() -> None:
    found = image_statistics(image(np.full((2, 3, 4), np.nan, np.float32)))
    assert np.isnan(found.minimum)
    assert found.percentiles == ()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32"])
def test_few_values_are_counted(dtype: str) -> None:
    array = RNG.choice(np.array([0, 3, 100]), (4, 50, 50)).astype(dtype)
    assert image_statistics(image(array)).values == tuple((v, int((array == v).sum())) for v in (0, 3, 100))
    array[3, 0, :] = np.arange(50) + 5
    array[3, 1, :] = np.arange(50) + 55
    assert image_statistics(image(array)).values is None


def test_bytes_written_as_unsigned_and_read_as_signed() -> None:
    smooth = (128 + 60 * np.sin(np.arange(2 * 64 * 64).reshape(2, 64, 64) / 9)).astype(np.uint8)
    assert image_statistics(image(smooth.view(np.int8))).wrapped
    assert not image_statistics(image((smooth.astype(np.int16) - 128).astype(np.int8))).wrapped
