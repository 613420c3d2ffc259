"""U-Net with convolutions as they were published: not padded, and skips cropped to their centre.

Ronneberger, Fischer, Brox (2015), https://arxiv.org/abs/1505.04597
As the baseline of Guay et al. (2021), https://doi.org/10.1038/s41598-021-81590-0: no dropout, Glorot kernels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cristae.models.blocks import crop_centre, initialise
from cristae.models.form import Blend, PlanarConfig, Reference, require_image


class UNetValidConfig(PlanarConfig):
    """U-Net without padding, a 2D network that gives 388 x 388 pixels for 572 x 572 (Guay et al. 2021).

    The original is that of Ronneberger, Fischer, Brox (2015), https://arxiv.org/abs/1505.04597, which has dropout and
    other initial weights.
    """

    reference: ClassVar[Reference] = Reference("Guay et al.", 2021, "https://doi.org/10.1038/s41598-021-81590-0")
    blend: ClassVar[Blend] = "tiles"
    published_logits: ClassVar[int] = 7
    name: Literal["unet_valid"] = "unet_valid"
    base: Annotated[int, Field(gt=0)] = 64
    """Feature channels of the first level; they double at each further level."""
    depth: Annotated[int, Field(ge=2, le=7)] = 5
    """Levels; each further one halves the sides."""

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides are halved once between two levels."""
        return (1 << (self.depth - 1),) * 2

    @property
    def margin(self) -> tuple[int, ...]:
        """Pixels on each side that go to the convolutions; 92 for five levels."""
        return tuple(6 * stride - 4 for stride in self.total_stride)

    @property
    def smallest_output(self) -> tuple[int, ...]:
        """What is left of 4 pixels at the coarsest level: two convolutions per level take back what doubling gives."""
        return (4, 4)

    @property
    def window(self) -> tuple[int, ...]:
        """The paper's output."""
        return self.good_output((388, 388))

    @property
    def widths(self) -> tuple[int, ...]:
        """Feature channels of all levels, finest first."""
        return tuple(self.base << level for level in range(self.depth))

    def build(self, in_channels: int, out_channels: int) -> UNetValid:
        """A network with fresh weights, from an image to (B, out_channels, Y, X).

        The image has the shape (B, in_channels, Y + 2 * margin, X + 2 * margin).
        """
        return UNetValid(in_channels, out_channels, self)


class UNetValid(nn.Module):
    """Map an image (B, C, *S) to logits (B, K, *T) of its centre, T = `config.output_size(S)`."""

    def __init__(self, in_channels: int, out_channels: int, config: UNetValidConfig) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.config = config
        self.pool = nn.MaxPool2d(2)
        self.encoder = nn.ModuleList(valid_pair(a, b) for a, b in pairwise((in_channels, *config.widths)))
        upwards = list(pairwise(reversed(config.widths)))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(below, width, 2, stride=2) for below, width in upwards)
        self.decoder = nn.ModuleList(valid_pair(2 * width, width) for _, width in upwards)
        self.head = nn.Conv2d(config.base, out_channels, 1)
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, *T) of an image (B, C, *S)."""
        require_image(image, in_channels=self.in_channels, ndim=2)
        self.config.output_size(image.shape[2:])
        features = image
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


def valid_pair(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two 3x3 convolutions without padding, each with ReLU; sides shrink by 4."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels, out_channels, 3),
        nn.ReLU(inplace=True),
    )
