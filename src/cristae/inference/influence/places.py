"""Rules for functions that join neighbouring places: convolution, pooling, enlargement, padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from cristae.inference.influence.seen import Call, Field, Rule, Seen

_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
_MAX_POOL = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_AVG_POOL = ("input", "kernel_size", "stride", "padding", "ceil_mode")


def windows(seen: Seen, size: int, *, kernel: int, stride: int, padding: int, dilation: int) -> Seen:
    """What `size` positions depend on that each look at `kernel` taps, of which the first starts `padding` before."""
    starts = np.arange(size) * stride - padding
    found = seen.take(starts)
    for tap in range(1, kernel):
        found = found.hull(seen.take(starts + tap * dilation))
    return found


def spread(seen: Seen, size: int, *, kernel: int, stride: int, padding: int, dilation: int) -> Seen:
    """The transposed: every position is added to `kernel` places of a map of `size`."""
    total = Seen.nothing(seen.axis, size)
    for tap in range(kernel):
        at = np.arange(len(seen)) * stride - padding + tap * dilation
        inside = (at >= 0) & (at < size)
        total.first[at[inside]] = np.minimum(total.first[at[inside]], seen.first[inside])
        total.last[at[inside]] = np.maximum(total.last[at[inside]], seen.last[inside])
    return total


def _along_axes(call: Call, field: Field, ndim: int, change: Callable[[int, Seen, int], Seen]) -> Field:
    """The field after a change of the last `ndim` dimensions; `change` takes place, what is seen and the new side."""
    if field[-ndim - 1] is not None:
        raise call.refusal("on channels that are an axis of the image")
    sides = call.outputs[0].shape[-ndim:]
    changed = [
        None if seen is None else change(place, seen, int(sides[place])) for place, seen in enumerate(field[-ndim:])
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

    def change(place: int, seen: Seen, side: int) -> Seen:
        kernel, step = int(weight.shape[2 + place]), dilation[place]
        if isinstance(padding, str):
            before = step * (kernel - 1) // 2 if padding == "same" else 0
        else:
            before = _each(padding, ndim)[place]
        call.note_kernel(seen.axis, (kernel - 1) * step + 1, side if turned else len(seen))
        function = spread if turned else windows
        return function(seen, side, kernel=kernel, stride=stride[place], padding=before, dilation=step)

    return [_along_axes(call, call.main, ndim, change)]


def _pooling(call: Call) -> Sequence[Field]:
    options = call.bind(*(_MAX_POOL if "max" in call.name else _AVG_POOL))
    ndim = int(call.name.split("pool")[1][0])
    kernel = _each(options["kernel_size"], ndim)
    stride = _each(options.get("stride") or kernel, ndim)
    padding, dilation = _each(options.get("padding", 0), ndim), _each(options.get("dilation", 1), ndim)

    def change(place: int, seen: Seen, side: int) -> Seen:
        call.note_kernel(seen.axis, (kernel[place] - 1) * dilation[place] + 1, len(seen))
        return windows(
            seen, side, kernel=kernel[place], stride=stride[place], padding=padding[place], dilation=dilation[place]
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

    def change(place: int, seen: Seen, side: int) -> Seen:
        index = next(places)
        if index is None or index.axis != seen.axis or len(index) != len(seen):
            raise call.refusal("with places that do not belong to the map")
        cell = seen.hull(index)
        return spread(cell, side, kernel=kernel[place], stride=stride[place], padding=padding[place], dilation=1)

    return [_along_axes(call, call.field(options["input"]), ndim, change)]


def _interpolation(call: Call) -> Sequence[Field]:
    options = call.bind("input", "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias")
    mode = options.get("mode", "nearest")
    if options.get("align_corners"):
        raise call.refusal("with align_corners, which depends on the size of the image")
    if mode == "area" or options.get("antialias"):
        raise call.refusal(f"in a way that is not analysed ({'antialias' if options.get('antialias') else mode})")

    def change(_: int, seen: Seen, side: int) -> Seen:
        up, down = side % len(seen) == 0, len(seen) % side == 0
        if not (up or down):
            raise call.refusal("by a factor that is not whole, which depends on the size of the image")
        # In units of 1 / (2 side): the centre of a position, on the grid that it is taken from.
        doubled = (2 * np.arange(side) + 1) * len(seen)
        if mode == "nearest":
            return seen.take(np.arange(side) * len(seen) // side)
        if mode == "nearest-exact":
            return seen.take(doubled // (2 * side))
        if side == len(seen):
            return seen
        below, on_a_voxel = (doubled - side) // (2 * side), (doubled - side) % (2 * side) == 0
        taps = range(-1, 3) if mode == "bicubic" else range(2)
        call.note_kernel(seen.axis, len(taps) + 1, len(seen))
        # Rounding may put a centre that lies on a voxel just before it.
        found = seen.take((below + taps[0] - on_a_voxel).clip(0, len(seen) - 1))
        for tap in taps:
            found = found.hull(seen.take((below + tap).clip(0, len(seen) - 1)))
        return found

    ndim = len(call.main) - 2
    return [_along_axes(call, call.main, ndim, change)]


def _padding(call: Call) -> Sequence[Field]:
    options = call.bind("input", "pad", "mode", "value")
    mode, amounts = options.get("mode", "constant"), options["pad"]
    field = list(call.main)
    for back in range(1, len(amounts) // 2 + 1):
        seen, side = field[-back], int(call.outputs[0].shape[-back])
        if seen is None:
            continue
        at = np.arange(side) - int(amounts[2 * back - 2])
        if mode == "circular":
            raise call.refusal("to continue with the opposite side of the image")
        if mode == "replicate":
            at = at.clip(0, len(seen) - 1)
        elif mode == "reflect":
            at = np.abs(at)
            at = np.where(at >= len(seen), 2 * (len(seen) - 1) - at, at)
        field[-back] = seen.take(at)
    return [tuple(field)]


def _pixel_shuffle(call: Call) -> Sequence[Field]:
    def change(_: int, seen: Seen, side: int) -> Seen:
        if side >= len(seen):
            return seen.take(np.arange(side) * len(seen) // side)
        factor = len(seen) // side
        return windows(seen, side, kernel=factor, stride=factor, padding=0, dilation=1)

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
