"""Centre lines keep pieces, loops and hollows and nothing melts away; clDice by hand and straight from its formula."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import euler_number

from cristae.errors import ScoreError
from cristae.metrics import centre_line as thinning
from cristae.metrics.centre_line import centre_line
from cristae.metrics.skeleton import (
    SkeletonCounts,
    cl_dice,
    skeleton_counts,
    topology_precision,
    topology_sensitivity,
)

NAN = float("nan")


@st.composite
def blobs(draw, *, maps=1):
    """Masks (maps, Y, X) or (maps, Z, Y, X) from coarse to fine, sparse to dense."""
    shape = draw(st.lists(st.integers(1, 12), min_size=2, max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sigma, share = draw(st.sampled_from([0, 0.7, 1.5])), draw(st.floats(0.1, 0.9))
    noise = np.stack([ndimage.gaussian_filter(rng.standard_normal(shape), sigma) for _ in range(maps)])
    return noise > np.quantile(noise, share)


def around(mask):
    return np.ones((3,) * mask.ndim)


def pieces(mask):
    return ndimage.label(mask, around(mask))[1]


def background_pieces(mask):
    """With faces, the outside being one of them: 1 + holes of a plane or hollows of a volume."""
    return ndimage.label(np.pad(~mask, 1, constant_values=True))[1]


def ends(line):
    neighbours = ndimage.convolve(line.astype(int), around(line).astype(int), mode="constant") - 1
    return int((line & (neighbours == 1)).sum())


def straight_cl_dice(truth, prediction):
    """The formula as printed, on whole arrays."""
    of_truth, of_prediction = centre_line(truth), centre_line(prediction)
    precision = (of_prediction & truth).sum() / of_prediction.sum()
    sensitivity = (of_truth & prediction).sum() / of_truth.sum()
    return 2 * precision * sensitivity / (precision + sensitivity)


# ---- centre lines


@settings(max_examples=150)
@given(blobs())
def test_thinning_keeps_pieces_loops_and_hollows(three):
    mask = three[0]
    line = centre_line(mask)
    assert not (line & ~mask).any()
    assert pieces(line) == pieces(mask)
    assert background_pieces(line) == background_pieces(mask)
    assert euler_number(line, mask.ndim) == euler_number(mask, mask.ndim)
    np.testing.assert_array_equal(centre_line(line), line)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 6, 8])
def test_a_straight_tube_becomes_one_line_of_nearly_its_length(width):
    for mask in (np.ones((width, 60), bool), np.ones((width, width, 60), bool)):
        line = centre_line(mask)
        assert 60 - width - 1 <= line.sum() <= 60
        assert ends(line) == 2
        assert pieces(line) == 1


def test_a_slanting_line_two_pixels_wide_keeps_its_length():
    slant = np.eye(60, 61, dtype=bool) | np.eye(60, 61, 1, dtype=bool)
    line = centre_line(slant)
    assert 59 <= line.sum() <= 60
    assert ends(line) == 2


@pytest.mark.parametrize("radius", [3, 5, 9])
def test_a_ball_becomes_a_point_or_two(radius):
    for middle in (12, 11.5):
        away = sum((axis - middle) ** 2 for axis in np.ogrid[:24, :24, :24])
        assert 1 <= centre_line(away < radius**2).sum() <= 2


def test_a_bent_tube_with_a_rough_wall_becomes_a_line_without_spurs():
    z, y, x = np.ogrid[:30, :30, :120]
    rough = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal((30, 30, 120)), 2)
    tube = np.sqrt((z - 15 - 4 * np.sin(x / 20)) ** 2 + (y - 15 - 5 * np.cos(x / 25)) ** 2) + rough / rough.std() < 5
    line = centre_line(tube)
    assert ends(line) == 2
    assert 110 <= line.sum() <= 130


@settings(max_examples=60)
@given(blobs())
def test_what_lies_around_a_mask_has_no_influence(three):
    mask = three[0]
    margin = [(2, 1) if size > 1 else (0, 0) for size in mask.shape]
    inner = tuple(slice(low, size + low) for (low, _), size in zip(margin, mask.shape, strict=True))
    np.testing.assert_array_equal(centre_line(np.pad(mask, margin))[inner], centre_line(mask))


def test_a_mask_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(thinning, "MOST_VOXELS", 100)
    with pytest.raises(ScoreError, match="slice by slice"):
        centre_line(np.ones((5, 5, 5), bool))
    with pytest.raises(ScoreError, match="slice by slice"):
        skeleton_counts(np.ones((5, 5, 5), bool), np.ones((5, 5, 5), bool))
    two = np.zeros((8, 8, 8), bool)
    two[:2, :2, :2] = two[5:, 5:, 5:] = True
    assert skeleton_counts(two, two).truth >= 2  # each object fits
    with pytest.raises(ScoreError, match="got shape"):
        centre_line(np.ones(5, bool))


# ---- clDice


def test_a_line_and_a_shorter_one():
    truth, prediction = np.zeros((2, 7, 12), bool)
    truth[3, 1:11] = prediction[3, 6:9] = True
    counts = skeleton_counts(truth, prediction)
    assert counts == SkeletonCounts(truth=10, truth_inside=3, prediction=3, prediction_inside=3)
    assert (topology_precision(counts), topology_sensitivity(counts)) == (1, 0.3)
    assert cl_dice(counts) == pytest.approx(0.6 / 1.3)


def test_a_thicker_prediction_loses_only_where_it_is_longer():
    truth, prediction = np.zeros((2, 5, 7, 12), bool)
    truth[2, 3, 2:10] = prediction[1:4, 2:5, 1:11] = True
    assert skeleton_counts(truth, prediction) == SkeletonCounts(8, 8, 10, 8)
    assert cl_dice(skeleton_counts(truth, prediction)) == pytest.approx(2 * 0.8 / 1.8)
    far = np.roll(prediction, 4, axis=1)
    assert cl_dice(skeleton_counts(truth, far)) == 0


@given(blobs(maps=2))
def test_planes_follow_the_formula(two):
    truth, prediction = two
    if truth.ndim == 3 or not (truth & prediction).any():
        return
    counts = skeleton_counts(truth, prediction)
    expected = straight_cl_dice(truth, prediction) if counts.truth_inside and counts.prediction_inside else 0
    assert cl_dice(counts) == pytest.approx(expected)
    assert skeleton_counts(truth[None], prediction[None].astype(np.uint8)) == counts


def test_volumes_follow_the_formula_where_every_object_is_thick():
    rng = np.random.default_rng(5)
    one, other = (ndimage.gaussian_filter(rng.standard_normal((30, 40, 40)), 2.5) for _ in range(2))
    truth, prediction = one > 0.03, one + 0.3 * other > 0.03
    for mask in (truth, prediction):  # objects in a single slice are thinned as planes
        labels, _ = ndimage.label(mask, np.ones((3, 3, 3)))
        for label, box in enumerate(ndimage.find_objects(labels), start=1):
            if min(labels[box].shape) == 1:
                mask[labels == label] = False
    assert pieces(truth) > 3
    value = cl_dice(skeleton_counts(truth, prediction))
    assert value == pytest.approx(straight_cl_dice(truth, prediction))
    assert 0.5 < value < 0.99


@given(blobs(maps=3))
def test_exchanging_the_maps_exchanges_precision_and_sensitivity(three):
    truth, prediction, valid = three
    counts, back = skeleton_counts(truth, prediction, valid), skeleton_counts(prediction, truth, valid)
    assert counts == SkeletonCounts(back.prediction, back.prediction_inside, back.truth, back.truth_inside)
    assert counts == skeleton_counts(truth & valid, prediction & valid)
    if truth.any():
        assert cl_dice(skeleton_counts(truth, truth)) == 1


def test_slices_add_up():
    masks = np.random.default_rng(3).random((2, 4, 30, 30)) > 0.6
    slices = [skeleton_counts(t, p) for t, p in zip(*masks, strict=True)]
    total = sum(slices, SkeletonCounts())
    assert total.truth == sum(int(centre_line(plane).sum()) for plane in masks[0])
    assert topology_precision(total) == sum(one.prediction_inside for one in slices) / total.prediction


@pytest.mark.parametrize(
    ("counts", "expected"),
    [  # precision, sensitivity, clDice
        (SkeletonCounts(), [NAN, NAN, NAN]),
        (SkeletonCounts(truth=5), [NAN, 0, 0]),
        (SkeletonCounts(prediction=5), [0, NAN, 0]),
        (SkeletonCounts(5, 0, 5, 0), [0, 0, 0]),
        (SkeletonCounts(5, 5, 4, 4), [1, 1, 1]),
    ],
)
def test_nothing_on_one_side(counts, expected):
    found = [score(counts) for score in (topology_precision, topology_sensitivity, cl_dice)]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("truth", "valid", "says"),
    [
        (np.ones((3, 4), bool), None, "must be equal"),
        (np.ones((3, 3), np.float32), None, "float32"),
        (np.ones((3, 3), bool), np.ones((3, 4), bool), "must be equal"),
    ],
)
def test_what_cannot_be_compared_is_refused(truth, valid, says):
    with pytest.raises(ScoreError, match=says):
        skeleton_counts(truth, np.ones((3, 3), bool), valid)
