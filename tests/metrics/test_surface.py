"""Distances between surfaces: worked by hand, other libraries, laws, any block grid, nothing on one side."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from scipy.spatial.distance import cdist

from cristae.data.box import Box
from cristae.errors import ScoreError, VoxelSizeError
from cristae.metrics import bricks
from cristae.metrics.surface import (
    Distances,
    SurfaceDistances,
    average_distance,
    boundary_f1,
    hausdorff,
    hausdorff_95,
    surface_dice,
    surface_distances,
)

SIZE = (40.0, 5.0, 4.0)
SCORES = (hausdorff, hausdorff_95, average_distance, lambda d: surface_dice(d, 10), lambda d: boundary_f1(d, 10))
EMPTY, DOT = np.zeros((3, 4, 5), bool), np.eye(1, 60, 27, dtype=bool).reshape(3, 4, 5)

masks = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: st.tuples(*[arrays.arrays(bool, shape)] * 3)
)
sizes = st.tuples(*[st.sampled_from([1.0, 4.0, 5.9, 40.0])] * 3)


def blobs(shape, seed, *, share=0.2):
    """A truth and a prediction that mostly agree."""
    rng = np.random.default_rng(seed)
    one, other = (ndimage.gaussian_filter(rng.standard_normal(shape), 2) for _ in range(2))
    both = one + 0.3 * other
    return one > np.quantile(one, 1 - share), both > np.quantile(both, 1 - share)


def edge(mask):
    """Surface voxels as scipy's erosion sees them: beyond the border is background; a plane has no z."""
    structure = ndimage.generate_binary_structure(3, 1)
    if len(mask) == 1:
        structure = structure & np.array([False, True, False])[:, None, None]
    return mask & ~ndimage.binary_erosion(mask, structure)


def every(distances):
    """A list with one entry for each voxel."""
    return np.repeat(distances.nm, distances.voxels)


def distances_of(truth, prediction, voxel_size_nm, valid=None):
    """Those of arrays in memory, (Z, Y, X) or (Y, X), in one block."""
    stacks = [one if one is None or one.ndim == 3 else one[None] for one in (truth, prediction, valid)]
    readers = [one if one is None else (lambda box, one=one: one[box.slices]) for one in stacks]
    blocks = [Box.of_shape(stacks[0].shape)]
    return surface_distances(*readers[:2], blocks, voxel_size_nm, read_valid=readers[2])


def same(one, other):
    return all(
        np.array_equal(a.nm, b.nm) and np.array_equal(a.voxels, b.voxels)
        for a, b in zip(one.both, other.both, strict=True)
    )


# ---- by hand


def test_two_voxels_in_an_anisotropic_volume():
    truth, prediction = np.zeros((2, 2, 4, 5), bool)
    truth[0, 0, 0] = prediction[1, 2, 3] = True
    found = distances_of(truth, prediction, SIZE)
    expected = math.sqrt(40**2 + (2 * 5) ** 2 + (3 * 4) ** 2)
    assert [score(found) for score in SCORES] == pytest.approx([expected] * 3 + [0, 0])
    assert surface_dice(found, 43) == boundary_f1(found, 43) == 1


def test_a_bar_that_is_too_long():
    truth, prediction = np.zeros((2, 1, 12), bool)
    truth[0, 2:4] = prediction[0, 2:9] = True
    found = distances_of(truth, prediction, (40.0, 5.0, 10.0))
    np.testing.assert_array_equal(every(found.truth_to_prediction), [0, 0])
    np.testing.assert_array_equal(every(found.prediction_to_truth), [0, 0, 10, 20, 30, 40, 50])
    assert hausdorff(found) == 50
    assert hausdorff_95(found) == pytest.approx(47)  # rank 0.95 * 6 = 5.7, between 40 and 50
    assert average_distance(found) == pytest.approx(150 / 9)
    assert surface_dice(found, 10) == pytest.approx((2 + 3) / 9)
    assert boundary_f1(found, 10) == pytest.approx(2 * (3 / 7) / (1 + 3 / 7))


def test_nested_cubes_have_hollow_surfaces():
    truth, prediction = np.zeros((2, 9, 9, 9), bool)
    truth[1:8, 1:8, 1:8] = prediction[2:7, 2:7, 2:7] = True
    found = distances_of(truth, prediction, (1.0, 1.0, 1.0))
    assert found.truth_to_prediction.n == 7**3 - 5**3
    assert found.prediction_to_truth.n == 5**3 - 3**3
    assert set(found.prediction_to_truth.nm) == {1.0}
    # from outside: 25 voxels on each of 6 faces straight in, 5 on each of 12 edges, 8 corners
    np.testing.assert_allclose(found.truth_to_prediction.nm, np.sqrt([1, 2, 3]))
    np.testing.assert_array_equal(found.truth_to_prediction.voxels, [150, 60, 8])


def test_the_border_of_the_volume_is_background_and_a_plane_has_no_z():
    full = np.ones((4, 5, 6), bool)
    assert distances_of(full, full, SIZE).truth_to_prediction.n == 4 * 5 * 6 - 2 * 3 * 4
    assert distances_of(full[:1], full[:1], SIZE).truth_to_prediction.n == 5 * 6 - 3 * 4
    assert same(distances_of(full[0], full[0], SIZE), distances_of(full[:1], full[:1], SIZE))


def test_a_voxel_that_is_not_valid_is_background_in_both():
    truth, prediction = np.zeros((2, 1, 12), bool)
    truth[0, 2:6], prediction[0, 2:10] = True, True
    valid = np.ones((1, 12), np.uint8)
    valid[0, 6:] = 0
    assert hausdorff(distances_of(truth, prediction, SIZE)) == 16
    assert hausdorff(distances_of(truth, prediction, SIZE, valid)) == 0
    hole = np.ones((5, 5), bool)
    valid = np.ones((5, 5), bool)
    valid[2, 2] = False
    assert distances_of(hole, hole, SIZE, valid).truth_to_prediction.n == 16 + 4


def test_whole_voxels_are_within_their_distance_in_decimals():
    truth, prediction = np.zeros((2, 1, 9), bool)
    truth[0, 0] = prediction[0, 3] = True
    found = distances_of(truth, prediction, (1.0, 1.0, 5.9))
    assert 3 * 5.9 > 17.7  # in binary
    assert surface_dice(found, 17.7) == 1
    assert surface_dice(found, 17.69) == 0


# ---- laws


@pytest.mark.parametrize(("axis", "steps"), [(0, 1), (1, 3), (2, 4)])
def test_a_shift_by_whole_voxels_moves_the_outermost_ones_so_far(axis, steps):
    truth = np.zeros((6, 12, 12), bool)
    truth[1:4, 2:6, 2:6] = True
    found = distances_of(truth, np.roll(truth, steps, axis), SIZE)
    assert hausdorff(found) == steps * SIZE[axis]


@given(masks, sizes)
def test_exchanging_the_maps_exchanges_the_directions(three, size):
    truth, prediction, valid = three
    found, back = distances_of(truth, prediction, size, valid), distances_of(prediction, truth, size, valid)
    assert same(found, SurfaceDistances(back.prediction_to_truth, back.truth_to_prediction))
    itself = distances_of(truth, truth, size)
    assert [score(itself) for score in SCORES] == (
        [0, 0, 0, 1, 1] if truth.any() else pytest.approx([NAN] * 5, nan_ok=True)
    )


@given(masks, sizes)
def test_distances_equal_those_of_all_pairs(three, size):
    truth, prediction, valid = three
    found = distances_of(truth, prediction, size, valid)
    one, other = (np.argwhere(edge(mask & valid)) * size for mask in (truth, prediction))
    if len(one) == 0 or len(other) == 0:
        assert found.unmatched == found.n == len(one) + len(other)
        return
    pairs = cdist(one, other)
    forth, back = pairs.min(axis=1), pairs.min(axis=0)
    np.testing.assert_allclose(every(found.truth_to_prediction), np.sort(forth), atol=1e-9)
    np.testing.assert_allclose(every(found.prediction_to_truth), np.sort(back), atol=1e-9)
    assert hausdorff(found) == pytest.approx(max(forth.max(), back.max()))
    assert hausdorff_95(found) == pytest.approx(max(np.percentile(forth, 95), np.percentile(back, 95)))
    assert average_distance(found) == pytest.approx(np.concatenate([forth, back]).mean())


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.floats(0, 1))
def test_percentiles_are_those_of_numpy(values, share):
    found = Distances.of(np.array(values, float))
    assert found.percentile(share) == pytest.approx(np.quantile(values, share))


# ---- block by block


def random_blocks(shape, rng):
    """A random grid, in random order."""
    grid = [int(rng.integers(1, edge + 1)) for edge in shape]
    found = list(Box.of_shape(shape).blocks(grid))
    return [found[i] for i in rng.permutation(len(found))]


@pytest.mark.parametrize("shape", [(13, 37, 41), (1, 150, 90), (40, 30, 1)])
def test_any_block_grid_gives_the_same_distances(shape):
    truth, prediction = blobs(shape, seed=sum(shape))
    rng = np.random.default_rng(1)
    valid = rng.random(shape) > 0.02
    whole = distances_of(truth, prediction, (40.1, 5.3, 5.9), valid)
    assert whole.n > 300
    for _ in range(4):
        seen, steps, blocks = [], [], random_blocks(shape, rng)

        def read(box, seen=seen):
            seen.append(box)
            return truth[box.slices]

        found = surface_distances(
            read,
            lambda box: prediction[box.slices].astype(np.uint8),
            blocks,
            (40.1, 5.3, 5.9),
            read_valid=lambda box: valid[box.slices],
            advance=lambda steps=steps: steps.append(1),
        )
        assert same(found, whole)
        assert len(steps) == len(seen) == len(blocks)
        for box, block in zip(seen, blocks, strict=True):
            assert box == block.grow((1, 1, 1)).intersect(Box.of_shape(shape))


def test_blocks_may_lie_anywhere_in_a_larger_volume():
    truth, prediction = blobs((12, 30, 30), seed=4)
    box = Box((3, 5, 7), (9, 25, 30))
    cut = distances_of(truth[box.slices], prediction[box.slices], SIZE)
    found = surface_distances(
        lambda b: truth[b.slices], lambda b: prediction[b.slices], list(box.blocks((4, 7, 9))), SIZE
    )
    assert same(found, cut)


@pytest.mark.parametrize(("bits", "at_once", "pairs"), [(0, 7, 5), (4, 3, 1), (15, 4096, 1 << 20)])
def test_how_points_are_grouped_changes_nothing(monkeypatch, bits, at_once, pairs):
    truth, prediction = blobs((9, 33, 35), seed=2)
    prediction[:, :, 12:] = False  # so that some distances are long
    expected = distances_of(truth, prediction, (40.1, 5.3, 5.9))
    monkeypatch.setattr(bricks, "BRICK_BITS", bits)
    monkeypatch.setattr(bricks, "AT_ONCE", at_once)
    monkeypatch.setattr(bricks, "PAIRS_AT_ONCE", pairs)
    assert same(distances_of(truth, prediction, (40.1, 5.3, 5.9)), expected)


def test_slices_add_up():
    truth, prediction = blobs((5, 40, 40), seed=3)
    slices = [distances_of(t, p, SIZE) for t, p in zip(truth, prediction, strict=True)]
    total = SurfaceDistances.total(slices)
    assert same(total, slices[0] + slices[1] + slices[2] + slices[3] + slices[4])
    assert total.n == sum(one.n for one in slices)
    for direction in (0, 1):
        lists = np.concatenate([every(one.both[direction]) for one in slices])
        np.testing.assert_array_equal(every(total.both[direction]), np.sort(lists))
    assert SurfaceDistances.total([]).n == 0


# ---- nothing on one side

NAN = float("nan")


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        (EMPTY, EMPTY, [NAN] * 5),
        (DOT, EMPTY, [NAN] * 3 + [0, 0]),
        (EMPTY, DOT, [NAN] * 3 + [0, 0]),
        (DOT, DOT, [0, 0, 0, 1, 1]),
    ],
)
def test_without_a_counterpart_there_is_no_distance(truth, prediction, expected):
    found = distances_of(truth, prediction, SIZE)
    np.testing.assert_array_equal([score(found) for score in SCORES], expected)
    assert found.unmatched == (found.n if truth.any() != prediction.any() else 0)


def test_a_missed_slice_makes_the_sum_undefined_until_it_is_left_out():
    found = distances_of(DOT, DOT, SIZE) + distances_of(DOT, EMPTY, SIZE)
    assert (found.n, found.unmatched) == (3, 1)
    assert np.isnan([hausdorff(found), hausdorff_95(found), average_distance(found)]).all()
    assert surface_dice(found, 1000) == pytest.approx(2 / 3)
    assert hausdorff(found.matched) == average_distance(found.matched) == 0
    assert found.matched.n == 2


# ---- refusals


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"voxel_size_nm": None}, VoxelSizeError, "voxel size is unknown"),
        ({"voxel_size_nm": (40.0, 0.0, 4.0)}, VoxelSizeError, "greater than 0"),
        ({"voxel_size_nm": (40.0, NAN, 4.0)}, VoxelSizeError, "greater than 0"),
        ({"prediction": DOT[:2]}, ScoreError, "prediction of box"),
        ({"valid": DOT[0]}, ScoreError, "valid mask of box"),
        ({"truth": DOT.astype(np.float32)}, ScoreError, "float32"),
    ],
)
def test_what_cannot_be_measured_is_refused(change, error, says):
    arguments = {"truth": DOT, "prediction": DOT, "voxel_size_nm": SIZE, **change}
    with pytest.raises(error, match=says):
        distances_of(**arguments)


@pytest.mark.parametrize("tolerance", [-1.0, NAN, math.inf])
def test_a_tolerance_is_a_length(tolerance):
    found = distances_of(DOT, DOT, SIZE)
    with pytest.raises(ScoreError, match="not negative"):
        surface_dice(found, tolerance)
    with pytest.raises(ScoreError, match="not negative"):
        boundary_f1(found, tolerance)


@pytest.mark.parametrize("blocks", [[], [Box((0, 0, 0), (3, 4, 2)), Box((0, 0, 3), (3, 4, 5))]])
def test_blocks_fill_a_box(blocks):
    with pytest.raises(ScoreError, match="block"):
        surface_distances(lambda b: DOT[b.slices], lambda b: DOT[b.slices], blocks, SIZE)


def test_a_reader_that_gives_another_shape_is_refused():
    with pytest.raises(ScoreError, match="prediction of box"):
        surface_distances(
            lambda b: DOT[b.slices], lambda b: DOT, [Box((0, 0, 0), (2, 4, 5)), Box((2, 0, 0), (3, 4, 5))], SIZE
        )


# ---- another library


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6), st.booleans(), sizes)
def test_scores_equal_those_of_monai(seed, flat, size):
    """Its surfaces are those of an erosion with background beyond the border, as ours."""
    monai = pytest.importorskip("monai.metrics")
    import torch

    truth, prediction = blobs((1, 24, 26) if flat else (8, 17, 16), seed)
    found = distances_of(truth, prediction, size)
    cut, spacing = (0, size[1:]) if flat else (slice(None), size)
    y, y_pred = (torch.from_numpy(mask[cut].astype(np.float32))[None, None] for mask in (truth, prediction))
    options = {"include_background": True, "spacing": list(spacing)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [
            monai.compute_hausdorff_distance(y_pred, y, **options),
            monai.compute_hausdorff_distance(y_pred, y, percentile=95, **options),
            monai.compute_average_surface_distance(y_pred, y, symmetric=True, **options),
            monai.compute_surface_dice(y_pred, y, [10.001], **options),
        ]
    ours = [hausdorff(found), hausdorff_95(found), average_distance(found), surface_dice(found, 10.001)]
    np.testing.assert_allclose(ours, [float(one) for one in expected], rtol=1e-5)
