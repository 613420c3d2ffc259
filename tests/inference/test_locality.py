"""Reach by hand, by brute force, and what is not local."""

import json

import pytest
import torch
from small_networks import Sizes
from torch import nn

from cristae.errors import RunError
from cristae.inference.locality import Locality, measure_locality
from cristae.models import SegETConfig, UNetBNConfig


def flat(stride):
    return Sizes(stride=(stride, stride))


def reach(network, stride=1):
    found = measure_locality(network, flat(stride))
    assert found.local, found.reason
    return found.reach


def test_convolutions_by_hand():
    assert reach(nn.Conv2d(1, 1, 1)) == (0, 0, 0)
    assert reach(nn.Conv2d(1, 8, 3, padding=1)) == (0, 1, 1)
    assert reach(nn.Conv2d(1, 8, (3, 7), padding=(1, 3))) == (0, 1, 3)
    assert reach(nn.Conv2d(1, 8, 3, padding=8, dilation=8)) == (0, 8, 8)
    chain = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(True), nn.Conv2d(8, 8, 3, padding=8, dilation=8))
    assert reach(chain) == (0, 9, 9)
    jumps = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=d, dilation=d) for d in (100, 150, 400)))
    assert reach(jumps) == (0, 650, 650)


def test_strides_by_hand():
    """Max-pool 2 and nearest enlargement: an output depends on the two voxels of its cell, at most one away."""
    assert reach(nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2)), 2) == (0, 1, 1)
    # A 3 x 3 convolution in between adds one cell: 2 + 1.
    within = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 1, 3, padding=1), nn.ConvTranspose2d(1, 1, 2, stride=2))
    assert reach(within, 2) == (0, 3, 3)
    # Stride-2 convolution (reads 2i - 1 to 2i + 1), then bilinear: outputs 2i, 2i + 1 mix cells i - 1, i, i + 1.
    assert reach(nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.Upsample(scale_factor=2, mode="bilinear")), 2) == (0, 3, 3)


def test_unet_by_formula():
    """Level l works on cells of 2^l voxels. Two 3 x 3 convolutions reach two cells: in encoder and decoder at levels
    0 to 3, once at the bottom. An output at the edge of its 16-voxel bottom cell depends on 15 more of its voxels."""
    convolutions = sum(2 * 2 * 2**level for level in range(4)) + 2 * 2**4
    assert reach(UNetBNConfig(widths=(1, 1, 1, 1, 1)).build(1, 1), 16) == (0, convolutions + 15, convolutions + 15)


def test_3d():
    found = measure_locality(nn.Conv3d(1, 2, (1, 3, 5), padding=(0, 1, 2)), Sizes(stride=(1, 1, 1)))
    assert (found.reach, found.stride, found.ndim) == ((0, 1, 2), (1, 1, 1), 3)


@pytest.mark.parametrize(
    ("network", "stride"),
    [
        (UNetBNConfig(widths=(2, 3, 4)).build(1, 1), 4),
        (SegETConfig(base=4, branch_width="quarter").build(1, 1), 16),
    ],
)
def test_reach_by_perturbation(network, stride):
    """In the real network, a changed voxel changes outputs up to its reach and none beyond."""
    size = 704 if stride == 16 else 96
    expected = reach(network, stride)[1]
    network = network.double().eval()
    image = torch.rand((1, 1, size, stride), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = network(image)
        furthest = 0
        for phase in range(stride):
            changed, place = image.clone(), size // 2 // stride * stride + phase
            changed[0, 0, place] += 100.0
            rows = (network(changed) != before)[0, 0].any(1).nonzero().flatten()
            assert (rows - place).abs().max() <= expected
            furthest = max(furthest, int((rows - place).abs().max()))
    # Max-pooling may hide the last voxels of a pooling cell, a stride at most.
    assert furthest > expected - stride


class Gate(nn.Module):
    """Squeeze and excitation without modules of its own."""

    def forward(self, image):
        return image * torch.sigmoid(image.mean((2, 3), keepdim=True))


@pytest.mark.parametrize(
    ("layer", "word"),
    [
        (nn.InstanceNorm2d(4), "instance_norm"),
        (nn.GroupNorm(2, 4), "group_norm"),
        (nn.AdaptiveAvgPool2d(4), "adaptive"),
        (nn.Linear(144, 144), "linear"),
        (Gate(), "mean"),
        (nn.Softmax(2), "softmax"),
        (nn.BatchNorm2d(4, track_running_stats=False), "statistics"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), "opposite"),
        (nn.UpsamplingBilinear2d(scale_factor=1), "align_corners"),
        (nn.MaxPool2d(2, return_indices=True), "tuple"),
        (nn.Conv2d(4, 4, 3), "(126, 142)"),
        (nn.Upsample(size=(16, 16)), "gives an output"),
    ],
)
def test_what_is_not_local(layer, word):
    found = measure_locality(nn.Sequential(nn.Conv2d(1, 4, 1), layer), flat(16))
    assert not found.local
    assert word in found.reason


def test_weights_do_not_matter():
    """A learnt factor of zero hides a branch, not its reach."""

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.far = nn.Conv2d(1, 1, 9, padding=4)
            self.gamma = nn.Parameter(torch.zeros(1))

        def forward(self, image):
            return image + self.gamma * self.far(image)

    network = Scaled()
    kept = {name: values.clone() for name, values in network.state_dict().items()}
    assert reach(network) == (0, 4, 4)
    assert all(torch.equal(values, kept[name]) for name, values in network.state_dict().items())


def test_survives_json():
    found = measure_locality(nn.Conv2d(1, 1, 3, padding=1), flat(4))
    assert Locality.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize(
    "wrong",
    [
        {"reach": [1, 2]},
        {"reach": "abc"},
        {"reach": [0, -1, 0]},
        {"stride": [0, 0, 0]},
        {"stride": None},
        {"ndim": 7},
        {"local": "perhaps"},
        {"more": 1},
    ],
)
def test_damaged_storage_is_refused(wrong):
    stored = Locality(True, "near", (0, 3, 3), (1, 2, 2), 2).to_dict()
    (field,) = wrong
    with pytest.raises(RunError, match=rf"locality\.{field}"):
        Locality.from_dict(stored | wrong)
    with pytest.raises(RunError, match=r"locality\.reach"):
        Locality.from_dict({name: value for name, value in stored.items() if name != "reach"})
