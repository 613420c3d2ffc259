"""Laws of prediction that every network keeps: its reach is right, and blocks do not matter."""

from functools import cache

import numpy as np
import pytest
import torch
from network_cases import Small, collect
from torch import nn

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.inference.application import windows_of
from cristae.inference.locality import Locality, measure_locality
from cristae.inference.predictor import Member, Predictor
from cristae.preprocess.normalize import Normalizer

SMALL, _ = collect()
COSTLY = (
    "cdeep3m-3fm", "cdeep3m-5fm", "deeplab_resnet", "efficient_unet-three", "emnet-v1_2x", "emnet-v1_4x", "emnet-v1_bn",
    "emnet-v1_bn_2x", "emnet-v2_2x", "monai_swin_unetr-3d", "monai_unetpp-3d",
)  # fmt: skip
"""What another of their family shows in less time, every day."""

networks = pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=name, marks=[pytest.mark.slow] * (name in COSTLY)) for name, case in SMALL.items()],
)


def test_costly_networks_are_networks():
    assert set(COSTLY) <= set(SMALL)


def build(case: Small) -> nn.Module:
    """One channel for each slice, one logit, and the statistics of a batch, as after training."""
    torch.manual_seed(0)
    network = case.config.build(case.config.in_slices, 1).train()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        network(torch.rand(2, case.config.in_slices, *case.size))
    return network.eval()


@cache
def locality_of(case: Small) -> Locality:
    """By shapes alone, once for all tests."""
    with torch.device("meta"):
        shapes = case.config.build(case.config.in_slices, 1)
    return measure_locality(shapes, case.config, in_channels=case.config.in_slices)


@networks
def test_the_verdict_needs_no_weights(case):
    assert measure_locality(build(case), case.config, in_channels=case.config.in_slices) == locality_of(case)


@networks
def test_the_reach_is_that_of_gradients(case):
    """With positive weights nothing cancels: gradients go as far as the reach, but for what max-pooling hides."""
    network = build(case).double()
    locality, config = locality_of(case), case.config
    if not locality.local:
        pytest.skip(locality.reason)
    for name, values in network.named_parameters():
        values.data.uniform_(0.5, 1.5).div_(max(1, values[0].numel()))
        if name.endswith("bias"):
            values.data.zero_()
    alike = {}
    for axis in range(config.ndim):
        alike[locality.reach[axis - config.ndim], config.total_stride[axis], config.margin[axis]] = axis
    for axis in alike.values():  # axes that are treated alike are looked at once
        step, margin, place = config.total_stride[axis], config.margin[axis], 3 - config.ndim + axis
        reach = locality.reach[place]
        sides = list(config.smallest_output)
        sides[axis] = locality.good_side(place, 2 * (reach + step) + step)
        given = [side + 2 * m for side, m in zip(sides, config.margin, strict=True)]
        ramp = torch.arange(1, given[axis] + 1, dtype=torch.float64).reshape([-1] + [1] * (config.ndim - axis - 1))
        centre = sides[axis] // 2 // step * step
        # Max-pooling passes gradients to the largest voxel only: to the last one of a ramp, or to the first one.
        last, _ = touched(network, ramp, (config.in_slices, *given), axis, centre)
        _, first = touched(network, ramp.flip(0), (config.in_slices, *given), axis, centre + step - 1)
        found = max(last - margin - centre, centre + step - 1 + margin - first)
        assert found <= reach, f"axis {axis}"
        # Unpooling puts a value at one place of its cell, which depends on the image.
        assert reach <= found + step or config.name == "segnet", f"axis {axis}"


def touched(network, ramp, shape, axis, row):
    """The last and the first voxel along an axis that a row of the output depends on."""
    image = ramp.expand(1, *shape).clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(image).movedim(2 + axis, 0)[row].sum(), image)
    there = gradient.movedim(2 + axis, 0).flatten(1).abs().amax(1).nonzero().flatten()
    return int(there.max()), int(there.min())


@networks
def test_blocks_equal_the_whole(case):
    """Exactly where the network is local, else in windows, and in the windows of its paper too."""
    network, config = build(case), case.config
    locality = locality_of(case)
    size = config.good_output(tuple(max(4, side) for side in config.output_size(case.size)))
    size = config.smallest_output if config.fixed_output else size
    windowed = windows_of(config.blend, size, locality)
    for windows in [None, windowed] if locality.local else [windowed]:
        image, block = volume(locality, windows)
        one = Member(
            Double(network), locality, Normalizer(0.0, 255.0), Classes(names=("rest", "a")), config.in_slices, windows
        )
        predictor = Predictor([one])
        with predictor.predicting():
            whole = predictor.probabilities(image, Box.of_shape(image.shape))
            assert whole.std() > 1e-5, "the network must have something to say"
            for core in list(Box.of_shape(image.shape).blocks(block))[1:3]:
                part = predictor.probabilities(image, core)
                assert (part - whole[(slice(None), *core.slices)]).abs().max() < 1e-6, (windows, core)


class Double(nn.Module):
    """A network with random weights multiplies roundings: computed so, what is left are true differences."""

    def __init__(self, network):
        super().__init__()
        self.network = network.double()

    def forward(self, image):
        return self.network(image.double())


def volume(locality, windows):
    """An image, long and odd along one axis, and the shape of blocks that do not see the whole of it."""
    longest = 0 if locality.ndim == 3 and locality.reach[0] and windows is None else 2
    if windows is None:
        shape = [step + 5 for step in locality.stride]
        shape[longest] = 2 * locality.reach[longest] + 3 * locality.stride[longest] + 1
        shape[0] = shape[0] if locality.ndim == 3 else 2
        block = list(shape)
        block[longest] = locality.stride[longest] + 3
    else:
        shape, block = list(windows.size), list(windows.size)
        shape[longest] = 2 * windows.size[longest] + 1
        block[longest] = -(-2 * windows.size[longest] // 3)
    grey = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return image_of_array(grey), block
