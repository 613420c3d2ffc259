"""A later variant of 2D-3D + 3x3x3 by its authors: instance normalisation, and convolutions that are applied again.

Guay et al. (2021), https://doi.org/10.1038/s41598-021-81590-0
The variant: https://github.com/leapmanlab/isbi2021. It pads, so nothing is cropped and nothing lags.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cristae.data.classes import Classes
from cristae.errors import NetworkError
from cristae.models.blocks import initialise
from cristae.models.form import Blend, NetworkConfig, Reference, crop_near, pad_far

LEVELS = 4
"""Scales of the 2D part; between two of them y and x are halved."""
VOLUMETRIC_LEVELS = 2
"""How many of the finest begin with a 3x3x3 convolution."""
STRIDE = (1, 8, 8)
HALF = (1, 2, 2)
REPEATS_FULL, REPEATS_HALF = 2, 6
"""Convolutions of the pyramid's branches after their first."""


class Hybrid2D3DPortConfig(NetworkConfig):
    """2D-3D + 3x3x3 with instance normalisation and shared weights, by the authors of Guay et al. (2021)."""

    reference: ClassVar[Reference] = Reference("Guay et al.", 2021, "https://github.com/leapmanlab/isbi2021")
    blend: ClassVar[Blend] = "farthest"
    published_logits: ClassVar[int] = 7
    name: Literal["hybrid_2d3d_port"] = "hybrid_2d3d_port"
    base: Annotated[int, Field(gt=0, multiple_of=2)] = 64
    """Feature channels of the finest scale; they double at each of the three coarser ones."""
    shared: bool = True
    """Whether each branch of the pyramid applies one convolution again and again, instead of several in a row."""

    @property
    def ndim(self) -> int:
        """Volumes."""
        return 3

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides along y and x are halved three times."""
        return STRIDE

    @property
    def window(self) -> tuple[int, ...]:
        """As in the paper."""
        return (5, 296, 296)

    @property
    def auxiliary_weights(self) -> tuple[float, ...]:
        """The 3D output, and the auxiliary 2D one with the paper's factor."""
        return (1.0, 0.33)

    def check_classes(self, classes: Classes) -> None:
        """The pyramid sees a softmax of the 2D output, which stands for classes of which exactly one applies.

        Raises:
            NetworkError: There are several overlapping classes.
        """
        if not classes.softmax and classes.n_logits > 1:
            raise NetworkError(
                "hybrid_2d3d_port shows its pyramid a softmax over all classes, and these overlap; use hybrid_2d3d "
                "with feed: sigmoid"
            )

    def build(self, in_channels: int, out_channels: int) -> Hybrid2D3DPort:
        """A network with fresh weights, (B, in_channels, Z, Y, X) to (B, out_channels, Z, Y, X)."""
        return Hybrid2D3DPort(in_channels, out_channels, self)


class Hybrid2D3DPort(nn.Module):
    """Map an image (B, C, Z, Y, X) to logits (B, K, Z, Y, X), for any size; while training to 3D and 2D ones."""

    def __init__(self, in_channels: int, out_channels: int, config: Hybrid2D3DPortConfig) -> None:
        super().__init__()
        self.in_channels = in_channels
        base = config.base
        widths = [base << level for level in range(LEVELS)]
        self.stem = nn.Conv3d(in_channels, base // 2, 3, padding=1)
        self.pool = nn.MaxPool3d(HALF)
        self.encoder = nn.ModuleList(
            scale_block(channels, width, volumetric=level < VOLUMETRIC_LEVELS)
            for level, (channels, width) in enumerate(zip([base // 2, *widths], widths, strict=False))
        )
        self.ups, self.decoder = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(LEVELS - 1)):
            below, width = widths[level + 1], widths[level]
            self.ups.append(nn.ConvTranspose3d(below, width, HALF, stride=HALF, bias=False))
            self.decoder.append(scale_block(2 * width, width, volumetric=level < VOLUMETRIC_LEVELS))
        self.head_2d = nn.Conv3d(base, out_channels, 1)
        self.pyramid = Pyramid(base + out_channels, base, shared=config.shared)
        self.head_3d = nn.Conv3d(base, out_channels, 1)
        initialise(self)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Logits (B, K, Z, Y, X) of an image (B, C, Z, Y, X), while training those of both outputs."""
        features = self._features(self.stem(pad_far(image, in_channels=self.in_channels, multiple=STRIDE)))
        planar = self.head_2d(features)
        fed = planar.relu()
        fed = fed.softmax(dim=1) if fed.shape[1] > 1 else fed.sigmoid()
        logits = crop_near(self.head_3d(self.pyramid(torch.cat([features, fed], dim=1))), image.shape[2:])
        return (logits, crop_near(planar, image.shape[2:])) if self.training else logits

    def parameter_parts(self) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
        """Parameters of the 2D part, of the 3D pyramid and of the layers that give logits."""
        planar = nn.ModuleList([self.stem, self.encoder, self.ups, self.decoder])
        predictors = [*self.head_2d.parameters(), *self.head_3d.parameters()]
        return list(planar.parameters()), list(self.pyramid.parameters()), predictors

    def _features(self, features: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            features = block(self.pool(features) if level else features)
            skips.append(features)
        skips.pop()
        for up, block in zip(self.ups, self.decoder, strict=True):
            features = block(torch.cat([up(features), skips.pop()], dim=1))
        return features


class Pyramid(nn.Module):
    """A branch of 3D convolutions at full size, plus a longer one at half size along y and x."""

    def __init__(self, in_channels: int, base: int, *, shared: bool) -> None:
        super().__init__()
        self.fine = Branch(in_channels, base, REPEATS_FULL, shared=shared)
        self.coarse = nn.Sequential(
            nn.MaxPool3d(HALF),
            Branch(in_channels, 2 * base, REPEATS_HALF, shared=shared),
            nn.Conv3d(2 * base, base, 1),
            InstanceNorm(base),
            nn.ReLU(inplace=True),
        )
        self.up = nn.ConvTranspose3d(base, base, HALF, stride=HALF, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, base, *S) of features (B, C, *S); sides along y and x are even."""
        both: Tensor = self.fine(features) + self.up(self.coarse(features))
        return both


class Branch(nn.Module):
    """3x3x3 convolutions, each with ReLU; before the last ReLU the features are normalised."""

    def __init__(self, in_channels: int, width: int, repeats: int, *, shared: bool) -> None:
        super().__init__()
        self.repeats = repeats
        self.first = nn.Conv3d(in_channels, width, 3, padding=1)
        self.others = nn.ModuleList(nn.Conv3d(width, width, 3, padding=1) for _ in range(1 if shared else repeats))
        self.norm = InstanceNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, width, *S) of features (B, C, *S)."""
        features = self.first(features)
        for number in range(self.repeats):
            features = self.others[number % len(self.others)](features.relu())
        normal: Tensor = self.norm(features)
        return normal.relu()


class InstanceNorm(nn.InstanceNorm3d):
    """Each channel of each sample gets mean 0 and variance 1; also that of a single voxel, which becomes 0."""

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same size."""
        normal: Tensor = super().forward(features) if features[0, 0].numel() > 1 else torch.zeros_like(features)
        return normal


def scale_block(in_channels: int, width: int, *, volumetric: bool) -> nn.Sequential:
    """Two 1x3x3 convolutions, after a 3x3x3 one of half width where it is `volumetric`; normalised at the end alone."""
    layers: list[nn.Module] = []
    if volumetric:
        layers += [nn.Conv3d(in_channels, width // 2, 3, padding=1), nn.ReLU(inplace=True)]
        in_channels = width // 2
    layers += [
        nn.Conv3d(in_channels, width, (1, 3, 3), padding=(0, 1, 1)),
        nn.ReLU(inplace=True),
        nn.Conv3d(width, width, (1, 3, 3), padding=(0, 1, 1)),
        InstanceNorm(width),
        nn.ReLU(inplace=True),
    ]
    return nn.Sequential(*layers)
