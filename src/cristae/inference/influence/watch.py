"""Watching a network run, to find which voxels of the image each position of a feature map depends on.

The network runs on shapes alone while every torch function that it calls is followed. Each feature map carries, for
each of its dimensions that is an axis of the image, the first and last voxel that every position depends on. A function
with a rule hands this on, one without refuses. Layers treat their axes apart, so that the intervals are exact, and they
hold whatever the weights are: a learnt 0 hides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from cristae.inference.influence import places, shapes, values
from cristae.inference.influence.spans import Call, Field, NotLocalError, Rule, Span, tensors_in

_RULES: dict[str, Rule] = values.RULES | places.RULES | shapes.RULES


class Watch(TorchFunctionMode):
    """While it is active, follows what feature maps depend on and refuses functions that are not known to be local."""

    def __init__(self, constants: Iterable[Tensor], image: Tensor) -> None:
        """Begin.

        Args:
            constants: Tensors that do not depend on the image: parameters and buffers.
            image: (B, C, *S), whose last dimensions are the axes.
        """
        super().__init__()
        self.longest = [1] * (image.ndim - 2)
        """For each axis of the image, the voxels that the longest kernel spans."""
        self._sides = tuple(image.shape[2:])
        # An id stands for a tensor only while the tensor lives; tensors without values cost nothing.
        self._known: dict[int, tuple[Tensor, Field | None]] = {id(tensor): (tensor, None) for tensor in constants}
        span = [Span.of_image(axis, side) for axis, side in enumerate(image.shape[2:])]
        self._known[id(image)] = (image, (None, None, *span))

    def field(self, tensor: Tensor) -> Field | None:
        """What a tensor depends on; None when it is a constant.

        Raises:
            NotLocalError: No call that was followed has made it.
        """
        if id(tensor) not in self._known:
            raise NotLocalError("it uses a tensor of unknown origin, which may come from the whole image")
        return self._known[id(tensor)][1]

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        fields = [self.field(tensor) for tensor in tensors_in((args, given))]
        result = func(*args, **given)
        outputs = list(tensors_in(result))
        if not any(field is not None for field in fields):
            for tensor in outputs:
                self._known.setdefault(id(tensor), (tensor, None))
        elif outputs or func is Tensor.__setitem__:
            self._follow(getattr(func, "__name__", str(func)), args, given, outputs)
        return result

    def _follow(self, raw: str, args: tuple[Any, ...], given: dict[str, Any], outputs: Sequence[Tensor]) -> None:
        name = _plain(raw)
        if name not in _RULES:
            raise NotLocalError(f"it uses '{name}', which may depend on the whole image")
        if raw != name and args[0] is outputs[0] and args[0]._is_view() and self._grows(args):
            raise NotLocalError(f"it uses '{name}' in place on a part of a feature map, which is not analysed")
        call = Call(name, args, given, list(outputs), self.field, self._note_kernel)
        for tensor, field in zip(outputs, _RULES[name](call), strict=True):
            self._known[id(tensor)] = (tensor, field)

    def _grows(self, args: tuple[Any, ...]) -> bool:
        """Whether a function in place brings in another map, which other names of the same memory would not know."""
        return any(self.field(tensor) is not None for tensor in tensors_in(args[1:]))

    def _note_kernel(self, axis: int, extent: int, side: int) -> None:
        self.longest[axis] = max(self.longest[axis], -(-extent * self._sides[axis] // max(1, side)))


def _plain(name: str) -> str:
    """One name for a function, its operator and its in-place form."""
    if name.startswith("__") and name.endswith("__"):
        return values.OPERATORS.get(name[2:-2], name)
    return name.rstrip("_")
