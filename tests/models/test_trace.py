"""What is reported of a network's layers, stages and skip connections, on networks small enough to check by hand."""

from collections import OrderedDict
from fractions import Fraction
from typing import ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn

from cristae.errors import NetworkError
from cristae.models import NetworkConfig, Reference, SegETConfig, UNetBNConfig, parameter_count
from cristae.models.stages import IMAGE, Skip
from cristae.models.trace import trace


class Gate(nn.Module):
    """A squeeze-excite gate written with functions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        return features * torch.sigmoid(self.reduce(features.mean((2, 3), keepdim=True)))


class Slope(nn.Module):
    """An activation with parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))

    def forward(self, features: Tensor) -> Tensor:
        shape = (1, 2, 1, 1)
        return self.a.view(shape) * torch.relu(features) - self.b.view(shape) * torch.relu(-features)


class Hand(nn.Module):
    """Image -> stem (2) -> down (4, half size) -> up -> joined with the stem -> logits; and a head for training."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(in_channels, 2, 3, padding=1), Slope())
        self.down = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2)
        self.gate = Gate(4)
        self.up = nn.ConvTranspose2d(4, 2, 2, stride=2)
        self.act = nn.ReLU()
        self.head = nn.Conv2d(4, out_channels, (1, 3), padding=(0, 2), dilation=(1, 2))
        self.coarse_head = nn.Conv2d(4, out_channels, 1)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        stem = self.act(self.stem(image))
        low = self.gate(self.down(stem))
        logits = self.head(torch.cat([stem, self.act(self.up(low))], dim=1))
        return (logits, self.coarse_head(low)) if self.training else logits


class HandConfig(NetworkConfig):
    """A network made for this test."""

    reference: ClassVar[Reference] = Reference("Nobody", 2000, "https://example.org")
    name: Literal["hand"] = "hand"

    @property
    def total_stride(self) -> tuple[int, ...]:
        """One halving."""
        return (2, 2)

    def build(self, in_channels: int, out_channels: int) -> nn.Module:
        """The network."""
        return Hand(in_channels, out_channels)


def test_stages_and_skips_by_hand() -> None:
    found = trace(HandConfig(), 1, 3, (8, 12))
    assert [(s.name, s.depth, s.channels, s.size, s.reads) for s in found.stages] == [
        ("stem", 0, 2, (8, 12), (IMAGE,)),
        ("gate", 1, 4, (4, 6), (0,)),
        ("up", 0, 3, (8, 12), (0, 1)),
    ]
    assert found.skips == (Skip(source=0, target=2, channels=2),)
    assert found.stages[0].operations == ("conv 3x3",)
    assert found.stages[1].operations == ("depthwise 3x3 /2", "global pool", "conv 1x1", "multiply")
    assert found.stages[2].operations == ("up-conv 2x2", "concat", "conv 1x3 dilated 2")
    assert (found.image, found.logits, found.image_depth) == ((1, (8, 12)), (3, (8, 12)), 0)


def test_layers_by_hand() -> None:
    found = trace(HandConfig(), 1, 3, (8, 12))
    assert [(one.path, one.kind, one.in_channels, one.out_channels, one.parameters) for one in found.layers] == [
        ("stem.0", "Conv2d", 1, 2, 1 * 2 * 9 + 2),
        ("stem.1", "Slope", 2, 2, 4),
        ("act", "ReLU", 2, 2, 0),
        ("down", "Conv2d", 2, 4, 1 * 4 * 9 + 4),
        ("gate", "mean", 4, 4, 0),
        ("gate.reduce", "Conv2d", 4, 4, 4 * 4 + 4),
        ("gate", "sigmoid", 4, 4, 0),
        ("gate", "multiply", 4, 4, 0),
        ("up", "ConvTranspose2d", 4, 2, 4 * 2 * 4 + 2),
        ("act", "ReLU", 2, 2, 0),
        ("", "concat", 4, 4, 0),
        ("head", "Conv2d", 4, 3, 4 * 3 * 3 + 3),
        ("coarse_head", "Conv2d", 0, 0, 4 * 3 + 3),
    ]
    down, head = found.layers[3], found.layers[11]
    assert (down.kernel, down.stride, down.dilation, down.groups) == ((3, 3), (2, 2), (1, 1), 2)
    assert (down.size, down.scale) == ((4, 6), (Fraction(2), Fraction(2)))
    assert (head.kernel, head.stride, head.dilation, head.groups) == ((1, 3), (1, 1), (1, 2), 1)
    assert found.layers[10].sources == (2, 9)
    assert found.layers[7].sources == (3, 6)
    assert [one.path for one in found.layers if one.idle] == ["coarse_head"]
    assert found.idle_parameters == 15


def test_flop_by_hand() -> None:
    found = trace(HandConfig(), 1, 3, (8, 12))
    multiplications = {
        "stem.0": 96 * 1 * 2 * 9,
        "down": 24 * 1 * 4 * 9,
        "gate.reduce": 1 * 4 * 4,
        "up": 24 * 4 * 2 * 4,
        "head": 96 * 4 * 3 * 3,
    }
    assert {one.path: one.conv_flop for one in found.layers if one.conv_flop} == {
        path: 2 * count for path, count in multiplications.items()
    }
    assert found.conv_flop == 2 * sum(multiplications.values()) == found.flop


def test_parameters_used_twice_count_once() -> None:
    found = trace(HandConfig(), 2, 1, (4, 4))
    assert found.parameters == parameter_count(Hand(2, 1))


class Valid(nn.Module):
    """Two unpadded convolutions around a pooling: sides shrink without a change of scale."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv3d(1, 2, 3), nn.MaxPool3d((1, 2, 2)), nn.Conv3d(2, 1, 3))

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.layers(image)
        return logits


class ValidConfig(HandConfig):
    """Unpadded, in 3D."""

    def build(self, in_channels: int, out_channels: int) -> nn.Module:
        """The network."""
        return Valid()


def test_unpadded_convolutions_keep_the_scale() -> None:
    found = trace(ValidConfig(), 1, 1, (7, 10, 10))
    assert [(s.size, s.depth, s.operations) for s in found.stages] == [
        ((5, 8, 8), 0, ("conv 3x3x3",)),
        ((3, 2, 2), 1, ("max pool 1x2x2", "conv 3x3x3")),
    ]
    assert found.skips == ()


class Down(nn.Module):
    """Two ways to half size side by side, one of which begins with a convolution at full size."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.slow = nn.Sequential(nn.Conv2d(2, 6, 1), nn.Conv2d(6, 4, 2, stride=2))

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([self.pool(features), self.slow(features)], dim=1)


class BranchesConfig(HandConfig):
    """Parallel ways down."""

    def build(self, in_channels: int, out_channels: int) -> nn.Module:
        """The network."""
        return nn.Sequential(OrderedDict(stem=nn.Conv2d(1, 2, 1), down=Down()))


def test_parallel_branches_are_one_stage() -> None:
    found = trace(BranchesConfig(), 1, 1, (8, 8))
    assert [(s.name, s.channels, s.size, s.operations) for s in found.stages] == [
        ("stem", 6, (8, 8), ("2 conv 1x1",)),
        ("down", 6, (4, 4), ("max pool 2", "conv 2x2 /2", "concat")),
    ]


class Merge(nn.Module):
    """What transformers do: channels last, a linear layer, and 2 x 2 neighbours merged into channels."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleDict({"embed": nn.Conv2d(1, 4, 1), "mix": nn.Linear(4, 4), "merge": nn.Linear(16, 6)})
        self.inner["out"] = nn.Conv2d(6, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        tokens = self.inner["embed"](image).permute(0, 2, 3, 1)
        tokens = tokens + self.inner["mix"](tokens)
        parts = [tokens[:, y::2, x::2] for y in (0, 1) for x in (0, 1)]
        merged = self.inner["merge"](torch.cat(parts, dim=-1))
        logits: Tensor = self.inner["out"](merged.permute(0, 3, 1, 2))
        return logits


class MergeConfig(HandConfig):
    """Channels last inside."""

    def build(self, in_channels: int, out_channels: int) -> nn.Module:
        """The network."""
        return Merge()


def test_channels_may_be_last_inside() -> None:
    found = trace(MergeConfig(), 1, 1, (8, 12))
    assert [(one.path, one.kind, one.in_channels, one.out_channels, one.size) for one in found.layers] == [
        ("inner.embed", "Conv2d", 1, 4, (8, 12)),
        ("inner.mix", "Linear", 4, 4, (8, 12)),
        ("", "add", 4, 4, (8, 12)),
        ("", "concat", 16, 16, (4, 6)),
        ("inner.merge", "Linear", 16, 6, (4, 6)),
        ("inner.out", "Conv2d", 6, 1, (4, 6)),
    ]
    assert [(s.name, s.channels, s.size, s.depth) for s in found.stages] == [
        ("embed", 4, (8, 12), 0),
        ("merge", 1, (4, 6), 1),
    ]
    linear = 2 * (96 * 4 * 4 + 24 * 16 * 6)
    assert found.flop - found.conv_flop == linear


def test_a_network_as_its_paper_draws_it() -> None:
    found = trace(SegETConfig(), 1, 1, (512, 512))
    assert [(s.name, s.channels, s.size[0], s.depth) for s in found.stages] == [
        ("encoder.0", 8, 512, 0),
        ("encoder.1", 16, 256, 1),
        ("encoder.2", 32, 128, 2),
        ("encoder.3", 64, 64, 3),
        ("centre", 256, 32, 4),
        ("decoder.0", 128, 64, 3),
        ("decoder.1", 64, 128, 2),
        ("decoder.2", 32, 256, 1),
        ("decoder.3", 16, 512, 0),
        ("fusion", 32, 256, 1),
        ("fusion", 1, 512, 0),
    ]
    skips = {(skip.source, skip.target): skip.channels for skip in found.skips}
    encoder = {(0, 8): 8, (1, 7): 16, (2, 6): 32, (3, 5): 64}
    assert skips == encoder | {(5, 9): 128, (6, 9): 64, (7, 9): 32, (8, 10): 16}


@pytest.mark.parametrize("size", [(64, 64), (65, 50)])
def test_padding_inside_does_not_change_the_stages(size: tuple[int, int]) -> None:
    found = trace(UNetBNConfig(widths=(4, 8, 16)), 2, 3, size)
    assert [stage.depth for stage in found.stages] == [0, 1, 2, 1, 0]
    assert [(skip.source, skip.target) for skip in found.skips] == [(0, 4), (1, 3)]
    assert found.logits == (3, size)


def test_the_trace_leaves_nothing_behind() -> None:
    torch.manual_seed(0)
    before = torch.rand(2)
    torch.manual_seed(0)
    trace(UNetBNConfig(widths=(4, 8)), 1, 1, (32, 32))
    assert torch.equal(torch.rand(2), before)


def test_a_network_that_cannot_be_built_says_so() -> None:
    with pytest.raises(NetworkError, match="takes images"):
        trace(UNetBNConfig(widths=(4, 8)), 1, 1, (0, 32))
