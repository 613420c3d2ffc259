"""The network that EM-stellar calls SegNet: an encoder and a mirrored decoder, with nothing between them but features.

Khadangi, Boudier, Rajagopal (2021), https://doi.org/10.1093/bioinformatics/btaa1094
It is not the SegNet of Badrinarayanan, Kendall, Cipolla (2017), https://arxiv.org/abs/1511.00561: it enlarges by the
nearest voxel where that one puts values back to where pooling took them from, and it is half as wide.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from cristae.models.blocks import batch_norm, conv_bn_relu, initialise
from cristae.models.form import PlanarConfig, Reference, crop_near, pad_far

STRIDE = (32, 32)
ENCODER = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))
"""Widths of the convolutions of each group, as multiples of `base`; pooling follows each group."""
DECODER = ((8, 8, 8), (8, 8, 8), (4, 4, 2), (2, 1), (1,))
"""The same, with enlargement before each group."""


class SegNetUpsamplingConfig(PlanarConfig):
    """A 2D encoder and decoder without skips or pooling indices (Khadangi et al. 2021, there "SegNet")."""

    reference: ClassVar[Reference] = Reference(
        "Khadangi, Boudier, Rajagopal", 2021, "https://doi.org/10.1093/bioinformatics/btaa1094"
    )
    name: Literal["segnet_upsampling"] = "segnet_upsampling"
    base: PositiveInt = 32
    """Feature channels of the first group, which all widths are multiples of; 32 as published."""

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides are halved five times."""
        return STRIDE

    @property
    def window(self) -> tuple[int, ...]:
        """The paper's patches."""
        return (512, 512)

    def build(self, in_channels: int, out_channels: int) -> SegNetUpsampling:
        """A network with fresh weights, (B, in_channels, Y, X) to (B, out_channels, Y, X)."""
        return SegNetUpsampling(in_channels, out_channels, self.base)


class SegNetUpsampling(nn.Module):
    """Map an image (B, C, Y, X) to logits (B, K, Y, X), for any size. The logits are batch-normalised, as published."""

    def __init__(self, in_channels: int, out_channels: int, base: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.pool = nn.MaxPool2d(2)
        self.up = nn.Upsample(scale_factor=2.0, mode="nearest")
        groups = []
        channels = in_channels
        for widths in ENCODER + DECODER:
            group = [channels, *(width * base for width in widths)]
            groups.append(nn.Sequential(*(conv_bn_relu(a, b) for a, b in pairwise(group))))
            channels = group[-1]
        self.encoder = nn.ModuleList(groups[: len(ENCODER)])
        self.decoder = nn.ModuleList(groups[len(ENCODER) :])
        self.head = nn.Sequential(nn.Conv2d(channels, out_channels, 1), batch_norm(out_channels))
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, Y, X) of an image (B, C, Y, X)."""
        features = pad_far(image, in_channels=self.in_channels, multiple=STRIDE)
        for group in self.encoder:
            features = self.pool(group(features))
        for group in self.decoder:
            features = group(self.up(features))
        return crop_near(self.head(features), image.shape[2:])
