"""PyTorch's operators as operations on rows, by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._pytree import tree_map

from cristae.inference.streaming.recording import NotStreamableError, Operation
from cristae.inference.streaming.rows import (
    Enlarged,
    Pointwise,
    PoolingPlaces,
    RowOperation,
    Shifted,
    Spread,
    Unpooling,
    Window,
    Windowed,
    unchanged,
)

_LOWEST = float("-inf")


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution with its weights, transposed or not."""

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]
    groups: int

    def __call__(self, image: Tensor) -> Tensor:
        """(B, C, *S) to (B, K, *T)."""
        found: Tensor = torch.convolution(
            image,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.transposed,
            self.output_padding,
            self.groups,
        )
        return found


@dataclass(frozen=True, eq=False)
class Normalization:
    """A batch normalisation with the statistics of training."""

    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor
    variance: Tensor
    eps: float

    def __call__(self, image: Tensor) -> Tensor:
        """(B, C, *S), normalised channel by channel."""
        return functional.batch_norm(image, self.mean, self.variance, self.weight, self.bias, False, 0.0, self.eps)

    def folded_into(self, convolution: Convolution) -> Convolution:
        """The convolution that gives what both give one after the other."""
        scale = torch.rsqrt(self.variance.double() + self.eps)
        if self.weight is not None:
            scale = scale * self.weight.double()
        before = 0.0 if convolution.bias is None else convolution.bias.double()
        bias = (before - self.mean.double()) * scale
        if self.bias is not None:
            bias = bias + self.bias.double()
        weight = convolution.weight.double()
        if convolution.transposed:  # (in, out / groups, *kernel)
            groups = convolution.groups
            each = weight.reshape(groups, -1, *weight.shape[1:])
            by_channel = scale.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
            weight = (each * by_channel).reshape(weight.shape)
        else:
            weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
        kind = convolution.weight.dtype
        return replace(convolution, weight=weight.to(kind, memory_format=torch.preserve_format), bias=bias.to(kind))


class _Call:
    """An operation of the network, on whose feature maps the rows have a place."""

    def __init__(self, operation: Operation, part: int, dim: int, constants: Mapping[int, Tensor]) -> None:
        self.operation = operation
        self.part = part
        self.dim = dim
        self.constants = constants
        self.maps = [one for one in operation.tensors if id(one) not in constants]

    @property
    def name(self) -> str:
        return self.operation.name

    @property
    def shape(self) -> torch.Size:
        """Of its output."""
        return self.operation.results[self.part].shape

    @property
    def length(self) -> int:
        """Rows of its first feature map."""
        return int(self.maps[0].shape[self.dim])

    @property
    def place(self) -> int:
        """Of the rows among the axes of the image, in maps (B, C, *S)."""
        return self.maps[0].ndim - 2 + self.dim

    def argument(self, place: int, default: Any = None) -> Any:
        """An argument by its place, with its value where it is a constant."""
        args = self.operation.args
        return self.value(args[place]) if place < len(args) else default

    def value(self, given: Any) -> Any:
        return self.constants.get(id(given), given) if isinstance(given, Tensor) else given

    def sizes(self, place: int, default: int) -> tuple[int, ...]:
        """An argument that is one number for each axis of the image, or one for all."""
        values = list(self.argument(place) or ())
        ndim = self.maps[0].ndim - 2
        return tuple(int(one) for one in (values or [default]) * (1 if len(values) == ndim else ndim))

    def axis(self, place: int, default: int = 0) -> int:
        """An argument that is a dimension, counted from behind."""
        return int(self.argument(place, default)) % self.maps[0].ndim - self.maps[0].ndim

    def function(self) -> Callable[..., Tensor]:
        """The operation itself, of its feature maps in their order."""
        operation, part, order = self.operation, self.part, {id(one): place for place, one in enumerate(self.maps)}

        def run(*given: Tensor) -> Tensor:
            def known(value: Any) -> Any:
                if not isinstance(value, Tensor):
                    return value
                return given[order[id(value)]] if id(value) in order else self.constants[id(value)]

            args, kwargs = tree_map(known, (operation.args, dict(operation.kwargs)))
            found = operation.function(*args, **kwargs)
            return found[part] if operation.several else found  # type: ignore[no-any-return]

        return run

    def refusal(self, why: str) -> NotStreamableError:
        return NotStreamableError(f"it uses '{self.name}' {why}")


def operation_on_rows(operation: Operation, part: int, dim: int, constants: Mapping[int, Tensor]) -> RowOperation:
    """An operator of PyTorch as an operation on rows.

    Args:
        operation: What is done.
        part: Which of its results is used.
        dim: Of the rows in its feature maps and its result, counted from behind.
        constants: Values of the tensors, by their ids, that do not depend on the image.

    Raises:
        NotStreamableError: It is not known.
    """
    call = _Call(operation, part, dim, constants)
    rule = _RULES.get(call.name)
    if rule is None:
        raise call.refusal("which is not known row by row")
    return rule(call)


def _pointwise(call: _Call) -> RowOperation:
    """Element by element; constants and other maps may be spread over an axis, but not have rows of their own."""
    rows = call.shape[call.dim]
    for one in call.operation.tensors:
        own = one.shape[call.dim] if one.ndim >= -call.dim else 1
        if own != (1 if id(one) in call.constants else rows):
            raise call.refusal("with rows of another number")
    if call.name == "relu":
        return Pointwise(torch.relu)
    return Pointwise(call.function())


def _normalization(call: _Call) -> RowOperation:
    weight, bias, mean, variance, *rest, _, eps = (call.value(one) for one in call.operation.args[1:])
    if (rest and rest[0]) or mean is None or variance is None:
        raise call.refusal("with the statistics of the image")
    if call.place < 0:
        raise call.refusal("over channels that are rows")
    return Pointwise(Normalization(weight, bias, mean, variance, float(eps)))


def _joined(call: _Call) -> RowOperation:
    if call.axis(1) == call.dim:
        raise call.refusal("along the rows")
    return Pointwise(call.function())


def _along(call: _Call) -> RowOperation:
    """Functions of one axis that is not that of the rows: softmax, split."""
    if call.axis(2 if "split" in call.name else 1) == call.dim:
        raise call.refusal("along the rows")
    return Pointwise(call.function())


def _sliced(call: _Call) -> RowOperation:
    if call.axis(1) != call.dim:
        return Pointwise(call.function())
    start, step = call.argument(2) or 0, call.argument(4, 1)
    if step != 1:
        raise call.refusal("with steps along the rows")
    start = max(0, start + call.length) if start < 0 else start
    return Shifted(start, call.length, call.dim, 0.0, unchanged)


def _padded(call: _Call) -> RowOperation:
    amounts, value = list(call.argument(1)), float(call.argument(2, 0.0))
    place = 2 * (-call.dim - 1)
    if place >= len(amounts):
        return Pointwise(call.function())
    start = -int(amounts[place])
    amounts[place] = amounts[place + 1] = 0
    others = partial(functional.pad, pad=amounts, value=value) if any(amounts) else unchanged
    return Shifted(start, call.length, call.dim, value, others)


def _convolution(call: _Call) -> RowOperation:
    weight, bias = call.argument(1), call.argument(2)
    if not isinstance(weight, Tensor):
        raise call.refusal("with weights that depend on the image")
    place = call.place
    if place < 0:
        raise call.refusal("over channels that are rows")
    stride, padding, dilation = call.sizes(3, 1), call.sizes(4, 0), call.sizes(5, 1)
    transposed, extra, groups = call.argument(6), call.sizes(7, 0), int(call.argument(8))
    window = Window(int(weight.shape[2 + place]), stride[place], padding[place], dilation[place])
    inside, without = _without(padding, place), _without(extra, place)
    layer = Convolution(weight, bias, stride, inside, dilation, bool(transposed), without, groups)
    if not transposed:
        return Windowed(window, call.length, call.dim, 0.0, layer)
    if (window.kernel - 1) * window.dilation + 1 < window.stride:
        raise call.refusal("with gaps between the rows that it makes")
    return Spread(window, call.length, call.dim, layer)


def _pooling(call: _Call) -> RowOperation:
    largest, place = "max" in call.name, call.place
    kernel, padding = call.sizes(1, 1), call.sizes(3, 0)
    stride = call.sizes(2, 1) if call.argument(2) else kernel
    dilation = call.sizes(4, 1) if largest else (1,) * len(kernel)
    ceil = bool(call.argument(5 if largest else 4, False))
    window = Window(kernel[place], stride[place], padding[place], dilation[place])
    pool = getattr(functional, call.name.removesuffix("_with_indices"))
    more = {"dilation": dilation} if largest else {}
    without = _without(padding, place)
    function = partial(pool, kernel_size=kernel, stride=stride, padding=without, ceil_mode=ceil, **more)
    if not largest and (padding[place] or ceil):
        raise call.refusal("with padding along the rows")
    pooling = Windowed(window, call.length, call.dim, _LOWEST if largest else 0.0, function)
    if not call.part:
        return pooling
    if call.dim != -2 or window != Window(window.kernel, window.kernel):
        raise call.refusal("whose places overlap")
    places = replace(pooling, function=lambda image: function(image, return_indices=True)[1])
    return PoolingPlaces(places, int(call.maps[0].shape[-1]))


def _unpooling(call: _Call) -> RowOperation:
    rows, width = call.shape[-2:]
    if call.dim != -2 or rows % call.length:
        raise call.refusal("to a size that is no multiple")
    return Unpooling(rows // call.length, int(width))


def _enlarged(call: _Call) -> RowOperation:
    shape, before = call.shape, call.length
    mode = call.name.removeprefix("upsample_").removesuffix("2d").removesuffix("3d").removesuffix("1d")
    linear = mode in ("bilinear", "trilinear", "linear")
    if shape[call.dim] % before or (linear and call.argument(2)) or not (linear or mode == "nearest"):
        raise call.refusal("in a way that depends on the size of the image")
    others, place = list(shape[2:]), call.dim

    def run(image: Tensor, rows: int) -> Tensor:
        size = list(others)
        size[place] = rows
        corners = {"align_corners": False} if linear else {}
        return functional.interpolate(image, size=size, mode=mode, **corners)

    return Enlarged(shape[call.dim] // before, call.dim, linear, run)


def _without(values: tuple[int, ...], place: int) -> tuple[int, ...]:
    return (*values[:place], 0, *values[place + 1 :])


# fmt: off
_POINTWISE = (
    "_prelu_kernel", "_to_copy", "abs", "add", "addcdiv", "addcmul", "alias", "celu",
    "clamp", "clamp_max", "clamp_min", "clone", "detach", "div", "elu", "exp",
    "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log", "maximum", "minimum",
    "mish", "mul", "neg", "pow", "prelu", "relu", "rsqrt", "rsub",
    "selu", "sigmoid", "silu", "softplus", "sqrt", "sub", "tanh", "where",
)
# fmt: on
_RULES: dict[str, Callable[[_Call], RowOperation]] = {
    **dict.fromkeys(_POINTWISE, _pointwise),
    **dict.fromkeys(("native_batch_norm", "_native_batch_norm_legit_no_training"), _normalization),
    **dict.fromkeys(("_softmax", "_log_softmax", "split", "split_with_sizes"), _along),
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d"), _pooling),
    **{f"upsample_{mode}": _enlarged for mode in ("nearest2d", "nearest3d", "bilinear2d", "trilinear3d")},
    "cat": _joined,
    "slice": _sliced,
    "constant_pad_nd": _padded,
    "convolution": _convolution,
    "max_unpool2d": _unpooling,
}
