"""A batch: patches stacked for the network, on the device that trains."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from cristae.data.box import Box, Triple

Fact = TypeVar("Fact")


@dataclass(frozen=True, eq=False)
class Batch:
    """B training examples. S and T are (Y, X) for 2D networks and (Z, Y, X) otherwise; both have the same centre, and S
    is larger where the network sees a margin around its output patch."""

    image: Tensor
    """(B, C, *S): grey values in the volume's own type until they are normalised, float32 from then on. The channels
    are neighbouring slices. Its filtered copies are not among them."""
    target: Tensor
    """uint8 ids (B, *T) of exclusive classes, or masks (B, K, *T) of overlapping ones. Where classes are affinities, it
    is int32 object ids (B, *T) until these are computed; below 0 they are not known."""
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
    frame: tuple[int, ...] = ()
    """Voxels on both sides of each spatial axis by which target, valid and weight reach beyond the output patch: what
    decides its classes moves with it, until these are computed; () stands for none."""
    further: Mapping[str, Tensor] = field(default_factory=dict)
    """Further target channels by name, each float32 (B, C, *T); see `targets.TargetMaps`."""
    volume_shapes: tuple[Triple, ...] = ()
    """Voxels (z, y, x) of each patch's volume on the working grid; () where nothing asks for them."""
    epoch_key: tuple[int, int] = (0, 0)
    """The recipe's seed and the epoch's number, for what is drawn once for an epoch."""
    epoch_draws: int = 0
    """How many augmentations before the one that draws have drawn something for the epoch: each draws its own."""
    filtered: Tensor | None = None
    """(B, A, Z, Y, X): the image's filtered copies, where there are some. Z are its slices, also where the image has
    them as channels. They are moved as the image is, and normalised by the same mapping."""

    def __len__(self) -> int:
        return len(self.image)

    @property
    def flat(self) -> bool:
        """Whether it is for a 2D network: the image's channels are slices."""
        return self.valid.ndim == 3

    @property
    def size(self) -> tuple[int, ...]:
        """Voxels (*S) of the image without its margin: what the network sees."""
        return _without(self.image.shape[2:], self.margin)

    @property
    def target_size(self) -> tuple[int, ...]:
        """Voxels (*T) of the output patch, without margin and frame."""
        return _without(self.framed_size, self.frame)

    @property
    def framed_size(self) -> tuple[int, ...]:
        """The same with its frame: voxels of the target without its margin."""
        return _without(self.valid.shape[1:], self.margin)

    @property
    def n_slices(self) -> int:
        """Slices that the network sees."""
        return self.image.shape[1] if self.flat else self.size[0]

    @property
    def shown(self) -> Tensor:
        """(B, C (1 + A), *S): the image, then each of its filtered copies, as the network gets them."""
        if self.filtered is None:
            return self.image
        return torch.cat([self.image, self.filtered.flatten(1, 2) if self.flat else self.filtered], dim=1)

    def of(self, samples: Sequence[int]) -> Batch:
        """The batch of some of its samples."""
        return replace(
            self.map(lambda tensor: tensor[list(samples)]),
            boxes=_chosen(self.boxes, samples),
            volumes=_chosen(self.volumes, samples),
            volume_shapes=_chosen(self.volume_shapes, samples),
        )

    def with_samples(self, samples: Sequence[int], others: Batch) -> Batch:
        """The batch with some samples replaced by those of a smaller one, which has the same kinds of maps."""
        index = torch.tensor(samples).to(self.image.device, non_blocking=True)
        filtered = [] if others.filtered is None else [others.filtered]
        theirs = iter((others.image, *filtered, others.target, others.valid, *others.optional_maps()))
        return self.map(lambda tensor: tensor.to((new := next(theirs)).dtype).index_copy(0, index, new))

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with `change` applied to all tensors alike: the image and its copies, target, valid, weight and
        further targets."""
        return replace(
            self,
            image=change(self.image),
            filtered=None if self.filtered is None else change(self.filtered),
            target=change(self.target),
            valid=change(self.valid),
            weight=None if self.weight is None else change(self.weight),
            further={name: change(tensor) for name, tensor in self.further.items()},
        )

    def optional_maps(self) -> list[Tensor]:
        """The weight, where there is one, and the further targets."""
        return [*([] if self.weight is None else [self.weight]), *self.further.values()]

    def with_optional_maps(self, maps: Sequence[Tensor]) -> Batch:
        """The batch with others in place of `optional_maps`, in the same order."""
        theirs = iter(maps)
        weight = None if self.weight is None else next(theirs)
        return replace(self, weight=weight, further=dict(zip(self.further, theirs, strict=True)))

    def cropped(self) -> Batch:
        """The batch without its margin."""
        if not self.margin:
            return self
        inner = tuple(slice(around, -around or None) for around in self.margin)
        cropped = self.map(lambda tensor: tensor[(..., *inner)])
        return replace(cropped, boxes=self.cropped_boxes(), margin=())

    def cropped_boxes(self) -> tuple[Box, ...]:
        """Where the patches without their margin lie."""
        return tuple(box.grow([-around for around in margin_zyx(self.margin)]) for box in self.boxes)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch on another device."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, from which copies to a GPU need not wait."""
        return self.map(lambda tensor: tensor.pin_memory())


def _chosen(facts: tuple[Fact, ...], samples: Sequence[int]) -> tuple[Fact, ...]:
    return tuple(facts[i] for i in samples) if facts else ()


def epoch_generator(key: tuple[int, int], volume: str, draws: int = 0) -> np.random.Generator:
    """What all patches of a volume draw from in one epoch, seeded by [seed, epoch, hash of the name, 2].

    The augmentation with n such `draws` before it has [seed, epoch, hash of the name, 2, n] for n > 0. Patches by
    themselves draw from [seed, epoch, number of the patch, 1].
    """
    name = int.from_bytes(hashlib.sha256(volume.encode()).digest()[:8], "big")
    return np.random.default_rng([*key, name, 2, *([draws] if draws else [])])


def _without(size: Sequence[int], margin: Sequence[int]) -> tuple[int, ...]:
    return tuple(side - 2 * around for side, around in zip(size, margin or (0,) * len(size), strict=True))


def margin_zyx(margin: Sequence[int]) -> tuple[int, int, int]:
    """A margin along the spatial axes of patches, () for none, as (z, y, x); flat patches have none along z."""
    z, y, x = (*(0,) * (3 - len(margin)), *margin)
    return z, y, x
