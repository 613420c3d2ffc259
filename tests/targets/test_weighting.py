"""Sample-wise weights against the numbers of the SegET specification."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from cristae.targets import NoWeighting, SampleForegroundWeighting, TargetConfig, Targets


def weights_of(config: TargetConfig, target: np.ndarray, valid: np.ndarray) -> np.ndarray | None:
    """The weights of one patch, computed in a batch between two others."""
    others = np.zeros_like(target), np.ones_like(target)
    targets = torch.from_numpy(np.stack([others[0], target, others[1]]))
    maps = config(targets, torch.from_numpy(np.stack([valid] * 3)), config.prepare([]))
    assert maps.target is targets
    assert maps.further == {}
    return None if maps.weight is None else maps.weight[1].numpy()


def patch(n_foreground: int, *size: int) -> tuple[np.ndarray, np.ndarray]:
    target = np.zeros(size, np.uint8)
    target.flat[:n_foreground] = 1
    return target, np.ones(size, bool)


def test_two_of_sixteen_voxels_weigh_seven():
    weights = weights_of(SampleForegroundWeighting(), *patch(2, 4, 4))
    expected = np.ones((4, 4))
    expected[0, :2] = 7
    np.testing.assert_array_equal(weights, expected)
    assert weights.dtype == np.float32


@pytest.mark.parametrize(
    ("n_foreground", "cap", "value"),
    [
        (100, None, 2620.44),
        (100, 2000, 2000),
        (100, 1000, 1000),
        (131, None, 2000.099),
        (131, 2000, 2000),
        (261, 1000, 1000),
        (262, 1000, 999.5496),
    ],
)
def test_cap_on_patches_of_512_pixels(n_foreground, cap, value):
    weights = weights_of(SampleForegroundWeighting(cap=cap), *patch(n_foreground, 512, 512))
    assert weights[0, 0] == pytest.approx(value, rel=1e-6)
    assert weights[-1, -1] == 1


def test_patch_without_foreground_weighs_one_everywhere():
    np.testing.assert_array_equal(weights_of(SampleForegroundWeighting(), *patch(0, 4, 4)), np.ones((4, 4)))


def test_there_is_no_lower_bound():
    assert weights_of(SampleForegroundWeighting(), *patch(12, 4, 4))[0, 0] == pytest.approx(4 / 12)
    assert weights_of(SampleForegroundWeighting(), *patch(16, 4, 4))[0, 0] == 0


def test_voxels_that_are_not_valid_are_not_counted():
    target, valid = patch(2, 4, 4)
    target[3] = 255
    valid[3] = False
    weights = weights_of(SampleForegroundWeighting(), target, valid)
    np.testing.assert_array_equal(weights[0], [5, 5, 1, 1])
    np.testing.assert_array_equal(weights[3], [1, 1, 1, 1])


def test_every_exclusive_class_but_the_background_is_foreground():
    target = np.array([[0, 1, 2, 0, 0, 0]], np.uint8)
    weights = weights_of(SampleForegroundWeighting(), target, np.ones_like(target, bool))
    np.testing.assert_array_equal(weights, [[1, 2, 2, 1, 1, 1]])


def test_overlapping_classes_are_weighed_one_by_one():
    target = np.array([[[1, 0, 0, 0]], [[1, 1, 0, 0]], [[0, 0, 0, 0]]], np.uint8)
    weights = weights_of(SampleForegroundWeighting(), target, np.ones((1, 4), bool))
    np.testing.assert_array_equal(weights, [[[3, 1, 1, 1]], [[1, 1, 1, 1]], [[1, 1, 1, 1]]])


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.99))
def test_foreground_weighs_as_much_as_background(seed, share):
    rng = np.random.default_rng(seed)
    target = (rng.random((8, 9)) < share).astype(np.uint8)
    valid = rng.random((8, 9)) < 0.8
    weights = weights_of(SampleForegroundWeighting(), target, valid)
    foreground, background = weights[valid & (target > 0)], weights[valid & (target == 0)]
    if foreground.size:
        assert foreground.sum() == pytest.approx(background.sum(), rel=1e-5)


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.none() | st.floats(0.1, 30), st.integers(1, 3))
def test_weights_are_the_exact_quotient_rounded_once(seed, share, cap, classes):
    """Counted and divided with Python's numbers, voxel by voxel."""
    rng = np.random.default_rng(seed)
    masks = (rng.random((classes, 7, 9)) < share).astype(np.uint8)
    valid = rng.random((7, 9)) < 0.7
    found = weights_of(SampleForegroundWeighting(cap=cap), masks, valid)
    for mask, weight in zip(masks, found, strict=True):
        n_foreground = sum(bool(m and v) for m, v in zip(mask.flat, valid.flat, strict=True))
        n_valid = sum(map(bool, valid.flat))
        for m, v, w in zip(mask.flat, valid.flat, weight.flat, strict=True):
            ratio = (n_valid - n_foreground) / n_foreground if m and v else 1.0
            assert w == np.float32(min(ratio, cap) if cap and m and v else ratio)


def test_no_weighting_gives_none():
    assert weights_of(NoWeighting(), *patch(2, 4, 4)) is None


def test_union_and_bad_caps():
    assert TypeAdapter(Targets).validate_python({"name": "sample_bf", "cap": 2000}).cap == 2000
    for cap in (0, -1, float("inf")):
        with pytest.raises(ValidationError, match="cap"):
            SampleForegroundWeighting(cap=cap)
