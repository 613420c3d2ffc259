"""Boundaries between object ids, against independent references: brute force over every face, and scikit-image."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.segmentation import find_boundaries

from cristae.data.instances import boundary, boundary_reach, boundary_within

IDS = arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 2))
SIZES = st.sampled_from([(10.0, 10.0, 10.0), (50.0, 4.0, 4.0), (40.0, 5.9, 7.1)])


def distances_to_faces(ids: np.ndarray, size: tuple[float, float, float]) -> np.ndarray:
    """Distance of each voxel centre to the nearest face between two ids, face by face."""
    centres = np.stack(np.meshgrid(*(np.arange(n) for n in ids.shape), indexing="ij"), -1) * np.array(size)
    least = np.full(ids.shape, np.inf)
    for axis in range(3):
        step = np.eye(3, dtype=int)[axis]
        for place in product(*(range(n) for n in ids.shape)):
            other = tuple(np.add(place, step))
            if other[axis] >= ids.shape[axis] or ids[place] == ids[other]:
                continue
            middle = (np.array(place) + step / 2) * np.array(size)
            half = np.where(step, 0, 0.5) * np.array(size)
            outside = np.maximum(np.abs(centres - middle) - half, 0)
            least = np.minimum(least, np.sqrt((outside**2).sum(-1)))
    return least


@given(ids=IDS)
@settings(max_examples=60, deadline=None)
def test_touching_voxels_are_those_of_scikit_image(ids: np.ndarray) -> None:
    # Its ids may not be 0, which it treats as background.
    expected = find_boundaries(ids + 1, mode="thick", connectivity=1)
    assert np.array_equal(boundary(ids, np.ones(ids.shape, bool)), expected)


@given(ids=IDS, size=SIZES, width=st.sampled_from([4.0, 10.0, 20.0, 31.0, 100.0]))
@settings(max_examples=60, deadline=None)
def test_a_width_marks_the_voxels_within_half_of_it(
    ids: np.ndarray, size: tuple[float, float, float], width: float
) -> None:
    marked = boundary_within(ids, np.ones(ids.shape, bool), size, width)
    assert np.array_equal(marked, distances_to_faces(ids, size) <= width / 2 + 1e-6)


def test_widths_of_a_flat_wall_by_hand() -> None:
    # Objects meet between x = 2 and x = 3; voxel centres lie 5, 15, 25 nm from that wall.
    ids = np.broadcast_to([1, 1, 1, 2, 2, 2], (1, 2, 6)).astype(np.uint64)
    known = np.ones(ids.shape, bool)
    size = (50.0, 10.0, 10.0)
    assert boundary_within(ids, known, size, 10.0)[0, 0].tolist() == [0, 0, 1, 1, 0, 0]
    assert boundary_within(ids, known, size, 29.9)[0, 0].tolist() == [0, 0, 1, 1, 0, 0]
    assert boundary_within(ids, known, size, 30.0)[0, 0].tolist() == [0, 1, 1, 1, 1, 0]
    assert boundary_reach(size, 30.0) == (0, 2, 2)


def test_distances_follow_the_voxel_size_of_each_axis() -> None:
    # One voxel of another id; along z, 50 nm apart, nothing is near within 10 nm, in plane the neighbours are.
    ids = np.ones((3, 3, 3), np.uint8)
    ids[1, 1, 1] = 2
    marked = boundary_within(ids, np.ones(ids.shape, bool), (50.0, 4.0, 4.0), 10.0)
    assert marked[1].all()
    assert not marked[0].any()
    assert not marked[2].any()


def test_faces_to_unknown_voxels_do_not_count() -> None:
    ids = np.array([[[1, 1, 0, 2, 2]]])
    known = ids != 0
    assert not boundary(ids, known).any()
    assert not boundary_within(ids, known, (1.0, 1.0, 1.0), 4.0).any()


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
def test_large_ids_stay_apart(dtype: type) -> None:
    top = np.iinfo(dtype).max
    ids = np.array([[[top, top, top - 1]]], dtype)
    assert boundary(ids, np.ones(ids.shape, bool)).tolist() == [[[False, True, True]]]
