"""Maps of classes in memory, and references that look at the whole volume at once."""

import numpy as np

from cristae.analysis.class_map import ClassMap
from cristae.analysis.measurement import Grid
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array

CELL = Classes(names=("background", "cell", "mito", "granule"))
SIZE = (40.0, 10.0, 12.5)


def class_map(labels, classes=CELL, size=SIZE, valid=None):
    images = tuple(image_of_array(one, voxel_size_nm=size) for one in (labels if labels.ndim == 4 else [labels]))
    return ClassMap(images, classes, size, None if valid is None else image_of_array(valid))


def grid(shape, edges):
    return Grid(edges, tuple(Box.of_shape(shape).blocks(edges)))


def blobs(shape, share, seed, width=2):
    """bool array of irregular pieces that cover about `share` of the volume."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), width)
    return noise > np.quantile(noise, 1 - share)


def random_cell(shape, seed=0):
    """uint8 ids of `CELL`: a cell with two kinds of organelles, and background."""
    inside = blobs(shape, 0.7, seed, width=4)
    labels = inside.astype(np.uint8)
    labels[inside & blobs(shape, 0.25, seed + 1, width=1.5)] = 2
    labels[inside & blobs(shape, 0.1, seed + 2, width=1)] = 3
    return labels
