"""The layers of a network, and the stages and skip connections that they form."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

IMAGE = -1
"""The image, where sources and stages are given by number."""


@dataclass(frozen=True)
class Layer:
    """One call of a module, or of a function such as `concat` between modules."""

    path: str
    """Where the module is in the network, such as `encoder.0.conv`; empty for the network itself."""
    kind: str
    in_channels: int = 0
    out_channels: int = 0
    kernel: tuple[int, ...] = ()
    """Of convolutions and poolings, for each spatial axis; as are `stride` and `dilation`."""
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    size: tuple[int, ...] = ()
    """Spatial size of the output."""
    scale: tuple[Fraction, ...] = ()
    """Voxels of the image for each voxel of the output, along each spatial axis."""
    parameters: int = 0
    """Trainable ones that this call is the first to use."""
    conv_flop: int = 0
    """2 x multiply-accumulates of its convolutions, without biases."""
    sources: tuple[int, ...] = ()
    """Layers by number that made its inputs; -1 is the image."""
    idle: bool = False
    """Whether it only works while training."""


@dataclass(frozen=True)
class Stage:
    """Layers at one scale that follow from each other."""

    name: str
    depth: int
    """0 for the finest scale, 1 for the next coarser one that the network has, and so on."""
    channels: int
    """Of the largest tensor that the stage passes on; `size` is its spatial size."""
    size: tuple[int, ...]
    operations: tuple[str, ...]
    """What it does, without normalisation and activations, such as '2 conv 3x3'."""
    parameters: int
    conv_flop: int
    layers: tuple[int, ...]
    """The numbers of its layers."""
    reads: tuple[int, ...]
    """The earlier stages by number whose outputs it uses; -1 is the image."""


@dataclass(frozen=True)
class Skip:
    """A tensor that goes from a stage to one that does not follow it."""

    source: int
    target: int
    channels: int
    """Of the tensors that travel; 0 when they are the image."""


@dataclass(frozen=True)
class Trace:
    """What a network does with one image."""

    image: tuple[int, tuple[int, ...]]
    """Channels and size S."""
    logits: tuple[int, tuple[int, ...]]
    """Channels and size T."""
    layers: tuple[Layer, ...]
    stages: tuple[Stage, ...]
    skips: tuple[Skip, ...]
    image_depth: int
    """The depth of a stage at the image's own scale."""
    conv_flop: int
    """2 x multiply-accumulates of all convolutions for the image, without biases."""
    flop: int
    """The same with matrix products, which transformers have."""

    @property
    def parameters(self) -> int:
        """Trainable ones, those that only training uses included."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def idle_parameters(self) -> int:
        """Trainable ones that only training uses."""
        return sum(layer.parameters for layer in self.layers if layer.idle)


def divide(
    layers: tuple[Layer, ...],
    *,
    image: tuple[int, tuple[int, ...]],
    logits: tuple[int, tuple[int, ...]],
    conv_flop: int,
    flop: int,
) -> Trace:
    """Divide layers, in the order in which they ran, into stages; find the skip connections between them."""
    running = [number for number, layer in enumerate(layers) if not layer.idle]
    blocks = _blocks([layers[number].path for number in running])
    groups = _group([layers[number] for number in running], blocks)
    stage_of = {number: stage for stage, group in enumerate(groups) for number in group} | {IMAGE: IMAGE}
    scales = sorted({Fraction(1), *(math.prod(layers[group[0]].scale, start=Fraction(1)) for group in groups)})
    travels: dict[tuple[int, int], set[int]] = {}
    for number in running:
        for source in layers[number].sources:
            if stage_of[source] != stage_of[number]:
                travels.setdefault((stage_of[source], stage_of[number]), set()).add(source)
    names = [_most_common([blocks[number] for number in group]) for group in groups]
    stages = tuple(
        _stage(
            names[stage],
            scales.index(math.prod(layers[group[0]].scale, start=Fraction(1))),
            group,
            layers,
            tuple(sorted(source for source, target in travels if target == stage)),
        )
        for stage, group in enumerate(groups)
    )
    stages = (*stages[:-1], replace(stages[-1], channels=logits[0], size=logits[1]))
    skips = tuple(
        Skip(source, target, sum(layers[number].out_channels for number in made if number != IMAGE))
        for (source, target), made in sorted(travels.items())
        if target > source + 1
    )
    return Trace(
        image=image,
        logits=logits,
        layers=layers,
        stages=stages,
        skips=skips,
        image_depth=scales.index(Fraction(1)),
        conv_flop=conv_flop,
        flop=flop,
    )


def _group(layers: Sequence[Layer], blocks: Sequence[str]) -> list[tuple[int, ...]]:
    """Layers by stage: with what they read last if that has their scale, else with others of their module, else new."""
    groups: list[list[int]] = []
    stage_of = {IMAGE: IMAGE}
    touched: set[int] = set()
    for number, layer in enumerate(layers):
        if number and _module(blocks[number]) != _module(blocks[number - 1]):
            touched = set()
        latest = max((stage_of[source] for source in layer.sources), default=IMAGE)
        found = [
            stage
            for stage in ({latest} | {one for one in touched if one > latest}) - {IMAGE}
            if layers[groups[stage][0]].scale == layer.scale
        ]
        if not found:
            groups.append([])
        stage_of[number] = min(found, default=len(groups) - 1)
        groups[stage_of[number]].append(number)
        touched.add(stage_of[number])
    return [tuple(group) for group in groups]


def _stage(name: str, depth: int, group: tuple[int, ...], layers: Sequence[Layer], reads: tuple[int, ...]) -> Stage:
    own = [layers[number] for number in group]
    handed_on = {source for number, layer in enumerate(layers) if number not in group for source in layer.sources}
    ends = [layers[number] for number in group if number in handed_on] or own[-1:]
    last = max(ends, key=lambda layer: layer.out_channels * math.prod(layer.size))
    return Stage(
        name=name,
        depth=depth,
        channels=last.out_channels,
        size=last.size,
        operations=tuple(_operations(own)),
        parameters=sum(layer.parameters for layer in own),
        conv_flop=sum(layer.conv_flop for layer in own),
        layers=group,
        reads=reads,
    )


def _blocks(paths: Sequence[str]) -> list[str]:
    """The part of the network that each layer is in: 'centre', or 'encoder.1' where there are several."""
    steps = [path.split(".") if path else [] for path in paths]
    while _is_wrapped(steps):
        steps = [path[1:] for path in steps]
    return [_block(path) for path in steps]


def _is_wrapped(steps: Sequence[Sequence[str]]) -> bool:
    """Whether everything is inside one module, whose parts have names."""
    inside = [path[1:] for path in steps if len(path) > 1]
    return len({path[0] for path in steps if path}) == 1 and bool(inside) and not any(p[0].isdecimal() for p in inside)


def _block(steps: Sequence[str]) -> str:
    return ".".join(steps[: 2 if len(steps) > 2 and steps[1].isdecimal() else 1])


def _module(block: str) -> str:
    return block.partition(".")[0]


def _most_common(blocks: Sequence[str]) -> str:
    found = Counter(block for block in blocks if block)
    return found.most_common(1)[0][0] if found else "network"


_NAMES = {
    "concat": "concat", "add": "add", "multiply": "multiply", "subtract": "subtract", "linear": "linear",
    "interpolate": "upsample", "upsample": "upsample", "pixelshuffle": "upsample", "pixel_shuffle": "upsample",
    "adaptiveavgpool2d": "global pool", "adaptiveavgpool3d": "global pool", "adaptive_avg_pool2d": "global pool",
    "adaptive_avg_pool3d": "global pool", "mean": "global pool", "scaled_dot_product_attention": "attention",
}  # fmt: skip
"""The words for layers without a kernel; normalisations, activations and the like are not mentioned."""


def _operations(layers: Iterable[Layer]) -> list[str]:
    """What a stage does in words, each kind once with how often, in the order of their first appearance."""
    found = Counter(text for layer in layers if (text := operation(layer)))
    return [text if count == 1 else f"{count} {text}" for text, count in found.items()]


def operation(layer: Layer) -> str:
    """A layer in a few words, such as 'conv 3x3 /2'; empty for normalisations, activations and the like."""
    kind = layer.kind.lower()
    if layer.kernel and layer.conv_flop:
        return _convolution(layer)
    if layer.kernel:
        factor = sides(layer.stride) if len(set(layer.stride)) > 1 else str(layer.stride[0])
        return f"{'unpool' if 'unpool' in kind else 'avg pool' if 'avg' in kind else 'max pool'} {factor}"
    return _NAMES.get(kind, "")


def _convolution(layer: Layer) -> str:
    up = "Transpose" in layer.kind or "transpose" in layer.kind
    depthwise = layer.groups > 1 and layer.groups == layer.in_channels
    words = ["up-conv" if up else "depthwise" if depthwise else "conv", sides(layer.kernel)]
    if not up and max(layer.stride) > 1:
        words.append(f"/{layer.stride[0] if len(set(layer.stride)) == 1 else sides(layer.stride)}")
    if max(layer.dilation) > 1:
        words.append(f"dilated {max(layer.dilation)}")
    return " ".join(words)


def sides(size: Sequence[int]) -> str:
    """A size as '3x3'."""
    return "x".join(map(str, size))
