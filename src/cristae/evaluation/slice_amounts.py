"""How much of each class every slice of a volume has, as predicted and, where voxels are labelled, in truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import Image
from cristae.errors import ScoreError
from cristae.evaluation.blocks import blocks_of
from cristae.evaluation.comparison import Comparison


@dataclass(frozen=True, eq=False)
class Amounts:
    """Amounts by slice, in um3 where the voxel size is known and in voxels otherwise. K foreground classes."""

    slices: np.ndarray
    """(Z,) numbers of the slices, counted in the volume."""
    size: np.ndarray
    """(Z,) of what fractions are of, in the whole slice; as predicted where it is what is not background."""
    predicted: np.ndarray
    """(Z, K) predicted, in the whole slice."""
    labelled: np.ndarray
    """(Z,) the part of the slice inside what fractions are of that is labelled, from 0 to 1."""
    truth: np.ndarray
    """(Z, K) truth, in labelled voxels; as the next two."""
    truth_size: np.ndarray
    """(Z,) of what fractions are of."""
    predicted_there: np.ndarray
    """(Z, K) predicted."""
    size_there: np.ndarray
    """(Z,) as `size`."""

    def of_slices(self, chosen: np.ndarray) -> Amounts:
        """The slices that a mask or an index chooses."""
        return Amounts(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def amounts_of(
    comparison: Comparison, *, of: str, labelled: Sequence[int] | None, advance: Callable[[], None]
) -> Amounts:
    """Count a volume block by block.

    Args:
        comparison: Truth and prediction. With `of="cell"` the last of its valid masks is the cell.
        of: What fractions are of: `volume`, `cell` or `foreground` (what is not background).
        labelled: Slices of the volume that are labelled, of those with labels; None takes all of these.
        advance: Called after each block.

    Raises:
        ScoreError: A voxel holds something that is not a class id.
    """
    depth, classes = comparison.shape[0], comparison.truth.classes
    counts = np.zeros((depth, 2 * (len(classes.foreground) + 1) + len(classes.foreground) + 2), np.int64)
    for box in blocks_of(*comparison.images):
        counts[box.start[0] : box.stop[0]] += _count(comparison, box, of, classes)
        advance()
    slices = comparison.first_slice + np.arange(depth)
    if labelled is not None:
        counts[~np.isin(slices, labelled), len(classes.foreground) + 1 :] = 0
    voxel = 1.0 if comparison.voxel_size_nm is None else prod(comparison.voxel_size_nm) * 1e-9
    ends = np.cumsum([1, len(classes.foreground), 1, 1, len(classes.foreground), 1])
    size, predicted, there, truth_size, truth, size_there, predicted_there = np.split(counts * voxel, ends, axis=1)
    whole = counts[:, 0]
    if of == "foreground":  # what is labelled is counted in all voxels of a slice
        whole = np.full(depth, prod(comparison.shape[1:]))
    share = counts[:, ends[1]] / np.maximum(whole, 1)
    del there
    return Amounts(slices, size[:, 0], predicted, share, truth, truth_size[:, 0], predicted_there, size_there[:, 0])


def _count(comparison: Comparison, box: Box, of: str, classes: Classes) -> np.ndarray:
    """(Z, columns): size, predicted classes; then in labelled voxels: their number, true size, true classes, size,
    predicted classes."""
    truth = _masks(comparison.truth.read(box), classes, comparison.truth.images, comparison.first_slice + box.start[0])
    found = _masks(comparison.prediction.read(box), classes, comparison.prediction.images, box.start[0])
    inside = np.ones(box.shape, bool)
    if of == "cell":
        inside = comparison.valid[-1].read(box) != 0
    known = inside
    if comparison.truth.valid is not None:
        known = inside & (comparison.truth.valid.read(box) != 0)
    true_size, size = known, inside
    if of == "foreground":
        true_size, size = known & np.logical_or.reduce(truth), np.logical_or.reduce(found)
    columns = [size, *(inside & one for one in found), known, true_size, *(known & one for one in truth)]
    columns += [size & known, *(known & one for one in found)]
    return np.stack([np.count_nonzero(one, axis=(1, 2)) for one in columns], axis=1)


def _masks(labels: Sequence[np.ndarray], classes: Classes, images: Sequence[Image], z: int) -> list[np.ndarray]:
    """Where each foreground class is."""
    if classes.exclusive:
        return [labels[0] == number for number in classes.foreground_ids]
    if any(one.dtype.kind == "f" for one in labels):
        raise ScoreError(f"{images[0].path}: slice {z} holds fractions where 0 and 1 were expected")
    return [one == 1 for one in labels]
