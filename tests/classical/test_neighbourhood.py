"""Filters of a ball around a voxel and membrane projections: against scikit-image and numpy, in blocks, and refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage
from skimage.filters import rank
from skimage.morphology import disk
from test_features import noise, plan_of, whole

from cristae.classical.config import PRESETS, FeaturesConfig, RandomForestConfig
from cristae.classical.neighbourhood import ball, membrane_kernels
from cristae.classical.pixels import mirrored, smooth_all
from cristae.data.box import Box

NONE: dict[str, object] = dict.fromkeys(("gaussian", "gradient", "structure", "hessian"), ())
AROUND = FeaturesConfig.model_validate(
    NONE
    | {
        "mean": [2.0],
        "variance": [1.0, 3.0],
        "minimum": [2.0],
        "maximum": [1.5],
        "median": [2.5],
        "differences": [[1.6, 0.7]],
        "membrane": {"thickness": 3, "patch": 7},
    }
)


def test_balls() -> None:
    """A disc of radius 2 is scikit-image's; on slices 2.5 times as thick a ball of radius 3 reaches one slice."""
    assert (ball(2, (1, 1, 1), ndim=2)[0] == disk(2)).all()
    thick = ball(3, (2.5, 1, 1), ndim=3)
    assert thick.shape == (3, 7, 7)
    assert (thick[1] == disk(3)).all()
    assert (thick[0] == np.pad(np.ones((3, 3), bool), 2)).all()  # 6.25 + 1 + 1 is below 9


def test_ranks_and_means_are_those_of_scikit_image() -> None:
    """Of 8-bit values, inside the border, where its other rule for borders has no influence."""
    image = (np.random.default_rng(0).random((30, 32)) * 255).astype(np.uint8)
    config = {**NONE, "intensity": False} | {name: [3.0] for name in ("minimum", "maximum", "median", "mean")}
    plan = plan_of(2, config=FeaturesConfig.model_validate(config))
    found = dict(zip(plan.names, whole(plan, image[None].astype(np.float32))[:, 0], strict=True))
    inner = (slice(3, -3), slice(3, -3))
    for name in ("minimum", "maximum", "median"):
        expected = getattr(rank, name)(image, disk(3))
        np.testing.assert_array_equal(found[f"{name} 3"][inner], expected[inner])
    np.testing.assert_allclose(np.floor(found["mean 3"][inner] + 1e-4), rank.mean(image, disk(3))[inner])


@pytest.mark.parametrize(("ndim", "step"), [(2, (1, 1, 1)), (3, (1, 1, 1)), (3, (1.4, 1, 1))])
def test_values_in_a_ball_by_numpy(ndim: int, step: tuple[float, float, float]) -> None:
    grey, plan = noise(11, 12, 13), plan_of(ndim, step, AROUND)
    found = dict(zip(plan.names, whole(plan, grey)[:, 5, 6, 6], strict=True))
    functions = {"mean": np.mean, "variance": np.var, "minimum": np.min, "maximum": np.max, "median": np.median}
    for name, function in functions.items():
        for radius in getattr(AROUND, name):
            z, y, x = np.mgrid[-5:6, -6:6, -6:7]
            inside = (z * step[0]) ** 2 + (y * step[1]) ** 2 + (x * step[2]) ** 2 <= radius**2 + 1e-9
            values = grey.astype(float)[inside & ((ndim == 3) | (z == 0))]
            assert found[f"{name} {radius:g}"] == pytest.approx(function(values), rel=1e-5, abs=1e-6), name
    smooth = [ndimage.gaussian_filter(grey[5].astype(float), one, mode="mirror", radius=-int(-3 * one // 1)) for one in
              (1.6, 0.7)] if ndim == 2 else None  # fmt: skip
    if smooth is not None:
        assert found["difference 1.6 0.7"] == pytest.approx((smooth[0] - smooth[1])[6, 6], abs=1e-5)


def test_membranes_answer_to_lines_at_any_angle_and_not_to_dots() -> None:
    """A bright line of the kernel's width has one turn of full response; a dot of the same width has none."""
    plan = plan_of(2, config=FeaturesConfig.model_validate(NONE | {"membrane": {}}))
    line, dot = np.zeros((2, 1, 61, 61), np.float32)
    line[0, :, 30], dot[0, 30, 30] = 1, 1
    turned = ndimage.rotate(line[0], 36, reshape=False, order=1)[None]
    answers = [dict(zip(plan.names, whole(plan, one)[:, 0, 30, 30], strict=True)) for one in (line, dot, turned)]
    assert answers[0]["membrane maximum"] == pytest.approx(1)
    assert answers[1]["membrane maximum"] < 0.1
    assert answers[2]["membrane maximum"] > 0.6
    assert answers[0]["membrane median"] < 0.2
    for one in answers:
        assert one["membrane minimum"] <= one["membrane median"] <= one["membrane maximum"]


def test_membrane_kernels_are_turns_of_a_line() -> None:
    """Thirty, each of sum 1; the first stands upright, the sixteenth lies, as a turn by 90 degrees."""
    kernels = membrane_kernels(1, 19)
    assert kernels.shape == (30, 19, 19)
    np.testing.assert_allclose(kernels.sum(axis=(1, 2)), 1)
    upright = np.zeros((19, 19))
    upright[:, 9] = 1 / 19
    np.testing.assert_allclose(kernels[0], upright)
    np.testing.assert_allclose(kernels[15], upright.T, atol=1e-9)


@pytest.mark.parametrize(("ndim", "step"), [(2, (1, 1, 1)), (3, (1.4, 1, 1))])
def test_an_impulse_changes_nothing_beyond_the_reach_and_something_on_it(
    ndim: int, step: tuple[float, float, float]
) -> None:
    plan = plan_of(ndim, step, AROUND)
    still = np.random.default_rng(0).uniform(1, 2, (17, 17, 17)).astype(np.float32)
    other = still.copy()
    other[8, 8, 8] += 100
    places = np.argwhere((whole(plan, still) != whole(plan, other)).any(axis=0)) - 8
    assert tuple(np.abs(places).max(axis=0)) == plan.reach


@settings(max_examples=12, deadline=None)
@given(
    ndim=st.sampled_from([2, 3]),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 18), st.integers(1, 18)),
    block=st.tuples(st.integers(1, 5), st.integers(3, 18), st.integers(3, 18)),
)
def test_blocks_give_the_bits_of_the_whole(ndim: int, shape: tuple[int, int, int], block: tuple[int, int, int]) -> None:
    plan, grey = plan_of(ndim, (1.4, 1, 1), AROUND), noise(*shape)
    expected = whole(plan, grey)
    for box in Box.of_shape(shape).blocks(block):
        seen = box.grow(plan.reach).intersect(Box.of_shape(shape))
        around = mirrored(grey[seen.slices], box.relative_to(seen.start), plan.reach)
        found = plan.stack(around, smooth_all(around, plan), Box.of_shape(box.shape))
        assert np.array_equal(found, expected[(slice(None), *box.slices)])


def test_the_words_of_other_programs() -> None:
    """fibsem-effunet, section 8: all features of ilastik: 7 + 6 + 6 + 6 + 12 + 12 in 2D."""
    ilastik = RandomForestConfig.model_validate({"features": "ilastik"})
    assert ilastik.features.n_channels(2) == 49 == len(plan_of(2, config=ilastik.features).names)
    assert set(PRESETS) == {"ilastik", "weka", "weka_all"}
    weka = RandomForestConfig.model_validate({"features": "weka", "trees": 200, "features_per_split": 2})
    assert RandomForestConfig.model_validate(weka.model_dump(mode="json")) == weka


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"features": "fiji"}, "must be ilastik or weka or weka_all"),
        ({"features": {"membrane": {"patch": 8}}}, "must be odd"),
        ({"features": {"membrane": {"patch": 5, "thickness": 5}}}, "must be less than patch"),
        ({"features": {"median": [2.0, 2.0]}}, "names a scale twice"),
        ({"features": {"median": [40.0]}}, "less than or equal to 32"),
        ({"features": {"differences": [[2.0, 2.0]]}}, "two equal scales"),
        ({"features": {"differences": [[2.0, 1.0], [2.0, 1.0]]}}, "names a scale twice"),
        ({"features_per_split": 50}, "of only 31 features"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        RandomForestConfig.model_validate(wrong)
