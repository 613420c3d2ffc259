"""Rules for functions that join, cut and turn maps without computing anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cristae.inference.influence.spans import Call, Field, Rule, Span, untouched


def _joined(call: Call) -> Sequence[Field]:
    options = call.bind("tensors", "dim")
    maps: Sequence[Tensor] = options["tensors"]
    fields = [call.field(tensor) for tensor in maps]
    dim = options.get("dim", 0) % call.outputs[0].ndim
    stacked = call.name == "stack"
    total: list[Span | None] = list(fields[0])
    for tensor, field in zip(maps, fields, strict=True):
        for place, (one, other) in enumerate(zip(total, field, strict=True)):
            if place == dim and not stacked:
                if other is not None:
                    raise call.refusal("along an axis of the image")
                continue
            if (one is None) != (other is None) and tensor.shape[place] != 1:
                raise call.refusal("with a map of its own, which belongs to one size of the image")
            if one is not None and other is not None and (one.axis != other.axis or len(one) != len(other)):
                raise call.refusal("on maps that do not lie on each other")
            total[place] = one.hull(other) if one is not None and other is not None else one or other
    if stacked:
        total.insert(dim, None)
    return [tuple(total)]


def _indexed(call: Call) -> Sequence[Field]:
    tensor, index = call.args
    parts = list(index) if isinstance(index, tuple) else [index]
    taken = sum(part is not None and part is not Ellipsis for part in parts)
    place = next((at for at, part in enumerate(parts) if part is Ellipsis), len(parts))
    parts[place : place + 1] = [slice(None)] * (tensor.ndim - taken)
    left = list(call.main)
    found: list[Span | None] = []
    for part in parts:
        if part is None:
            found.append(None)
            continue
        span = left.pop(0)
        if isinstance(part, slice):
            found.append(None if span is None else span.take(np.arange(len(span))[part]))
        elif span is not None or not isinstance(part, int):
            raise call.refusal("for something else than slices")
    return [tuple(found)]


def _narrowed(call: Call) -> Sequence[Field]:
    options = call.bind("input", "dim", "start", "length")
    field, dim = list(call.main), options["dim"]
    span, start = field[dim], int(options["start"])
    if span is not None:
        field[dim] = span.take(np.arange(start, start + int(options["length"])))
    return [tuple(field)]


def _parts(call: Call) -> Sequence[Field]:
    """`chunk` and `split`, along an axis of the image too."""
    options = call.bind("input", "how", "dim")
    dim, field = options.get("dim", 0), call.main
    found, start = [], 0
    for output in call.outputs:
        length = output.shape[dim]
        span = field[dim]
        part = list(field)
        part[dim] = None if span is None else span.take(np.arange(start, start + length))
        found.append(tuple(part))
        start += length
    return found


def _dropped(call: Call) -> Sequence[Field]:
    """`select` and `unbind`: one dimension less."""
    dim = call.bind("input", "dim").get("dim", 0)
    field = list(untouched(call, dim))
    del field[dim]
    return [tuple(field)] * len(call.outputs)


def _turned(call: Call) -> Sequence[Field]:
    """`permute`, `transpose` and their like, found out by turning a small stand-in."""
    field = call.main
    names = torch.empty([2 + dim for dim in range(len(field))], device="meta")
    turned = getattr(torch, call.name)(names, *_flat(call), **_without_input(call))
    return [tuple(field[side - 2] for side in turned.shape)]


def _flat(call: Call) -> tuple[Any, ...]:
    given = call.args[1:]
    return (given,) if call.name == "permute" and given and isinstance(given[0], int) else given


def _without_input(call: Call) -> dict[str, Any]:
    return {name: value for name, value in call.given.items() if name != "input"}


def _unsqueezed(call: Call) -> Sequence[Field]:
    dim = call.bind("input", "dim")["dim"] % call.outputs[0].ndim
    field = list(call.main)
    field.insert(dim, None)
    return [tuple(field)]


def _reshaped(call: Call) -> Sequence[Field]:
    """Dimensions that are axes of the image must stay as they are, at the end; those before may be joined and split."""
    (tensor, *_), (output,) = call.tensors, call.outputs
    field = call.main
    first = next((dim for dim, span in enumerate(field) if span is not None), len(field))
    kept = len(field) - first
    if output.ndim < kept or tensor.shape[first:] != output.shape[output.ndim - kept :]:
        raise call.refusal("across the axes of the image")
    return [((None,) * (output.ndim - kept)) + field[first:]]


def _expanded(call: Call) -> Sequence[Field]:
    (output,) = call.outputs
    field = (None,) * (output.ndim - len(call.main)) + call.main
    for span, side in zip(field, output.shape, strict=True):
        if span is not None and len(span) != side:
            raise call.refusal("to spread one value over the image")
    return [field]


RULES: dict[str, Rule] = {
    **dict.fromkeys(("cat", "concat", "concatenate", "stack"), _joined),
    "getitem": _indexed,
    "narrow": _narrowed,
    **dict.fromkeys(("chunk", "split"), _parts),
    **dict.fromkeys(("select", "unbind"), _dropped),
    **dict.fromkeys(("permute", "transpose", "swapaxes", "movedim", "moveaxis"), _turned),
    "unsqueeze": _unsqueezed,
    **dict.fromkeys(("reshape", "view", "flatten", "unflatten", "squeeze"), _reshaped),
    **dict.fromkeys(("expand", "expand_as", "repeat"), _expanded),
}
