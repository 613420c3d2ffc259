"""U-Net with batch normalisation after every convolution.

Ronneberger, Fischer, Brox (2015), https://arxiv.org/abs/1505.04597
Differs from the paper: zero-padded convolutions, batch normalisation, and narrower widths, as in the baseline of
Zhang et al. (2018), https://arxiv.org/abs/1811.11729
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from cristae.models.blocks import conv_pair, initialise
from cristae.models.form import PlanarConfig, Reference, crop_near, pad_far


class UNetBNConfig(PlanarConfig):
    """U-Net with batch normalisation and a quarter of the original widths, a 2D network (Ronneberger et al. 2015)."""

    reference: ClassVar[Reference] = Reference("Ronneberger, Fischer, Brox", 2015, "https://arxiv.org/abs/1505.04597")
    name: Literal["unet_bn"] = "unet_bn"
    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=2, max_length=8)] = (16, 32, 64, 128, 256)
    """Feature channels at each level, finest first; each further level halves the sides."""

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides are halved once between two levels."""
        return (1 << (len(self.widths) - 1),) * 2

    def build(self, in_channels: int, out_channels: int) -> UNetBN:
        """A network with fresh weights, (B, in_channels, Y, X) to (B, out_channels, Y, X)."""
        return UNetBN(in_channels, out_channels, self)


class UNetBN(nn.Module):
    """Map an image (B, C, Y, X) to logits (B, K, Y, X), for any size."""

    def __init__(self, in_channels: int, out_channels: int, config: UNetBNConfig) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.total_stride = config.total_stride
        self.pool = nn.MaxPool2d(2)
        self.encoder = nn.ModuleList(conv_pair(a, b) for a, b in pairwise((in_channels, *config.widths)))
        upwards = list(pairwise(reversed(config.widths)))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(below, width, 2, stride=2) for below, width in upwards)
        self.decoder = nn.ModuleList(conv_pair(2 * width, width) for _, width in upwards)
        self.head = nn.Conv2d(config.widths[0], out_channels, 1)
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, Y, X) of an image (B, C, Y, X)."""
        features = pad_far(image, in_channels=self.in_channels, multiple=self.total_stride)
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            features = block(self.pool(features) if level else features)
            skips.append(features)
        skips.pop()
        for up, block in zip(self.ups, self.decoder, strict=True):
            features = block(torch.cat([skips.pop(), up(features)], dim=1))
        return crop_near(self.head(features), image.shape[2:])
