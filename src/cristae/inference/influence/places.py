"""Rules for functions that join neighbouring places: convolution, pooling, enlargement, padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from cristae.inference.influence.spans import Call, Field, Rule, Span

_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
_MAX_POOL = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_AVG_POOL = ("input", "kernel_size", "stride", "padding", "ceil_mode")


def windows(span: Span, size: int, *, kernel: int, stride: int, padding: int, dilation: int) -> Span:
    """What `size` positions depend on that each combine `kernel` taps, of which the first starts `padding` before."""
    starts = np.arange(size) * stride - padding
    found = span.take(starts)
    for tap in range(1, kernel):
        found = found.hull(span.take(starts + tap * dilation))
    return found


def spread(span: Span, size: int, *, kernel: int, stride: int, padding: int, dilation: int) -> Span:
    """The transposed: every position is added to `kernel` places of a map of `size`."""
    total = Span.nothing(span.axis, size)
    for tap in range(kernel):
        at = np.arange(len(span)) * stride - padding + tap * dilation
        inside = (at >= 0) & (at < size)
        total.first[at[inside]] = np.minimum(total.first[at[inside]], span.first[inside])
        total.last[at[inside]] = np.maximum(total.last[at[inside]], span.last[inside])
    return total


def _along_axes(call: Call, field: Field, ndim: int, change: Callable[[int, Span, int], Span]) -> Field:
    """The field after a change of the last `ndim` dimensions; `change` takes place, span and the new side."""
    if field[-ndim - 1] is not None:
        raise call.refusal("on channels that are an axis of the image")
    sides = call.outputs[0].shape[-ndim:]
    changed = [
        None if span is None else change(place, span, int(sides[place])) for place, span in enumerate(field[-ndim:])
    ]
    return (*field[:-ndim], *changed)


def _each(value: Any, ndim: int) -> Sequence[int]:
    """A setting for each axis, from one or from one each."""
    values = list(value) if isinstance(value, tuple | list) else [value]
    return values * ndim if len(values) == 1 else values


def _convolution(call: Call) -> Sequence[Field]:
    turned = "transpose" in call.name
    options = call.bind(*(_TRANSPOSED if turned else _CONV))
    weight: Tensor = options["weight"]
    ndim = weight.ndim - 2
    stride, dilation = _each(options.get("stride", 1), ndim), _each(options.get("dilation", 1), ndim)
    padding = options.get("padding", 0)

    def change(place: int, span: Span, side: int) -> Span:
        kernel, step = int(weight.shape[2 + place]), dilation[place]
        if isinstance(padding, str):
            before = step * (kernel - 1) // 2 if padding == "same" else 0
        else:
            before = _each(padding, ndim)[place]
        call.note_kernel(span.axis, (kernel - 1) * step + 1, side if turned else len(span))
        function = spread if turned else windows
        return function(span, side, kernel=kernel, stride=stride[place], padding=before, dilation=step)

    return [_along_axes(call, call.main, ndim, change)]


def _pooling(call: Call) -> Sequence[Field]:
    options = call.bind(*(_MAX_POOL if "max" in call.name else _AVG_POOL))
    ndim = int(call.name.split("pool")[1][0])
    kernel = _each(options["kernel_size"], ndim)
    stride = _each(options.get("stride") or kernel, ndim)
    padding, dilation = _each(options.get("padding", 0), ndim), _each(options.get("dilation", 1), ndim)

    def change(place: int, span: Span, side: int) -> Span:
        call.note_kernel(span.axis, (kernel[place] - 1) * dilation[place] + 1, len(span))
        return windows(
            span, side, kernel=kernel[place], stride=stride[place], padding=padding[place], dilation=dilation[place]
        )

    return [_along_axes(call, call.main, ndim, change)] * len(call.outputs)


def _unpooling(call: Call) -> Sequence[Field]:
    """A value goes back to the place, within the cell that it came from, where it was the largest."""
    options = call.bind("input", "indices", "kernel_size", "stride", "padding")
    ndim = int(call.name.split("unpool")[1][0])
    kernel = _each(options["kernel_size"], ndim)
    stride = _each(options.get("stride") or kernel, ndim)
    padding = _each(options.get("padding", 0), ndim)
    indices = call.field(options["indices"])
    places = iter(indices[-ndim:])

    def change(place: int, span: Span, side: int) -> Span:
        index = next(places)
        if index is None or index.axis != span.axis or len(index) != len(span):
            raise call.refusal("with places that do not belong to the map")
        cell = span.hull(index)
        return spread(cell, side, kernel=kernel[place], stride=stride[place], padding=padding[place], dilation=1)

    return [_along_axes(call, call.field(options["input"]), ndim, change)]


def _interpolation(call: Call) -> Sequence[Field]:
    options = call.bind("input", "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias")
    mode = options.get("mode", "nearest")
    if options.get("align_corners"):
        raise call.refusal("with align_corners, which depends on the size of the image")
    if mode == "area" or options.get("antialias"):
        raise call.refusal(f"in a way that is not analysed ({'antialias' if options.get('antialias') else mode})")

    def change(_: int, span: Span, side: int) -> Span:
        up, down = side % len(span) == 0, len(span) % side == 0
        if not (up or down):
            raise call.refusal("by a factor that is not whole, which depends on the size of the image")
        # In units of 1 / (2 side): the centre of a position, on the grid that it is taken from.
        doubled = (2 * np.arange(side) + 1) * len(span)
        if mode == "nearest":
            return span.take(np.arange(side) * len(span) // side)
        if mode == "nearest-exact":
            return span.take(doubled // (2 * side))
        if side == len(span):
            return span
        below, on_a_voxel = (doubled - side) // (2 * side), (doubled - side) % (2 * side) == 0
        taps = range(-1, 3) if mode == "bicubic" else range(2)
        call.note_kernel(span.axis, len(taps) + 1, len(span))
        # Rounding may put a centre that lies on a voxel just before it.
        found = span.take((below + taps[0] - on_a_voxel).clip(0, len(span) - 1))
        for tap in taps:
            found = found.hull(span.take((below + tap).clip(0, len(span) - 1)))
        return found

    ndim = len(call.main) - 2
    return [_along_axes(call, call.main, ndim, change)]


def _padding(call: Call) -> Sequence[Field]:
    options = call.bind("input", "pad", "mode", "value")
    mode, amounts = options.get("mode", "constant"), options["pad"]
    field = list(call.main)
    for back in range(1, len(amounts) // 2 + 1):
        span, side = field[-back], int(call.outputs[0].shape[-back])
        if span is None:
            continue
        at = np.arange(side) - int(amounts[2 * back - 2])
        if mode == "circular":
            raise call.refusal("to continue with the opposite side of the image")
        if mode == "replicate":
            at = at.clip(0, len(span) - 1)
        elif mode == "reflect":
            at = np.abs(at)
            at = np.where(at >= len(span), 2 * (len(span) - 1) - at, at)
        field[-back] = span.take(at)
    return [tuple(field)]


def _pixel_shuffle(call: Call) -> Sequence[Field]:
    def change(_: int, span: Span, side: int) -> Span:
        if side >= len(span):
            return span.take(np.arange(side) * len(span) // side)
        factor = len(span) // side
        return windows(span, side, kernel=factor, stride=factor, padding=0, dilation=1)

    return [_along_axes(call, call.main, 2, change)]


RULES: dict[str, Rule] = {
    **{f"conv{kind}{n}d": _convolution for kind in ("", "_transpose") for n in "123"},
    **{f"max_pool{n}d{more}": _pooling for n in "123" for more in ("", "_with_indices")},
    **{f"avg_pool{n}d": _pooling for n in "123"},
    **{f"max_unpool{n}d": _unpooling for n in "123"},
    **dict.fromkeys(("interpolate", "upsample"), _interpolation),
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle"), _pixel_shuffle),
    "pad": _padding,
}
