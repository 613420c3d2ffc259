"""How much memory a pass through a network takes, found on shapes alone where that is possible."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import cached_property

import torch

from cristae.data.box import Triple
from cristae.inference.arrays import ArrayModel
from cristae.inference.locality import Locality
from cristae.inference.memory import forward_bytes, live_bytes, measured_bytes
from cristae.inference.predictor import Member
from cristae.inference.streaming.recording import NotStreamableError
from cristae.inference.streaming.streamed import Streamed, rows_of_strip

_UNKNOWN_BYTES = 4096
"""Memory of a forward pass for each input voxel when it can be measured in no way."""
_MEASURED: dict[int, Triple] = {2: (1, 64, 64), 3: (16, 32, 32)}
"""Output of the pass that measures a network's memory where it does not run on shapes alone, by its axes."""
_WIDTH: dict[int, Triple] = {2: (1, 1, 256), 3: (1, 32, 32)}
"""Likewise of a streamed pass, whose length follows from its reach."""


class NetworkBytes:
    """Of one member. What is measured once is remembered."""

    def __init__(self, member: Member, *, halves: bool) -> None:
        self._member = member
        self._halves = halves
        self._strips: dict[int, float] = {}

    @cached_property
    def per_vox(self) -> float:
        """Peak bytes of a whole pass for each voxel of a slice or volume: from a pass on shapes alone, or a small real
        one for code that depends on values."""
        member = self._member
        if isinstance(member.network, ArrayModel):
            return member.network.bytes_per_vox
        where = member.locality
        if member.windows is not None:
            output = member.windows.size
        else:
            wished = (1, 256, 256) if where.ndim == 2 else (64, 64, 64)
            output = _good(where, wished)
        with suppress(Exception):  # a network is anyone's code, and may fail on shapes alone
            shape = member.input_shape(output)
            return forward_bytes(member.network, shape, halves=self._halves) / math.prod(shape[2:])
        least = _triple([min(pair) for pair in zip(output, _MEASURED[where.ndim], strict=True)])
        for size in (_good(where, least), output):
            with suppress(Exception):  # it may take no images but those of its windows
                shape = member.input_shape(size)
                return measured_bytes(member.network, shape) / math.prod(shape[2:])
        return _UNKNOWN_BYTES

    def streamed(self, given: Triple, strip_vox: int) -> float | None:
        """Bytes of a pass that streams an image of this shape (z, y, x), besides those of image and result; None where
        it is not streamed."""
        member, ndim = self._member, self._member.locality.ndim
        shape = (1, 1, *given[3 - ndim :])
        rows = rows_of_strip(shape, strip_vox, member.locality.stride[-ndim])
        if rows is None or member.windows is not None or isinstance(member.network, ArrayModel) or self._halves:
            return None
        if rows not in self._strips:
            self._strips[rows] = self._of_strips(rows)
        if math.isinf(self._strips[rows]):
            return None
        return self._strips[rows] * math.prod(shape[3:])

    def _of_strips(self, rows: int) -> float:
        """Peak bytes, besides those of its input and output, for each voxel of one row."""
        member, where = self._member, self._member.locality
        axis = 3 - where.ndim
        sides = list(_WIDTH[where.ndim])
        sides[axis] = 4 * (where.reach[axis] + rows)
        shape = member.input_shape(_good(where, _triple(sides)))
        weights = dict(member.network.named_parameters()) | dict(member.network.named_buffers())
        shapes = {name: torch.empty_like(one, device="meta", requires_grad=False) for name, one in weights.items()}
        training = [module for module in member.network.modules() if module.training]
        member.network.eval()
        try:
            form = Streamed(member.network, shape, rows=rows, weights=shapes)
        except NotStreamableError:
            return math.inf
        finally:
            for module in training:
                module.training = True
        image = torch.empty(shape, device="meta")
        peak, result = live_bytes(form, image)
        ends = image.untyped_storage().nbytes() + result.untyped_storage().nbytes()
        return (peak - ends) / math.prod(shape[3:])


def _good(where: Locality, size: Triple) -> Triple:
    return _triple([where.good_side(axis, size[axis]) for axis in range(3)])


def _triple(values: list[int]) -> Triple:
    z, y, x = (int(value) for value in values)
    return z, y, x
