"""What a network does to an image: its operations in order, recorded on shapes alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class NotStreamableError(Exception):
    """A network does something along the rows that is not known."""


@dataclass(frozen=True, eq=False)
class Operation:
    """A call of one of PyTorch's own operators, without effects on its arguments."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    results: tuple[Tensor, ...]
    """Shapes: tensors on the 'meta' device, as are those in the arguments."""
    several: bool
    """Whether the function returns a sequence."""

    @property
    def tensors(self) -> list[Tensor]:
        """Those among its arguments."""
        return [leaf for leaf in tree_leaves((self.args, dict(self.kwargs))) if isinstance(leaf, Tensor)]


@dataclass(frozen=True, eq=False)
class Recording:
    """What a network did. Where an operation has changed a tensor in place, later ones use that as its result."""

    image: Tensor
    weights: Mapping[str, Tensor]
    operations: Sequence[Operation]
    output: Tensor


def record(network: nn.Module, weights: Mapping[str, Tensor], shape: Sequence[int]) -> Recording:
    """Run a network on shapes.

    Args:
        network: In evaluation.
        weights: Its parameters and buffers by name, of which only shapes are used.
        shape: Shape (B, C, *S) of the image.

    Raises:
        NotStreamableError: It needs values, or changes parts of tensors in place.
    """
    shapes = {name: torch.empty_like(one, device="meta", requires_grad=False) for name, one in weights.items()}
    image = torch.empty(tuple(shape), device="meta")
    recorder = _Recorder()
    try:
        # In inference mode operators would be taken apart further.
        with torch.inference_mode(False), torch.no_grad(), recorder:
            output = functional_call(network, shapes, (image,))
    except NotStreamableError:
        raise
    except Exception as error:  # a network is anyone's code
        raise NotStreamableError(f"it cannot be followed on shapes alone: {error}") from error
    if not isinstance(output, Tensor):
        raise NotStreamableError("it gives several outputs")
    return Recording(image, shapes, recorder.operations, output)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []
        self._names: dict[int, set[int]] = {}
        """Tensors that have the same memory."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        name = str(func).removeprefix("aten.").split(".")[0]
        if not name.startswith("upsample"):  # which is known as it is
            with self:
                result = func.decompose(*args, **given)
            if result is not NotImplemented:
                return result
        result = func(*args, **given)
        several = isinstance(result, tuple | list)
        function = func
        if func._schema.is_mutable:
            if not name.endswith("_") or result is not args[0] or len(self._names_of(args[0])) > 1:
                raise NotStreamableError(f"it uses '{name}', which changes a tensor that has other names")
            name = name[:-1]
            function = getattr(torch.ops.aten, name)
        results = tuple(result) if several else (result,)
        for one in results:
            if isinstance(one, Tensor):
                self._names_of(one).add(id(one))
        self.operations.append(Operation(name, function, args, given, results, several))
        return result

    def _names_of(self, tensor: Tensor) -> set[int]:
        return self._names.setdefault(tensor.untyped_storage()._cdata, set())
