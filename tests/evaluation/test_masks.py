"""Regions round a mask, against distances between all pairs of voxels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cristae.data.box import Box
from cristae.data.image import image_of_array
from cristae.errors import ScoreError, VoxelSizeError
from cristae.evaluation.masks import near

sizes_nm = st.tuples(*[st.sampled_from([4.0, 5.9, 10.0, 40.0])] * 3)


def brute_force(mask, distance_nm, voxel_size_nm):
    places = np.argwhere(np.ones_like(mask, bool)) * voxel_size_nm
    inside = places[mask.reshape(-1) != 0]
    squared = ((places[:, None] - inside[None]) ** 2).sum(axis=2)
    return (squared <= distance_nm**2 * (1 + 1e-9)).any(axis=1).reshape(mask.shape).astype(np.uint8)


@st.composite
def masks(draw):
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return (rng.random(shape) < draw(st.sampled_from([0, 0.02, 0.1, 1]))).astype(np.uint8)


def test_one_voxel_grows_to_the_lattice_points_of_an_ellipsoid():
    mask = np.zeros((5, 15, 15), np.uint8)
    mask[2, 7, 7] = 3
    found = near(image_of_array(mask), 40, (40.0, 10.0, 10.0)).read()
    assert [int(plane.sum()) for plane in found] == [0, 1, 49, 1, 0]
    assert found[2, 7, 3:12].all()
    assert found.dtype == np.uint8


@pytest.mark.parametrize("steps", [1, 3, 7, 49])
def test_whole_steps_of_a_voxel_that_no_float_holds_are_reached(steps):
    mask = np.zeros((1, 1, 60), np.uint8)
    mask[0, 0, 0] = 1
    found = near(image_of_array(mask), round(steps * 5.9, 1), (40.0, 5.9, 5.9)).read()
    assert found.sum() == steps + 1


@settings(max_examples=60, deadline=None)
@given(masks(), sizes_nm, st.sampled_from([0, 3.9, 10.0, 17.7, 40.0, 41.0, 100.0]), st.data())
def test_any_box_gives_the_exact_distances(mask, voxel_size_nm, distance_nm, data):
    corners = [sorted(data.draw(st.tuples(*[st.integers(0, side)] * 2))) for side in mask.shape]
    box = Box(tuple(low for low, _ in corners), tuple(high for _, high in corners))
    region = near(image_of_array(mask), distance_nm, voxel_size_nm)
    expected = brute_force(mask, distance_nm, voxel_size_nm)
    np.testing.assert_array_equal(region.read(), expected)
    np.testing.assert_array_equal(region.read(box), expected[box.slices])


def test_what_is_read_is_larger_by_the_distance_and_no_more():
    mask = image_of_array(np.zeros((9, 100, 100), np.uint8))
    boxes = []
    watched = mask.map(lambda voxels: boxes.append(voxels.shape) or voxels, mask.dtype)
    near(watched, 30, (40.0, 10.0, 10.0)).read(Box((4, 50, 0), (5, 60, 10)))
    assert boxes == [(1, 16, 13)]


def test_no_distance_is_the_mask_and_nothing_is_near_nothing():
    mask = np.eye(4, dtype=np.uint8)[None] * 7
    np.testing.assert_array_equal(near(image_of_array(mask), 0, (1.0, 1.0, 1.0)).read(), mask != 0)
    assert not near(image_of_array(mask * 0), 1e6, (1.0, 1.0, 1.0)).read().any()


def test_what_makes_no_region_is_refused():
    mask = image_of_array(np.zeros((1, 2, 2), np.uint8))
    for distance_nm in (-1, float("nan"), float("inf")):
        with pytest.raises(ScoreError, match="the distance"):
            near(mask, distance_nm, (1.0, 1.0, 1.0))
    with pytest.raises(VoxelSizeError, match="positive"):
        near(mask, 1, (1.0, 0.0, 1.0))
    colored = mask.map(lambda voxels: voxels, mask.dtype, colors=3)
    with pytest.raises(ScoreError, match="3 colour channels"):
        near(colored, 1, (1.0, 1.0, 1.0))
