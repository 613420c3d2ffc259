"""The network that EM-stellar calls VGG: the convolutions of VGG-16 as encoder, and a decoder with skips.

Khadangi, Boudier, Rajagopal (2021), https://doi.org/10.1093/bioinformatics/btaa1094
The encoder is that of Simonyan, Zisserman (2015), https://arxiv.org/abs/1409.1556, without normalisation and without
weights from elsewhere. Skips are what its poolings give, and the first block's output before pooling.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from cristae.models.blocks import conv_bn_relu
from cristae.models.form import PlanarConfig, Reference, crop_near, pad_far
from cristae.models.stellar_blocks import DecoderStep, head_width, initialise_he

STRIDE = (32, 32)
ENCODER = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))
"""Width as a multiple of `base`, and number of convolutions, of each block."""
DECODER = (8, 4, 2, 1, 1)
"""Width of each step as a multiple of `base`, coarsest first."""


class VGGUNetConfig(PlanarConfig):
    """A 2D U-shaped network with the encoder of VGG-16 (Khadangi et al. 2021)."""

    reference: ClassVar[Reference] = Reference(
        "Khadangi, Boudier, Rajagopal", 2021, "https://doi.org/10.1093/bioinformatics/btaa1094"
    )
    name: Literal["vgg_unet"] = "vgg_unet"
    base: PositiveInt = 64
    """Feature channels of the first block, which all widths are multiples of; 64 as published."""

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides are halved five times."""
        return STRIDE

    @property
    def window(self) -> tuple[int, ...]:
        """The paper's patches."""
        return (512, 512)

    def build(self, in_channels: int, out_channels: int) -> VGGUNet:
        """A network with fresh weights, (B, in_channels, Y, X) to (B, out_channels, Y, X)."""
        return VGGUNet(in_channels, out_channels, self.base)


class VGGUNet(nn.Module):
    """Map an image (B, C, Y, X) to logits (B, K, Y, X), for any size.

    The head's two channels pass a ReLU that can be 0 everywhere, and then nothing learns any more: if a loss does not
    move at all from the start, begin again with another seed.
    """

    def __init__(self, in_channels: int, out_channels: int, base: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.pool = nn.MaxPool2d(2)
        self.encoder = nn.ModuleList()
        skips: list[int] = []
        channels = in_channels
        for width, convolutions in ENCODER:
            self.encoder.append(conv_relu_chain(channels, *[width * base] * convolutions))
            channels = width * base
            skips.append(channels)
        skips = [skips[0], *skips[:-1]]
        self.decoder = nn.ModuleList()
        for width in DECODER:
            self.decoder.append(DecoderStep(channels, skips.pop(), width * base, width * base))
            channels = width * base
        hidden = head_width(out_channels)
        self.hidden = conv_bn_relu(channels, hidden)
        self.head = nn.Conv2d(hidden, out_channels, 1)
        initialise_he(self, self.head)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, Y, X) of an image (B, C, Y, X)."""
        features = pad_far(image, in_channels=self.in_channels, multiple=STRIDE)
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            if level:
                features = self.pool(features)
                skips.append(features)
            features = block(features)
            if not level:
                skips.append(features)
        features = self.pool(features)
        for step in self.decoder:
            features = step(features, skips.pop())
        return crop_near(self.head(self.hidden(features)), image.shape[2:])


def conv_relu_chain(*channels: int) -> nn.Sequential:
    """Zero-padded 3x3 convolutions, each with ReLU, from the first number of channels to the last."""
    layers: list[nn.Module] = []
    for a, b in pairwise(channels):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
