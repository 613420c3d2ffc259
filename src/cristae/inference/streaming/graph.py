"""A network as a list of steps on rows, for one shape of its input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from cristae.inference.streaming.layers import Convolution, Normalization, operation_on_rows
from cristae.inference.streaming.recording import NotStreamableError, Operation, Recording, record
from cristae.inference.streaming.rows import Pointwise, RowOperation, Spread, Windowed

Folded = dict[tuple[int, int], tuple[Convolution, Normalization, Convolution]]
"""A convolution, a normalisation and both as one, by the ids of the weights of the one and the means of the other."""

IMAGE = -1
"""In place of a step: the image itself."""


@dataclass(eq=False)
class Step:
    """An operation of the network, with those that follow it element by element."""

    operation: RowOperation
    inputs: tuple[int, ...]
    """Steps whose rows it takes, or `IMAGE`."""
    length: int
    """Rows of its output."""
    dim: int
    """Of the rows, counted from behind."""
    then: list[Callable[[Tensor], Tensor]] = field(default_factory=list)

    def run(self, given: Sequence[Tensor], first: int, rows: tuple[int, int]) -> Tensor:
        """Rows of its output, see `RowOperation`."""
        found = self.operation.run(given, first, rows)
        for function in self.then:
            found = function(found)
        return found


def steps_of(
    network: nn.Module, weights: Mapping[str, Tensor], shape: Sequence[int], axis: int, folded: Folded | None = None
) -> list[Step]:
    """Follow a network.

    Args:
        network: In evaluation.
        weights: Its parameters and buffers by name, wherever they are to be used.
        shape: Shape (B, C, *S) of its input.
        axis: Which of *S has the rows.
        folded: Taken from here where they are, and put here where not.

    Returns:
        Its steps in order; the last one gives the output.

    Raises:
        NotStreamableError: It does something that is not known along the rows.
    """
    return _Reader(record(network, weights, shape), weights, axis, {} if folded is None else folded).steps


class _Reader:
    """Turns operations into steps; what does not depend on the image is computed."""

    def __init__(self, recording: Recording, weights: Mapping[str, Tensor], axis: int, folded: Folded) -> None:
        self.steps: list[Step] = []
        self._folded = folded
        self._constants = {id(shape): weights[name] for name, shape in recording.weights.items()}
        self._device = next((one.device for one in weights.values()), torch.device("cpu"))
        image = recording.image
        self._places = {id(image): IMAGE}
        """The step that makes each feature map."""
        self._dim = axis + 2 - image.ndim
        self._uses = Counter(id(one) for operation in recording.operations for one in operation.tensors)
        self._uses[id(recording.output)] += 1
        self._used = Counter[int]()
        """Uses so far."""
        for operation in recording.operations:
            if all(id(one) in self._constants for one in operation.tensors):
                self._compute(operation)
            else:
                self._read(operation)
            self._used.update(id(one) for one in operation.tensors)
        if self._places.get(id(recording.output)) != len(self.steps) - 1:
            raise NotStreamableError("its output is not what it computes last")

    def _compute(self, operation: Operation) -> None:
        def value(given: object) -> object:
            return self._constants[id(given)] if isinstance(given, Tensor) else given

        args, kwargs = tree_map(value, (operation.args, dict(operation.kwargs)))
        if "device" in kwargs:
            kwargs["device"] = self._device
        with torch.no_grad():
            found = operation.function(*args, **kwargs)
        for shape, one in zip(operation.results, found if operation.several else (found,), strict=True):
            self._constants[id(shape)] = one

    def _read(self, operation: Operation) -> None:
        maps = [one for one in operation.tensors if id(one) not in self._constants]
        used = [(part, result) for part, result in enumerate(operation.results) if self._uses[id(result)]]
        for part, result in used:
            found = operation_on_rows(operation, part, self._dim, self._constants)
            before = self._places[id(maps[0])]
            single = len(maps) == 1 == len(used) and before != IMAGE and self._alone(maps[0], result)
            if single and isinstance(found, Pointwise):
                self._append(self.steps[before], found.function)
                self._places[id(result)] = before
                continue
            inputs = tuple(self._places[id(one)] for one in maps)
            self._places[id(result)] = len(self.steps)
            self.steps.append(Step(found, inputs, int(result.shape[self._dim]), self._dim))

    def _alone(self, given: Tensor, result: Tensor) -> bool:
        """Whether nothing else uses what an operation is given; after one in place, later uses are of its result."""
        return self._used[id(given)] == 0 if result is given else self._uses[id(given)] == 1

    def _append(self, step: Step, function: Callable[..., Tensor]) -> None:
        """A function that follows a step alone: a normalisation becomes part of the convolution before it."""
        operation = step.operation
        if not isinstance(operation, Windowed | Spread):
            step.then.append(function)
        elif isinstance(function, Normalization) and isinstance(operation.function, Convolution) and not step.then:
            step.operation = replace(operation, function=self._fold(operation.function, function))
        else:  # what the operation gives is a tensor of its own, which may be changed in place
            step.then.append(torch.relu_ if function is torch.relu else function)

    def _fold(self, convolution: Convolution, normalization: Normalization) -> Convolution:
        """Both as one. A convolution may be used with other settings, at another size of the image."""
        key = id(convolution.weight), id(normalization.mean)
        if key not in self._folded:
            self._folded[key] = convolution, normalization, normalization.folded_into(convolution)
        *_, known = self._folded[key]
        return replace(convolution, weight=known.weight, bias=known.bias)
