"""A network that works its way along one axis of the image and keeps of each feature map only the rows that are still
needed: nothing is computed twice, and the memory of a pass does not grow with the length of the axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from cristae.inference.streaming.graph import Step, steps_of


class Streamed(nn.Module):
    """Gives what its network gives in one pass, for images of one shape."""

    def __init__(
        self,
        network: nn.Module,
        shape: Sequence[int],
        *,
        axis: int,
        rows: int,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Follow the network.

        Args:
            network: In evaluation.
            shape: Shape (B, C, *S) of the images.
            axis: Which of *S to work along.
            rows: How many rows of the output are made at a time.
            weights: In place of the network's parameters and buffers.

        Raises:
            NotStreamableError: The network does something that is not known along the rows.
        """
        super().__init__()
        own = dict(network.named_parameters()) | dict(network.named_buffers())
        self.shape = tuple(shape)
        self.rows = rows
        self._steps = steps_of(network, own if weights is None else weights, shape, axis)
        self._image_rows = self.shape[2 + axis]
        self._image_dim = axis + 2 - len(self.shape)
        self._last_use = _last_uses(self._steps)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, *S) to (B, K, *T)."""
        assert tuple(image.shape) == self.shape, "an image of the shape that the network was followed for"
        last = self._steps[-1]
        result: Tensor | None = None
        done = [0] * len(self._steps)
        kept = [_Kept(image, 0, self._image_dim), *(_Kept(None, 0, step.dim) for step in self._steps)]
        while done[-1] < last.length:
            start, stop = done[-1], min(last.length, done[-1] + self.rows)
            wanted = self._wanted(done, stop)
            still = self._still_needed(wanted)
            for place, step in enumerate(self._steps):
                if wanted[place] > done[place]:
                    kept[place + 1].append(self._rows_of(step, kept, (done[place], wanted[place])))
                    done[place] = wanted[place]
                for source in self._last_use[place]:
                    if source >= 0:
                        kept[source + 1].drop(still[source])
            found = kept[-1].take(start, stop)
            if result is None:
                shape = list(found.shape)
                shape[last.dim] = last.length
                result = found.new_empty(shape)
            result.narrow(last.dim, start, stop - start).copy_(found)
            kept[-1].drop(stop)
        assert result is not None, "an image has rows"
        return result

    def _wanted(self, done: Sequence[int], stop: int) -> list[int]:
        """How far each step has to come so that the last one comes to `stop`."""
        wanted = list(done)
        wanted[-1] = stop
        for place in range(len(self._steps) - 1, -1, -1):
            step = self._steps[place]
            if wanted[place] == done[place]:
                continue
            _, high = step.operation.needs((done[place], wanted[place]))
            for source in step.inputs:
                if source >= 0:  # one row at least, for the shape of rows that are all padding
                    wanted[source] = max(wanted[source], min(max(high, 1), self._steps[source].length))
        return wanted

    def _still_needed(self, done: Sequence[int]) -> list[int]:
        """The first row of each step that is needed for what comes after `done`."""
        first = [step.length for step in self._steps]
        for place, step in enumerate(self._steps):
            if done[place] == step.length:
                continue
            low, _ = step.operation.needs((done[place], done[place] + 1))
            for source in step.inputs:
                if source >= 0:
                    first[source] = min(first[source], max(0, low))
        return first

    def _rows_of(self, step: Step, kept: Sequence[_Kept], rows: tuple[int, int]) -> Tensor:
        low, high = step.operation.needs(rows)
        length = self._image_rows if step.inputs[0] < 0 else self._steps[step.inputs[0]].length
        low = min(max(low, 0), length)
        given = [kept[source + 1].take(low, max(low, min(high, length))) for source in step.inputs]
        return step.run(given, low, rows)


class _Kept:
    """The rows of a feature map that are still needed."""

    def __init__(self, values: Tensor | None, first: int, dim: int) -> None:
        self._values = values
        self._first = first
        self._dim = dim

    def append(self, rows: Tensor) -> None:
        self._values = rows if self._values is None else torch.cat([self._values, rows], self._dim)

    def take(self, start: int, stop: int) -> Tensor:
        assert self._values is not None and self._first <= start, "rows that have been made and not dropped"
        return self._values.narrow(self._dim, start - self._first, stop - start)

    def drop(self, before: int) -> None:
        """Forget the rows before one."""
        if self._values is None or before <= self._first:
            return
        made = self._values.shape[self._dim]
        gone = min(made, before - self._first)
        # The rest is copied, since a part of it would keep all of it in memory.
        self._values = self._values.narrow(self._dim, gone, made - gone).clone()
        self._first += gone


def _last_uses(steps: Sequence[Step]) -> list[list[int]]:
    """For each step, those that no later step takes rows of."""
    last = {source: place for place, step in enumerate(steps) for source in step.inputs}
    return [[source for source, user in last.items() if user == place] for place in range(len(steps))]
