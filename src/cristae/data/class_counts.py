"""How many voxels of each class a box of a volume holds."""

from __future__ import annotations

import numpy as np

from cristae.data.box import Box
from cristae.data.volume import Volume


def class_counts(volume: Volume, box: Box, *, exclusive: bool) -> np.ndarray:
    """(256,) voxels that count by class id; of overlapping masks, id 0 stands for voxels without any."""
    labels = np.stack([label.read(box) for label in volume.labels])
    valid = True if volume.valid is None else volume.valid.read(box) != 0
    if exclusive:
        return np.bincount(labels[0][np.broadcast_to(valid, box.shape)], minlength=256)
    counts = np.zeros(256, np.int64)
    counts[0] = np.count_nonzero(~labels.any(axis=0) & valid)
    counts[1 : len(labels) + 1] = [np.count_nonzero((mask != 0) & valid) for mask in labels]
    return counts


def class_counts_along(volume: Volume, box: Box, axis: int, *, exclusive: bool) -> np.ndarray:
    """(n, 256) as `class_counts`, of each of the n planes of one voxel along an axis."""
    labels = np.stack([label.read(box) for label in volume.labels]).astype(np.int64)
    valid = np.ones(box.shape, bool) if volume.valid is None else volume.valid.read(box) != 0
    n, others = box.shape[axis], tuple(other for other in range(3) if other != axis)
    if exclusive:
        planes = np.expand_dims(np.arange(n), others) * 256
        return np.bincount((labels[0] + planes)[valid], minlength=256 * n).reshape(n, 256)
    counts = np.zeros((n, 256), np.int64)
    counts[:, 0] = np.count_nonzero(~labels.any(axis=0) & valid, axis=others)
    for entry, mask in enumerate(labels, start=1):
        counts[:, entry] = np.count_nonzero((mask != 0) & valid, axis=others)
    return counts
