"""2D-3D + 3x3x3: a 2D U-Net over few slices with some 3D convolutions, and a 3D pyramid that refines its output.

Guay et al. (2021), https://doi.org/10.1038/s41598-021-81590-0
Defaults follow the paper's text, and the authors' released graph (https://github.com/leapmanlab/examples) where the
text is silent; the fields are the other readings and the paper's ablations. An image of 300 x 300 gives logits of
296 x 296 because halving rounds down; the coarsest features then lag by 2 pixels behind the finest, as published.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from cristae.data.box import Triple
from cristae.data.classes import Classes
from cristae.errors import NetworkError
from cristae.models.blocks import crop_centre, initialise
from cristae.models.form import Blend, NetworkConfig, Reference, crop_near, pad_far, require_image

LEVELS = 4
"""Scales of the 2D part; between two of them y and x are halved."""
VOLUMETRIC_LEVELS = 2
"""How many of the finest begin with a 3x3x3 convolution."""
STRIDE = (1, 8, 8)
HALF = (1, 2, 2)
PLANAR = (1, 3, 3)
VOLUMETRIC = (3, 3, 3)


class Hybrid2D3DConfig(NetworkConfig):
    """2D-3D + 3x3x3, for all the organelles of a dense cell in few thick slices (Guay et al. 2021)."""

    reference: ClassVar[Reference] = Reference("Guay et al.", 2021, "https://doi.org/10.1038/s41598-021-81590-0")
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "": {},
        "released": {"z_double_upsample": True, "relu_logits": True, "feed": "relu_logits"},
        "no_3x3x3": {"convs_3x3x3": False},
        "no_pyramid": {"pyramid": False},
    }
    blend: ClassVar[Blend] = "farthest"
    published_logits: ClassVar[int] = 7
    name: Literal["hybrid_2d3d"] = "hybrid_2d3d"
    base: Annotated[int, Field(gt=0, multiple_of=2)] = 64
    """Feature channels of the finest scale; they double at each of the three coarser ones."""
    convs_3x3x3: bool = True
    """Whether the two finest scales begin with a 3x3x3 convolution of half width instead of a 1x3x3 one."""
    pyramid: bool = True
    """Whether the 3D pyramid refines the 2D output; without it the 2D output is all there is, and the
    options `pyramid_convs`, `feed` and `z_double_upsample`, which are about the pyramid, do nothing."""
    pyramid_convs: tuple[PositiveInt, PositiveInt] = (3, 5)
    """3x3x3 convolutions of the pyramid at full and at half size."""
    feed: Literal["softmax", "sigmoid", "relu_logits"] = "softmax"
    """What the pyramid gets of the 2D output. softmax: probabilities, for a single logit its sigmoid; sigmoid:
    probabilities of overlapping classes; relu_logits: the logits after ReLU."""
    relu_logits: bool = False
    """Whether both outputs end with ReLU. Only for several classes that exclude each other: the probability of a single
    or an overlapping one would never be below one half."""
    z_double_upsample: bool = False
    """Whether the pyramid's coarse features are enlarged along z as well and cropped to their central slices."""
    symmetric_ups: bool = False
    """Whether every enlargement has the width of its scale, instead of that of the convolution that it feeds."""
    padded: bool = False
    """Whether the image is zero-padded at its far side so that the output is as large and nothing lags, instead of
    leaving out 2 pixels on each side."""

    @property
    def ndim(self) -> int:
        """Volumes."""
        return 3

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides along y and x are halved three times."""
        return STRIDE

    @property
    def margin(self) -> tuple[int, ...]:
        """What rounding down cuts off a side of 8 n + 4, half of it on each side."""
        return (0, 0, 0) if self.padded else (0, 2, 2)

    @property
    def window(self) -> tuple[int, ...]:
        """The paper's output."""
        return (5, 296, 296)

    @property
    def auxiliary_weights(self) -> tuple[float, ...]:
        """The 3D output, and the auxiliary 2D one with the paper's factor, which stays where it is alone."""
        return (1.0, 0.33) if self.pyramid else (0.33,)

    def check_classes(self, classes: Classes) -> None:
        """What ends with ReLU, and what goes through a softmax, stands for classes of which exactly one applies.

        Raises:
            NetworkError: It does and they are others.
        """
        if self.relu_logits and not classes.softmax:
            raise NetworkError(
                "hybrid_2d3d with relu_logits: true can only separate several classes that exclude each other, "
                "because its logits are never negative: no other class would ever be absent; set model.relu_logits: "
                "false"
            )
        if self.pyramid and self.feed == "softmax" and not classes.softmax and classes.n_logits > 1:
            raise NetworkError(
                "hybrid_2d3d with feed: softmax would show its pyramid a softmax over classes that overlap; set "
                "model.feed: sigmoid"
            )

    def build(self, in_channels: int, out_channels: int) -> Hybrid2D3D:
        """A network with fresh weights, (B, in_channels, *S) to (B, out_channels, *T)."""
        return Hybrid2D3D(in_channels, out_channels, self)


class Hybrid2D3D(nn.Module):
    """Map an image (B, C, Z, Y, X) to logits (B, K, *T), T = `config.output_size(S)`.

    While training it gives the 3D logits and the 2D ones, without a pyramid only the latter.
    """

    def __init__(self, in_channels: int, out_channels: int, config: Hybrid2D3DConfig) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.config = config
        self.pool = nn.MaxPool3d(HALF)
        widths = [config.base << level for level in range(LEVELS)]
        self.encoder = nn.ModuleList(
            scale_block(channels, level, config) for level, channels in enumerate([in_channels, *widths[:-1]])
        )
        self.ups, self.decoder = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(LEVELS - 1)):
            up_width = widths[level] if config.symmetric_ups else first_width(level, config.base)
            self.ups.append(nn.ConvTranspose3d(widths[level + 1], up_width, HALF, stride=HALF))
            self.decoder.append(scale_block(widths[level] + up_width, level, config))
        self.head_2d = nn.Conv3d(config.base, out_channels, 1)
        self.pyramid: Pyramid | None = None
        if config.pyramid:
            self.pyramid = Pyramid(config.base + out_channels, config)
            self.head_3d = nn.Conv3d(config.base, out_channels, 1)
        initialise(self)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Logits (B, K, *T) of an image (B, C, *S), while training those of all outputs."""
        require_image(image, in_channels=self.in_channels, ndim=3)
        size = torch.Size(self.config.output_size(image.shape[2:]))
        if self.config.padded:
            image = pad_far(image, in_channels=self.in_channels, multiple=STRIDE)
        features = self._features(image)
        outputs = [self._logits(self.head_2d, features)]
        if self.pyramid is not None:
            revised = self.pyramid(torch.cat([features, self._feed(outputs[0])], dim=1))
            outputs.insert(0, self._logits(self.head_3d, revised))
        return tuple(crop_near(logits, size) for logits in outputs) if self.training else crop_near(outputs[0], size)

    def parameter_parts(self) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
        """Parameters of the 2D part, of the 3D pyramid and of the layers that give logits."""
        planar = [*self.encoder.parameters(), *self.ups.parameters(), *self.decoder.parameters()]
        if self.pyramid is None:
            return planar, [], list(self.head_2d.parameters())
        predictors = [*self.head_2d.parameters(), *self.head_3d.parameters()]
        return planar, list(self.pyramid.parameters()), predictors

    def _features(self, features: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            features = block(self.pool(features) if level else features)
            skips.append(features)
        skips.pop()
        for up, block in zip(self.ups, self.decoder, strict=True):
            enlarged = up(features)
            features = block(torch.cat([crop_centre(skips.pop(), enlarged.shape[2:]), enlarged], dim=1))
        return features

    def _logits(self, head: nn.Module, features: Tensor) -> Tensor:
        logits: Tensor = head(features)
        return logits.relu() if self.config.relu_logits else logits

    def _feed(self, logits: Tensor) -> Tensor:
        if self.config.feed == "relu_logits":
            return logits.relu()
        return logits.sigmoid() if self.config.feed == "sigmoid" or logits.shape[1] == 1 else logits.softmax(dim=1)


class Pyramid(nn.Module):
    """3D convolutions at full size, plus more of them at half size along y and x."""

    def __init__(self, in_channels: int, config: Hybrid2D3DConfig) -> None:
        super().__init__()
        base, (at_full, at_half) = config.base, config.pyramid_convs
        factor = (2, 2, 2) if config.z_double_upsample else HALF
        self.fine = nn.Sequential(*volumetric_convs(in_channels, base, at_full))
        self.coarse = nn.Sequential(
            nn.MaxPool3d(HALF), *volumetric_convs(in_channels, 2 * base, at_half), conv_relu(2 * base, base, (1, 1, 1))
        )
        self.up = nn.ConvTranspose3d(base, base, factor, stride=factor)

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, base, *S) of features (B, C, *S); sides along y and x are even."""
        fine: Tensor = self.fine(features)
        return fine + crop_centre(self.up(self.coarse(features)), fine.shape[2:])


def first_width(level: int, base: int) -> int:
    """Channels that the first convolution of a scale gives: half its width at the scales that may begin with 3D."""
    return (base << level) // (2 if level < VOLUMETRIC_LEVELS else 1)


def scale_block(in_channels: int, level: int, config: Hybrid2D3DConfig) -> nn.Sequential:
    """Two convolutions within the slices, at the two finest scales after one that may see the neighbouring slices."""
    width, first = config.base << level, first_width(level, config.base)
    convs = [conv_relu(width, width, PLANAR)]
    if level < VOLUMETRIC_LEVELS:
        kernel = VOLUMETRIC if config.convs_3x3x3 else PLANAR
        return nn.Sequential(conv_relu(in_channels, first, kernel), conv_relu(first, width, PLANAR), *convs)
    return nn.Sequential(conv_relu(in_channels, width, PLANAR), *convs)


def volumetric_convs(in_channels: int, width: int, count: int) -> list[nn.Sequential]:
    """Several 3x3x3 convolutions of one width."""
    return [conv_relu(in_channels if n == 0 else width, width, VOLUMETRIC) for n in range(count)]


def conv_relu(in_channels: int, out_channels: int, kernel: Triple) -> nn.Sequential:
    """Zero-padded convolution, ReLU."""
    return nn.Sequential(nn.Conv3d(in_channels, out_channels, kernel, padding="same"), nn.ReLU(inplace=True))
