"""Where windows lie, which of them decides a voxel, and that the result does not depend on blocks."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from small_networks import MITO, UNCHANGED, Lagging, Pyramidal, Sizes, Valid, Whole, member, member_of
from torch import nn

from cristae.data.box import Box
from cristae.data.image import image_of_array
from cristae.inference.locality import Locality
from cristae.inference.predictor import Member, Predictor
from cristae.inference.windows import Windows, third_steps

RULES = ["gaussian", "centre_third", "farthest", "tiles"]


def whole_and_blocks(members, image, block, **options):
    predictor = Predictor(members, **options)
    result = torch.full((predictor.ensemble.channels, *image.shape), torch.nan)
    with predictor.predicting():
        for core in Box.of_shape(image.shape).blocks(block):
            result[(slice(None), *core.slices)] = predictor.probabilities(image, core)
        return predictor.probabilities(image, Box.of_shape(image.shape)), result


@pytest.mark.parametrize(
    ("length", "before", "after", "total", "count", "last"),
    [
        (256, 298, 298, 852, 7, 510),
        (500, 261, 261, 1022, 9, 680),
        (1024, 296, 297, 1617, 16, 1275),
        (1700, 256, 256, 2212, 23, 1870),
        (2000, 276, 276, 2552, 27, 2210),
    ],
)
def test_the_published_thirds(length, before, after, total, count, last):
    """Meyer et al. 2021: windows of 256 with steps of 85; every pixel is covered exactly once."""
    found = third_steps(length, 256)
    assert (found[0], found[1], length + found[0] + found[1]) == (before, after, total)
    assert (len(found[2]), found[2][-1]) == (count, last)
    covered = np.zeros(total, int)
    for start in found[2]:
        covered[start + 85 : start + 170] += 1
    assert (covered[before : before + length] == 1).all()


@pytest.mark.parametrize(
    ("shape", "rule", "counts"),
    [
        ((24, 800, 800), "farthest", (6, 4, 4)),
        ((121, 609, 400), "farthest", (30, 3, 2)),
        ((110, 602, 509), "farthest", (28, 3, 3)),
        ((250, 2000, 2000), "farthest", (63, 10, 10)),
        ((24, 800, 800), "tiles", (5, 3, 3)),
    ],
)
def test_the_published_corners(shape, rule, counts):
    """Guay et al. 2021: windows of 5 x 296 x 296."""
    windows = Windows(rule, (5, 296, 296), 3)
    starts = [windows.starts(axis, side) for axis, side in enumerate(shape)]
    assert tuple(map(len, starts)) == counts
    if rule == "farthest" and shape[1] == 800:
        assert starts[1] == [0, 198, 396, 504]
    if shape[1] == 609:
        assert starts[1] == [0, 198, 313]


@pytest.mark.parametrize(
    ("shape", "size"), [((7, 17, 23), (3, 8, 9)), ((2, 9, 30), (5, 8, 9)), ((6, 12, 12), (6, 6, 6))]
)
def test_farthest_by_a_distance_transform(shape, size):
    windows = Windows("farthest", size, 3)
    inside = np.pad(np.ones(size), 1)
    distance = ndimage.distance_transform_edt(inside, sampling=(4, 1, 1))[1:-1, 1:-1, 1:-1]
    best, owner = np.zeros(shape), np.full(shape, -1)
    starts = [windows.starts(axis, side) for axis, side in enumerate(shape)]
    for number, corner in enumerate(product(*starts)):
        for place in np.ndindex(*shape):
            at = tuple(p - c for p, c in zip(place, corner, strict=True))
            if all(0 <= a < s for a, s in zip(at, size, strict=True)) and distance[at] > best[place]:
                best[place], owner[place] = distance[at], number
    corners = {
        (z, y, x): n for n, (z, y, x) in enumerate((z, y, x) for z in starts[0] for y in starts[1] for x in starts[2])
    }
    found = np.full(shape, -1)
    for part in windows.parts(Box.of_shape(shape), shape):
        found[part.box.slices][part.weight == 1] = corners[part.window.start]
    np.testing.assert_array_equal(found, owner)


def test_slices_of_2d_windows_do_not_shorten_distances():
    """With a step of 4 along z, windows wider than 8 would all be 4 from the border."""
    parts = list(Windows("farthest", (1, 30, 30), 2).parts(Box((0, 0, 0), (1, 40, 30)), (1, 40, 30)))
    assert [part.window.start[1] for part in parts] == [0, 10]
    rows = [part.box.start[1] + np.flatnonzero(part.weight[0, :, 15]) for part in parts]
    assert rows[0].tolist() == list(range(20))  # row 19 is 11 from both borders: the earlier one
    assert rows[1].tolist() == list(range(20, 40))


def test_gaussian_by_hand():
    """Three windows of 4 along an axis of 8, two apart; sigma is half a voxel. Only the first covers voxels 0 and 1."""
    windows = Windows("gaussian", (1, 1, 4), 2)
    raw = np.maximum(np.exp(-((np.array([-1.5, -0.5, 0.5, 1.5]) / 0.5) ** 2) / 2), 1e-3)
    assert windows.starts(2, 8) == [0, 2, 4]
    parts = list(windows.parts(Box.of_shape((1, 1, 8)), (1, 1, 8)))
    expected = [1, 1, raw[2] / (raw[2] + raw[0]), raw[3] / (raw[3] + raw[1])]
    np.testing.assert_allclose(parts[0].weight[0, 0], expected, rtol=1e-6)


SIZE = st.tuples(st.integers(1, 6), st.integers(1, 13), st.integers(1, 13))


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 30), st.integers(1, 30)),
    size=SIZE,
    rule=st.sampled_from(RULES),
    ndim=st.sampled_from([2, 3]),
    block=st.tuples(st.integers(1, 9), st.integers(1, 33), st.integers(1, 33)),
    pass_vox=st.sampled_from([1, 300, 10**6]),
)
def test_the_identity_returns_its_input(shape, size, rule, ndim, block, pass_vox):
    """The weights of every voxel add up to one, whatever the block."""
    size = (1, *size[1:]) if ndim == 2 else size
    locality = Locality(False, "", (0, 0, 0), (1, 1, 1), ndim)
    one = Member(nn.Identity(), locality, UNCHANGED, MITO, 1, Windows(rule, size, ndim))
    image = image_of_array(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    expected = torch.sigmoid(UNCHANGED.apply(torch.from_numpy(image.read())))
    whole, blocks = whole_and_blocks([one], image, block, pass_vox=pass_vox)
    assert (whole[0] - expected).abs().max() < 1e-6
    assert (blocks[0] - expected).abs().max() < 1e-6
    for core in list(Box.of_shape(shape).blocks(block))[:3]:
        found = Predictor([one]).input_box(core, shape)
        assert Box.of_shape(shape).contains(found)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("shape", [(5, 40, 33), (2, 11, 50)])
def test_blocks_equal_the_whole_for_a_network_that_is_not_local(rule, ndim, shape, noise):
    size = (1, 16, 20) if ndim == 2 else (4, 16, 20)
    one = member_of(Whole(ndim), Sizes(stride=(1,) * ndim), windows=Windows(rule, size, ndim))
    assert not one.locality.local
    whole, blocks = whole_and_blocks([one], noise(*shape), (2, 13, 17))
    assert whole.std() > 0.05
    assert (whole - blocks).abs().max() < 1e-6


def test_the_published_procedure_for_thirds(noise):
    """Pad, predict every window, keep its centre: done once more with numpy alone."""
    one = member_of(Whole(), Sizes(stride=(1, 1)), windows=Windows("centre_third", (1, 16, 16), 2))
    image = noise(2, 37, 20)
    grey = one.normalizer.apply(torch.from_numpy(image.read().astype(np.float32))).numpy()
    pads = [third_steps(side, 16)[:2] for side in image.shape[1:]]
    wide = np.pad(grey, [(0, 0), *pads], mode="symmetric")
    expected = np.zeros(wide.shape, np.float32)
    for y in range(0, wide.shape[1] - 17, 5):
        for x in range(0, wide.shape[2] - 17, 5):
            with torch.inference_mode():
                window = torch.sigmoid(one.network(torch.from_numpy(wide[:, None, y : y + 16, x : x + 16])))
            expected[:, y + 5 : y + 10, x + 5 : x + 10] = window[:, 0, 5:10, 5:10]
    (top, _), (left, _) = pads
    expected = expected[:, top : top + 37, left : left + 20]
    whole, blocks = whole_and_blocks([one], image, (1, 9, 9))
    assert np.abs(whole[0].numpy() - expected).max() < 1e-6
    assert np.abs(blocks[0].numpy() - expected).max() < 1e-6


@pytest.mark.parametrize("rule", ["gaussian", "farthest", "tiles"])
def test_windows_see_the_margin_around_them(rule, noise):
    """Where a network does not pad, windows that start at multiples of its stride give what one pass gives."""
    image, windows = noise(3, 40, 46), Windows(rule, (1, 12, 20), 2)
    assert all(start % 2 == 0 for axis in (1, 2) for start in windows.starts(axis, image.shape[axis]))
    exact, _ = whole_and_blocks([member_of(Valid(), Valid.config)], image, image.shape)
    whole, blocks = whole_and_blocks([member_of(Valid(), Valid.config, windows=windows)], image, (1, 11, 30))
    assert (whole - exact).abs().max() < 1e-5
    assert (blocks - exact).abs().max() < 1e-5


def test_a_volume_smaller_than_a_window_lies_in_its_centre(noise):
    image = noise(2, 5, 8)
    one = member_of(Whole(3), Sizes(stride=(1, 1, 1)), windows=Windows("gaussian", (6, 9, 8), 3))
    grey = one.normalizer.apply(torch.from_numpy(image.read().astype(np.float32))).numpy()
    wide = np.pad(grey, [(2, 2), (2, 2), (0, 0)], mode="reflect")
    with torch.inference_mode():
        expected = torch.sigmoid(one.network(torch.from_numpy(wide)[None, None]))[0, :, 2:4, 2:7]
    whole, blocks = whole_and_blocks([one], image, (1, 3, 3))
    assert (whole - expected).abs().max() < 1e-6
    assert (blocks - expected).abs().max() < 1e-6


def test_slices_as_channels_in_windows(noise):
    image = noise(4, 30, 30)
    one = member_of(Whole(in_channels=3), Sizes(stride=(1, 1)), slices=3, windows=Windows("tiles", (1, 30, 30), 2))
    grey = one.normalizer.apply(torch.from_numpy(image.read().astype(np.float32))).numpy()
    wide = np.pad(grey, [(1, 1), (0, 0), (0, 0)], mode="reflect")
    with torch.inference_mode():
        stacks = torch.from_numpy(np.stack([wide[z : z + 3] for z in range(4)]))
        expected = torch.sigmoid(one.network(stacks))[:, 0]
    whole, blocks = whole_and_blocks([one], image, (3, 10, 10))
    assert (whole[0] - expected).abs().max() < 1e-6
    assert (blocks[0] - expected).abs().max() < 1e-6


def test_members_of_every_kind_are_fused(noise):
    """2D in blocks, 3D in blocks with a margin, 2D and 3D in windows: the mean of what each gives alone."""
    image = noise(6, 40, 37)
    members = [
        member(Pyramidal(), stride=4),
        member_of(Lagging(), Lagging.config),
        member_of(Whole(), Sizes(stride=(1, 1)), windows=Windows("centre_third", (1, 16, 16), 2)),
        member_of(Whole(3), Sizes(stride=(1, 1, 1)), windows=Windows("farthest", (3, 16, 16), 3)),
    ]
    each = [whole_and_blocks([one], image, image.shape)[0] for one in members]
    whole, blocks = whole_and_blocks(members, image, (4, 16, 16))
    expected = torch.stack(each).mean(0)
    assert (whole - expected).abs().max() < 1e-5
    assert (blocks - expected).abs().max() < 1e-5
