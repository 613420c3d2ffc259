"""DeepVess: convolutions without padding over a small volume, then fully connected layers that predict its core.

Haft-Javaherian et al. (2019), https://doi.org/10.1371/journal.pone.0213539
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from cristae.data.box import Triple
from cristae.models.form import Blend, NetworkConfig, Reference, require_image

CORE = (1, 5, 5)
"""The output patch of one pass, in voxels (z, y, x)."""
FLAT = 4 * 4
"""Voxels that are left for the fully connected layers."""


class DeepVessConfig(NetworkConfig):
    """DeepVess, a 3D network that gives 1 x 5 x 5 voxels for 7 x 33 x 33; slow on large volumes."""

    reference: ClassVar[Reference] = Reference(
        "Haft-Javaherian et al.", 2019, "https://doi.org/10.1371/journal.pone.0213539"
    )
    blend: ClassVar[Blend] = "tiles"
    published_logits: ClassVar[int] = 7
    name: Literal["deepvess"] = "deepvess"
    base: Annotated[int, Field(gt=0)] = 32
    """Feature channels of the 3D convolutions; the 2D ones after them have twice as many."""
    hidden: Annotated[int, Field(gt=0)] = 1024
    """Features between the two fully connected layers."""

    @property
    def ndim(self) -> int:
        """Volumes."""
        return 3

    @property
    def total_stride(self) -> tuple[int, ...]:
        """The next output patch begins where this one ends."""
        return CORE

    @property
    def margin(self) -> tuple[int, ...]:
        """An image of 7 x 33 x 33 around the output patch."""
        return (3, 14, 14)

    @property
    def fixed_output(self) -> bool:
        """Fully connected layers take one size."""
        return True

    @property
    def window(self) -> tuple[int, ...]:
        """The whole output patch."""
        return CORE

    def build(self, in_channels: int, out_channels: int) -> DeepVess:
        """A network with fresh weights, (B, in_channels, 7, 33, 33) to (B, out_channels, 1, 5, 5)."""
        return DeepVess(in_channels, out_channels, self)


class DeepVess(nn.Module):
    """Map an image (B, C, 7, 33, 33) to logits (B, K, 1, 5, 5) of its centre."""

    def __init__(self, in_channels: int, out_channels: int, config: DeepVessConfig) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.config = config
        base = config.base
        self.features = nn.Sequential(
            *valid_conv(in_channels, base, (3, 3, 3)),
            *valid_conv(base, base, (3, 3, 3)),
            *valid_conv(base, base, (3, 3, 3)),
            nn.MaxPool3d((1, 2, 2)),
            *valid_conv(base, 2 * base, (1, 3, 3)),
            *valid_conv(2 * base, 2 * base, (1, 3, 3)),
            nn.MaxPool3d((1, 2, 2)),
        )
        self.hidden = nn.Sequential(nn.Linear(2 * base * FLAT, config.hidden), nn.ReLU(inplace=True))
        self.head = nn.Linear(config.hidden, out_channels * CORE[1] * CORE[2])
        for name, values in self.named_parameters():
            (nn.init.zeros_ if name.endswith("bias") else nn.init.xavier_uniform_)(values)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, 1, 5, 5) of an image (B, C, 7, 33, 33)."""
        require_image(image, in_channels=self.in_channels, ndim=3)
        self.config.output_size(image.shape[2:])
        logits: Tensor = self.head(self.hidden(self.features(image).flatten(1)))
        return logits.reshape(len(image), -1, *CORE)


def valid_conv(in_channels: int, out_channels: int, kernel: Triple) -> tuple[nn.Conv3d, nn.ReLU]:
    """A convolution without padding, and ReLU."""
    return nn.Conv3d(in_channels, out_channels, kernel), nn.ReLU(inplace=True)
