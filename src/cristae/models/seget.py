"""SegET: strided encoder, dilated centre, decoder, and a fusion of all decoder levels.

Zhang et al. (2018), https://arxiv.org/abs/1811.11729
The paper leaves eleven points open (two of them are one field here, `fusion`). Each default follows the text most
closely; the fields of `SegETConfig` are the other readings. Strided convolutions are padded alike on both sides; Keras,
in which the network was published, pads even sides at the far end alone.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cristae.models.blocks import conv_bn_relu, conv_pair, initialise, upsample
from cristae.models.form import PlanarConfig, Reference, crop_near, pad_far

STRIDE = (16, 16)
DILATIONS = (1, 2, 4, 8)
DIVISOR = {"full": 1, "half": 2, "quarter": 4}


class SegETConfig(PlanarConfig):
    """SegET, a 2D network for thin and small structures in electron tomograms (Zhang et al. 2018)."""

    reference: ClassVar[Reference] = Reference("Zhang et al.", 2018, "https://arxiv.org/abs/1811.11729")
    name: Literal["seget"] = "seget"
    base: Annotated[int, Field(gt=0, multiple_of=4)] = 16
    """Feature channels of the first level; they double at each of the four levels and again in the centre."""
    skip_width: Literal["half", "quarter", "full"] = "half"
    """Channels of each encoder block's third convolution, which feeds the skip, as a fraction of the block's width."""
    skip_position: Literal["main_path", "side_branch"] = "main_path"
    """Whether the strided convolution reads the third convolution, or the second with the third as a side branch."""
    down_width: Literal["same", "double"] = "same"
    """Channels of each encoder block's strided convolution: the block's width, or that of the next block."""
    first_branch: Literal["3x3", "1x1"] = "3x3"
    """Kernel of the centre's branch without dilation."""
    branch_width: Literal["full", "half", "quarter"] = "full"
    """Channels of each dilated branch, as a fraction of the centre's width."""
    centre_input: Literal["branch_input", "encoder_output"] = "branch_input"
    """Which tensor is concatenated with the dilated branches: what they read, or what the encoder gave."""
    centre_width: Literal["full", "half"] = "full"
    """Channels that leave the centre, as a fraction of its width."""
    fusion: Literal["two_steps", "two_steps_bare", "full_size"] = "two_steps"
    """How decoder levels are fused: at half and then at full size with two convolutions each; the same with
    convolutions only after the second; or once, at full size."""
    head: Literal["separate", "last_conv"] = "separate"
    """Whether logits come from a 1x1 convolution of their own, or from the last 3x3 convolution."""
    conv_bias: bool = True
    """Whether convolutions that batch normalisation follows have a bias; the head always has."""

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides are halved four times."""
        return STRIDE

    @property
    def window(self) -> tuple[int, ...]:
        """The paper's patches."""
        return (512, 512)

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Feature channels of the four levels, finest first."""
        return self.base, 2 * self.base, 4 * self.base, 8 * self.base

    @property
    def skip_widths(self) -> tuple[int, ...]:
        """Channels that each level hands to the decoder, finest first."""
        return tuple(width // DIVISOR[self.skip_width] for width in self.widths)

    def build(self, in_channels: int, out_channels: int) -> SegET:
        """A network with fresh weights, (B, in_channels, Y, X) to (B, out_channels, Y, X)."""
        return SegET(in_channels, out_channels, self)


class SegET(nn.Module):
    """Map an image (B, C, Y, X) to logits (B, K, Y, X), for any size.

    Names follow the paper: the decoder's outputs are D1 (coarsest) to D4.
    """

    def __init__(self, in_channels: int, out_channels: int, config: SegETConfig) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.encoder = nn.ModuleList()
        channels = in_channels
        for width, skip in zip(config.widths, config.skip_widths, strict=True):
            block = EncoderBlock(channels, width, skip, config)
            self.encoder.append(block)
            channels = block.out_channels
        self.centre = Centre(channels, config)
        channels = self.centre.out_channels
        self.decoder = nn.ModuleList()
        for width, skip in zip(reversed(config.widths), reversed(config.skip_widths), strict=True):
            self.decoder.append(DecoderBlock(channels + skip, width, bias=config.conv_bias))
            channels = width
        self.fusion = Fusion(config) if config.fusion != "full_size" else FullSizeFusion(config)
        kernel = 1 if config.head == "separate" else 3
        self.head = nn.Conv2d(config.base, out_channels, kernel, padding=kernel // 2)
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, Y, X) of an image (B, C, Y, X)."""
        features = pad_far(image, in_channels=self.in_channels, multiple=STRIDE)
        skips: list[Tensor] = []
        for block in self.encoder:
            features, skip = block(features)
            skips.append(skip)
        features = self.centre(features)
        levels: list[Tensor] = []
        for block in self.decoder:
            features = block(features, skips.pop())
            levels.append(features)
        return crop_near(self.head(self.fusion(levels)), image.shape[2:])


class EncoderBlock(nn.Module):
    """Two convolutions, a channel reduction that feeds the skip, and a strided convolution in place of pooling."""

    def __init__(self, in_channels: int, width: int, skip_width: int, config: SegETConfig) -> None:
        super().__init__()
        bias = config.conv_bias
        self.chained = config.skip_position == "main_path"
        self.out_channels = width if config.down_width == "same" else 2 * width
        self.features = conv_pair(in_channels, width, bias=bias)
        self.skip = conv_bn_relu(width, skip_width, bias=bias)
        self.down = conv_bn_relu(skip_width if self.chained else width, self.out_channels, stride=2, bias=bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The features at half size, and the skip at full size."""
        features = self.features(features)
        skip: Tensor = self.skip(features)
        down: Tensor = self.down(skip if self.chained else features)
        return down, skip


class Centre(nn.Module):
    """Parallel dilated convolutions that see the coarsest map at four scales."""

    def __init__(self, in_channels: int, config: SegETConfig) -> None:
        super().__init__()
        bias, width = config.conv_bias, 16 * config.base
        branch = width // DIVISOR[config.branch_width]
        self.joins_encoder = config.centre_input == "encoder_output"
        self.out_channels = width // DIVISOR[config.centre_width]
        self.features = conv_pair(in_channels, width, bias=bias)
        kernels = (1 if config.first_branch == "1x1" else 3, 3, 3, 3)
        self.branches = nn.ModuleList(
            conv_bn_relu(width, branch, kernel=kernel, dilation=dilation, bias=bias)
            for kernel, dilation in zip(kernels, DILATIONS, strict=True)
        )
        joined = (in_channels if self.joins_encoder else width) + len(DILATIONS) * branch
        self.merge = conv_bn_relu(joined, self.out_channels, kernel=1, bias=bias)

    def forward(self, encoded: Tensor) -> Tensor:
        """Features of the same size."""
        features = self.features(encoded)
        joined = encoded if self.joins_encoder else features
        merged: Tensor = self.merge(torch.cat([joined, *(branch(features) for branch in self.branches)], dim=1))
        return merged


class DecoderBlock(nn.Module):
    """Up-sample, concatenate the skip, two convolutions."""

    def __init__(self, in_channels: int, width: int, *, bias: bool) -> None:
        super().__init__()
        self.up = upsample(2)
        self.features = conv_pair(in_channels, width, bias=bias)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Features at twice the size."""
        merged: Tensor = self.features(torch.cat([self.up(features), skip], dim=1))
        return merged


class Fusion(nn.Module):
    """Fuse the three coarser levels at half size, and the result with the finest at full size."""

    def __init__(self, config: SegETConfig) -> None:
        super().__init__()
        finest, *coarser = config.widths
        half = sum(coarser)
        self.up2, self.up4 = upsample(2), upsample(4)
        self.at_half: nn.Module = nn.Identity()
        if config.fusion == "two_steps":
            self.at_half = conv_pair(half, coarser[0], bias=config.conv_bias)
            half = coarser[0]
        self.at_full = last_convolutions(half + finest, config)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Fuse D1 to D4 into (B, base, Y, X)."""
        d1, d2, d3, d4 = levels
        half = self.at_half(torch.cat([self.up4(d1), self.up2(d2), d3], dim=1))
        fused: Tensor = self.at_full(torch.cat([self.up2(half), d4], dim=1))
        return fused


class FullSizeFusion(nn.Module):
    """Bring every level to full size and fuse them at once."""

    def __init__(self, config: SegETConfig) -> None:
        super().__init__()
        self.ups = nn.ModuleList([upsample(8), upsample(4), upsample(2), nn.Identity()])
        self.at_full = last_convolutions(sum(config.widths), config)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Fuse D1 to D4 into (B, base, Y, X)."""
        fused: Tensor = self.at_full(torch.cat([up(level) for up, level in zip(self.ups, levels, strict=True)], dim=1))
        return fused


def last_convolutions(in_channels: int, config: SegETConfig) -> nn.Sequential:
    """The convolutions after the last fusion; when the head is the second of them, only the first."""
    if config.head == "separate":
        return conv_pair(in_channels, config.base, bias=config.conv_bias)
    return conv_bn_relu(in_channels, config.base, bias=config.conv_bias)
