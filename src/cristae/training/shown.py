"""What a network is shown: patches of the first epoch as training prepares them, and what each class weighs there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cristae.augment import Batch
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.targets import INVALID
from cristae.training.cache import CachedPart
from cristae.training.feed import PatchFeed, collate
from cristae.training.framing import Framing
from cristae.training.module import StepConfig, patch_keys, ready_batch
from cristae.training.normalized import normalized
from cristae.training.preparation import prepare_batch


@dataclass(frozen=True, eq=False)
class Shown:
    """N patches, or one whole slice, on the CPU. S and T are (Z, Y, X), with Z = 1 for 2D networks."""

    image: np.ndarray
    """float32 (N, *T), normalised and augmented: the output patch without what the network sees around it, and of
    several slices as channels the middle one."""
    target: np.ndarray
    """uint8 ids (N, *T), or masks (N, K, *T) of overlapping classes."""
    valid: np.ndarray
    """bool (N, *T)."""
    weight: np.ndarray | None
    """float32 (N, *T) or (N, K, *T); None means 1."""
    further: Mapping[str, np.ndarray]
    """Further targets by name, float32 (N, C, *T)."""
    places: tuple[str, ...]
    """Volume and box of each."""

    def weights(self) -> np.ndarray:
        """float32, of the shape of `target`: 1 where there is no weighting."""
        if self.weight is None:
            return np.ones(self.target.shape, np.float32)
        own = self.weight
        return np.broadcast_to(own if own.ndim == self.target.ndim else own[:, None], self.target.shape)


@dataclass(frozen=True)
class ClassShare:
    """How much of a class the network is shown. Of overlapping classes each is compared with its own outside."""

    name: str
    training_share: float
    """Share of the voxels that count in all training labels."""
    voxels: int
    """Voxels that count in the patches."""
    voxel_share: float
    """Share of the voxels that count in the patches."""
    weight_share: float
    """Share of the sum of weights in the patches."""
    weight_minimum: float | None
    """None, like median and maximum, where the patches hold none."""
    weight_median: float | None
    weight_maximum: float | None
    patch_share: float
    """Share of the patches that hold the class."""

    @property
    def weight_range(self) -> tuple[float | None, float | None, float | None]:
        """Minimum, median and maximum."""
        return self.weight_minimum, self.weight_median, self.weight_maximum

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def first_patches(step: StepConfig, feed: PatchFeed, count: int) -> Shown:
    """The first patches of the first epoch as training prepares them.

    Args:
        step: How they are prepared.
        feed: Where they come from.
        count: How many; all of the epoch where it has fewer.
    """
    ready: list[Batch] = []
    slices = 1
    for number, raw in feed:
        slices = raw.image.shape[1]
        keys = patch_keys(step.seed, 0, feed.indices(number))
        ready.append(ready_batch(step, raw.to(step.device), keys).to("cpu"))
        if sum(map(len, ready)) >= count:
            break
    return _joined(ready, count, slices)


def whole_slice(step: StepConfig, parts: Sequence[CachedPart], *, flat: bool) -> Shown:
    """A slice of the training labels as one patch, without augmentation.

    Args:
        step: How patches are prepared.
        parts: The training data; the slice is that in the middle of the part with most foreground.
        flat: Whether patches are slices.
    """
    part = max(parts, key=lambda one: int(one.class_counts[int(one.classes.background) :].sum()))
    depth, height, width = part.shape
    boxes = (Box((z, 0, 0), (z + 1, height, width)) for z in sorted(range(depth), key=lambda z: abs(2 * z + 1 - depth)))
    framing = Framing(flat=flat, context=step.normalizers[part.volume].reach)
    patches = (part.read(box, framing) for box in boxes)
    batch = collate([next(patch for patch in patches if patch.valid.any())])
    normal = normalized(batch, step.normalizers)
    return _joined([prepare_batch(normal, (), step.targets, [np.random.default_rng(0)])], 1, batch.image.shape[1])


def class_shares(shown: Shown, parts: Sequence[CachedPart], classes: Classes) -> tuple[ClassShare, ...]:
    """A row for each class, the background included.

    Args:
        shown: The patches.
        parts: The whole training data.
        classes: What the labels mean.
    """
    counts = np.sum([part.class_counts for part in parts], axis=0)
    everything = int(counts.sum()) if classes.exclusive else _count_valid(parts)
    weights = shown.weights()
    rows = []
    for place, (name, number) in enumerate(zip(classes.names, classes.ids, strict=True)):
        if classes.exclusive:
            mask, weight = shown.target == number, weights
        else:
            mask, weight = shown.target[:, place] != 0, weights[:, place]
        rows.append(_share(name, mask & shown.valid, weight, shown.valid, counts[number] / max(1, everything)))
    return tuple(rows)


def _share(name: str, mask: np.ndarray, weight: np.ndarray, valid: np.ndarray, training_share: float) -> ClassShare:
    own = weight[mask]
    low, middle, high = (float(of(own)) if own.size else None for of in (np.min, np.median, np.max))
    return ClassShare(
        name=name,
        training_share=float(training_share),
        voxels=own.size,
        voxel_share=own.size / max(1, int(np.count_nonzero(valid))),
        weight_share=float(own.sum(dtype=np.float64) / (weight[valid].sum(dtype=np.float64) or 1)),
        weight_minimum=low,
        weight_median=middle,
        weight_maximum=high,
        patch_share=float(mask.reshape(len(mask), -1).any(axis=1).mean()),
    )


def _count_valid(parts: Sequence[CachedPart]) -> int:
    return sum(int(np.count_nonzero(block[0] != INVALID)) for part in parts for block in part.label_blocks())


def _joined(batches: Sequence[Batch], count: int, channels: int) -> Shown:
    """The first `count` patches of some batches, the first `channels` channels of whose images are grey values."""

    def stacked(tensors: Iterable[Tensor]) -> np.ndarray:
        voxels = torch.cat(list(tensors))[:count].numpy()
        return voxels[..., None, :, :] if flat else voxels

    first = batches[0]
    flat, size = first.valid.ndim == 3, first.valid.shape[1:]
    places = [f"{name} {box}" for batch in batches for name, box in zip(batch.volumes, batch.boxes, strict=True)]
    weighted = any(batch.weight is not None for batch in batches)
    weights = (torch.ones(batch.valid.shape) if batch.weight is None else batch.weight for batch in batches)
    return Shown(
        image=stacked(_middle(batch.image[:, :channels], size) for batch in batches),
        target=stacked(batch.target for batch in batches),
        valid=stacked(batch.valid for batch in batches),
        weight=stacked(weights) if weighted else None,
        further={name: stacked(batch.further[name] for batch in batches) for name in first.further},
        places=tuple(places[:count]),
    )


def _middle(image: Tensor, size: torch.Size) -> Tensor:
    """(B, *T) of an image (B, C, *S): its middle channel, cut to the size T of the output patch around its centre."""
    middle = image[:, image.shape[1] // 2].float()
    for axis, side in enumerate(size, start=1):
        middle = middle.narrow(axis, (middle.shape[axis] - side) // 2, side)
    return middle
