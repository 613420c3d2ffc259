"""U-Net for several classes in FIB-SEM, normalised after every activation.

Meyer et al. (2021), IEEE International Symposium on Biomedical Imaging, https://github.com/Cyril-Meyer/NeNISt
Differs from Ronneberger, Fischer, Brox (2015), https://arxiv.org/abs/1505.04597: zero-padded convolutions, batch
normalisation behind each ReLU, dropout at the bottom. The paper says "after each convolution"; the code decides.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt, ValidationInfo, field_validator
from torch import Tensor, nn

from cristae.models.blocks import batch_norm, dropout, initialise, truncated_normal_
from cristae.models.form import Blend, PlanarConfig, Reference, crop_near, pad_far


class UNetFIBSEMConfig(PlanarConfig):
    """U-Net with normalisation after the activation, a wide 2D network for FIB-SEM (Meyer et al. 2021)."""

    reference: ClassVar[Reference] = Reference("Meyer et al.", 2021, "https://github.com/Cyril-Meyer/NeNISt")
    blend: ClassVar[Blend] = "centre_third"
    published_logits: ClassVar[int] = 4
    name: Literal["unet_fibsem"] = "unet_fibsem"
    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=2, max_length=8)] = (64, 128, 256, 512, 1024)
    """Feature channels at each level, finest first; each further level halves the sides."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Fraction of the coarsest features that training sets to 0."""
    spatial_dropout: bool = False
    """Whether these are whole feature maps and not, as published, single values."""

    @field_validator("spatial_dropout")
    @classmethod
    def _only_with_dropout(cls, spatial: bool, info: ValidationInfo) -> bool:
        if spatial and info.data.get("dropout") == 0:
            raise ValueError("has no effect with `dropout: 0`; give `dropout` a fraction above 0")
        return spatial

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides are halved once between two levels."""
        return (1 << (len(self.widths) - 1),) * 2

    def build(self, in_channels: int, out_channels: int) -> UNetFIBSEM:
        """A network with fresh weights, (B, in_channels, Y, X) to (B, out_channels, Y, X)."""
        return UNetFIBSEM(in_channels, out_channels, self)


class UNetFIBSEM(nn.Module):
    """Map an image (B, C, Y, X) to logits (B, K, Y, X), for any size."""

    def __init__(self, in_channels: int, out_channels: int, config: UNetFIBSEMConfig) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.total_stride = config.total_stride
        self.pool = nn.MaxPool2d(2)
        self.encoder = nn.ModuleList(conv_relu_bn_pair(a, b) for a, b in pairwise((in_channels, *config.widths)))
        self.drop = dropout(config.dropout, spatial=config.spatial_dropout)
        upwards = list(pairwise(reversed(config.widths)))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(below, width, 2, stride=2) for below, width in upwards)
        self.decoder = nn.ModuleList(conv_relu_bn_pair(2 * width, width) for _, width in upwards)
        self.head = nn.Conv2d(config.widths[0], out_channels, 1)
        initialise(self)
        for kernel in (m.weight for m in self.modules() if isinstance(m, nn.Conv2d) and m is not self.head):
            truncated_normal_(kernel, variance=2 / kernel[0].numel())

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, Y, X) of an image (B, C, Y, X)."""
        features = pad_far(image, in_channels=self.in_channels, multiple=self.total_stride)
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            features = block(self.pool(features) if level else features)
            skips.append(features)
        features = self.drop(skips.pop())
        for up, block in zip(self.ups, self.decoder, strict=True):
            features = block(torch.cat([skips.pop(), up(features)], dim=1))
        return crop_near(self.head(features), image.shape[2:])


def conv_relu_bn_pair(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two zero-padded 3x3 convolutions, each followed by ReLU and then batch normalisation."""
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers += [
            nn.Conv2d(channels, out_channels, 3, padding=1),
            nn.ReLU(inplace=True),
            batch_norm(out_channels),
        ]
    return nn.Sequential(*layers)
