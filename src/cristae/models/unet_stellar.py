"""The U-nets of EM-stellar: without normalisation, with batch normalisation, and with learnt slopes (PReLU-net).

Khadangi, Boudier, Rajagopal (2021), https://doi.org/10.1093/bioinformatics/btaa1094
Differs from Ronneberger, Fischer, Brox (2015), https://arxiv.org/abs/1505.04597: zero-padded convolutions, nearest
enlargement and a 2x2 convolution in place of a transposed one, and a head with two hidden channels. The paper describes
PReLU-net only that it is a U-net with batch normalisation and PReLU; here it has a slope for each channel, from 0.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from cristae.models.blocks import batch_norm, dropout
from cristae.models.form import PlanarConfig, Reference, crop_near, pad_far
from cristae.models.stellar_blocks import head_width, initialise_he, up_conv

STRIDE = (16, 16)
LEVELS = 5
DROPOUT = 0.5


class UNetStellarConfig(PlanarConfig):
    """The U-nets of EM-stellar, wide 2D networks for much data (Khadangi et al. 2021)."""

    reference: ClassVar[Reference] = Reference(
        "Khadangi, Boudier, Rajagopal", 2021, "https://doi.org/10.1093/bioinformatics/btaa1094"
    )
    variants: ClassVar = {
        "bn": {},
        "plain": {"norm": "none"},
        "prelu": {"activation": "prelu"},
    }
    name: Literal["unet_stellar"] = "unet_stellar"
    norm: Literal["batch", "none"] = "batch"
    """Normalisation between each convolution and its activation."""
    activation: Literal["relu", "prelu"] = "relu"
    """What follows every convolution but the last: ReLU, or PReLU with a slope for each channel that starts at 0."""
    base: PositiveInt = 64
    """Feature channels of the first level; they double at each of the four further levels. 64 as published."""
    spatial_dropout: bool = False
    """Whether training drops half of the feature maps at the two coarsest levels and not, as published, half of their
    values."""

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides are halved four times."""
        return STRIDE

    @property
    def window(self) -> tuple[int, ...]:
        """The paper's patches."""
        return (512, 512)

    def activated(self, conv: nn.Module, channels: int) -> nn.Sequential:
        """A convolution that gives `channels`, and what follows it."""
        layers = [conv]
        if self.norm == "batch":
            layers.append(batch_norm(channels))
        relu = self.activation == "relu"
        layers.append(nn.ReLU(inplace=True) if relu else nn.PReLU(channels, init=0.0))
        return nn.Sequential(*layers)

    def conv(self, in_channels: int, out_channels: int) -> nn.Sequential:
        """A zero-padded 3x3 convolution and what follows it."""
        return self.activated(nn.Conv2d(in_channels, out_channels, 3, padding=1), out_channels)

    def pair(self, in_channels: int, width: int) -> nn.Sequential:
        """Two of them, both `width` wide."""
        return nn.Sequential(self.conv(in_channels, width), self.conv(width, width))

    def build(self, in_channels: int, out_channels: int) -> UNetStellar:
        """A network with fresh weights, (B, in_channels, Y, X) to (B, out_channels, Y, X)."""
        return UNetStellar(in_channels, out_channels, self)


class UNetStellar(nn.Module):
    """Map an image (B, C, Y, X) to logits (B, K, Y, X), for any size.

    The head's two channels pass an activation that can be 0 everywhere, and then nothing learns any more: if a loss
    does not move at all from the start, begin again with another seed.
    """

    def __init__(self, in_channels: int, out_channels: int, config: UNetStellarConfig) -> None:
        super().__init__()
        self.in_channels = in_channels
        widths = [config.base << level for level in range(LEVELS)]
        self.pool = nn.MaxPool2d(2)
        self.encoder = nn.ModuleList(config.pair(a, b) for a, b in pairwise((in_channels, *widths)))
        self.drop = dropout(DROPOUT, spatial=config.spatial_dropout)
        self.ups = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for below, width in pairwise(reversed(widths)):
            self.ups.append(config.activated(up_conv(below, width), width))
            self.decoder.append(config.pair(2 * width, width))
        hidden = head_width(out_channels)
        self.hidden = config.conv(config.base, hidden)
        self.head = nn.Conv2d(hidden, out_channels, 1)
        initialise_he(self, self.head)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, Y, X) of an image (B, C, Y, X)."""
        features = pad_far(image, in_channels=self.in_channels, multiple=STRIDE)
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            features = block(self.pool(features) if level else features)
            if level >= LEVELS - 2:  # before the skip is taken: the decoder sees the dropped features
                features = self.drop(features)
            skips.append(features)
        skips.pop()
        for up, block in zip(self.ups, self.decoder, strict=True):
            features = block(torch.cat([skips.pop(), up(features)], dim=1))
        return crop_near(self.head(self.hidden(features)), image.shape[2:])
