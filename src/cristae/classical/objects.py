"""The second stage: connected pieces of what the first one found, described by shape and grey values.

An object lies within one slice. All functions take a slice (Y, X).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from cristae.classical.config import ObjectsConfig
from cristae.data.classes import Classes

_SHAPE = ("area", "height", "width", "major", "minor", "elongation", "compactness", "fill")
_GREY = ("mean", "spread", "darkest", "brightest", "rim", "contrast")


def object_features(classes: Classes) -> tuple[str, ...]:
    """The names of what describes an object."""
    shares = [f"{what} probability of {name}" for name in _channel_names(classes) for what in ("mean", "spread of")]
    return (*_SHAPE, *_GREY, *shares)


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
        config: How wide the rim is.
    """
    count = int(objects.max(initial=0))
    if not count:
        return np.empty((0, len(_SHAPE) + len(_GREY) + 2 * len(probabilities)), np.float32)
    columns = [*_shape(objects, count), *_grey(objects, count, grey, config.surround_vox)]
    for channel in probabilities:
        columns += _mean_and_spread(objects, count, channel)
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
