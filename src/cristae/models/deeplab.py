"""DeepLabv3+ with two residual encoders, as the 2D baselines of dense cellular segmentation.

Chen et al. (2018), https://arxiv.org/abs/1802.02611, as used by
Guay et al. (2021), https://doi.org/10.1038/s41598-021-81590-0
The encoders are the dilated residual network DRN-D-54 (Yu, Koltun, Funkhouser 2017, https://arxiv.org/abs/1705.09914)
and ResNet101 (He et al. 2016, https://arxiv.org/abs/1512.03385). Differs from them: weights start Glorot-uniform, not
from photographs, and decoder and pyramid have plain convolutions. Batch normalisation has PyTorch's constants.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from cristae.models.blocks import dropout, initialise
from cristae.models.form import Blend, PlanarConfig, Reference, crop_near, pad_far

STRIDE = (4, 4)
"""Sides become multiples of the low-level map's stride and not of the encoder's (8 or 16): strided convolutions round
up, and features are enlarged to the size of the low-level map. 572 voxels thus give maps of 143, 72 and 36."""
EXPANSION = 4
"""A bottleneck gives this many times the channels that it works with inside."""
DRN_RATES = (12, 24, 36)
RESNET_RATES = (6, 12, 18)


class DeepLabConfig(PlanarConfig):
    """What both have in common."""

    reference: ClassVar[Reference] = Reference("Guay et al.", 2021, "https://doi.org/10.1038/s41598-021-81590-0")
    blend: ClassVar[Blend] = "farthest"
    published_logits: ClassVar[int] = 7
    smallest_batch: ClassVar[int] = 2
    base: Annotated[int, Field(gt=0, multiple_of=4)] = 64
    """Feature channels inside the first residual blocks, which all widths are multiples or fractions of; 64 as
    published."""
    spatial_dropout: bool = False
    """Whether training drops whole feature maps behind the pyramid and between the last convolutions and not, as
    published, single values."""

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides become multiples of 4; coarser maps are rounded up. As the network sees the whole image, its output
        repeats with no shift; where windows start does not matter to it."""
        return STRIDE

    @property
    def window(self) -> tuple[int, ...]:
        """The patches of Guay et al."""
        return (572, 572)

    @abstractmethod
    def encoder(self, in_channels: int) -> Encoder:
        """The encoder with fresh weights."""

    @property
    @abstractmethod
    def rates(self) -> tuple[int, ...]:
        """Dilations of the pyramid."""

    def build(self, in_channels: int, out_channels: int) -> DeepLab:
        """A network with fresh weights, (B, in_channels, Y, X) to (B, out_channels, Y, X)."""
        return DeepLab(in_channels, out_channels, self)


class DeepLabDRNConfig(DeepLabConfig):
    """DeepLabv3+ with the encoder DRN-D-54, whose maps are an eighth of the size (Guay et al. 2021).

    The original is that of Chen et al. (2018), https://arxiv.org/abs/1802.02611.
    """

    name: Literal["deeplab_drn"] = "deeplab_drn"

    def encoder(self, in_channels: int) -> Encoder:
        """DRN-D-54."""
        return drn_d_54(in_channels, self.base)

    @property
    def rates(self) -> tuple[int, ...]:
        """Twice those of a sixteenth, for the same reach."""
        return DRN_RATES


class DeepLabResNetConfig(DeepLabConfig):
    """DeepLabv3+ with the encoder ResNet101, whose maps are a sixteenth of the size (Guay et al. 2021).

    The original is that of Chen et al. (2018), https://arxiv.org/abs/1802.02611.
    """

    name: Literal["deeplab_resnet"] = "deeplab_resnet"

    def encoder(self, in_channels: int) -> Encoder:
        """ResNet101 with a dilated last stage."""
        return resnet_101(in_channels, self.base)

    @property
    def rates(self) -> tuple[int, ...]:
        """Those of the paper for a sixteenth."""
        return RESNET_RATES


class DeepLab(nn.Module):
    """Map an image (B, C, Y, X) to logits (B, K, Y, X), for any size. Training needs at least two items in a batch.

    An image of one channel is given to the encoder three times, as if it were in colour; others are given as they are.
    """

    def __init__(self, in_channels: int, out_channels: int, config: DeepLabConfig) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.copies = 3 if in_channels == 1 else 1
        width = 4 * config.base
        self.encoder = config.encoder(self.copies * in_channels)
        self.pyramid = Pyramid(self.encoder.out_channels, width, config.rates, spatial_dropout=config.spatial_dropout)
        self.decoder = Decoder(self.encoder.low_channels, width, out_channels, spatial_dropout=config.spatial_dropout)
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, Y, X) of an image (B, C, Y, X)."""
        padded = pad_far(image, in_channels=self.in_channels, multiple=STRIDE)
        low, features = self.encoder(torch.cat([padded] * self.copies, dim=1))
        logits = self.decoder(self.pyramid(features), low)
        return crop_near(_enlarge(logits, padded), image.shape[2:])


class Encoder(nn.Module):
    """Layers up to the low-level features, and those behind them."""

    def __init__(self, near: nn.Sequential, far: nn.Sequential, *, low_channels: int, out_channels: int) -> None:
        super().__init__()
        self.near, self.far = near, far
        self.low_channels, self.out_channels = low_channels, out_channels

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Low-level features at a quarter of the size and the last ones."""
        low = self.near(image)
        return low, self.far(low)


def drn_d_54(in_channels: int, base: int) -> Encoder:
    """The dilated residual network with 54 layers, type D: 8 `base` channels at an eighth of the size."""
    stem = base // 4
    near = nn.Sequential(
        _conv(in_channels, stem, kernel=7),
        _conv(stem, stem),
        _conv(stem, 2 * stem, stride=2),
        _stage(2 * stem, base, [1] * 3, stride=2),
    )
    far = nn.Sequential(
        _stage(4 * base, 2 * base, [1] * 4, stride=2),
        _stage(8 * base, 4 * base, [2] * 6),
        _stage(16 * base, 8 * base, [4] * 3),
        _conv(32 * base, 8 * base, dilation=2),
        _conv(8 * base, 8 * base),
    )
    return Encoder(near, far, low_channels=4 * base, out_channels=8 * base)


def resnet_101(in_channels: int, base: int) -> Encoder:
    """The residual network with 101 layers and a dilated last stage: 32 `base` channels at a sixteenth of the size."""
    near = nn.Sequential(
        _conv(in_channels, base, kernel=7, stride=2),
        nn.MaxPool2d(3, stride=2, padding=1),
        _stage(base, base, [1] * 3),
    )
    far = nn.Sequential(
        _stage(4 * base, 2 * base, [1] * 4, stride=2),
        _stage(8 * base, 4 * base, [1] * 23, stride=2),
        _stage(16 * base, 8 * base, [2, 4, 8]),
    )
    return Encoder(near, far, low_channels=4 * base, out_channels=32 * base)


class Bottleneck(nn.Module):
    """Narrow, convolve, widen; the sum with the input passes the last ReLU."""

    def __init__(self, in_channels: int, width: int, *, stride: int, dilation: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            _conv(in_channels, width, kernel=1),
            _conv(width, width, stride=stride, dilation=dilation),
            *_linear(width, EXPANSION * width),
        )
        keeps = stride == 1 and in_channels == EXPANSION * width
        self.shortcut = nn.Identity() if keeps else _linear(in_channels, EXPANSION * width, stride=stride)

    def forward(self, features: Tensor) -> Tensor:
        """Features with four times `width` channels."""
        return F.relu(self.change(features) + self.shortcut(features))


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: one map seen at four scales and as a whole."""

    def __init__(self, in_channels: int, width: int, rates: Sequence[int], *, spatial_dropout: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList([_conv(in_channels, width, kernel=1)])
        self.branches.extend(_conv(in_channels, width, dilation=rate) for rate in rates)
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), _conv(in_channels, width, kernel=1))
        self.merge = _conv((len(rates) + 2) * width, width, kernel=1)
        self.dropout = dropout(0.5, spatial=spatial_dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same size."""
        whole = self.whole(features).expand(-1, -1, *features.shape[2:])
        merged = self.merge(torch.cat([*(branch(features) for branch in self.branches), whole], dim=1))
        dropped: Tensor = self.dropout(merged)
        return dropped


class Decoder(nn.Module):
    """Join the pyramid's features with narrowed low-level ones, and give logits."""

    def __init__(self, low_channels: int, width: int, out_channels: int, *, spatial_dropout: bool) -> None:
        super().__init__()
        narrow = 3 * width // 16
        self.low_level = _conv(low_channels, narrow, kernel=1)
        self.head = nn.Sequential(
            _conv(width + narrow, width),
            dropout(0.5, spatial=spatial_dropout),
            _conv(width, width),
            dropout(0.1, spatial=spatial_dropout),
            nn.Conv2d(width, out_channels, 1),
        )

    def forward(self, features: Tensor, low: Tensor) -> Tensor:
        """Logits of the size of `low`."""
        logits: Tensor = self.head(torch.cat([_enlarge(features, low), self.low_level(low)], dim=1))
        return logits


def _stage(in_channels: int, width: int, dilations: Sequence[int], *, stride: int = 1) -> nn.Sequential:
    """One bottleneck for each dilation; the first one carries the stride."""
    wide = EXPANSION * width
    return nn.Sequential(
        Bottleneck(in_channels, width, stride=stride, dilation=dilations[0]),
        *(Bottleneck(wide, width, stride=1, dilation=dilation) for dilation in dilations[1:]),
    )


def _conv(in_channels: int, out_channels: int, *, kernel: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Zero-padded convolution without bias, batch normalisation, ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def _linear(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    """1x1 convolution without bias and batch normalisation."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


def _enlarge(features: Tensor, to: Tensor) -> Tensor:
    """Bilinear, with the corner voxels of both maps on each other."""
    return F.interpolate(features, to.shape[2:], mode="bilinear", align_corners=True)
