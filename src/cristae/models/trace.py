"""What a network does, layer by layer: found by running it once without computing anything.

The network is built and run on the meta device, which knows shapes and no values, while every torch function that it
calls is watched. From the calls come the table of layers, and the stages: runs of layers at one scale, with the tensors
that travel between stages that do not follow each other (skip connections).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.weak import WeakTensorKeyDictionary

from cristae.models.form import NetworkConfig
from cristae.models.stages import Layer, Trace, divide

Scale = tuple[Fraction, ...]
"""Voxels of the image for each voxel of a tensor, along each spatial axis."""

_CONVOLUTIONS = frozenset(f"conv{n}d" for n in "123")
_TRANSPOSED = frozenset(f"conv_transpose{n}d" for n in "123")
_POOLS = {f"{kind}_pool{n}d{more}" for kind in ("max", "avg") for n in "123" for more in ("", "_with_indices")}
_UNPOOLS = frozenset(f"max_unpool{n}d" for n in "123")
_SCALING = frozenset(("interpolate", "upsample", "pixel_shuffle", "pixel_unshuffle"))
_PRODUCTS = frozenset(("linear", "matmul", "__matmul__", "bmm", "einsum", "scaled_dot_product_attention"))
_HEAVY = _CONVOLUTIONS | _TRANSPOSED | _POOLS | _UNPOOLS | _SCALING | _PRODUCTS
_PLUMBING = frozenset((
    "__getitem__", "narrow", "select", "view", "reshape", "permute", "transpose", "contiguous", "flatten", "unflatten",
    "unsqueeze", "squeeze", "chunk", "split", "unbind", "expand", "expand_as", "repeat", "to", "float", "type",
    "clone", "detach", "movedim", "roll", "view_as", "__get__", "zeros_like", "ones_like", "new_zeros", "new_ones",
))  # fmt: skip
_NAMES = {
    **dict.fromkeys(("cat", "concat", "concatenate"), "concat"),
    **dict.fromkeys(("add", "add_", "__add__", "__radd__", "__iadd__"), "add"),
    **dict.fromkeys(("mul", "mul_", "__mul__", "__rmul__", "__imul__"), "multiply"),
    **dict.fromkeys(("sub", "sub_", "__sub__", "__rsub__", "__isub__"), "subtract"),
}


def trace(config: NetworkConfig, in_channels: int, out_channels: int, size: Sequence[int]) -> Trace:
    """Run a network without weights or values and note what it does with one image.

    Args:
        config: The network.
        in_channels: Channels of the image.
        out_channels: Logits for each voxel.
        size: Size S of the image; one that the network takes.

    Returns:
        Layers, stages, skip connections and counts of the network as it predicts.

    Raises:
        NetworkError: It cannot be built so, or does not take this size.
    """
    with torch.device("meta"):
        network = config.build(in_channels, out_channels).eval()
        image = torch.empty(1, in_channels, *size)
    with FlopCounterMode(display=False) as counter:
        found = watch(network, image)
    flop = counter.get_flop_counts().get("Global", {})
    conv_flop = sum(count for operation, count in flop.items() if "convolution" in str(operation))
    return replace(found, conv_flop=conv_flop, flop=sum(flop.values()))


def watch(
    network: nn.Module,
    image: Tensor,
    *,
    apply: Callable[[Tensor], Tensor] | None = None,
    seen: Callable[[int, Tensor], None] = lambda *_: None,
) -> Trace:
    """Let a network predict an image, on any device, and note what it does.

    Args:
        network: In evaluation.
        image: (1, C, *S).
        apply: Runs the network; None calls it.
        seen: Called with a layer's number and what it gives, as often as functions of the layer give something. Layers
            that follow may change the tensor in its place.

    Returns:
        Its layers, stages and skip connections; of the counts, only those of the layers' convolutions.
    """
    recorder = _Recorder(network, image, seen)
    with torch.no_grad(), recorder.watching(), recorder:
        output = (apply or network)(image)
    layers = recorder.layers()
    return divide(
        layers,
        image=(int(image.shape[1]), tuple(image.shape[2:])),
        logits=(int(output.shape[1]), tuple(output.shape[2:])),
        conv_flop=sum(layer.conv_flop for layer in layers),
        flop=0,
    )


@dataclass
class _Row:
    """A layer while the network runs."""

    path: str
    kind: str
    call: int
    """Number of the module's call, so that two calls of one module are two layers."""
    in_channels: int
    scale: Scale
    out_channels: int = 0
    size: tuple[int, ...] = ()
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    parameters: int = 0
    conv_flop: int = 0
    heavy: bool = False
    sources: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class _Origin:
    """Where a tensor comes from: the layers that made it (-1 is the image), and how to read its shape."""

    rows: frozenset[int]
    scale: Scale
    channels_last: bool = False
    """Whether the channels are its last axis, as transformers have them, and not the second."""


class _Recorder(TorchFunctionMode):
    """Watches a network run."""

    def __init__(self, network: nn.Module, image: Tensor, seen: Callable[[int, Tensor], None]) -> None:
        super().__init__()
        self.ndim = image.ndim - 2
        self.network = network
        self.image = image
        self.seen = seen
        self.rows: list[_Row] = []
        self.stack: list[tuple[str, nn.Module, int]] = [("", network, 0)]
        self.calls = 0
        self.unused = {id(value): value.numel() for value in network.parameters() if value.requires_grad}
        self.waiting = 0
        """Parameters that were used in a call without image values, and count for the next layer."""
        one = (Fraction(1),) * self.ndim
        self.origins: MutableMapping[Tensor, _Origin] = WeakTensorKeyDictionary()
        self.origins[image] = _Origin(frozenset((-1,)), one)

    def watching(self) -> _Hooks:
        """Follow which module runs."""
        return _Hooks(self)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        tensors = list(_tensors((args, tuple(given.values()))))
        sources = [tensor for tensor in tensors if tensor in self.origins]
        self.waiting += sum(self.unused.pop(id(tensor), 0) for tensor in tensors)
        before = [self._describe(tensor, self.origins[tensor].channels_last) for tensor in sources]
        result = func(*args, **given)
        made = list(_tensors((result,)))
        name = getattr(func, "__name__", str(func))
        if name == "__setitem__" and isinstance(args[0], Tensor):
            made = [args[0]]
        if sources and made:
            self._note(name, args, given, sources, made, before)
        return result

    def _note(
        self,
        name: str,
        args: Sequence[Any],
        given: Mapping[str, Any],
        sources: Sequence[Tensor],
        made: Sequence[Tensor],
        before: Sequence[tuple[int, tuple[int, ...]]],
    ) -> None:
        origins = [self.origins[tensor] for tensor in sources]
        widest = max(range(len(sources)), key=lambda i: sources[i].numel())
        last = _channels_last(name, args, origins[widest].channels_last, self.ndim)
        channels, size = self._describe(made[0], last)
        scale = _next_scale(name, args, given, origins[widest].scale, before[widest][1], size)
        rows: frozenset[int] = frozenset().union(*(origin.rows for origin in origins))
        number = self._row_of(name, scale, len(sources))
        if number is not None:
            row = self.rows[number]
            joined = sum(found for found, _ in before) if row.kind == "concat" else before[0][0]
            row.in_channels = row.in_channels or joined
            row.sources |= rows - {number}
            row.out_channels, row.size = channels, size
            row.parameters, self.waiting = row.parameters + self.waiting, 0
            if name in _HEAVY:
                row.heavy, row.scale = True, scale
                _fill(row, name, args, given, made[0])
            rows = frozenset((number,))
        for tensor in made:
            self.origins[tensor] = _Origin(rows, scale, last)
        if number is not None:
            self.seen(number, made[0])

    def _row_of(self, name: str, scale: Scale, images: int) -> int | None:
        """The layer that a call belongs to; None for calls that only move values about."""
        path, module, call = self.stack[-1]
        if not any(True for _ in module.children()) and module is not self.network:
            last = self.rows[-1] if self.rows else None
            if last is None or last.call != call or (name in _HEAVY and last.heavy):
                self.rows.append(_Row(path, type(module).__name__, call, 0, scale))
            return len(self.rows) - 1
        plain = _NAMES.get(name, name)
        if name in _PLUMBING or (plain in ("add", "multiply", "subtract") and images < 2):
            return None
        self.rows.append(_Row(path, plain, call, 0, scale))
        return len(self.rows) - 1

    def _describe(self, tensor: Tensor, channels_last: bool) -> tuple[int, tuple[int, ...]]:
        """Channels and spatial size; tensors with other axes than an image's have their channels last."""
        if tensor.ndim == 2 + self.ndim and not channels_last:
            return int(tensor.shape[1]), tuple(tensor.shape[2:])
        return (int(tensor.shape[-1]), tuple(tensor.shape[1:-1])) if tensor.ndim else (1, ())

    def layers(self) -> tuple[Layer, ...]:
        """What was seen, and a last layer for parameters that prediction does not use."""
        found = [
            Layer(
                path=row.path,
                kind=row.kind,
                in_channels=row.in_channels,
                out_channels=row.out_channels,
                kernel=row.kernel,
                stride=row.stride,
                dilation=row.dilation,
                groups=row.groups,
                size=row.size,
                scale=row.scale,
                parameters=row.parameters,
                conv_flop=row.conv_flop,
                sources=tuple(sorted(row.sources)),
            )
            for row in self.rows or [self._nothing()]
        ]
        return (*found, *self._idle())

    def _nothing(self) -> _Row:
        """The only layer of a network that hands the image on."""
        channels, size = self._describe(self.image, channels_last=False)
        kind = type(self.network).__name__
        return _Row("", kind, 0, channels, (Fraction(1),) * self.ndim, channels, size, sources={-1})

    def _idle(self) -> Iterator[Layer]:
        """A layer for each module with parameters that only training uses, such as auxiliary outputs."""
        for path, module in self.network.named_modules():
            count = sum(self.unused.get(id(value), 0) for value in module.parameters(recurse=False))
            if count:
                yield Layer(path=path, kind=type(module).__name__, parameters=count, idle=True)


class _Hooks:
    """Keeps the recorder's stack of running modules."""

    def __init__(self, recorder: _Recorder) -> None:
        self.recorder = recorder
        self.handles: list[Any] = []

    def __enter__(self) -> None:
        for path, module in self.recorder.network.named_modules():
            if path:
                self.handles.append(module.register_forward_pre_hook(self._enter(path)))
                self.handles.append(module.register_forward_hook(self._leave))

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _enter(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, _: Any) -> None:
            self.recorder.calls += 1
            self.recorder.stack.append((path, module, self.recorder.calls))

        return hook

    def _leave(self, *_: Any) -> None:
        self.recorder.stack.pop()


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, tuple | list):
        for value in values:
            yield from _tensors(value)


def _argument(args: Sequence[Any], given: Mapping[str, Any], place: int, name: str, default: Any) -> Any:
    return args[place] if len(args) > place else given.get(name, default)


def _per_axis(value: Any, ndim: int) -> tuple[int, ...]:
    numbers = tuple(int(v) for v in value) if isinstance(value, tuple | list) else (int(value),)
    return numbers if len(numbers) == ndim else numbers * ndim


def _stride(name: str, args: Sequence[Any], given: Mapping[str, Any], ndim: int) -> tuple[int, ...]:
    """The stride of a convolution, a pooling, or the inverse of either."""
    if name in _CONVOLUTIONS or name in _TRANSPOSED:
        return _per_axis(_argument(args, given, 3, "stride", 1), ndim)
    kernel = 2 if name in _UNPOOLS else 1
    stated = _argument(args, given, kernel + 1, "stride", None)
    return _per_axis(stated or _argument(args, given, kernel, "kernel_size", 1), ndim)


def _next_scale(
    name: str,
    args: Sequence[Any],
    given: Mapping[str, Any],
    scale: Scale,
    before: tuple[int, ...],
    after: tuple[int, ...],
) -> Scale:
    """The scale of what a function gives. Sizes alone do not determine it: unpadded convolutions shrink them too."""
    if name in _CONVOLUTIONS or name in _POOLS:
        return tuple(a * b for a, b in zip(scale, _stride(name, args, given, len(scale)), strict=True))
    if name in _TRANSPOSED or name in _UNPOOLS:
        return tuple(a / b for a, b in zip(scale, _stride(name, args, given, len(scale)), strict=True))
    strided = name == "__getitem__" and any(isinstance(part, slice) and part.step for part in _parts(args[1]))
    if (name in _SCALING or strided) and len(before) == len(after) == len(scale):
        return tuple(a * _ratio(b, c) for a, b, c in zip(scale, before, after, strict=True))
    return scale


def _channels_last(name: str, args: Sequence[Any], before: bool, ndim: int) -> bool:
    """Whether the channels of what a function gives are its last axis."""
    if name in ("linear", "layer_norm"):
        return True
    if name in _HEAVY - _PRODUCTS:
        return False
    if name == "permute":
        order = args[1] if isinstance(args[1], tuple | list) else args[1:]
        if len(order) == 2 + ndim:
            return bool(order[-1] == 1 or (before and order[1] != ndim + 1))
    return before


def _parts(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _ratio(before: int, after: int) -> Fraction:
    """By what whole number, or part of one, a side has become shorter."""
    return Fraction(max(1, round(before / after))) if before >= after else Fraction(1, max(1, round(after / before)))


def _fill(row: _Row, name: str, args: Sequence[Any], given: Mapping[str, Any], made: Tensor) -> None:
    """Kernel, stride, dilation, groups and FLOP of a convolution or pooling."""
    ndim = len(row.scale)
    if name in _POOLS or name in _UNPOOLS:
        row.kernel = _per_axis(_argument(args, given, 2 if name in _UNPOOLS else 1, "kernel_size", 1), ndim)
        row.stride = _stride(name, args, given, ndim)
    elif name in _CONVOLUTIONS or name in _TRANSPOSED:
        transposed = name in _TRANSPOSED
        weight = _argument(args, given, 1, "weight", None)
        row.kernel = tuple(weight.shape[2:])
        row.stride = _stride(name, args, given, ndim)
        row.dilation = _per_axis(_argument(args, given, 7 if transposed else 5, "dilation", 1), ndim)
        row.groups = int(_argument(args, given, 6, "groups", 1))
        moved = _argument(args, given, 0, "input", None) if transposed else made
        row.conv_flop += 2 * weight.numel() // weight.shape[0] * math.prod(moved.shape)
