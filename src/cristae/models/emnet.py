"""EM-net: seven encoders of short-cut convolutions with trainable linear units, and one decoder.

Khadangi, Boudier, Rajagopal (2020), https://doi.org/10.1101/2020.02.03.933127
The published networks differ from the paper's words, and are followed here: V1 4X is twice as wide as V1 2X, not
deeper, and the last convolution of every variant starts Glorot-uniform, not He-normal.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from cristae.models.blocks import batch_norm, conv_bn_relu
from cristae.models.form import PlanarConfig, Reference, crop_near, pad_far
from cristae.models.stellar_blocks import DecoderStep, head_width, initialise_he

STRIDE = (16, 16)
LEVELS = 4
DROPOUT = 0.5

Variant = Literal["v1_2x", "v1_4x", "v1_bn", "v1_bn_2x", "v2", "v2_2x", "v2_4x"]
Kind = Literal["a", "a_bn", "b", "dense", "relu"]


class Stack(NamedTuple):
    """Units one after the other."""

    units: tuple[tuple[Kind, float], ...]
    """Kind and width f of each, the width as a multiple of the level's."""
    joined: tuple[int, ...]
    """Units whose outputs are concatenated to what is passed on."""


class Layout(NamedTuple):
    """How the variants differ. Widths are multiples of the first level's f; f doubles at each level."""

    level: Stack
    """What every level of the encoder does before pooling; the skip is the output of its last unit."""
    bottleneck: tuple[Stack, ...]
    """Branches side by side, whose outputs are concatenated."""
    scale: int = 1
    """The first level's f, as a multiple of the field `base`."""
    decoder: tuple[int, ...] = (16, 8, 4, 2)
    """Widths of the decoder's convolution pairs, coarsest first."""
    drop_before: bool = False
    """Whether channels are dropped before the bottleneck."""
    drop_after: bool = False
    """Whether channels are dropped after the bottleneck."""


UP_WIDTHS = (16, 8, 4, 2)
"""Channels that each decoder step brings the coarser features to, as multiples of f, coarsest first."""
OUTPUTS: dict[Kind, int] = {"a": 2, "a_bn": 2, "b": 2, "dense": 4, "relu": 1}
"""Channels that a unit of width f gives, as multiples of f."""

_V1_2X = Layout(
    level=Stack((("a", 1), ("b", 1)), joined=(0, 1)),
    bottleneck=(Stack((("a", 4), ("a", 4)), joined=(1,)), Stack((("b", 4), ("a", 4)), joined=(1,))),
    drop_before=True,
)
LAYOUTS: dict[Variant, Layout] = {
    "v1_2x": _V1_2X,
    "v1_4x": _V1_2X._replace(scale=2, drop_after=True),
    "v1_bn": Layout(
        level=Stack((("a_bn", 1), ("a_bn", 1)), joined=(0, 1)),
        bottleneck=(Stack((("a_bn", 4), ("a_bn", 4)), joined=(1,)),) * 2,
        drop_before=True,
    ),
    "v1_bn_2x": Layout(
        level=Stack((("a_bn", 1), ("a_bn", 0.5), ("a_bn", 1), ("a_bn", 0.5)), joined=(1, 3)),
        bottleneck=(Stack((("a_bn", 8),) * 4, joined=(1, 3)),),
    ),
    "v2": Layout(
        level=Stack((("b", 1), ("b", 1)), joined=(1,)),
        bottleneck=(Stack((("a_bn", 4), ("b", 4)), joined=(1,)), Stack((("b", 4), ("a_bn", 4)), joined=(1,))),
    ),
    "v2_2x": Layout(
        level=Stack((("b", 1), ("b", 2)), joined=(1,)),
        bottleneck=(Stack((("a_bn", 4), ("b", 8)), joined=(1,)), Stack((("b", 4), ("a_bn", 8)), joined=(1,))),
    ),
    "v2_4x": Layout(
        level=Stack((("dense", 1),), joined=(0,)),
        bottleneck=(Stack((("relu", 32), ("relu", 32)), joined=(1,)),),
        scale=2,
        decoder=(8, 4, 2, 1),
        drop_after=True,
    ),
}


class EMNetConfig(PlanarConfig):
    """EM-net, seven 2D networks of 5 to 34 million parameters that learn their activations (Khadangi et al. 2020)."""

    reference: ClassVar[Reference] = Reference(
        "Khadangi, Boudier, Rajagopal", 2020, "https://doi.org/10.1101/2020.02.03.933127"
    )
    variants: ClassVar = {name: {"variant": name} for name in LAYOUTS}
    name: Literal["emnet"] = "emnet"
    variant: Variant = "v1_2x"
    """Which of the seven published networks. They differ in encoder, bottleneck and dropout, and in the widths of the
    decoder; v1_4x is v1_2x twice as wide, not deeper, with more dropout. The authors advise v1_2x for little data and
    v2_4x for much."""
    base: Annotated[PositiveInt, Field(multiple_of=2)] = 16
    """Feature channels that all widths are multiples of; 16 as published."""

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides are halved four times."""
        return STRIDE

    @property
    def window(self) -> tuple[int, ...]:
        """The paper's patches."""
        return (512, 512)

    def build(self, in_channels: int, out_channels: int) -> EMNet:
        """A network with fresh weights, (B, in_channels, Y, X) to (B, out_channels, Y, X)."""
        return EMNet(in_channels, out_channels, self)


class EMNet(nn.Module):
    """Map an image (B, C, Y, X) to logits (B, K, Y, X), for any size.

    The head's two channels pass a ReLU that can be 0 everywhere, and then nothing learns any more: if a loss does not
    move at all from the start, begin again with another seed.
    """

    def __init__(self, in_channels: int, out_channels: int, config: EMNetConfig) -> None:
        super().__init__()
        layout = LAYOUTS[config.variant]
        width = config.base * layout.scale
        self.in_channels = in_channels
        self.pool = nn.MaxPool2d(2)
        levels: list[UnitStack] = []
        channels = in_channels
        for level in range(LEVELS):
            levels.append(UnitStack(channels, layout.level, width << level))
            channels = levels[-1].out_channels
        self.encoder = nn.ModuleList(levels)
        self.drop_before = nn.Dropout2d(DROPOUT) if layout.drop_before else nn.Identity()
        branches = [UnitStack(channels, branch, width) for branch in layout.bottleneck]
        self.bottleneck = nn.ModuleList(branches)
        self.drop_after = nn.Dropout2d(DROPOUT) if layout.drop_after else nn.Identity()
        channels = sum(branch.out_channels for branch in branches)
        self.decoder = nn.ModuleList()
        for units, up, pair in zip(reversed(levels), UP_WIDTHS, layout.decoder, strict=True):
            self.decoder.append(DecoderStep(channels, units.skip_channels, up * width, pair * width))
            channels = pair * width
        hidden = head_width(out_channels)
        self.hidden = conv_bn_relu(channels, hidden)
        self.head = nn.Conv2d(hidden, out_channels, 1)
        initialise_he(self, self.head)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, Y, X) of an image (B, C, Y, X)."""
        features = pad_far(image, in_channels=self.in_channels, multiple=STRIDE)
        skips: list[Tensor] = []
        for level in self.encoder:
            features, skip = level(features)
            skips.append(skip)
            features = self.pool(features)
        features = self.drop_before(features)
        features = self.drop_after(torch.cat([branch(features)[0] for branch in self.bottleneck], dim=1))
        for step in self.decoder:
            features = step(features, skips.pop())
        return crop_near(self.head(self.hidden(features)), image.shape[2:])


class UnitStack(nn.Module):
    """Units one after the other; some of their outputs are passed on, concatenated."""

    def __init__(self, in_channels: int, stack: Stack, width: int) -> None:
        super().__init__()
        self.joined = stack.joined
        self.units = nn.ModuleList()
        given: list[int] = []
        for kind, fraction in stack.units:
            self.units.append(unit(kind, given[-1] if given else in_channels, round(fraction * width)))
            given.append(OUTPUTS[kind] * round(fraction * width))
        self.skip_channels = given[-1]
        self.out_channels = sum(given[index] for index in stack.joined)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """What is passed on, and the output of the last unit, which is the skip."""
        outputs: list[Tensor] = []
        for index, step in enumerate(self.units):
            features = step(features)
            if index in self.joined:
                outputs.append(features)
        return join(outputs), features


def unit(kind: Kind, in_channels: int, width: int) -> nn.Module:
    """One of the paper's units of width f, or a plain 3x3 convolution with ReLU."""
    match kind:
        case "a" | "a_bn":
            return Unit(in_channels, (width, width, width), joined=(0, 2), norm=kind == "a_bn")
        case "b":
            return Unit(in_channels, (2 * width, width, 2 * width, width), joined=(1, 3), norm=False)
        case "dense":
            return DenseUnit(in_channels, width)
        case "relu":
            return nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU(inplace=True))


class Unit(nn.Module):
    """3x3 convolutions with trainable linear units one after the other; some of their outputs, concatenated."""

    def __init__(self, in_channels: int, widths: tuple[int, ...], *, joined: tuple[int, ...], norm: bool) -> None:
        super().__init__()
        self.joined = joined
        self.convs = nn.ModuleList(conv_tlu(a, b, norm=norm) for a, b in pairwise((in_channels, *widths)))

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, Y, X) to (B, 2 f, Y, X)."""
        outputs: list[Tensor] = []
        for index, conv in enumerate(self.convs):
            features = conv(features)
            if index in self.joined:
                outputs.append(features)
        return join(outputs)


class DenseUnit(nn.Module):
    """Three convolutions, the third of which reads the first two; all of their outputs, with channels dropped."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.first = conv_tlu(in_channels, 2 * width, norm=False)
        self.second = conv_tlu(2 * width, width, norm=False)
        self.third = conv_tlu(3 * width, width, norm=False)
        self.drop = nn.Dropout2d(DROPOUT)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, Y, X) to (B, 4 f, Y, X)."""
        first = self.first(features)
        both = torch.cat([first, self.second(first)], dim=1)
        dropped: Tensor = self.drop(torch.cat([both, self.third(both)], dim=1))
        return dropped


def conv_tlu(in_channels: int, out_channels: int, *, norm: bool) -> nn.Sequential:
    """Zero-padded 3x3 convolution, batch normalisation if asked for, trainable linear unit."""
    layers: list[nn.Module] = [nn.Conv2d(in_channels, out_channels, 3, padding=1)]
    if norm:
        layers.append(batch_norm(out_channels))
    return nn.Sequential(*layers, TrainableLinearUnit(out_channels))


class TrainableLinearUnit(nn.Module):
    """Slope beta above 0 and alpha below, both learnt for each channel; starts as ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Same shape (B, C, Y, X)."""
        return torch.addcmul(self.alpha * features, self.beta - self.alpha, torch.relu(features))


def join(outputs: list[Tensor]) -> Tensor:
    """Concatenated on channels; without a copy when there is one."""
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)
