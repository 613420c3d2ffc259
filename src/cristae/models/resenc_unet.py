"""Residual-encoder U-Net, planned from the size and the anisotropy of its patches as nnU-Net plans it.

Isensee et al. (2024), https://arxiv.org/abs/2404.09556 (nnU-Net ResEnc)
Planning: Isensee et al. (2021), https://doi.org/10.1038/s41592-020-01008-z
Residual blocks: He et al. (2019), https://arxiv.org/abs/1812.01187, the shortcut of "ResNet-D"
Differs: the auxiliary output with weight 0 in deep supervision, the coarsest, is not built. How the patch itself
follows from the memory of a GPU is not reproduced: it is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator
from torch import Tensor, nn

from cristae.models.form import Reference, SpatialConfig, crop_near, pad_far_to_two

SMALLEST_EDGE = 4
"""Voxels of the coarsest features along an axis, at least."""
SLOPE = 0.01
MOST_CHANNELS = {2: 512, 3: 320}

Sizes = tuple[PositiveInt, ...]


class Plan(NamedTuple):
    """What each stage does, finest first."""

    strides: tuple[Sizes, ...]
    """Factor by which its first convolution shrinks each axis."""
    kernels: tuple[Sizes, ...]
    """Sides of its convolutions."""


def plan(window: Sequence[int], spacing: Sequence[float]) -> Plan:
    """Decide which axes each stage halves, and where kernels span 3 voxels.

    An axis is halved while 4 voxels remain and its voxels are less than twice as long as those of the finest axis that
    can still be halved; a last axis alone only from 12 voxels on. Kernels span 3 voxels along an axis from the stage
    at which its voxels are less than twice as long as the finest.

    Args:
        window: Voxels of the patch along each axis.
        spacing: Length of a voxel along each axis, in any unit.
    """
    size, length = list(window), list(spacing)
    axes = range(len(size))
    strides, kernel = [(1,) * len(size)], [1] * len(size)
    kernels: list[Sizes] = []
    while True:
        large = [axis for axis in axes if size[axis] >= 2 * SMALLEST_EDGE]
        halved = [axis for axis in large if length[axis] < 2 * min(length[other] for other in large)]
        if not halved or (len(halved) == 1 and size[halved[0]] < 3 * SMALLEST_EDGE):
            return Plan(tuple(strides), (*kernels, (3,) * len(size)))
        for axis in axes:
            if length[axis] < 2 * min(length):
                kernel[axis] = 3
        kernels.append(tuple(kernel))
        strides.append(tuple(2 if axis in halved else 1 for axis in axes))
        for axis in halved:
            size[axis] = -(-size[axis] // 2)
            length[axis] *= 2


class ResEncUNetConfig(SpatialConfig):
    """Residual-encoder U-Net of nnU-Net for slices or volumes, planned from the patch (Isensee et al. 2024)."""

    reference: ClassVar[Reference] = Reference("Isensee et al.", 2024, "https://arxiv.org/abs/2404.09556")
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {"": {}, "3d": {"ndim": 3}}
    name: Literal["resenc_unet"] = "resenc_unet"
    window_vox: Sizes | None = None
    """Patch (z, y, x) or (y, x) that the network is planned for and, unless the recipe says otherwise, trained on;
    null takes 256 x 256 or 32 x 128 x 128."""
    anisotropy: Annotated[float, Field(ge=0.05, le=20)] = 1.0
    """For volumes: how many times as long as along y and x a voxel is along z, such as 4 for 40 x 10 x 10 nm. It plans
    those of strides and kernels that are empty."""
    base: PositiveInt = 32
    """Feature channels of the first stage; they double at each further one."""
    most: PositiveInt | None = None
    """Feature channels that no stage exceeds; null takes 512 for slices and 320 for volumes."""
    blocks: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 3, 4, 6)
    """Residual blocks of each stage of the encoder, finest first; further stages have as many as the last, and numbers
    beyond the last stage do nothing."""
    strides: tuple[Sizes, ...] = ()
    """Factors (z, y, x) or (y, x) by which each stage shrinks its input, finest stage first; empty plans them."""
    kernels: tuple[Sizes, ...] = ()
    """Sides of the kernels of each stage, finest first; empty plans them."""

    @field_validator("window_vox")
    @classmethod
    def _has_all_axes(cls, window: Sizes | None, info: ValidationInfo) -> Sizes | None:
        if window is not None and len(window) != info.data.get("ndim", len(window)):
            raise ValueError(f"must have {info.data['ndim']} numbers, as many as `ndim`")
        return window

    @field_validator("anisotropy")
    @classmethod
    def _only_volumes(cls, anisotropy: float, info: ValidationInfo) -> float:
        if anisotropy != 1 and info.data.get("ndim") == 2:
            raise ValueError("must be 1 with `ndim: 2`: slices have no length along z")
        return anisotropy

    @field_validator("strides", "kernels")
    @classmethod
    def _have_all_axes(cls, stages: tuple[Sizes, ...], info: ValidationInfo) -> tuple[Sizes, ...]:
        for number, sides in enumerate(stages):
            if len(sides) != info.data.get("ndim", len(sides)):
                raise ValueError(f"stage {number} must have {info.data['ndim']} numbers, as many as `ndim`")
        if info.field_name == "strides" and stages and max(stages[0]) > 1:
            raise ValueError("the first stage must have strides of 1: it works at the size of the image")
        if info.field_name == "kernels" and any(side % 2 == 0 for sides in stages for side in sides):
            raise ValueError("must be odd")
        return stages

    @model_validator(mode="after")
    def _forms_a_network(self) -> ResEncUNetConfig:
        strides, kernels = self.stages
        if len(strides) != len(kernels):
            raise ValueError(f"there are {len(strides)} stages of strides and {len(kernels)} of kernels; give as many")
        if len(strides) < 2:
            raise ValueError(f"window_vox {self.window} is too small: no axis can be halved to at least 4 voxels")
        return self

    @property
    def stages(self) -> Plan:
        """Strides and kernels of each stage."""
        spacing = (self.anisotropy, 1.0, 1.0) if self.ndim == 3 else (1.0, 1.0)
        planned = plan(self.window, spacing)
        return Plan(self.strides or planned.strides, self.kernels or planned.kernels)

    @property
    def widths(self) -> tuple[int, ...]:
        """Feature channels of each stage, finest first."""
        most = self.most or MOST_CHANNELS[self.ndim]
        return tuple(min(most, self.base << number) for number in range(len(self.stages.strides)))

    @property
    def total_stride(self) -> tuple[int, ...]:
        """The product of all strides."""
        return tuple(prod(factors) for factors in zip(*self.stages.strides, strict=True))

    @property
    def window(self) -> tuple[int, ...]:
        """The field `window_vox`."""
        return self.window_vox or super().window

    @property
    def auxiliary_weights(self) -> tuple[float, ...]:
        """Halved from each output to the next coarser one; they sum to 1."""
        outputs = max(1, len(self.stages.strides) - 2)
        return tuple(2.0**-number / (2 - 2.0 ** (1 - outputs)) for number in range(outputs))

    def build(self, in_channels: int, out_channels: int) -> ResEncUNet:
        """A network with fresh weights, (B, in_channels, *S) to (B, out_channels, *S)."""
        return ResEncUNet(in_channels, out_channels, self)


class ResEncUNet(nn.Module):
    """Map an image (B, C, *S) to logits (B, K, *S), for any size.

    While training it gives the logits of all outputs: the auxiliary ones at the size of their features.
    """

    def __init__(self, in_channels: int, out_channels: int, config: ResEncUNetConfig) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.total_stride = config.total_stride
        self.strides, kernels = config.stages
        widths = config.widths
        conv: Any = nn.Conv2d if config.ndim == 2 else nn.Conv3d
        up: Any = nn.ConvTranspose2d if config.ndim == 2 else nn.ConvTranspose3d
        self.stem = nn.Sequential(*conv_norm(in_channels, widths[0], kernels[0]), nn.LeakyReLU(SLOPE, inplace=True))
        self.encoder = nn.ModuleList()
        for number, (before, width) in enumerate(pairwise((widths[0], *widths))):
            first = ResidualBlock(before, width, kernels[number], self.strides[number])
            count = config.blocks[min(number, len(config.blocks) - 1)]
            same = (1,) * config.ndim
            others = [ResidualBlock(width, width, kernels[number], same) for _ in range(count - 1)]
            self.encoder.append(nn.Sequential(first, *others))
        self.ups, self.decoder, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for number in reversed(range(len(widths) - 1)):
            factor, width = self.strides[number + 1], widths[number]
            self.ups.append(up(widths[number + 1], width, factor, stride=factor))
            self.decoder.append(
                nn.Sequential(*conv_norm(2 * width, width, kernels[number]), nn.LeakyReLU(SLOPE, inplace=True))
            )
        for number in range(len(config.auxiliary_weights)):
            self.heads.append(conv(widths[number], out_channels, 1))
        initialise_residual(self)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Logits (B, K, *S) of an image (B, C, *S), while training those of all outputs."""
        features = self.stem(pad_far_to_two(image, in_channels=self.in_channels, multiple=self.total_stride))
        skips: list[Tensor] = []
        for stage in self.encoder:
            features = stage(features)
            skips.append(features)
        skips.pop()
        levels: list[Tensor] = []
        for up, merge in zip(self.ups, self.decoder, strict=True):
            features = merge(torch.cat([up(features), skips.pop()], dim=1))
            levels.append(features)
        main = crop_near(self.heads[0](features), image.shape[2:])
        if not self.training or len(self.heads) == 1:
            return main
        return (main, *self._coarser(levels[-2::-1], image.shape[2:]))

    def _coarser(self, levels: Sequence[Tensor], size: Sequence[int]) -> list[Tensor]:
        """Logits of the auxiliary outputs from features, finest first, cropped to an image of `size`."""
        found = []
        for head, features, stride in zip(self.heads[1:], levels, self.strides[1:], strict=False):
            size = [-(-side // step) for side, step in zip(size, stride, strict=True)]
            found.append(crop_near(head(features), torch.Size(size)))
        return found


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, which averages where sizes differ and projects where channels do."""

    def __init__(self, in_channels: int, width: int, kernel: Sizes, stride: Sizes) -> None:
        super().__init__()
        self.first = nn.Sequential(
            *conv_norm(in_channels, width, kernel, stride=stride), nn.LeakyReLU(SLOPE, inplace=True)
        )
        self.second = conv_norm(width, width, kernel)
        shortcut: list[nn.Module] = []
        if max(stride) > 1:
            pool: Any = nn.AvgPool2d if len(kernel) == 2 else nn.AvgPool3d
            shortcut.append(pool(stride, stride))
        if in_channels != width:
            shortcut += conv_norm(in_channels, width, (1,) * len(kernel), bias=False)
        self.shortcut = nn.Sequential(*shortcut)
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """Features of the block's width, smaller by its stride."""
        found: Tensor = self.activation(self.second(self.first(features)) + self.shortcut(features))
        return found


def conv_norm(
    in_channels: int, out_channels: int, kernel: Sizes, *, stride: Sizes | None = None, bias: bool = True
) -> nn.Sequential:
    """Zero-padded convolution and instance normalisation."""
    conv: Any = nn.Conv2d if len(kernel) == 2 else nn.Conv3d
    norm: Any = nn.InstanceNorm2d if len(kernel) == 2 else nn.InstanceNorm3d
    padding = tuple(side // 2 for side in kernel)
    return nn.Sequential(
        conv(in_channels, out_channels, kernel, stride or 1, padding, bias=bias), norm(out_channels, affine=True)
    )


def initialise_residual(network: nn.Module) -> None:
    """He-normal kernels, zero biases; residual blocks begin as their shortcut."""
    for module in network.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            nn.init.kaiming_normal_(module.weight, a=SLOPE)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            nn.init.zeros_(module.second.get_parameter("1.weight"))
