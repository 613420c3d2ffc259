"""3D U-Net in its two forms for anisotropic volumes: Thin sees few slices, Thick sees many.

Çiçek et al. (2016), https://arxiv.org/abs/1606.06650
As the baselines of Guay et al. (2021), https://doi.org/10.1038/s41598-021-81590-0: three scales, three convolutions in
each block, no normalisation. That paper gives Thin two poolings and logits of 296 for an image of 300, which two
poolings do not yield; here the logits are cropped by 2 on each side. Its widths are not stated either.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from cristae.data.box import Triple
from cristae.models.blocks import crop_centre, initialise
from cristae.models.form import Blend, NetworkConfig, Reference, crop_near, pad_far, require_image


class UNet3DConfig(NetworkConfig):
    """3D U-Net, Thin (poolings leave the slices alone) or Thick (poolings in all three axes)."""

    reference: ClassVar[Reference] = Reference("Guay et al.", 2021, "https://doi.org/10.1038/s41598-021-81590-0")
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {"": {}, "thick": {"shape": "thick"}}
    blend: ClassVar[Blend] = "farthest"
    published_logits: ClassVar[int] = 7
    name: Literal["unet_3d"] = "unet_3d"
    shape: Literal["thin", "thick"] = "thin"
    """thin: poolings 1 x 2 x 2, for 5 slices or so. thick: poolings 2 x 2 x 2, for 16 or more."""
    base: Annotated[int, Field(gt=0)] = 64
    """Feature channels of the finest scale; they double at each coarser one."""
    depth: Literal[3, 4] = 3
    """Scales. Four are the other reading of the paper's Thin: three poolings yield 296 for 300 by themselves."""
    padded: bool = False
    """Whether the output of Thin is as large as the image, as that of Thick, not 2 pixels smaller on each side."""

    @field_validator("padded")
    @classmethod
    def _only_thin(cls, padded: bool, info: ValidationInfo) -> bool:
        if padded and info.data.get("shape") == "thick":
            raise ValueError("must be false with `shape: thick`, whose output is as large as the image anyway")
        return padded

    @property
    def ndim(self) -> int:
        """Volumes."""
        return 3

    @property
    def pooling(self) -> Triple:
        """Factor (z, y, x) between two scales."""
        return (1, 2, 2) if self.shape == "thin" else (2, 2, 2)

    @property
    def total_stride(self) -> tuple[int, ...]:
        """One factor of the pooling between two scales."""
        return tuple(int(factor ** (self.depth - 1)) for factor in self.pooling)

    @property
    def margin(self) -> tuple[int, ...]:
        """Thin leaves out 2 pixels on each side unless it is padded."""
        return (0, 2, 2) if self.shape == "thin" and not self.padded else (0, 0, 0)

    @property
    def window(self) -> tuple[int, ...]:
        """The paper's outputs."""
        return (5, 296, 296) if self.shape == "thin" else (16, 180, 180)

    @property
    def widths(self) -> tuple[int, ...]:
        """Feature channels of all scales, finest first."""
        return tuple(self.base << level for level in range(self.depth))

    def build(self, in_channels: int, out_channels: int) -> UNet3D:
        """A network with fresh weights, (B, in_channels, *S) to (B, out_channels, *T)."""
        return UNet3D(in_channels, out_channels, self)


class UNet3D(nn.Module):
    """Map an image (B, C, Z, Y, X) to logits (B, K, *T), T = `config.output_size(S)`."""

    def __init__(self, in_channels: int, out_channels: int, config: UNet3DConfig) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.config = config
        factor = config.pooling
        self.pool = nn.MaxPool3d(factor)
        self.encoder = nn.ModuleList(three_convs(a, b) for a, b in pairwise((in_channels, *config.widths)))
        upwards = list(pairwise(reversed(config.widths)))
        self.ups = nn.ModuleList(nn.ConvTranspose3d(below, width, factor, stride=factor) for below, width in upwards)
        self.decoder = nn.ModuleList(three_convs(2 * width, width) for _, width in upwards)
        self.head = nn.Conv3d(config.base, out_channels, 1)
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, *T) of an image (B, C, *S)."""
        if any(self.config.margin):
            require_image(image, in_channels=self.in_channels, ndim=3)
            size = self.config.output_size(image.shape[2:])
            return crop_centre(self._logits(image), size)
        padded = pad_far(image, in_channels=self.in_channels, multiple=self.config.total_stride)
        return crop_near(self._logits(padded), image.shape[2:])

    def _logits(self, features: Tensor) -> Tensor:
        """Logits of the size of the image, or less where halving rounds down."""
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            features = block(self.pool(features) if level else features)
            skips.append(features)
        skips.pop()
        for up, block in zip(self.ups, self.decoder, strict=True):
            enlarged = up(features)
            features = block(torch.cat([crop_centre(skips.pop(), enlarged.shape[2:]), enlarged], dim=1))
        logits: Tensor = self.head(features)
        return logits


def three_convs(in_channels: int, out_channels: int) -> nn.Sequential:
    """Three zero-padded 3x3x3 convolutions, each with ReLU."""
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels, out_channels):
        layers += [nn.Conv3d(channels, out_channels, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
