"""All that is measured of one class, step after step; each step goes through the volume block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cristae.analysis.cells import CellMap
from cristae.analysis.census import Census
from cristae.analysis.class_map import ClassMap, cut
from cristae.analysis.config import AnalysisOptions
from cristae.analysis.measure import Sums
from cristae.analysis.membrane import Distances, Membrane, distances_to
from cristae.analysis.object_map import ObjectMap, chunk_of
from cristae.analysis.objects import Objects, class_crossings, label_objects, measure_objects
from cristae.analysis.sizes import centroids, class_sizes, kept_objects, object_sizes
from cristae.analysis.split import split_objects
from cristae.analysis.tables import ClassSize, ObjectSize
from cristae.data.block_grid import block_shape
from cristae.data.box import Box, Triple
from cristae.data.image import Image
from cristae.progress import Progress


@dataclass(frozen=True)
class Grid:
    """How a volume is cut while it is measured; results do not depend on it."""

    edges: Triple
    """Of a block."""
    blocks: tuple[Box, ...]
    """Disjoint, together the whole volume."""

    @classmethod
    def of(cls, classes: ClassMap, masks: Sequence[Image]) -> Grid:
        """Blocks that follow the chunks of a map and of the masks of its cells."""
        images = [*classes.labels, *masks]
        if any(image.shape != classes.shape for image in images):
            images = list(classes.labels)  # what does not fit is reported when it is read
        edges = block_shape(images, multiple=chunk_of(classes.shape))
        return cls(edges, tuple(cut(classes.shape, edges)))


@dataclass(frozen=True, eq=False)
class MeasuredMap:
    """A map of classes with its cells: what is measured, whichever the class."""

    classes: ClassMap
    cells: CellMap
    census: Census
    """Voxels by cell and class."""
    grid: Grid
    """Quickest with edges that are multiples of an object map's chunks."""

    @property
    def blocks(self) -> list[Box]:
        """The blocks in which any cell has voxels."""
        return sorted({block for own in self.census.blocks for block in own})


@dataclass(frozen=True, eq=False)
class ClassMeasurement:
    """What was found of one class."""

    classes: tuple[ClassSize, ...]
    objects: tuple[ObjectSize, ...]
    cut: int = 0
    """How many objects were cut at their necks."""
    too_large_to_cut: tuple[int, ...] = ()
    """Numbers of objects that were to be cut but left whole."""


def measure_class(
    name: str,
    measured: MeasuredMap,
    folder: Path,
    config: AnalysisOptions,
    *,
    keep_map: bool = False,
    progress: Progress = Progress(),
) -> ClassMeasurement:
    """Find and measure the objects of a class.

    Args:
        name: The class.
        measured: The map and its cells.
        folder: Where the map of object numbers is written, under the class's name.
        config: What to measure, and how.
        keep_map: Whether the map is meant to stay: small objects are then removed from it, and it gets its pyramid.
        progress: Where to show how far it is.
    """
    classes, census = measured.classes, measured.census
    store = ObjectMap(folder / name, classes, measured.grid.edges, name=name)
    with progress.task(f"Finding {name}", 2 * sum(map(len, census.blocks)), unit="blocks") as task:
        objects = label_objects(name, classes, measured.cells, census, store, config.connectivity, advance=task.advance)
    blocks = measured.blocks
    sums = _sums(objects, blocks, progress)
    cut = 0
    too_large: tuple[int, ...] = ()
    if name in config.split:
        depth = config.split_depth_nm or max(classes.voxel_size_nm)
        with progress.task(f"Cutting {name}", objects.count, unit="objects") as task:
            result = split_objects(objects, sums, classes.voxel_size_nm, depth, advance=task.advance)
        objects, cut, too_large = result.objects, result.cut, result.too_large
        if cut:
            sums = _sums(objects, blocks, progress)
    kept = kept_objects(sums, classes, config.min_um3)
    distances = None
    if name != config.membrane:
        with progress.task(f"Distances of {name}", len(blocks) * _rounds(census, config), unit="blocks") as task:
            distances = _distances(objects, sums, kept, measured, config.membrane, task.advance)
    with progress.task(f"Surface of {name}", len(blocks), unit="blocks") as task:
        crossings = class_crossings(objects, census, blocks, advance=task.advance)
    if keep_map:
        store.remove(~kept & (np.arange(len(kept)) > 0), blocks)
        store.finish(progress)
    rows = object_sizes(objects, sums, kept, distances, classes, census)
    return ClassMeasurement(class_sizes(name, crossings, rows, classes, census), rows, cut, too_large)


def _sums(objects: Objects, blocks: list[Box], progress: Progress) -> Sums:
    with progress.task(f"Measuring {objects.name}", len(blocks), unit="blocks") as task:
        return measure_objects(objects, blocks, advance=task.advance)


def _rounds(census: Census, config: AnalysisOptions) -> int:
    return 1 if config.membrane is not None else len(census.cells)


def _distances(
    objects: Objects,
    sums: Sums,
    kept: np.ndarray,
    measured: MeasuredMap,
    membrane: str | None,
    advance: Callable[[], None],
) -> Distances:
    """To the membrane's class, wherever it is; or, cell by cell, to the surface of the object's own cell."""
    middles = centroids(sums)
    classes, census = measured.classes, measured.census
    shape, size = classes.shape, classes.voxel_size_nm
    total = Distances(np.full(len(kept), np.nan), np.full(len(kept), np.nan))
    if membrane is not None:
        rounds = [(np.array(kept), list(measured.grid.blocks), lambda box: classes.read_class(membrane, box))]
    else:
        rounds = [
            (kept & (objects.cell_of == place), list(census.blocks[place]), _one_cell(measured.cells, number))
            for place, number in enumerate(census.cells)
        ]
    for wanted, blocks, read in rounds:
        if wanted.any():
            here = Membrane(read, blocks, shape, size, solid=membrane is not None)
            found = distances_to(
                here,
                measured.blocks if membrane else blocks,
                objects.map.read,
                middles,
                shape=shape,
                voxel_size_nm=size,
                wanted=wanted,
                advance=advance,
            )
            total.nearest[wanted], total.centroid[wanted] = found.nearest[wanted], found.centroid[wanted]
    return total


def _one_cell(cells: CellMap, number: int) -> Callable[[Box], np.ndarray]:
    def read(box: Box) -> np.ndarray:
        mask: np.ndarray = cells.read(box) == number
        return mask

    return read
