"""A batch: patches stacked for the network, on the device that trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cristae.data.box import Box


@dataclass(frozen=True, eq=False)
class Batch:
    """B training examples. S and T are (Y, X) for 2D networks and (Z, Y, X) otherwise; both have the same centre, and S
    is larger where the network sees a margin around what it answers for."""

    image: Tensor
    """(B, C, *S): grey values in the volume's own type until they are normalised, float32 from then on. The channels
    are neighbouring slices."""
    target: Tensor
    """uint8 ids (B, *T) of exclusive classes, or masks (B, K, *T) of overlapping ones."""
    valid: Tensor
    """bool (B, *T): whether the voxel counts at all."""
    weight: Tensor | None
    """float32 (B, *T) or (B, K, *T): how much it counts in pixelwise loss terms; None means 1."""
    boxes: tuple[Box, ...]
    """Where the target of each patch lies in its volume, in voxels of the working grid."""
    volumes: tuple[str, ...]
    """The name of each patch's volume."""

    def __len__(self) -> int:
        return len(self.image)

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with `change` applied to image, target, valid and weight alike."""
        weight = None if self.weight is None else change(self.weight)
        return replace(
            self, image=change(self.image), target=change(self.target), valid=change(self.valid), weight=weight
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch on another device."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, from which copies to a GPU need not wait."""
        return self.map(lambda tensor: tensor.pin_memory())
