"""Borders between objects, drawn one pixel wide, so that scores do not depend on how wide a prediction draws them.

The objects of a prediction grow over the whole background until they meet; where two meet, a line stays without a
label. Which pixels the line takes depends on the order in which pixels are visited; it is the order of the
trainable-segmentation scores in Fiji (Arganda-Carreras et al., 2015, https://doi.org/10.3389/fnana.2015.00142; Fiji's
flooding after Vincent and Soille, 1991, https://doi.org/10.1109/34.87344):

1. The objects are the foreground's components with 4 neighbours. Without any, the plane becomes one segment.
2. Background pixels that touch an object enter a first-in first-out queue, column by column.
3. A pixel that leaves the queue first sends its neighbours that never queued into it (left, up, right, down), then
   takes the label that its neighbours carry at this moment. With two or more different labels, or none, it becomes
   line.

So objects lose no pixel, segments never touch, and every segment is connected by 4 neighbours.
"""

from __future__ import annotations

import numpy as np

from cristae.compiled import compiled
from cristae.errors import ScoreError

WAITING = 0
"""Background that is not in the queue yet."""
UNLABELLED = -1
"""In the queue, on a line, or outside the plane: carries no label and is not queued again."""


def thin_borders(mask: np.ndarray) -> np.ndarray:
    """Let the objects of a plane grow until lines one pixel wide are left between them.

    Args:
        mask: (Y, X), foreground where not 0.

    Returns:
        (Y, X) int32: the objects' ids 1 to n, numbered by their first pixel in raster order; 0 on the lines.

    Raises:
        ScoreError: The mask is no plane.

    Example:
        >>> thin_borders(np.array([[1, 0, 0, 1]]))
        array([[1, 1, 0, 2]], dtype=int32)
    """
    if mask.ndim != 2:
        raise ScoreError(f"borders are thinned plane by plane (Y, X), got shape {mask.shape}")
    labels = frame(mask.shape)
    n = label_plane(np.ascontiguousarray(mask != 0).view(np.uint8), 0, labels)
    columns = np.ascontiguousarray(labels.T)
    grow_labels(columns, n)
    thin: np.ndarray = np.maximum(columns[1:-1, 1:-1].T, 0, order="C")
    return thin


def frame(shape: tuple[int, ...]) -> np.ndarray:
    """Room for the labels of a plane (A, B): int32 (A + 2, B + 2), with a frame of pixels that carry no label."""
    return np.full((shape[0] + 2, shape[1] + 2), UNLABELLED, np.int32)


@compiled
def label_plane(levels: np.ndarray, cut: int, labels: np.ndarray) -> int:
    """Number the components with 4 neighbours of `levels > cut`.

    Args:
        levels: (A, B) uint8.
        cut: Highest level that is background.
        labels: (A + 2, B + 2) int32 from `frame`; its inner part is overwritten: 1 to n by the first pixel in raster
            order, 0 in the background.

    Returns:
        n.
    """
    height, width = levels.shape
    parent = np.empty(height * width // 2 + 2, np.int32)
    parent[0] = 0
    fresh = np.int32(0)
    for row in range(height):
        for column in range(width):
            label = np.int32(0)
            if levels[row, column] > cut:
                above, before = labels[row, column + 1], labels[row + 1, column]
                if before > 0:
                    label = before
                    if above > 0 and labels[row, column] <= 0:  # else both hang together through the corner
                        _join(parent, above, before)
                elif above > 0:
                    label = above
                else:
                    fresh += np.int32(1)
                    parent[fresh] = fresh
                    label = fresh
            labels[row + 1, column + 1] = label
    n = np.int32(0)
    for first in range(1, fresh + 1):  # a parent is never larger than its child
        if parent[first] == first:
            n += np.int32(1)
            parent[first] = n
        else:
            parent[first] = parent[parent[first]]
    for row in range(1, height + 1):
        for column in range(1, width + 1):
            labels[row, column] = parent[labels[row, column]]
    return int(n)


@compiled
def _join(parent: np.ndarray, one: int, other: int) -> None:
    """Unite two trees under the smaller root."""
    while parent[one] != one:
        parent[one] = parent[parent[one]]
        one = parent[one]
    while parent[other] != other:
        parent[other] = parent[parent[other]]
        other = parent[other]
    parent[max(one, other)] = min(one, other)


@compiled
def grow_labels(labels: np.ndarray, n: int) -> None:
    """Let labels grow over their background, in place.

    Args:
        labels: (X + 2, Y + 2) int32: a plane with x first, so that its columns lie together in memory, inside a frame
            of `UNLABELLED`; `WAITING` in the background. Lines become `UNLABELLED`.
        n: How many labels there are.
    """
    if n <= 1:  # nothing to meet
        labels[1:-1, 1:-1] = 1
        return
    rows, columns = labels.shape
    flat = labels.reshape(-1)
    queue = np.empty((rows - 2) * (columns - 2) + 1, np.uint32)  # one more place, written but never kept
    # unsigned places save a test for negative ones at every access; a store without an if saves wrong guesses
    one, width, end = np.uint64(1), np.uint64(columns), np.uint64(0)
    for row in range(1, rows - 1):
        for column in range(1, columns - 1):
            here = np.uint64(row * columns + column)
            if flat[here] == WAITING:
                queue[end] = here
                beside_rows = max(flat[here - width], flat[here + width])
                end += np.uint64(max(beside_rows, flat[here - one], flat[here + one]) > 0)
    for edge in queue[:end]:
        flat[np.uint64(edge)] = UNLABELLED
    first = np.uint64(0)
    while first < end:
        here = np.uint64(queue[first])
        first += one
        highest, lowest = np.int32(0), np.uint32(0xFFFFFFFF)
        for beside in (here - width, here - one, here + width, here + one):  # left, up, right, down
            label = flat[beside]
            queue[end] = beside
            end += np.uint64(label == WAITING)
            flat[beside] = UNLABELLED if label == WAITING else label
            highest = max(highest, label)
            lowest = min(lowest, np.uint32(label - 1))  # without a label: larger than any
        flat[here] = highest if highest > 0 and np.uint32(highest - 1) == lowest else UNLABELLED
