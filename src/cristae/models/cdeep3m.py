"""CDeep3M: an inception-residual encoder, and logits from four depths by dilated transposed convolutions.

Haberl et al. (2018), https://doi.org/10.1038/s41592-018-0106-z, after DeepEM3D of Zeng, Wu, Ji (2017),
https://doi.org/10.1093/bioinformatics/btx188
One network for each number of slices, 1fm, 3fm and 5fm; the published ensemble averages the probabilities of all three.

Batch normalisation moves its running statistics by 0.1 % with every batch; training averages those of a young network
over fewer, so that they belong to it from the start.
As trained by its authors biases learnt at twice the rate of weights, and biases of dilated transposed convolutions were
left out of the weight decay of 5e-4; here both are the optimiser's affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from cristae.data.classes import Classes
from cristae.errors import NetworkError
from cristae.models.form import PlanarConfig, Reference, crop_near, pad_far

STRIDE = (16, 16)
BN_EPS = 1e-5
BN_MOMENTUM = 0.001
RESIDUAL_SCALE = 0.1
PUBLISHED_BASE = 32


class Conv(NamedTuple):
    """A convolution, zero-padded by half its kernel, with normalisation and, unless stated otherwise, ReLU."""

    width: int
    """Channels that it gives where `base` is 32."""
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    relu: bool = True


class Deconv(NamedTuple):
    """A transposed convolution that brings features to full size."""

    dilation: int
    padding: int


Chains = tuple[tuple[Conv, ...], ...]
"""Convolutions one after the other, and such chains side by side."""

STEM: Chains = (
    (Conv(64), Conv(96, (3, 3), relu=False)),
    (Conv(64), Conv(64, (7, 1)), Conv(64, (1, 7)), Conv(96, (3, 3))),
)
REDUCTIONS: tuple[Chains, ...] = (
    ((Conv(192, (3, 3), 2),),),
    ((Conv(384, (3, 3), 2),), (Conv(256), Conv(256, (3, 3)), Conv(384, (3, 3), 2))),
    (
        (Conv(256), Conv(384, (3, 3), 2)),
        (Conv(256), Conv(288, (3, 3), 2)),
        (Conv(256), Conv(288, (3, 3)), Conv(320, (3, 3), 2)),
    ),
)
"""What halves the sides before each residual block, beside a pooling that comes first."""
RESIDUALS: tuple[Chains, ...] = (
    ((Conv(32),), (Conv(32), Conv(32, (3, 3))), (Conv(32), Conv(48, (3, 3)), Conv(64, (3, 3)))),
    ((Conv(192),), (Conv(128), Conv(160, (1, 7)), Conv(192, (7, 1)))),
    ((Conv(192),), (Conv(192), Conv(224, (1, 3)), Conv(256, (3, 1)))),
)
RESIDUAL_WIDTHS = (384, 1154, 2048)
"""Channels of the residual blocks; 1154 is as published."""
HEADS: tuple[tuple[Deconv, ...], ...] = (
    (Deconv(1, 1), Deconv(5, 7), Deconv(11, 16), Deconv(17, 25), Deconv(23, 34)),
    (Deconv(1, 2), Deconv(5, 16), Deconv(11, 37), Deconv(17, 58), Deconv(23, 79)),
    (Deconv(1, 4), Deconv(5, 34), Deconv(11, 79), Deconv(17, 124), Deconv(23, 169)),
    (Deconv(1, 8),),
)
"""Transposed convolutions, added up, that bring the stem and each residual block to full size."""


class CDeep3MConfig(PlanarConfig):
    """CDeep3M, a 2D network for one slice that may see its neighbours (Haberl et al. 2018).

    Several classes must exclude each other: two logits or more are never negative.
    """

    reference: ClassVar[Reference] = Reference("Haberl et al.", 2018, "https://doi.org/10.1038/s41592-018-0106-z")
    variants: ClassVar = {f"{slices}fm": {"slices": slices} for slices in (1, 3, 5)}
    name: Literal["cdeep3m"] = "cdeep3m"
    slices: Literal[1, 3, 5] = 1
    """Slices seen at once: 1 (published as 1fm), 3 (3fm) or 5 (5fm); the logits are those of the middle one. Beyond
    the first and last slice the stack is mirrored, where the original put zeros while training."""
    base: Annotated[int, Field(gt=0, multiple_of=2)] = PUBLISHED_BASE
    """Feature channels of the first convolution; the other widths keep the proportions that they have at 32."""

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides are halved four times."""
        return STRIDE

    @property
    def window(self) -> tuple[int, ...]:
        """The paper's patches."""
        return (320, 320)

    def check_classes(self, classes: Classes) -> None:
        """Several logits are never negative: a softmax separates them, but no sigmoid of them falls below one half.

        Raises:
            NetworkError: There are several overlapping classes.
        """
        if not classes.softmax and classes.n_logits > 1:
            raise NetworkError(
                f"cdeep3m cannot learn {classes.n_logits} overlapping classes, because several of its logits are never "
                "negative: no class would ever be absent; train it on one class at a time, or on classes that exclude "
                "each other"
            )

    def build(self, in_channels: int, out_channels: int) -> CDeep3M:
        """A network with fresh weights, (B, slices, Y, X) to (B, out_channels, Y, X)."""
        if in_channels != self.slices:
            raise NetworkError(
                f"cdeep3m with slices={self.slices} takes {self.slices} channels, a grey value of each slice, got "
                f"{in_channels}; set slices to the channels of the data, 1, 3 or 5"
            )
        return CDeep3M(out_channels, self)


class CDeep3M(nn.Module):
    """Map slices (B, slices, Y, X) to logits (B, K, Y, X) of the middle one, for any size.

    The published network ends in a softmax over background and foreground. For one logit it keeps these two maps and
    gives foreground minus background, whose sigmoid is the softmax probability.
    """

    def __init__(self, out_channels: int, config: CDeep3MConfig) -> None:
        super().__init__()
        base, maps = config.base, max(2, out_channels)
        self.in_channels = config.slices
        self.single = out_channels == 1
        self.slices = SliceConvolutions(config.slices, base, 2 * base)
        self.stem = Branches(2 * base, STEM, base)
        channels = self.stem.out_channels
        self.heads = nn.ModuleList([Head(channels, maps, HEADS[0], factor=2)])
        self.stages = nn.ModuleList()
        for level, (reduction, residual) in enumerate(zip(REDUCTIONS, RESIDUALS, strict=True), start=1):
            halved = Branches(channels, reduction, base, pooled=True)
            channels = scaled(RESIDUAL_WIDTHS[level - 1], base)
            self.stages.append(nn.Sequential(halved, Residual(halved.out_channels, channels, residual, base)))
            self.heads.append(Head(channels, maps, HEADS[level], factor=2 << level))

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, Y, X) of an image (B, slices, Y, X)."""
        features = self.stem(self.slices(pad_far(image, in_channels=self.in_channels, multiple=STRIDE)))
        maps: Tensor = self.heads[0](features)
        for stage, head in zip(self.stages, self.heads[1:], strict=True):
            features = stage(features)
            maps = maps + head(features)
        return crop_near(maps[:, 1:] - maps[:, :1] if self.single else maps, image.shape[2:])


class SliceConvolutions(nn.Module):
    """The two 3D convolutions, (B, slices, Y, X) to (B, width, Y / 2, X / 2), of which nothing but one slice is left.

    They are computed as 2D ones that have the slices as channels. The first sees one slice where there is no other,
    else three at a time in steps of two, with a slice of zeros at both ends; the second sees all that the first gives.
    """

    def __init__(self, slices: int, first_width: int, width: int) -> None:
        super().__init__()
        self.thickness = min(slices, 3)
        self.depth = (slices + 1) // 2
        self.first = conv_norm(self.thickness, Conv(first_width, (3, 3), 2), first_width, std=0.01)
        self.second = conv_norm(self.depth * first_width, Conv(width, (3, 3)), width, std=0.01)

    def forward(self, image: Tensor) -> Tensor:
        """Features of all slices together."""
        ends = self.thickness // 2
        padded = F.pad(image, (0, 0, 0, 0, ends, ends))
        seen = [padded.narrow(1, 2 * place, self.thickness) for place in range(self.depth)]
        features = self.first(torch.cat(seen))  # as further items of the batch: one normalisation for all depths
        joined: Tensor = self.second(torch.cat(features.chunk(self.depth), dim=1))
        return joined


class Branches(nn.Module):
    """Chains of convolutions side by side, concatenated; what a pooling gives comes first if asked for."""

    def __init__(self, in_channels: int, chains: Chains, base: int, *, pooled: bool = False) -> None:
        super().__init__()
        self.chains = nn.ModuleList()
        if pooled:
            self.chains.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
        for chain in chains:
            widths = [in_channels, *(scaled(conv.width, base) for conv in chain)]
            steps = zip(chain, pairwise(widths), strict=True)
            self.chains.append(nn.Sequential(*(conv_norm(a, conv, b) for conv, (a, b) in steps)))
        self.out_channels = sum(scaled(chain[-1].width, base) for chain in chains) + in_channels * pooled

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, Y, X) to (B, out_channels, Y, X), with halved sides where the chains have a stride."""
        return torch.cat([chain(features) for chain in self.chains], dim=1)


class Residual(nn.Module):
    """Bring features to a width, and add a tenth of what branches find in them; then ReLU."""

    def __init__(self, in_channels: int, width: int, chains: Chains, base: int) -> None:
        super().__init__()
        self.before = conv_norm(in_channels, Conv(width), width)
        self.branches = Branches(width, chains, base)
        self.merge = conv_norm(self.branches.out_channels, Conv(width, relu=False), width)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, Y, X) to (B, width, Y, X)."""
        features = self.before(features)
        return torch.relu(features + RESIDUAL_SCALE * self.merge(self.branches(features)))


class Head(nn.Module):
    """Bring features to full size by transposed convolutions, added up, and then to maps that are not negative."""

    def __init__(self, in_channels: int, maps: int, deconvs: Sequence[Deconv], *, factor: int) -> None:
        super().__init__()
        self.ups = nn.ModuleList(deconv(in_channels, maps, factor, *spread) for spread in deconvs)
        last = conv_norm(maps, Conv(maps, (3, 3)), maps, std=0.001)
        self.fuse = nn.Sequential(caffe_norm(maps), nn.ReLU(inplace=True), last)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, Y, X) to (B, maps, factor Y, factor X)."""
        maps = self.ups[0](features)
        for up in self.ups[1:]:
            maps = maps + up(features)
        fused: Tensor = self.fuse(maps)
        return fused


def caffe_norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation with the constants of Caffe."""
    return nn.BatchNorm2d(channels, eps=BN_EPS, momentum=BN_MOMENTUM)


def conv_norm(in_channels: int, conv: Conv, out_channels: int, *, std: float | None = None) -> nn.Sequential:
    """A convolution with its normalisation and ReLU.

    Its weights start normal when there is a `std`, else uniform with variance 1 / fan_in; its biases are 0.
    """
    padding = (conv.kernel[0] // 2, conv.kernel[1] // 2)
    layer = nn.Conv2d(in_channels, out_channels, conv.kernel, conv.stride, padding)
    if std is None:
        limit = (3 / layer.weight[0].numel()) ** 0.5
        nn.init.uniform_(layer.weight, -limit, limit)
    else:
        nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    layers: list[nn.Module] = [layer, caffe_norm(out_channels)]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if conv.relu else nn.Sequential(*layers)


def deconv(in_channels: int, maps: int, factor: int, dilation: int, padding: int) -> nn.ConvTranspose2d:
    """A transposed convolution that enlarges by `factor`: bilinear at first if not dilated, else random and small."""
    layer = nn.ConvTranspose2d(in_channels, maps, 2 * factor, factor, padding, dilation=dilation)
    if dilation == 1:
        with torch.no_grad():
            layer.weight.copy_(bilinear_kernel(2 * factor))
    else:
        nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def scaled(width: int, base: int) -> int:
    """A published width in a network of this `base`."""
    return round(width * base / PUBLISHED_BASE)


def bilinear_kernel(side: int) -> Tensor:
    """Weights (side, side) that enlarge by half of `side` when they are spread that far apart."""
    half = side / 2
    centre = (2 * half - 1) / (2 * half)
    row = 1 - (torch.arange(side) / half - centre).abs()
    return row[:, None] * row
