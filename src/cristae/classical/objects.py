"""The second stage: connected pieces of what the first one found, described by shape and grey values.

An object lies within one slice. All functions take a slice (Y, X).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components

from cristae.classical.config import ObjectsConfig
from cristae.data.classes import Classes
from cristae.metrics.centre_line import centre_line

_SHAPE = ("area", "height", "width", "major", "minor", "elongation", "compactness", "fill")
_SKELETON = ("length", "branches", "mean branch length", "ends", "holes")
_GREY = ("mean", "spread", "darkest", "brightest", "rim", "contrast")


def object_features(classes: Classes, config: ObjectsConfig) -> tuple[str, ...]:
    """The names of what describes an object."""
    shares = [f"{what} probability of {name}" for name in _channel_names(classes) for what in ("mean", "spread of")]
    return (*_SHAPE, *_GREY, *shares, *(_SKELETON if config.skeleton else ()))


def find_objects(probabilities: np.ndarray, classes: Classes, config: ObjectsConfig) -> list[np.ndarray]:
    """Connected pieces, int32 (Y, X) numbered from 1, in one image; for overlapping classes one image each.

    Args:
        probabilities: float32 (K, Y, X) of the first stage, K being `Classes.n_logits`.
        classes: What they stand for.
        config: Threshold and smallest size.
    """
    if classes.softmax:
        best = probabilities.argmax(axis=0)
        masks = [[best == number for number in classes.foreground_ids]]
    else:
        masks = [[channel > config.threshold] for channel in probabilities]
    return [_pieces(group, config.smallest_vox) for group in masks]


def _pieces(masks: Sequence[np.ndarray], smallest: int) -> np.ndarray:
    """The pieces of several masks in one image; voxels are joined across edges, not corners."""
    numbered, count = np.zeros(masks[0].shape, np.int32), 0
    for mask in masks:
        pieces, found = ndimage.label(mask)
        numbered[mask] = pieces[mask] + count
        count += found
    keep = np.bincount(numbered.ravel(), minlength=count + 1) >= smallest
    keep[0] = False
    new = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    result: np.ndarray = new[numbered]
    return result


def describe_objects(
    objects: np.ndarray, grey: np.ndarray, probabilities: np.ndarray, config: ObjectsConfig
) -> np.ndarray:
    """Features float32 (N, D) of the objects 1 to N, in the order of `object_features`.

    Args:
        objects: int32 (Y, X) numbers, 0 for none.
        grey: float32 (Y, X).
        probabilities: float32 (K, Y, X) of the first stage.
        config: How wide the rim is, and whether centre lines are described.
    """
    count = int(objects.max(initial=0))
    if not count:
        width = len(_SHAPE) + len(_GREY) + 2 * len(probabilities) + (len(_SKELETON) if config.skeleton else 0)
        return np.empty((0, width), np.float32)
    columns = [*_shape(objects, count), *_grey(objects, count, grey, config.surround_vox)]
    for channel in probabilities:
        columns += _mean_and_spread(objects, count, channel)
    if config.skeleton:
        columns += _skeleton(objects, count)
    return np.stack(columns, axis=1).astype(np.float32)


def _shape(objects: np.ndarray, count: int) -> list[np.ndarray]:
    places = np.nonzero(objects)
    numbers = objects[places]
    area = np.bincount(numbers, minlength=count + 1)[1:].astype(float)
    y, x = (_centred(numbers, count, along.astype(float), area) for along in places)
    # A voxel is a square, not a point: it has a variance of 1/12 by itself.
    yy, xx = (_sums(numbers, count, along * along) / area + 1 / 12 for along in (y, x))
    yx = _sums(numbers, count, y * x) / area
    middle, apart = (yy + xx) / 2, np.hypot((yy - xx) / 2, yx)
    major, minor = 4 * np.sqrt(middle + apart), 4 * np.sqrt(np.maximum(middle - apart, 1 / 12))
    boxes = ndimage.find_objects(objects)
    height, width = (np.array([box[axis].stop - box[axis].start for box in boxes], float) for axis in (0, 1))
    compactness = 4 * np.pi * area / _perimeter(objects, count) ** 2
    return [area, height, width, major, minor, major / minor, compactness, 4 * area / (np.pi * major * minor)]


def _skeleton(objects: np.ndarray, count: int) -> list[np.ndarray]:
    """Of the centre lines of the objects: length in pixels, slanted steps counting root 2; branches, between pixels
    where three or more meet; length of a branch; pixels at ends. Then holes of the objects themselves."""
    lines, holes = _centre_lines(objects, count)
    places = np.stack(np.nonzero(lines))
    owner = lines[tuple(places)]
    first, second, sizes = _steps(lines, places)
    length = np.bincount(owner[first], sizes, minlength=count + 1)[1:]
    degree = np.bincount(np.concatenate([first, second]), minlength=len(owner))
    ends = np.bincount(owner[degree == 1], minlength=count + 1)[1:].astype(float)
    inside = (degree[first] < 3) & (degree[second] < 3)
    graph = sparse.coo_array((np.ones(inside.sum()), (first[inside], second[inside])), (len(owner), len(owner)))
    piece = connected_components(graph, directed=False)[1]
    _, one_of_each = np.unique(piece[degree < 3], return_index=True)
    branches = np.bincount(owner[degree < 3][one_of_each], minlength=count + 1)[1:].astype(float)
    return [length, branches, length / np.maximum(branches, 1), ends, holes]


def _centre_lines(objects: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The number of the object on its centre line, int32 (Y, X), and the holes of each, joined across corners."""
    lines, holes = np.zeros(objects.shape, np.int32), np.zeros(count)
    for number, box in enumerate(ndimage.find_objects(objects), start=1):
        mask = objects[box] == number
        lines[box][centre_line(mask)] = number
        holes[number - 1] = ndimage.label(~np.pad(mask, 1), np.ones((3, 3)))[1] - 1
    return lines, holes


def _steps(lines: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbouring pixels of one line: places of both, (N,) each, and how far they are apart. A slanted step counts
    where no pixel at its corners makes two straight ones of it."""
    padded = np.pad(lines, 1)
    number = np.zeros(padded.shape, np.int64)
    number[tuple(places + 1)] = np.arange(places.shape[1])
    found = []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        near = {step: places + 1 + np.array(step)[:, None] for step in ((dy, dx), (dy, 0), (0, dx))}
        own = lines[tuple(places)]
        joined = padded[tuple(near[dy, dx])] == own
        if dy and dx:
            joined &= (padded[tuple(near[dy, 0])] != own) & (padded[tuple(near[0, dx])] != own)
        first = np.flatnonzero(joined)
        found.append((first, number[tuple(near[dy, dx][:, joined])], np.full(len(first), np.hypot(dy, dx))))
    first, second, sizes = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return first, second, sizes


def _perimeter(objects: np.ndarray, count: int) -> np.ndarray:
    """Edges between voxels of an object and others."""
    padded = np.pad(objects, 1)
    total = np.zeros(count + 1)
    for axis in (0, 1):
        for direction in (1, -1):
            border = (padded != np.roll(padded, direction, axis)) & (padded > 0)
            total += np.bincount(padded[border], minlength=count + 1)
    return total[1:]


def _grey(objects: np.ndarray, count: int, grey: np.ndarray, rim_vox: int) -> list[np.ndarray]:
    numbers = np.arange(1, count + 1)
    mean, spread = _mean_and_spread(objects, count, grey)
    darkest, brightest = (np.asarray(f(grey, objects, numbers)) for f in (ndimage.minimum, ndimage.maximum))
    distance, nearest = ndimage.distance_transform_edt(objects == 0, return_indices=True)
    rims = np.where((distance > 0) & (distance <= rim_vox), objects[tuple(nearest)], 0)
    size = np.bincount(rims.ravel(), minlength=count + 1)[1:]
    rim = np.bincount(rims.ravel(), grey.ravel(), minlength=count + 1)[1:] / np.maximum(size, 1)
    rim = np.where(size > 0, rim, mean)  # an object that fills the slice has no surroundings
    return [mean, spread, darkest, brightest, rim, mean - rim]


def _mean_and_spread(objects: np.ndarray, count: int, values: np.ndarray) -> list[np.ndarray]:
    inside = objects > 0
    numbers, found = objects[inside], values[inside].astype(float)
    area = np.bincount(numbers, minlength=count + 1)[1:]
    mean = _sums(numbers, count, found) / area
    return [mean, np.sqrt(_sums(numbers, count, (found - mean[numbers - 1]) ** 2) / area)]


def _centred(numbers: np.ndarray, count: int, values: np.ndarray, area: np.ndarray) -> np.ndarray:
    centred: np.ndarray = values - (_sums(numbers, count, values) / area)[numbers - 1]
    return centred


def _sums(numbers: np.ndarray, count: int, values: np.ndarray) -> np.ndarray:
    return np.bincount(numbers, values, minlength=count + 1)[1:]


def _channel_names(classes: Classes) -> tuple[str, ...]:
    return classes.names if classes.softmax else classes.foreground
