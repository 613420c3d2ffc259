"""DeepLabv3+ with a VGG19-like encoder, as one of the baselines of SegET.

Chen et al. (2018), https://arxiv.org/abs/1802.02611
Differs from the paper: the encoder of 23 convolutions in eight blocks, plain in place of separable convolutions, and
a quarter of the widths (`base` 64 has the published ones of the pyramid and the decoder), as in the baseline of
Zhang et al. (2018), https://arxiv.org/abs/1811.11729
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field, PositiveInt
from torch import Tensor, nn

from cristae.models.blocks import conv_bn_relu, conv_pair, initialise, upsample
from cristae.models.form import PlanarConfig, Reference, crop_near, pad_far

STRIDE = (16, 16)
WIDTHS = (1, 2, 4, 8, 8, 8, 8, 8)
"""Feature channels of the eight blocks of the encoder, in units of `base`."""
POOLED = 4
"""Blocks that max-pooling follows; the later ones are dilated instead."""
LOW_LEVEL = 2
"""Index of the block that the decoder reads, at a quarter of the size."""
RATES = (6, 12, 18)
CONVOLUTIONS = 23


def _all_convolutions(split: tuple[int, ...]) -> tuple[int, ...]:
    if sum(split) != CONVOLUTIONS:
        raise ValueError(f"must add up to {CONVOLUTIONS} convolutions, these are {sum(split)}")
    return split


class DeepLabVGGConfig(PlanarConfig):
    """DeepLabv3+ with a VGG19-like encoder, a 2D network that sees the whole patch (Chen et al. 2018)."""

    reference: ClassVar[Reference] = Reference("Chen et al.", 2018, "https://arxiv.org/abs/1802.02611")
    smallest_batch: ClassVar[int] = 2
    name: Literal["deeplab_vgg"] = "deeplab_vgg"
    base: Annotated[int, Field(gt=0, multiple_of=4)] = 16
    """Feature channels of the first block; the original's pyramid and decoder are as wide as with 64."""
    split: Annotated[
        tuple[PositiveInt, ...],
        Field(min_length=len(WIDTHS), max_length=len(WIDTHS)),
        AfterValidator(_all_convolutions),
    ] = (2, 2, 4, 4, 4, 3, 2, 2)
    """Convolutions of each of the eight blocks, 23 in all: VGG19's sixteen in the first five by default. The paper
    does not say; 2, 2, 3, 3, 3, 3, 3, 4 is another reading."""
    conv_bias: bool = False
    """Whether convolutions that batch normalisation follows have a bias; the head always has."""

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides are halved four times."""
        return STRIDE

    @property
    def window(self) -> tuple[int, ...]:
        """The patches of Zhang et al."""
        return (512, 512)

    def build(self, in_channels: int, out_channels: int) -> DeepLabVGG:
        """A network with fresh weights, (B, in_channels, Y, X) to (B, out_channels, Y, X)."""
        return DeepLabVGG(in_channels, out_channels, self)


class DeepLabVGG(nn.Module):
    """Map an image (B, C, Y, X) to logits (B, K, Y, X), for any size. Training needs at least two items in a batch."""

    def __init__(self, in_channels: int, out_channels: int, config: DeepLabVGGConfig) -> None:
        super().__init__()
        self.in_channels = in_channels
        base, bias = config.base, config.conv_bias
        self.encoder = VGGEncoder(in_channels, config)
        self.pyramid = Pyramid(WIDTHS[-1] * base, 4 * base, bias=bias)
        self.up = upsample(4)
        self.low_level = conv_bn_relu(WIDTHS[LOW_LEVEL] * base, 3 * base // 4, kernel=1, bias=bias)
        self.decoder = conv_pair(4 * base + 3 * base // 4, 4 * base, bias=bias)
        self.head = nn.Conv2d(4 * base, out_channels, 1)
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, Y, X) of an image (B, C, Y, X)."""
        low, features = self.encoder(pad_far(image, in_channels=self.in_channels, multiple=STRIDE))
        joined = torch.cat([self.up(self.pyramid(features)), self.low_level(low)], dim=1)
        logits = self.up(self.head(self.decoder(joined)))
        return crop_near(logits, image.shape[2:])


class VGGEncoder(nn.Module):
    """Eight blocks of 3x3 convolutions; the first four end with max-pooling, the others are dilated by 2."""

    def __init__(self, in_channels: int, config: DeepLabVGGConfig) -> None:
        super().__init__()
        widths = [multiple * config.base for multiple in WIDTHS]
        self.pool = nn.MaxPool2d(2)
        self.blocks = nn.ModuleList()
        steps = zip(pairwise((in_channels, *widths)), config.split, strict=True)
        for index, ((before, width), convolutions) in enumerate(steps):
            dilation = 1 if index < POOLED else 2
            self.blocks.append(
                nn.Sequential(
                    *(
                        conv_bn_relu(channels, width, dilation=dilation, bias=config.conv_bias)
                        for channels in (before, *[width] * (convolutions - 1))
                    )
                )
            )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Low-level features at a quarter of the size and the last ones at a sixteenth."""
        features = low = image
        for index, block in enumerate(self.blocks):
            features = block(features)
            if index == LOW_LEVEL:
                low = features
            if index < POOLED:
                features = self.pool(features)
        return low, features


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: one map seen at four scales and as a whole."""

    def __init__(self, in_channels: int, width: int, *, bias: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList([conv_bn_relu(in_channels, width, kernel=1, bias=bias)])
        self.branches.extend(conv_bn_relu(in_channels, width, dilation=rate, bias=bias) for rate in RATES)
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_bn_relu(in_channels, width, kernel=1, bias=bias))
        self.merge = conv_bn_relu((len(RATES) + 2) * width, width, kernel=1, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same size."""
        whole = self.whole(features).expand(-1, -1, *features.shape[2:])
        merged: Tensor = self.merge(torch.cat([*(branch(features) for branch in self.branches), whole], dim=1))
        return merged
