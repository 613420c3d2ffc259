"""Running a network on shapes alone: nothing is computed, and neither weights nor images take memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call


@dataclass(frozen=True, eq=False)
class Shadow:
    """A network whose parameters and buffers have shapes and no values."""

    network: nn.Module
    tensors: dict[str, Tensor]
    """Parameters and buffers by name, on the 'meta' device."""

    def __call__(self, image: Tensor) -> Tensor:
        """The output for an image on the 'meta' device: its shape, that is."""
        output: Tensor = functional_call(self.network, self.tensors, (image,))
        return output


@contextmanager
def shadow_of(network: nn.Module, dtype: torch.dtype = torch.float32) -> Iterator[Shadow]:
    """A network without values, in evaluation. The network is not copied; its modes are restored.

    Args:
        network: Any network, on any device, 'meta' included.
        dtype: Of its floating-point tensors in the shadow.
    """
    tensors = {}
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        kind = dtype if tensor.is_floating_point() else tensor.dtype
        tensors[name] = torch.empty_like(tensor, dtype=kind, device="meta", requires_grad=False)
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        with torch.no_grad():
            yield Shadow(network, tensors)
    finally:
        for module in training:
            module.training = True
