"""Grey maps of every kind that programs write, read as probabilities."""

import numpy as np
import pytest

from cristae.data.box import Box
from cristae.data.image import Image, image_of_array
from cristae.errors import ScoreError
from cristae.metrics.binary import binarize, probability_map, probability_maps

TENTHS = np.linspace(0, 1, 11).reshape(1, 1, 11)


def whole(image: Image) -> list[Box]:
    return [Box.of_shape(image.shape)]


def read(voxels: np.ndarray) -> np.ndarray:
    return probability_map(image_of_array(voxels), blocks=whole).read()


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "uint8", "uint16", "int32"])
def test_all_kinds_of_one_map_mean_the_same(kind: str) -> None:
    full = {"uint8": 255, "int32": 255, "uint16": 65535}.get(kind, 1)
    voxels = TENTHS * full
    found = read((np.rint(voxels) if kind[0] in "ui" else voxels).astype(kind))
    np.testing.assert_allclose(found / (255 if found.dtype == np.uint8 else 1), TENTHS, atol=0.003)
    assert np.array_equal(binarize(found, 0.55), TENTHS > 0.55)


@pytest.mark.parametrize("kind", ["bool", "uint8", "uint16", "int64"])
def test_0_and_1_are_probabilities_of_0_and_1(kind: str) -> None:
    assert np.array_equal(read((TENTHS > 0.5).astype(kind)), np.where(TENTHS > 0.5, 255, 0))


@pytest.mark.parametrize(
    ("voxels", "words"),
    [
        (TENTHS * 100, "divided by 100"),
        ((TENTHS * 100).astype(np.uint8), "as of percentages"),
        ((TENTHS * 100).astype(np.uint16), "as of percentages"),
        (TENTHS - 0.1, "outside 0 to 1"),
        (TENTHS * np.nan, "NaN"),
        ((TENTHS * 10_000).astype(np.uint16), "0 to 65535 where it is 16-bit"),
        ((TENTHS * 65535).astype(np.int32), "holds values from 0 to 65535"),
        (np.array([[[-128, 127]]], np.int8), "from -128 to 127"),
    ],
)
def test_what_is_no_probability_is_refused(voxels: np.ndarray, words: str) -> None:
    with pytest.raises(ScoreError, match=words):
        read(voxels)


def test_maps_of_one_file_have_one_scale() -> None:
    """A class that is nearly absent reaches 1 of 255, which is not certainty."""
    rare, common = np.array([[[0, 1]]], np.uint8), np.array([[[255, 254]]], np.uint8)
    found = probability_maps([image_of_array(rare), image_of_array(common)], blocks=whole)
    assert np.array_equal(found[0].read(), rare)
    assert np.array_equal(probability_map(image_of_array(rare), blocks=whole).read(), 255 * rare)
