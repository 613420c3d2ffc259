"""A batch: patches stacked for the network, on the device that trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from cristae.data.box import Box


@dataclass(frozen=True, eq=False)
class Batch:
    """B training examples. S and T are (Y, X) for 2D networks and (Z, Y, X) otherwise; both have the same centre, and S
    is larger where the network sees a margin around its output patch."""

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
    """Where the target of each patch, margin included, lies in its volume, in voxels of the working grid."""
    volumes: tuple[str, ...]
    """The name of each patch's volume."""
    margin: tuple[int, ...] = ()
    """Voxels on both sides of each spatial axis, of all tensors alike, that geometric augmentations draw from and that
    `cropped` removes; () stands for none."""
    further: Mapping[str, Tensor] = field(default_factory=dict)
    """Further target channels by name, each float32 (B, C, *T); see `targets.TargetMaps`."""

    def __len__(self) -> int:
        return len(self.image)

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with `change` applied to image, target, valid, weight and further targets alike."""
        return replace(
            self,
            image=change(self.image),
            target=change(self.target),
            valid=change(self.valid),
            weight=None if self.weight is None else change(self.weight),
            further={name: change(tensor) for name, tensor in self.further.items()},
        )

    def cropped(self) -> Batch:
        """The batch without its margin."""
        if not any(self.margin):
            return self
        inner = tuple(slice(around, -around or None) for around in self.margin)
        grown = margin_zyx(self.margin)
        boxes = tuple(box.grow([-around for around in grown]) for box in self.boxes)
        return replace(self.map(lambda tensor: tensor[(..., *inner)]), boxes=boxes, margin=())

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch on another device."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, from which copies to a GPU need not wait."""
        return self.map(lambda tensor: tensor.pin_memory())


def margin_zyx(margin: Sequence[int]) -> tuple[int, int, int]:
    """A margin along the spatial axes of patches, () for none, as (z, y, x); flat patches have none along z."""
    z, y, x = (*(0,) * (3 - len(margin)), *margin)
    return z, y, x
