"""Blocks give what one pass over the whole volume gives, made here by other means, for every kind of network."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import Lagging, Pyramidal, Solid, Valid, member, member_of

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.inference.predictor import Predictor


def reflected(grey, margin, shape):
    """numpy's reflection, as far as needed, also where it is longer than the volume."""
    return np.pad(grey, [(m, s - n + m) for m, s, n in zip(margin, shape, grey.shape, strict=True)], mode="reflect")


def in_blocks(one, image, block, **options):
    predictor = Predictor([one], **options)
    result = torch.full((one.classes.n_logits, *image.shape), torch.nan)
    with predictor.predicting():
        for core in Box.of_shape(image.shape).blocks(block):
            result[(slice(None), *core.slices)] = predictor.probabilities(image, core)
    return result


def normal(one, image):
    return one.normalizer.apply(torch.from_numpy(image.read().astype(np.float32))).numpy()


@pytest.mark.parametrize("size", [(2, 40, 51), (1, 23, 24), (3, 2, 3), (1, 1, 1)])
@pytest.mark.parametrize("block", [(1, 8, 8), (2, 13, 7), (5, 100, 100)])
def test_a_margin_sees_the_mirrored_volume(noise, size, block):
    one, image = member_of(Valid(), Valid.config), noise(*size)
    assert one.locality.local
    assert one.locality.margin == (0, 4, 4)
    z, y, x = size
    good = (z, max(2, y + y % 2), max(2, x + x % 2))
    wide = torch.from_numpy(reflected(normal(one, image), (0, 4, 4), good))
    with torch.inference_mode():
        expected = torch.sigmoid(one.network(wide[:, None]))[:, 0, :y, :x]
    assert (in_blocks(one, image, block)[0] - expected).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(6, 41, 36), (2, 9, 50), (1, 3, 5)])
@pytest.mark.parametrize("block", [(2, 8, 8), (3, 13, 17), (1, 100, 9)])
def test_a_coarse_path_that_lags_behind(noise, size, block):
    one, image = member_of(Lagging(), Lagging.config), noise(*size)
    assert one.locality.local
    z, y, x = size
    wide = reflected(normal(one, image), (0, 1, 1), (z, -(-y // 4) * 4, -(-x // 4) * 4))
    with torch.inference_mode():
        expected = torch.sigmoid(one.network(torch.from_numpy(wide)[None, None]))[0, 0, :, :y, :x]
    assert expected.std() > 0.005
    assert (in_blocks(one, image, block)[0] - expected).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(9, 30, 37), (1, 16, 16), (4, 5, 60)])
@pytest.mark.parametrize("block", [(2, 8, 8), (3, 13, 17), (64, 64, 64)])
def test_3d_with_another_stride_along_z(noise, size, block):
    three = Classes(names=("background", "a", "b"))
    one, image = member_of(Solid(3), Solid.config, classes=three), noise(*size)
    with torch.inference_mode():
        expected = torch.softmax(one.network(torch.from_numpy(normal(one, image))[None, None])[0], 0)
    assert expected.std() > 0.005
    assert (in_blocks(one, image, block) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("slices", [3, 5])
def test_slices_as_channels_are_mirrored_beyond_the_stack(noise, depth, slices):
    torch.manual_seed(0)
    network = torch.nn.Conv2d(slices, 1, 3, padding=1)
    one, image = member(network, stride=1, slices=slices), noise(depth, 20, 23)
    wide = np.pad(normal(one, image), [(slices // 2,) * 2, (0, 0), (0, 0)], mode="reflect")
    stacks = torch.from_numpy(np.stack([wide[z : z + slices] for z in range(depth)]))
    with torch.inference_mode():
        expected = torch.sigmoid(network(stacks))[:, 0]
    for block, pass_vox in (((1, 7, 9), 1), ((3, 50, 8), 10**6)):
        assert (in_blocks(one, image, block, pass_vox=pass_vox)[0] - expected).abs().max() < 1e-6
    predictor = Predictor([one])
    assert predictor.input_box(Box((depth - 1, 5, 5), (depth, 8, 8)), image.shape).start[0] == max(
        0, depth - 1 - slices // 2
    )


def test_slices_as_channels_with_a_margin(noise):
    one, image = member_of(Valid(in_channels=3), Valid.config, slices=3), noise(4, 20, 22)
    wide = np.pad(normal(one, image), [(1, 1), (4, 4), (4, 4)], mode="reflect")
    stacks = torch.from_numpy(np.stack([wide[z : z + 3] for z in range(4)]))
    with torch.inference_mode():
        expected = torch.sigmoid(one.network(stacks))[:, 0]
    assert (in_blocks(one, image, (2, 8, 9))[0] - expected).abs().max() < 1e-5


KINDS = {
    "2D": lambda: member(Pyramidal(), stride=4),
    "2.5D": lambda: member(torch.nn.Conv2d(3, 1, 3, padding=1), stride=1, slices=3),
    "valid": lambda: member_of(Valid(), Valid.config),
    "lagging": lambda: member_of(Lagging(), Lagging.config),
    "3D": lambda: member_of(Solid(), Solid.config),
}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40)),
    corners=st.tuples(*[st.tuples(st.floats(0, 1), st.floats(0, 1))] * 3),
)
def test_any_box_is_that_part_of_the_whole(kind, shape, corners):
    """At all borders, of any size; what is read lies inside the image."""
    one = KINDS[kind]()
    image = image_of_array(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    pairs = [sorted((int(a * n), min(n, int(b * n) + 1))) for (a, b), n in zip(corners, shape, strict=True)]
    box = Box(tuple(min(a, b - 1) for a, b in pairs), tuple(b for _, b in pairs))
    predictor = Predictor([one])
    assert Box.of_shape(shape).contains(predictor.input_box(box, shape))
    with predictor.predicting():
        whole = predictor.probabilities(image, Box.of_shape(shape))
        part = predictor.probabilities(image, box)
    assert (whole[(slice(None), *box.slices)] - part).abs().max() < 1e-5
