"""EfficientUNet: an EfficientNet encoder and a light decoder.

Meyer et al. (2021), IEEE International Symposium on Biomedical Imaging, https://github.com/Cyril-Meyer/NeNISt
Encoder: Tan, Le (2019), https://arxiv.org/abs/1905.11946, without its top, randomly initialised.
Differs from the published code: strided convolutions are padded alike on both sides, and the image is not divided by
255 unless `keras_rescale` says so (the published networks saw values in [0, 1] divided once more).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from cristae.models.blocks import batch_norm, initialise, truncated_normal_
from cristae.models.form import Blend, PlanarConfig, Reference, crop_near, pad_far

STRIDE = (32, 32)
SQUEEZE = 0.25
STEM_WIDTH, TOP_WIDTH = 32, 1280
"""Before scaling, as in `STAGES`."""


class Stage(NamedTuple):
    """Blocks of one width in the unscaled EfficientNet."""

    blocks: int
    expansion: int
    kernel: int
    stride: int
    width: int
    gives_skip: bool


STAGES = (
    Stage(1, 1, 3, 1, 16, gives_skip=False),
    Stage(2, 6, 3, 2, 24, gives_skip=True),
    Stage(2, 6, 5, 2, 40, gives_skip=True),
    Stage(3, 6, 3, 2, 80, gives_skip=True),
    Stage(3, 6, 5, 1, 112, gives_skip=False),
    Stage(4, 6, 5, 2, 192, gives_skip=True),
    Stage(1, 6, 3, 1, 320, gives_skip=False),
)


class EfficientUNetConfig(PlanarConfig):
    """EfficientUNet-B4, a 2D network with an EfficientNet encoder for FIB-SEM (Meyer et al. 2021)."""

    reference: ClassVar[Reference] = Reference("Meyer et al.", 2021, "https://github.com/Cyril-Meyer/NeNISt")
    blend: ClassVar[Blend] = "centre_third"
    published_logits: ClassVar[int] = 4
    name: Literal["efficient_unet"] = "efficient_unet"
    width: Annotated[PositiveFloat, Field(le=8)] = 1.4
    """Factor of the encoder's feature channels, rounded to multiples of 8: 1.0 is EfficientNet-B0, 1.4 is B4."""
    depth: Annotated[PositiveFloat, Field(le=8)] = 1.8
    """Factor of the encoder's blocks in each stage, rounded up: 1.0 is EfficientNet-B0, 1.8 is B4."""
    decoder_widths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (512, 256, 128, 64, 32)
    """Feature channels of the decoder's levels, coarsest first."""
    stochastic_depth: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """How often training leaves out a residual block: 0 for the first one, growing to nearly this for the last."""
    keras_rescale: bool = False
    """Whether the encoder divides what it gets by 255, as the published networks do."""

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides are halved five times."""
        return STRIDE

    def scaled(self, channels: int) -> int:
        """Feature channels of the encoder: the nearest multiple of 8, not more than a tenth below."""
        wanted = channels * self.width
        rounded = max(8, int(wanted + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * wanted else rounded

    def build(self, in_channels: int, out_channels: int) -> EfficientUNet:
        """A network with fresh weights, (B, in_channels, Y, X) to (B, out_channels, Y, X)."""
        return EfficientUNet(in_channels, out_channels, self)


class EfficientUNet(nn.Module):
    """Map an image (B, C, Y, X) to logits (B, K, Y, X), for any size.

    The encoder takes three channels: others are mixed to three by a convolution of their own.
    """

    def __init__(self, in_channels: int, out_channels: int, config: EfficientUNetConfig) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.to_three = nn.Identity() if in_channels == 3 else nn.Conv2d(in_channels, 3, 1)
        self.encoder = Encoder(config)
        widths = (self.encoder.out_channels, *config.decoder_widths)
        skips = (*reversed(self.encoder.skip_channels), 0)
        self.decoder = nn.ModuleList(
            DecoderLevel(below + skip, width) for (below, width), skip in zip(pairwise(widths), skips, strict=True)
        )
        self.head = nn.Conv2d(widths[-1], out_channels, 1)
        initialise(self)
        self.encoder.initialise()

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, Y, X) of an image (B, C, Y, X)."""
        padded = pad_far(image, in_channels=self.in_channels, multiple=STRIDE)
        features, skips = self.encoder(self.to_three(padded))
        for level in self.decoder:
            features = level(features, skips.pop() if skips else None)
        return crop_near(self.head(features), image.shape[2:])


class Encoder(nn.Module):
    """EfficientNet without its top: an image (B, 3, Y, X) to features at 1/32 and the skips at 1/2 to 1/16."""

    def __init__(self, config: EfficientUNetConfig) -> None:
        super().__init__()
        self.divisor = 255.0 if config.keras_rescale else 1.0
        channels = config.scaled(STEM_WIDTH)
        self.stem = conv_bn_swish(3, channels, kernel=3, stride=2)
        self.stages = nn.ModuleList()
        self.gives_skip = [stage.gives_skip for stage in STAGES]
        self.skip_channels: list[int] = []
        counts = [math.ceil(config.depth * stage.blocks) for stage in STAGES]
        done = 0
        for stage, count in zip(STAGES, counts, strict=True):
            if stage.gives_skip:
                self.skip_channels.append(stage.expansion * channels)
            blocks = Blocks()
            for number in range(count):
                rate = config.stochastic_depth * (done + number) / sum(counts)
                blocks.append(MBConv(channels, config.scaled(stage.width), stage, first=number == 0, drop_rate=rate))
                channels = config.scaled(stage.width)
            self.stages.append(blocks)
            done += count
        self.out_channels = config.scaled(TOP_WIDTH)
        self.top = conv_bn_swish(channels, self.out_channels)

    def initialise(self) -> None:
        """Truncated normal kernels of variance 2 / fan-out, in which a depthwise kernel counts its own taps alone."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.weight[:, 0].numel() / module.groups
                truncated_normal_(module.weight, variance=2 / fan_out)

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features (B, C, Y/32, X/32), and the skips, finest first: what first blocks of stages expand to."""
        features = self.stem(image / self.divisor if self.divisor != 1 else image)
        skips: list[Tensor] = []
        for blocks, gives_skip in zip(self.stages, self.gives_skip, strict=True):
            features, expanded = blocks(features)
            if gives_skip:
                skips.append(expanded)
        return self.top(features), skips


class Blocks(nn.ModuleList):
    """The `MBConv` blocks of a stage, one after the other."""

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features, and what the first block expands to."""
        first, *others = self
        features, expanded = first(features)
        for block in others:
            features, _ = block(features)
        return features, expanded


class MBConv(nn.Module):
    """Inverted bottleneck: expand, depthwise convolution, squeeze-and-excite, project, and add where sizes agree.

    Args:
        in_channels: Channels of the block's input.
        out_channels: Channels of its output.
        stage: Expansion, kernel and stride.
        first: Whether it is the first block of its stage, the only one that strides.
        drop_rate: Fraction of samples for which training leaves the block out, if it adds at all.
    """

    def __init__(self, in_channels: int, out_channels: int, stage: Stage, *, first: bool, drop_rate: float) -> None:
        super().__init__()
        stride, inside = stage.stride if first else 1, stage.expansion * in_channels
        self.adds = stride == 1 and in_channels == out_channels
        self.expand = nn.Identity() if stage.expansion == 1 else conv_bn_swish(in_channels, inside)
        self.depthwise = conv_bn_swish(inside, inside, kernel=stage.kernel, stride=stride, groups=inside)
        self.excite = SqueezeExcite(inside, max(1, int(SQUEEZE * in_channels)))
        self.project = conv_bn(inside, out_channels)
        self.drop = StochasticDepth(drop_rate) if self.adds else nn.Identity()

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output, and the activated expansion, which is as large as the input."""
        expanded = self.expand(features)
        found = self.drop(self.project(self.excite(self.depthwise(expanded))))
        return features + found if self.adds else found, expanded


class SqueezeExcite(nn.Module):
    """Scale each channel by a factor from 0 to 1 that depends on the means of all channels over the image."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1), nn.SiLU(inplace=True), nn.Conv2d(squeezed, channels, 1), nn.Sigmoid()
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same shape (B, C, Y, X)."""
        scaled: Tensor = features * self.gate(features.mean((2, 3), keepdim=True))
        return scaled


class StochasticDepth(nn.Module):
    """While training set whole samples to 0 at a rate, and enlarge the others so that the mean stays.

    References:
        Huang et al. (2016), https://arxiv.org/abs/1603.09382
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same shape (B, C, Y, X)."""
        if not self.training or self.rate == 0:
            return features
        kept = features.new_empty((len(features), 1, 1, 1)).bernoulli_(1 - self.rate)
        return features * (kept / (1 - self.rate))


class DecoderLevel(nn.Module):
    """Nearest enlargement by two, the skip behind it if there is one, a 3x3 convolution, ReLU, normalisation, ReLU."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU(inplace=True), batch_norm(width), nn.ReLU(inplace=True)
        )

    def forward(self, features: Tensor, skip: Tensor | None) -> Tensor:
        """Features at twice the size."""
        enlarged = self.up(features)
        merged: Tensor = self.features(enlarged if skip is None else torch.cat([enlarged, skip], dim=1))
        return merged


def conv_bn(in_channels: int, out_channels: int, *, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias, zero-padded by half its kernel, and batch normalisation."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, batch_norm(out_channels))


def conv_bn_swish(
    in_channels: int, out_channels: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """`conv_bn`, then swish."""
    return nn.Sequential(
        *conv_bn(in_channels, out_channels, kernel=kernel, stride=stride, groups=groups), nn.SiLU(inplace=True)
    )
