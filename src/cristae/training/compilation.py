"""Training steps that torch compiles; the network, and so the names of its weights, stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cristae.errors import RunError


def compiled(network: nn.Module) -> Callable[[Tensor], Any]:
    """A compiled call of a network. It is not a module, so that nothing of it gets into checkpoints."""

    def call(image: Tensor) -> Any:
        return network(image)

    function: Callable[[Tensor], Any] = torch.compile(call)
    return function


def require_compiler(device: torch.device) -> None:
    """Make sure that torch can compile for a device, by compiling a line.

    Raises:
        RunError: It cannot.
    """
    try:
        torch.compile(lambda values: (2 * values + 1).relu())(torch.ones(4, device=device))
    except Exception as error:  # whatever a compiler, or its absence, leads to
        first = next(iter(str(error).strip().splitlines()), "")
        raise RunError(
            f"training.compile: torch cannot compile for '{device.type}' here ({type(error).__name__}: {first[:200]}); "
            "install a C++ compiler (for CUDA: triton), or set training.compile: false"
        ) from None
