"""Numbers and sizes of objects from boxes that are labelled in 3D, as units of all the boxes that fill a volume.

Each object counts in the one box that holds its centroid, so that the boxes add up to the volume: no object is counted
twice at a face, and none is lost (as with Gundersen's counting frames, by a point that belongs to each object). An
object has to be seen as a whole for that, so labels have to go on around a box, in its guard.

References:
    Gundersen (1977), https://doi.org/10.1111/j.1365-2818.1977.tb00062.x
    Gundersen and Jensen (1987), https://doi.org/10.1111/j.1365-2818.1987.tb02837.x
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from cristae.analysis.tables import ObjectSize
from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.image import VoxelSize
from cristae.data.volume import Volume
from cristae.errors import ScoreError, VoxelSizeError
from cristae.evaluation.comparison import Comparison
from cristae.evaluation.estimate_rows import EstimateRow
from cristae.evaluation.estimation import PartAmounts, Wanted, estimate_classes
from cristae.evaluation.segmentation import Segmentation
from cristae.metrics.margin import margin_vox
from cristae.metrics.uncertainty.designs import Sample
from cristae.progress import Progress

Measure = Callable[[Volume, Classes], Sequence[ObjectSize]]
"""Finds and measures the objects of a volume's labels, which are of these classes."""


@dataclass(frozen=True, eq=False)
class BoxObjects:
    """Objects by box, K foreground classes."""

    names: tuple[str, ...]
    sample: Sample
    places: np.ndarray
    """(n,) the labelled boxes among all."""
    room: np.ndarray
    """(B,) um3 of each box."""
    truth: np.ndarray
    """(n, K, 2) of the labelled boxes: number of objects, and um3 of these, also outside the box."""
    predicted: np.ndarray
    """(B, K, 2) the same of all boxes, as predicted."""

    def rows(self) -> tuple[EstimateRow, ...]:
        """Objects by volume, in all, and their mean size; no mean size of a class without a labelled object."""
        rows: list[EstimateRow] = []
        for index, name in enumerate(self.names):
            truth, predicted = self.truth[:, index], self.predicted[:, index]
            room = self.room[:, None]
            by_room = self._part(truth[:, :1], room[self.places], predicted[:, :1], room)
            rows += estimate_classes([by_room], Wanted((name,), "objects_per_um3", "objects", upper=math.inf))
            if truth[:, 0].any():
                mean = self._part(truth[:, 1:], truth[:, :1], predicted[:, 1:], predicted[:, :1])
                rows += estimate_classes([mean], Wanted((name,), "mean_object_um3", None, upper=math.inf))
        return tuple(rows)

    def _part(self, truth: np.ndarray, size: np.ndarray, predicted: np.ndarray, whole: np.ndarray) -> PartAmounts:
        nothing = np.zeros(1)
        there = predicted[self.places], whole[self.places, 0]
        sums = predicted.sum(axis=0), float(whole.sum())
        return PartAmounts(self.sample, truth, size[:, 0], *there, *sums, nothing, nothing, 0.0)


def plan_boxes(shape: Triple, edges: Triple, n: int, *, seed: int = 0) -> tuple[Box, ...]:
    """Which of the boxes that fill a volume to label, by chance.

    Args:
        shape: Of the volume, voxels (z, y, x).
        edges: Of a box; those at the far ends may be smaller.
        n: Boxes to label.
        seed: The same seed plans the same boxes.

    Raises:
        ScoreError: A box has no voxels, or there are not so many.
    """
    if min(edges) < 1:
        raise ScoreError(f"boxes of {edges} voxels (z, y, x) are none")
    every = list(Box.of_shape(shape).blocks(edges))
    if not 1 <= n <= len(every):
        raise ScoreError(f"{n} boxes cannot be chosen among the {len(every)} of {edges} voxels that fill {shape}")
    chosen = np.random.default_rng(seed).choice(len(every), n, replace=False)
    return tuple(every[place] for place in sorted(chosen.tolist()))


def count_in_boxes(
    comparison: Comparison,
    boxes: Sequence[str],
    *,
    trained: frozenset[int],
    guard_nm: float,
    measure: Measure,
    progress: Progress,
) -> BoxObjects:
    """Count the objects of the prediction in all boxes, and those of the truth in the labelled ones.

    Args:
        comparison: Truth and prediction of the whole volume.
        boxes: Labelled ones, `Z0:Z1,Y0:Y1,X0:X1`, of those of one shape that fill the volume.
        trained: Slices that the network was trained on; boxes in them are left out.
        guard_nm: How far around a box objects are labelled, too.
        measure: Finds objects.
        progress: Where to report.

    Raises:
        VoxelSizeError: The voxel size is not known.
        ScoreError: The boxes are not of one grid, or not labelled completely, or fewer than two are left.
    """
    size, whole = comparison.voxel_size_nm, Box.of_shape(comparison.shape)
    if size is None:
        raise VoxelSizeError("numbers by volume need the voxel size; give it with --voxel-size-nm Z Y X")
    every, labelled = _grid(comparison.shape, boxes)
    first = comparison.first_slice
    used = [box for box in labelled if not trained & {*range(first + box.start[0], first + box.stop[0])}]
    if len(used) < len(labelled):
        progress.say(f"{len(labelled) - len(used)} labelled boxes are in slices that were trained on, and not used")
    if len(used) < 2:
        raise ScoreError(f"{len(used)} labelled boxes that were not trained on; an estimate needs at least two")
    classes = comparison.truth.classes
    names = classes.foreground
    predicted = _by_box(measure(_volume(comparison.prediction, whole, size), classes), whole, every, names, size)
    truth, cut = np.zeros((len(used), len(names), 2)), 0
    with progress.task("Counting objects", len(used), unit="boxes") as task:
        for place, box in enumerate(used):
            window = box.grow(margin_vox(guard_nm, size)).intersect(whole)
            _check_labelled(comparison, box, window)
            objects = measure(_volume(comparison.truth, window, size), classes)
            truth[place] = _by_box(objects, window, [box], names, size)[0]
            cut += sum(_is_cut(one, window, whole, box) for one in objects)
            task.advance()
    if cut:
        progress.warn(
            f"{cut} objects in labelled boxes ({truth[..., 0].sum():.0f} are counted there) reach the end of the "
            "labels around them, so where their middle lies is not sure: label farther around the boxes (--guard-nm)"
        )
    places = np.array([every.index(box) for box in used])
    room = np.array([box.size for box in every]) * prod(size) * 1e-9
    return BoxObjects(names, Sample.of("random", len(used), len(every)), places, room, truth, predicted)


def _grid(shape: Triple, texts: Sequence[str]) -> tuple[list[Box], list[Box]]:
    """All boxes that fill the volume, and the labelled ones."""
    boxes = []
    for text in texts:
        try:
            boxes.append(Box.parse(text, shape))
        except ValueError as error:
            raise ScoreError(f"--box {error}") from None
    z, y, x = (max(box.shape[axis] for box in boxes) for axis in range(3))
    every = list(Box.of_shape(shape).blocks((z, y, x)))
    for box, text in zip(boxes, texts, strict=True):
        if box not in every:
            raise ScoreError(
                f"--box {text}: is none of the boxes of {z} x {y} x {x} voxels that fill the volume of {shape} "
                "(z, y, x), counted from its first voxel; --plan N --box-vox Z Y X says which to label"
            )
    if len(set(boxes)) < len(boxes):
        raise ScoreError("a box is named twice (--box)")
    return every, sorted(boxes)


def _check_labelled(comparison: Comparison, box: Box, window: Box) -> None:
    valid = comparison.truth.valid
    if valid is not None and not valid.read(window).all():
        raise ScoreError(
            f"--box {box}: voxels of it, or around it within the guard (--guard-nm), are not labelled; label them, or "
            "leave the box out"
        )


def _volume(one: Segmentation, window: Box, voxel_size_nm: VoxelSize) -> Volume:
    """A part of a segmentation whose coordinates count from its own first voxel."""
    labels = tuple(replace(image.crop(window), voxel_size_nm=voxel_size_nm, origin_nm=None) for image in one.drawn)
    return Volume(one.volume, labels[0], labels, voxel_size_nm=voxel_size_nm)


def _by_box(
    objects: Iterable[ObjectSize], window: Box, boxes: Sequence[Box], names: Sequence[str], voxel_size_nm: VoxelSize
) -> np.ndarray:
    """(boxes, K, 2) number and um3 of the objects of a window whose centroid lies in each box."""
    counts = np.zeros((len(boxes), len(names), 2))
    rows = {box.start: place for place, box in enumerate(boxes)}
    starts = [sorted({box.start[axis] for box in boxes}) for axis in range(3)]
    for one in objects:
        nm = (one.z_nm, one.y_nm, one.x_nm)
        at = [low + math.floor(c / edge + 0.5) for c, edge, low in zip(nm, voxel_size_nm, window.start, strict=True)]
        if any(at[axis] < starts[axis][0] for axis in range(3)):
            continue
        z, y, x = (starts[axis][int(np.searchsorted(starts[axis], at[axis], "right")) - 1] for axis in range(3))
        place = rows.get((z, y, x))
        if place is not None and all(c < stop for c, stop in zip(at, boxes[place].stop, strict=True)):
            counts[place, list(names).index(one.class_name)] += 1, one.volume_um3
    return counts


def _is_cut(one: ObjectSize, window: Box, whole: Box, box: Box) -> bool:
    """Whether an object of a box goes on beyond the labels around it."""
    low, high = (one.z0, one.y0, one.x0), (one.z1, one.y1, one.x1)
    there = Box(low, high).shift(window.start)
    ends = zip(there.start, there.stop, window.start, window.stop, whole.start, whole.stop, strict=True)
    open_ = any((a == wa and wa != va) or (b == wb and wb != vb) for a, b, wa, wb, va, vb in ends)
    return open_ and there.intersect(box).size > 0
