"""The network that EM-stellar calls ResNet-50: a small encoder and decoder of residual bottleneck units.

Khadangi, Boudier, Rajagopal (2021), https://doi.org/10.1093/bioinformatics/btaa1094
It is not the ResNet-50 of He, Zhang, Ren, Sun (2016), https://arxiv.org/abs/1512.03385: three units in every stage
instead of 3, 4, 6 and 3, an expansion of two instead of four, a first width of 16 instead of 64, and 2.7 million
parameters with the decoder included. Nothing is pretrained.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from cristae.models.blocks import batch_norm, conv_bn_relu, initialise
from cristae.models.form import PlanarConfig, Reference, crop_near, pad_far

STRIDE = (32, 32)
ENCODER = ((1, 2, 1), (2, 4, 2), (4, 8, 2), (8, 16, 2))
"""Hidden width, width and stride of each stage, the widths as multiples of `base`."""
DECODER = (8, 4, 2, 1)
"""Width of each stage as a multiple of `base`; the first convolution of its units is as wide as the stage's input. Each
stage but the last has a skip of its own width."""
UNITS = 3


class ResNetSmallConfig(PlanarConfig):
    """A light 2D network of residual units (Khadangi et al. 2021, there "ResNet-50", which it is not)."""

    reference: ClassVar[Reference] = Reference(
        "Khadangi, Boudier, Rajagopal", 2021, "https://doi.org/10.1093/bioinformatics/btaa1094"
    )
    name: Literal["resnet_small"] = "resnet_small"
    base: PositiveInt = 16
    """Feature channels of the first convolution, which all widths are multiples of; 16 as published."""

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides are halved five times."""
        return STRIDE

    @property
    def window(self) -> tuple[int, ...]:
        """The paper's patches."""
        return (512, 512)

    def build(self, in_channels: int, out_channels: int) -> ResNetSmall:
        """A network with fresh weights, (B, in_channels, Y, X) to (B, out_channels, Y, X)."""
        return ResNetSmall(in_channels, out_channels, self.base)


class ResNetSmall(nn.Module):
    """Map an image (B, C, Y, X) to logits (B, K, Y, X), for any size."""

    def __init__(self, in_channels: int, out_channels: int, base: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, base, 7, stride=2, padding=4),
            batch_norm(base),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
        )
        self.encoder = nn.ModuleList()
        channels = base
        for hidden, width, stride in ENCODER:
            self.encoder.append(stage(channels, hidden * base, hidden * base, width * base, stride=stride))
            channels = width * base
        self.up = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.decoder = nn.ModuleList()
        for width in DECODER:
            self.decoder.append(stage(channels, channels, width * base, width * base))
            channels = 2 * width * base
        self.head = nn.Conv2d(base, out_channels, 3, padding=1)
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, Y, X) of an image (B, C, Y, X)."""
        features = self.stem(pad_far(image, in_channels=self.in_channels, multiple=STRIDE))
        skips: list[Tensor] = []
        for block in self.encoder:
            features = block(features)
            skips.append(features)
        skips.pop()
        for block in self.decoder:
            features = block(self.up(features))
            if skips:
                features = torch.cat([features, skips.pop()], dim=1)
        return crop_near(self.head(self.up(features)), image.shape[2:])


def stage(in_channels: int, first: int, second: int, width: int, *, stride: int = 1) -> nn.Sequential:
    """Residual units; the first one's shortcut is a convolution, which takes the stride."""
    units = [ResidualUnit(in_channels, first, second, width, stride=stride, project=True)]
    units += [ResidualUnit(width, first, second, width, stride=1, project=False) for _ in range(UNITS - 1)]
    return nn.Sequential(*units)


class ResidualUnit(nn.Module):
    """1x1, 3x3 and 1x1 convolution, added to a shortcut, then ReLU.

    Args:
        in_channels: Channels of the input.
        first: Channels of the first convolution.
        second: Channels of the second.
        width: Channels of the third and of the output.
        stride: Of the first convolution and of the shortcut's.
        project: Whether the shortcut is a 1x1 convolution and not the input itself.
    """

    def __init__(self, in_channels: int, first: int, second: int, width: int, *, stride: int, project: bool) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            conv_bn_relu(in_channels, first, kernel=1, stride=stride),
            conv_bn_relu(first, second),
            nn.Conv2d(second, width, 1),
            batch_norm(width),
        )
        self.shortcut: nn.Module = nn.Identity()
        if project:
            self.shortcut = nn.Sequential(nn.Conv2d(in_channels, width, 1, stride), batch_norm(width))

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, Y, X) to (B, width, Y / stride, X / stride)."""
        return torch.relu(self.convs(features) + self.shortcut(features))
