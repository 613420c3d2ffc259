"""U-Net with the encoder ResNet-50: what EM-stellar's text says of its network called ResNet, which is far smaller.

Khadangi, Boudier, Rajagopal (2021), https://doi.org/10.1093/bioinformatics/btaa1094
The encoder is that of He, Zhang, Ren, Sun (2016), https://arxiv.org/abs/1512.03385, table 1, up to its last stage; as
is usual today, the 3x3 convolution of a unit takes the stride and not the 1x1 before it. For three channels it has
23,508,032 parameters.

Neither text nor code says how this encoder meets a decoder, so the paper's other networks decide: the decoder is that
of VGG, so that the two differ in their encoders alone, but without a skip at full size, where a ResNet has no features.
The head is that of the small ResNet, one 3x3 convolution. Normalisation has the constants of Keras, kernels start
He-normal, as the text says of all networks, nothing is dropped, and nothing is pretrained.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from cristae.models.blocks import batch_norm, conv_bn_relu, conv_pair
from cristae.models.form import PlanarConfig, Reference, crop_near, pad_far_to_two
from cristae.models.stellar_blocks import DecoderStep, initialise_he, up_conv

STRIDE = (32, 32)
ENCODER = ((1, 3, 1), (2, 4, 2), (4, 6, 2), (8, 3, 2))
"""Width inside the units as a multiple of `base`, number of units and stride of each stage."""
EXPANSION = 4
"""A unit gives this many times the channels that it works with inside."""
DECODER = (8, 4, 2, 1, 1)
"""Width of each step as a multiple of `base`, coarsest first; the last step has no skip."""


class ResNet50UNetConfig(PlanarConfig):
    """A wide 2D U-Net whose encoder is a true ResNet-50 (as the text of Khadangi et al. 2021 has it)."""

    reference: ClassVar[Reference] = Reference(
        "Khadangi, Boudier, Rajagopal", 2021, "https://doi.org/10.1093/bioinformatics/btaa1094"
    )
    name: Literal["resnet50_unet"] = "resnet50_unet"
    base: PositiveInt = 64
    """Feature channels of the first convolution, which all widths are multiples of; those of ResNet-50 come with 64."""

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides are halved five times."""
        return STRIDE

    @property
    def window(self) -> tuple[int, ...]:
        """The paper's patches."""
        return (512, 512)

    def build(self, in_channels: int, out_channels: int) -> ResNet50UNet:
        """A network with fresh weights, (B, in_channels, Y, X) to (B, out_channels, Y, X)."""
        return ResNet50UNet(in_channels, out_channels, self.base)


class ResNet50UNet(nn.Module):
    """Map an image (B, C, Y, X) to logits (B, K, Y, X), for any size."""

    def __init__(self, in_channels: int, out_channels: int, base: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.stem = conv_bn_relu(in_channels, base, kernel=7, stride=2, bias=False)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.encoder = nn.ModuleList()
        skips = [base]
        channels = base
        for width, units, stride in ENCODER:
            self.encoder.append(stage(channels, width * base, units, stride=stride))
            channels = EXPANSION * width * base
            skips.append(channels)
        skips.pop()
        self.decoder = nn.ModuleList()
        *with_skip, last = DECODER
        for width in with_skip:
            self.decoder.append(DecoderStep(channels, skips.pop(), width * base, width * base))
            channels = width * base
        width = last * base
        self.last = nn.Sequential(
            up_conv(channels, width), batch_norm(width), nn.ReLU(inplace=True), conv_pair(width, width)
        )
        self.head = nn.Conv2d(width, out_channels, 3, padding=1)
        initialise_he(self, self.head)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, Y, X) of an image (B, C, Y, X)."""
        features = self.stem(pad_far_to_two(image, in_channels=self.in_channels, multiple=STRIDE))
        skips = [features]
        features = self.pool(features)
        for block in self.encoder:
            features = block(features)
            skips.append(features)
        skips.pop()
        for step in self.decoder:
            features = step(features, skips.pop())
        return crop_near(self.head(self.last(features)), image.shape[2:])


def stage(in_channels: int, width: int, units: int, *, stride: int) -> nn.Sequential:
    """Bottleneck units, `width` wide inside; the first one takes the stride."""
    wide = EXPANSION * width
    return nn.Sequential(
        Bottleneck(in_channels, width, stride=stride),
        *(Bottleneck(wide, width, stride=1) for _ in range(units - 1)),
    )


class Bottleneck(nn.Module):
    """Narrow, convolve, widen; the sum with the input passes the last ReLU.

    Args:
        in_channels: Channels of the input. Where they are not four times `width`, a 1x1 convolution makes them so.
        width: Channels inside.
        stride: Of the 3x3 convolution and of the shortcut.
    """

    def __init__(self, in_channels: int, width: int, *, stride: int) -> None:
        super().__init__()
        wide = EXPANSION * width
        self.convs = nn.Sequential(
            conv_bn_relu(in_channels, width, kernel=1, bias=False),
            conv_bn_relu(width, width, stride=stride, bias=False),
            nn.Conv2d(width, wide, 1, bias=False),
            batch_norm(wide),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != wide:
            self.shortcut = nn.Sequential(nn.Conv2d(in_channels, wide, 1, stride, bias=False), batch_norm(wide))

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, Y, X) to (B, 4 width, Y / stride, X / stride)."""
        return torch.relu(self.convs(features) + self.shortcut(features))
