"""FCN-8s: a classification network turned into a segmentation network, with scores summed from three depths.

Long, Shelhamer, Darrell (2015), https://arxiv.org/abs/1411.4038
Differs from the paper: zero-padded convolutions in place of 100 voxels around the image, transposed convolutions
whose padding keeps the output aligned, and a quarter of the widths (`base` 64 has the published ones), as in the
baseline of Zhang et al. (2018), https://arxiv.org/abs/1811.11729
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from cristae.models.blocks import conv_bn_relu, dropout, initialise
from cristae.models.form import PlanarConfig, Reference, crop_near, pad_far

STRIDE = (32, 32)
WIDTHS = (1, 2, 4, 8, 8)
"""Feature channels of the five blocks of VGG16, in units of `base`."""
CONVOLUTIONS = (2, 2, 3, 3, 3)
CLASSIFIER_WIDTH = 64
"""Feature channels of the two layers that were fully connected in VGG16, in units of `base`."""
DROPOUT = 0.5


class FCN8sConfig(PlanarConfig):
    """FCN-8s, a 2D network that adds up scores from three depths of a VGG16 encoder (Long et al. 2015)."""

    reference: ClassVar[Reference] = Reference("Long, Shelhamer, Darrell", 2015, "https://arxiv.org/abs/1411.4038")
    name: Literal["fcn8s"] = "fcn8s"
    base: PositiveInt = 16
    """Feature channels of the first block, which all widths are multiples of; the original has 64."""
    batch_norm: bool = False
    """Whether batch normalisation follows the convolutions of the encoder; the original has none."""
    spatial_dropout: bool = False
    """Whether training drops half of the feature maps of the two layers behind the encoder and not, as published, half
    of their values."""

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides are halved five times."""
        return STRIDE

    @property
    def window(self) -> tuple[int, ...]:
        """The patches of Zhang et al."""
        return (512, 512)

    def build(self, in_channels: int, out_channels: int) -> FCN8s:
        """A network with fresh weights, (B, in_channels, Y, X) to (B, out_channels, Y, X)."""
        return FCN8s(in_channels, out_channels, self)


class FCN8s(nn.Module):
    """Map an image (B, C, Y, X) to logits (B, K, Y, X), for any size."""

    def __init__(self, in_channels: int, out_channels: int, config: FCN8sConfig) -> None:
        super().__init__()
        self.in_channels = in_channels
        widths = [multiple * config.base for multiple in WIDTHS]
        steps = zip(pairwise((in_channels, *widths)), CONVOLUTIONS, strict=True)
        self.encoder = nn.ModuleList(
            _block(before, width, convolutions, batch_norm=config.batch_norm) for (before, width), convolutions in steps
        )
        self.pool = nn.MaxPool2d(2)
        wide = CLASSIFIER_WIDTH * config.base
        self.classifier = nn.Sequential(
            nn.Conv2d(widths[-1], wide, 7, padding=3),
            nn.ReLU(inplace=True),
            dropout(DROPOUT, spatial=config.spatial_dropout),
            nn.Conv2d(wide, wide, 1),
            nn.ReLU(inplace=True),
            dropout(DROPOUT, spatial=config.spatial_dropout),
        )
        self.score_fc7 = nn.Conv2d(wide, out_channels, 1)
        self.score_pool4 = nn.Conv2d(widths[3], out_channels, 1)
        self.score_pool3 = nn.Conv2d(widths[2], out_channels, 1)
        self.up_fc7 = _enlargement(out_channels, 2)
        self.up_pool4 = _enlargement(out_channels, 2)
        self.up_pool3 = _enlargement(out_channels, 8)
        initialise(self)
        for up in (self.up_fc7, self.up_pool4, self.up_pool3):
            _start_bilinear(up)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, Y, X) of an image (B, C, Y, X)."""
        features = pad_far(image, in_channels=self.in_channels, multiple=STRIDE)
        pooled: list[Tensor] = []
        for block in self.encoder:
            features = self.pool(block(features))
            pooled.append(features)
        logits = self.up_fc7(self.score_fc7(self.classifier(features)))
        logits = self.up_pool4(logits + self.score_pool4(pooled[3]))
        logits = self.up_pool3(logits + self.score_pool3(pooled[2]))
        return crop_near(logits, image.shape[2:])


def _block(in_channels: int, width: int, convolutions: int, *, batch_norm: bool) -> nn.Sequential:
    """3x3 convolutions with ReLU, all `width` wide."""
    layers: list[nn.Module] = []
    for before in (in_channels, *[width] * (convolutions - 1)):
        if batch_norm:
            layers.append(conv_bn_relu(before, width))
        else:
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _enlargement(channels: int, factor: int) -> nn.ConvTranspose2d:
    """A transposed convolution that multiplies the sides by `factor`, an even number."""
    return nn.ConvTranspose2d(channels, channels, 2 * factor, stride=factor, padding=factor // 2, bias=False)


def _start_bilinear(up: nn.ConvTranspose2d) -> None:
    """Let each channel start as its own bilinear enlargement; training may change it."""
    factor = up.stride[0]
    taps = torch.arange(2 * factor, dtype=up.weight.dtype, device=up.weight.device)
    tent = 1 - (taps - (factor - 0.5)).abs() / factor
    with torch.no_grad():
        up.weight.zero_()
        for channel in range(up.in_channels):
            up.weight[channel, channel] = torch.outer(tent, tent)
