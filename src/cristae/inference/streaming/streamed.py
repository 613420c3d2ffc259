"""A network that works its way along one axis of the image and keeps of each feature map only the rows that are still
needed: nothing is computed twice, and the memory of a pass does not grow with the length of the axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from cristae.inference.streaming.graph import IMAGE, Folded, Step, steps_of


def rows_of_strip(shape: Sequence[int], strip_vox: int, stride: int) -> int | None:
    """Rows of the output that a network makes at a time; None where one pass is as good.

    Args:
        shape: (B, C, *S) of the image.
        strip_vox: Voxels of an image that are wanted at a time; 0 for none.
        stride: Total stride of the network along the first of *S.
    """
    if strip_vox == 0 or math.prod(shape[2:]) <= 2 * strip_vox:
        return None
    return stride * max(1, strip_vox // math.prod(shape[3:]) // stride)


class Streamed(nn.Module):
    """Gives what its network gives in one pass, for images of one shape."""

    def __init__(
        self,
        network: nn.Module,
        shape: Sequence[int],
        *,
        rows: int,
        axis: int = 0,
        weights: Mapping[str, Tensor] | None = None,
        folded: Folded | None = None,
    ) -> None:
        """Follow the network.

        Args:
            network: In evaluation.
            shape: Shape (B, C, *S) of the images.
            rows: How many rows of the output are made at a time.
            axis: Which of *S to work along.
            weights: In place of the network's parameters and buffers.
            folded: What has been found for other shapes; weights are not held twice.

        Raises:
            NotStreamableError: The network does something that is not known along the rows.
        """
        super().__init__()
        own = dict(network.named_parameters()) | dict(network.named_buffers())
        self.shape = tuple(shape)
        self.rows = rows
        self._dim = axis + 2 - len(self.shape)
        self._steps = steps_of(network, own if weights is None else weights, shape, axis, folded)
        self._last_uses = _last_uses(self._steps)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, *S) to (B, K, *T)."""
        assert tuple(image.shape) == self.shape, "an image of the shape that the network was followed for"
        last = self._steps[-1]
        result: Tensor | None = None
        maps = {IMAGE: _Rows(image, self._dim), **{place: _Rows(None, self._dim) for place in range(len(self._steps))}}
        done = [0] * len(self._steps)
        while done[-1] < last.length:
            start, stop = done[-1], min(last.length, done[-1] + self.rows)
            wanted = self._wanted(done, stop)
            needed = self._needed(wanted)
            for place, step in enumerate(self._steps):
                if wanted[place] > done[place]:
                    maps[place].append(self._rows_of(step, maps, (done[place], wanted[place])))
                for source in self._last_uses[place]:
                    maps[source].drop(needed[source])
            found = maps[len(self._steps) - 1].take(start, stop)
            if result is None:
                shape = list(found.shape)
                shape[self._dim] = last.length
                result = found.new_empty(shape)
            result.narrow(self._dim, start, stop - start).copy_(found)
            maps[len(self._steps) - 1].drop(stop)
            done = wanted
        assert result is not None, "an image has rows"
        return result

    def _wanted(self, done: Sequence[int], stop: int) -> list[int]:
        """How far each step has to come so that the last one comes to `stop`."""
        wanted = list(done)
        wanted[-1] = stop
        for place in range(len(self._steps) - 1, -1, -1):
            step = self._steps[place]
            if wanted[place] > done[place]:
                _, high = step.operation.needs((done[place], wanted[place]))
                for source in step.inputs:
                    if source != IMAGE:  # one row at least, for the shape of rows that are all padding
                        wanted[source] = max(wanted[source], min(max(high, 1), self._steps[source].length))
        return wanted

    def _needed(self, done: Sequence[int]) -> list[int]:
        """The first row of each step that is needed for what comes after `done`."""
        first = [step.length for step in self._steps]
        for place, step in enumerate(self._steps):
            if done[place] < step.length:
                low, _ = step.operation.needs((done[place], done[place] + 1))
                for source in step.inputs:
                    if source != IMAGE:
                        first[source] = min(first[source], max(0, low))
        return first

    def _rows_of(self, step: Step, maps: Mapping[int, _Rows], rows: tuple[int, int]) -> Tensor:
        low, high = step.operation.needs(rows)
        source = step.inputs[0]
        length = self.shape[self._dim] if source == IMAGE else self._steps[source].length
        low = min(max(low, 0), length)
        given = [maps[one].take(low, max(low, min(high, length))) for one in step.inputs]
        found = step.run(given, low, rows)
        # A view, as of a crop, would change when the buffer that it looks at is used again.
        return found.clone() if _memory(found) in [_memory(one) for one in given] else found


class _Rows:
    """The rows of a feature map that are still needed, in a buffer that is used again and again."""

    def __init__(self, values: Tensor | None, dim: int) -> None:
        self._values = values
        """Rows that have been made and not dropped; maybe a part of the buffer."""
        self._first = 0
        self._dim = dim
        self._buffer: Tensor | None = None

    def append(self, rows: Tensor) -> None:
        """Take rows that follow those that are there."""
        old, self._values = self._values, rows
        if old is None or old.shape[self._dim] == 0:
            return
        before, new = old.shape[self._dim], rows.shape[self._dim]
        room = self._room(rows, before + new)
        # Where none were dropped since, the old rows lie at the beginning of the buffer already.
        if old.data_ptr() != room.data_ptr():
            room.narrow(self._dim, 0, before).copy_(old)
        room.narrow(self._dim, before, new).copy_(rows)
        self._values = room

    def take(self, start: int, stop: int) -> Tensor:
        """Some of them."""
        assert self._values is not None, "rows that have been made"
        assert self._first <= start, "rows that have not been dropped"
        return self._values.narrow(self._dim, start - self._first, stop - start)

    def drop(self, before: int) -> None:
        """Forget the rows before one."""
        if self._values is None or before <= self._first:
            return
        made = self._values.shape[self._dim]
        gone = min(made, before - self._first)
        left = self._values.narrow(self._dim, gone, made - gone)
        # The rest is copied, since a part of it would keep all of it in memory.
        self._values = left.clone()
        self._first += gone

    def _room(self, like: Tensor, count: int) -> Tensor:
        if self._buffer is None or self._buffer.shape[self._dim] < count:
            shape = list(like.shape)
            shape[self._dim] = count
            self._buffer = torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=_format_of(like))
        return self._buffer.narrow(self._dim, 0, count)


def _memory(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _format_of(like: Tensor) -> torch.memory_format:
    for ndim, found in ((4, torch.channels_last), (5, torch.channels_last_3d)):
        if like.ndim == ndim and like.is_contiguous(memory_format=found) and not like.is_contiguous():
            return found
    return torch.contiguous_format


def _last_uses(steps: Sequence[Step]) -> list[list[int]]:
    """For each step, the earlier ones that no later step takes rows of."""
    last = {source: place for place, step in enumerate(steps) for source in step.inputs if source != IMAGE}
    return [[source for source, user in last.items() if user == place] for place in range(len(steps))]
