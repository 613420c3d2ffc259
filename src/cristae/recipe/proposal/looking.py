"""A quick look at opened data: some labelled training slices, each in part where slices are large."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import pi, sqrt

import numpy as np
from scipy import ndimage

from cristae.data.box import Box
from cristae.data.image import VoxelSize
from cristae.data.open import Dataset
from cristae.data.splits import Part, labelled_boxes
from cristae.data.volume import Volume
from cristae.progress import Progress
from cristae.recipe.proposal.facts import ClassFacts, DataFacts

_FEWEST, _MOST, _VOXELS = 6, 32, 2**24
"""Slices that are looked at: from 6 to 32, as many as hold 16 million voxels."""
_SIDE = 1536
"""Of a slice that is larger, so much of its middle is looked at."""
_SMALL = 0.1
"""Regions with less of what is labelled do not decide how large patches are."""
_DEPTH, _COLUMN = 32, 384
"""Slices of a run of neighbours, and the side of what of them is compared along z."""


def look_at_data(dataset: Dataset, progress: Progress = Progress()) -> DataFacts:
    """Read some of the training regions and count.

    Args:
        dataset: With labels.
        progress: Where to show how far it is.

    Returns:
        Facts on the working grid of the data.

    Raises:
        CristaeError: The data cannot be read.
    """
    boxes = [(part.volume, box) for part in dataset.train for box in labelled_boxes(part)]
    if not boxes:
        return DataFacts(stacked=False, slices=0, consecutive=0, sides=(1, 1))
    grid = dataset.voxel_size_nm or boxes[0][0].voxel_size_nm
    foreground = [dataset.classes.names.index(name) for name in dataset.classes.foreground]
    tally = _Tally(len(dataset.classes.names))
    chosen, complete = _chosen(boxes)
    with progress.task("Looking at the data", len(chosen), unit="slices") as task:
        for volume, box in chosen:
            masks, valid = _masks(volume, box, dataset)
            tally.count(masks[:, 0], valid[0], _factors(volume, dataset)[1:])
            tally.greys.append(_mean_and_deviation(volume, box))
            task.advance()
    volume, run = max(boxes, key=lambda pair: pair[1].shape[0])
    tally.count_depth(*_masks(volume, _middle(run, _COLUMN, _DEPTH), dataset))
    return DataFacts(
        stacked=any(volume.image.shape[0] > 1 for volume, _ in boxes),
        slices=sum(box.shape[0] for _, box in boxes),
        consecutive=run.shape[0],
        sides=_sides(dataset.train, dataset),
        classes=tuple(tally.facts(k, dataset.classes.names[k]) for k in foreground),
        background=dataset.classes.background,
        voxel_size_nm=grid,
        likeness=_likeness([volume for volume, _ in boxes], [box for _, box in boxes]),
        drift=tally.drift,
        complete=complete,
        validate_vox=_validate_vox(dataset),
    )


def facts_of_image(shape: Sequence[int], voxel_size_nm: VoxelSize | None, *, flat: bool) -> DataFacts:
    """What is known of an image without labels: its shape (z, y, x) and its voxel size."""
    z, y, x = shape
    return DataFacts(not flat and z > 1, z, 0, (y, x), voxel_size_nm=voxel_size_nm)


@dataclass
class _OfClass:
    """Counts of one class."""

    voxels: int = 0
    width_sum: float = 0.0
    width_weight: int = 0
    outline: float = 0.0
    sizes: tuple[np.ndarray, ...] = ()
    """Areas of its connected parts, slice by slice, on the working grid."""
    deep: int = 0
    ends: float = 0.0
    area: float = 0.0


class _Tally:
    """What was counted in the slices so far."""

    def __init__(self, classes: int) -> None:
        self.valid = 0
        self.of = [_OfClass() for _ in range(classes)]
        self.greys: list[tuple[float, float]] = []

    def count(self, masks: np.ndarray, valid: np.ndarray, factors: tuple[float, float]) -> None:
        """Add a slice: bool masks (K, Y, X), what counts (Y, X), and how much larger its voxels are than those of the
        working grid (y, x)."""
        self.valid += int(valid.sum())
        across = sqrt(factors[0] * factors[1])
        for one, mask in zip(self.of, masks, strict=True):
            voxels = int(mask.sum())
            if not voxels:
                continue
            one.voxels += voxels
            one.area += voxels * factors[0] * factors[1]
            one.outline += _outline(mask, valid) * across
            parts, _ = ndimage.label(mask)
            one.sizes += (np.bincount(parts.ravel())[1:] * factors[0] * factors[1],)

    def count_depth(self, masks: np.ndarray, valid: np.ndarray) -> None:
        """Add neighbouring slices: bool masks (K, Z, Y, X) and what counts (Z, Y, X)."""
        if valid.shape[0] < 2:
            return
        both = valid[1:] & valid[:-1]
        for one, mask in zip(self.of, masks, strict=True):
            one.deep += int(mask.sum())
            one.ends += int(((mask[1:] != mask[:-1]) & both).sum()) / 2

    def facts(self, place: int, name: str) -> ClassFacts:
        """Of the class of that index."""
        one = self.of[place]
        if not one.voxels:
            return ClassFacts(name, 0.0)
        areas = np.sort(np.concatenate(one.sizes))
        half = areas[np.searchsorted(np.cumsum(areas), areas.sum() / 2)]
        return ClassFacts(
            name,
            share=one.voxels / self.valid,
            width_vox=2 * one.area / one.outline if one.outline else None,
            size_vox=2 * sqrt(half / pi),
            depth_slices=one.deep / one.ends if one.deep and one.ends else None,
        )

    @property
    def drift(self) -> float | None:
        """See `DataFacts.drift`."""
        means, deviations = np.array(self.greys).T
        typical = float(np.mean(deviations))
        return float(np.std(means)) / typical if len(means) > 1 and typical > 0 else None


def _outline(mask: np.ndarray, valid: np.ndarray) -> float:
    """Length of the edge of a mask in voxels: faces between neighbours that differ, times the mean over all directions
    of how much longer steps along two axes are than the line that they follow (4 / pi)."""
    faces = 0
    for axis in (0, 1):
        here, there = (np.moveaxis(one, axis, 0) for one in (mask, valid))
        faces += int(((here[1:] != here[:-1]) & there[1:] & there[:-1]).sum())
    return faces * pi / 4


def _chosen(boxes: Sequence[tuple[Volume, Box]]) -> tuple[list[tuple[Volume, Box]], bool]:
    """Single slices, evenly spread over all, each its middle where it is large; and whether that is everything."""
    slices = [(volume, box, z) for volume, box in boxes for z in range(box.start[0], box.stop[0])]
    typical = np.median([min(box.shape[1], _SIDE) * min(box.shape[2], _SIDE) for _, box in boxes])
    count = min(len(slices), int(np.clip(_VOXELS / typical, _FEWEST, _MOST)))
    places = np.unique(np.linspace(0, len(slices) - 1, count).round().astype(int))
    chosen = []
    for place in places:
        volume, box, z = slices[int(place)]
        chosen.append((volume, _middle(Box((z, *box.start[1:]), (z + 1, *box.stop[1:])), _SIDE, 1)))
    whole = all(max(box.shape[1:]) <= _SIDE for _, box in boxes)
    return chosen, whole and len(places) == len(slices)


def _middle(box: Box, side: int, depth: int) -> Box:
    """The middle of a box, at most `depth` x `side` x `side`."""
    sides = [min(a, b) for a, b in zip(box.shape, (depth, side, side), strict=True)]
    start = [a + (n - s) // 2 for a, n, s in zip(box.start, box.shape, sides, strict=True)]
    stop = [a + s for a, s in zip(start, sides, strict=True)]
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _masks(volume: Volume, box: Box, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """bool masks (K, Z, Y, X) of the classes, and which voxels count, (Z, Y, X)."""
    valid = np.ones(box.shape, bool) if volume.valid is None else volume.valid.read(box) != 0
    labels = [image.read(box) for image in volume.labels]
    if dataset.classes.exclusive:
        masks = np.stack([labels[0] == number for number in dataset.classes.ids])
    else:
        masks = np.stack([one != 0 for one in labels])
    return masks & valid, valid


def _factors(volume: Volume, dataset: Dataset) -> tuple[float, float, float]:
    """How many voxels of the working grid one of the volume's is wide, (z, y, x)."""
    size, working = volume.voxel_size_nm, dataset.voxel_size_nm
    if size is None or working is None:
        return (1.0, 1.0, 1.0)
    return (size[0] / working[0], size[1] / working[1], size[2] / working[2])


def _sides(parts: Sequence[Part], dataset: Dataset) -> tuple[int, int]:
    """Patches may reach beyond a region, so that few small ones need not make all patches small."""
    sides, weights = [], []
    for part in parts:
        if boxes := labelled_boxes(part):
            z, y, x = _factors(part.volume, dataset)
            sides.append((int(part.box.shape[1] * y), int(part.box.shape[2] * x)))
            weights.append(sum(box.size for box in boxes) * z * y * x)
    return _typical([one[0] for one in sides], weights), _typical([one[1] for one in sides], weights)


def _typical(sides: Sequence[int], weights: Sequence[float]) -> int:
    """The smallest side, apart from those that together have less than a tenth of the weight."""
    order = np.argsort(sides, kind="stable")
    below = np.cumsum(np.asarray(weights)[order])
    return int(np.asarray(sides)[order][np.searchsorted(below, _SMALL * below[-1])])


def _validate_vox(dataset: Dataset) -> int:
    total = 0.0
    for part in dataset.validate:
        z, y, x = _factors(part.volume, dataset)
        total += sum(box.size for box in labelled_boxes(part)) * z * y * x
    return round(total)


def _mean_and_deviation(volume: Volume, box: Box) -> tuple[float, float]:
    grey = volume.image.read(box)
    return float(grey.mean(dtype=np.float64)), float(grey.std(dtype=np.float64))


def _likeness(volumes: Sequence[Volume], boxes: Sequence[Box]) -> float | None:
    """The median correlation of slices with the next one, of some pairs; smoothed, since noise is never alike."""
    found = []
    for volume, box in _pairs(volumes, boxes):
        first, second = (ndimage.uniform_filter(one.astype(np.float32), 5) for one in volume.image.read(box))
        if first.std() > 0 and second.std() > 0:
            found.append(float(np.corrcoef(first.ravel(), second.ravel())[0, 1]))
    return float(np.median(found)) if found else None


def _pairs(volumes: Sequence[Volume], boxes: Sequence[Box]) -> Iterator[tuple[Volume, Box]]:
    """Some labelled slices with a neighbour, in their middle."""
    deep = [(volume, box) for volume, box in zip(volumes, boxes, strict=True) if volume.image.shape[0] > 1]
    slices = [(volume, box, z) for volume, box in deep for z in range(box.start[0], box.stop[0])]
    for place in np.unique(np.linspace(0, len(slices) - 1, min(4, len(slices))).round().astype(int)) if slices else ():
        volume, box, z = slices[int(place)]
        first = min(z, volume.image.shape[0] - 2)
        flat = _middle(Box((z, *box.start[1:]), (z + 1, *box.stop[1:])), _COLUMN, 1)
        yield volume, Box((first, *flat.start[1:]), (first + 2, *flat.stop[1:]))
