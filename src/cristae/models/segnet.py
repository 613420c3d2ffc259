"""SegNet: an encoder that remembers where its maxima were, and a mirrored decoder that puts them back there.

Badrinarayanan, Kendall, Cipolla (2017), https://arxiv.org/abs/1511.00561
Differs from the paper: a quarter of the widths (`base` 64 has the published ones), as in the baseline of
Zhang et al. (2018), https://arxiv.org/abs/1811.11729
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from cristae.models.blocks import conv_bn_relu, initialise
from cristae.models.form import PlanarConfig, Reference, crop_near, pad_far

STRIDE = (32, 32)
WIDTHS = (1, 2, 4, 8, 8)
"""Feature channels of the five levels, finest first, in units of `base`."""
CONVOLUTIONS = (2, 2, 3, 3, 3)


class SegNetConfig(PlanarConfig):
    """SegNet, a 2D network whose decoder gets the places of the maxima and nothing else (Badrinarayanan 2017)."""

    reference: ClassVar[Reference] = Reference(
        "Badrinarayanan, Kendall, Cipolla", 2017, "https://arxiv.org/abs/1511.00561"
    )
    name: Literal["segnet"] = "segnet"
    base: PositiveInt = 16
    """Feature channels of the first level, which all widths are multiples of; the original has 64."""

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides are halved five times."""
        return STRIDE

    @property
    def window(self) -> tuple[int, ...]:
        """The patches of Zhang et al."""
        return (512, 512)

    def build(self, in_channels: int, out_channels: int) -> SegNet:
        """A network with fresh weights, (B, in_channels, Y, X) to (B, out_channels, Y, X)."""
        return SegNet(in_channels, out_channels, self)


class SegNet(nn.Module):
    """Map an image (B, C, Y, X) to logits (B, K, Y, X), for any size."""

    def __init__(self, in_channels: int, out_channels: int, config: SegNetConfig) -> None:
        super().__init__()
        self.in_channels = in_channels
        widths = [multiple * config.base for multiple in WIDTHS]
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.unpool = nn.MaxUnpool2d(2)
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        before = in_channels
        for width, convolutions in zip(widths, CONVOLUTIONS, strict=True):
            self.encoder.append(_block([before, *[width] * convolutions]))
            before = width
        for level in reversed(range(len(widths))):
            kept = [widths[level]] * CONVOLUTIONS[level]
            # The finest block ends with the convolution that gives the logits.
            self.decoder.append(_block([*kept, widths[level - 1]] if level else kept))
        self.head = nn.Conv2d(widths[0], out_channels, 3, padding=1)
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, Y, X) of an image (B, C, Y, X)."""
        features = pad_far(image, in_channels=self.in_channels, multiple=STRIDE)
        places: list[Tensor] = []
        for block in self.encoder:
            features, indices = self.pool(block(features))
            places.append(indices)
        for block in self.decoder:
            features = block(self.unpool(features, places.pop()))
        return crop_near(self.head(features), image.shape[2:])


def _block(widths: list[int]) -> nn.Sequential:
    """3x3 convolutions, each from one width to the next."""
    return nn.Sequential(*(conv_bn_relu(a, b) for a, b in pairwise(widths)))
