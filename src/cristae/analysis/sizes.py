"""From sums over voxels to sizes in nm and um."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from cristae.analysis.census import Census
from cristae.analysis.class_map import ClassMap
from cristae.analysis.crofton import areas_nm2
from cristae.analysis.measure import Sums
from cristae.analysis.membrane import Distances
from cristae.analysis.objects import Objects
from cristae.analysis.tables import CellSize, ClassSize, ObjectSize
from cristae.data.box import Triple
from cristae.metrics.ratio import ratio


def cell_sizes(classes: ClassMap, census: Census) -> tuple[CellSize, ...]:
    """One row for each cell."""
    voxels = census.cell_voxels.tolist()
    return tuple(CellSize(c, n, n * classes.voxel_um3) for c, n in zip(census.cells, voxels, strict=True))


def kept_objects(sums: Sums, classes: ClassMap, min_um3: float) -> np.ndarray:
    """bool (n + 1,): objects that are large enough to be listed; False for row 0."""
    # A size that is given as a number of voxels times their volume must not fail by rounding.
    kept: np.ndarray = sums.voxels * classes.voxel_um3 >= min_um3 * (1 - 1e-12)
    kept[0] = False
    return kept & (sums.voxels > 0)


def centroids(sums: Sums) -> np.ndarray:
    """float64 (n + 1, 3) in voxels (z, y, x); NaN without voxels."""
    return ratio(sums.places, sums.voxels[:, None])


def object_sizes(
    objects: Objects, sums: Sums, kept: np.ndarray, distances: Distances | None, classes: ClassMap, census: Census
) -> tuple[ObjectSize, ...]:
    """One row for each object that is kept, in the order of their numbers."""
    numbers = np.flatnonzero(kept)
    places = centroids(sums)[numbers] * classes.voxel_size_nm + classes.origin_nm
    areas = areas_nm2(sums.crossings[numbers], classes.voxel_size_nm) * 1e-6
    volumes = sums.voxels[numbers] * classes.voxel_um3
    diameters = (6 / np.pi * sums.voxels[numbers] * prod(classes.voxel_size_nm)) ** (1 / 3)
    boxes = np.concatenate([sums.low[numbers], sums.high[numbers] + 1], axis=1)
    touches = _at_edge(boxes, classes.shape)
    nearest, middle = (
        (np.full(len(numbers), np.nan),) * 2
        if distances is None
        else (distances.nearest[numbers], distances.centroid[numbers])
    )
    rows = []
    for place, number in enumerate(numbers.tolist()):
        size: tuple[Any, ...] = (
            census.cells[objects.cell_of[number]],
            objects.name,
            number,
            int(sums.voxels[number]),
            float(volumes[place]),
            float(areas[place]),
            float(diameters[place]),
            *places[place].tolist(),
            *boxes[place].tolist(),
            bool(touches[place]),
            float(nearest[place]),
            float(middle[place]),
        )
        rows.append(ObjectSize(*size))
    return tuple(rows)


def class_sizes(
    name: str, crossings: np.ndarray, objects: tuple[ObjectSize, ...], classes: ClassMap, census: Census
) -> tuple[ClassSize, ...]:
    """One row for each cell.

    Args:
        name: The class.
        crossings: int64 (N, 13) of the class in each cell.
        objects: Those that are listed.
        classes: The map.
        census: Voxels by cell and class.
    """
    column = classes.classes.foreground.index(name)
    fractions, areas = census.fractions(), areas_nm2(crossings, classes.voxel_size_nm) * 1e-6
    by_cell: dict[int, list[float]] = {cell: [] for cell in census.cells}
    for one in objects:
        by_cell[one.cell].append(one.volume_um3)
    rows = []
    for place, cell in enumerate(census.cells):
        volumes = np.array(by_cell[cell])
        voxels = int(census.class_voxels[place, column])
        rows.append(
            ClassSize(
                cell,
                name,
                voxels,
                voxels * classes.voxel_um3,
                float(fractions[place, column]),
                len(volumes),
                float(np.median(volumes)) if len(volumes) else float("nan"),
                float(volumes.mean()) if len(volumes) else float("nan"),
                float(areas[place]),
            )
        )
    return tuple(rows)


def _at_edge(boxes: np.ndarray, shape: Triple) -> np.ndarray:
    """Whether boxes (n, 6) reach the edge of the volume; a single slice has no edge in z."""
    axes = [axis for axis in range(3) if axis > 0 or shape[0] > 1]
    low = boxes[:, axes] == 0
    high = boxes[:, [axis + 3 for axis in axes]] == [shape[axis] for axis in axes]
    reached: np.ndarray = (low | high).any(axis=1)
    return reached
