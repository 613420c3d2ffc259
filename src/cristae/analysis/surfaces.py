"""Surface meshes of whole classes, coarse enough for memory and viewers, and pictures of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import numpy as np

from cristae.analysis.cells import CellMap
from cristae.analysis.class_map import ClassMap
from cristae.analysis.measurement import Grid
from cristae.analysis.mesh import Mesh, mesh_of_blocks
from cristae.analysis.mesh_simplify import simplify
from cristae.analysis.mesh_smooth import smooth
from cristae.analysis.render import VIEWPOINTS, Body, Rendering, render
from cristae.data.box import Box, Triple
from cristae.data.image import VoxelSize

CELLS = ""
"""What the mesh of all cells together is called here: no class has this name."""
COARSE_VOXELS = 1 << 23
"""Voxels above which a mesh is made of coarser ones."""
MAX_FACES = 1_000_000
"""Of one mesh."""
_GREY = "#b8b8b8"
_NARROW_PX = 600
"""Width of pictures that stand side by side."""


def class_meshes(
    classes: ClassMap, cells: CellMap, grid: Grid, *, advance: Callable[[], None] = lambda: None
) -> dict[str, Mesh]:
    """A closed, smoothed surface in nm (x, y, z) of every class inside the cells, and of the cells themselves.

    Args:
        classes: The map.
        cells: Only what lies in a cell is meshed.
        grid: Blocks.
        advance: Called after each block of each mesh.
    """
    step = mesh_step(classes.shape, classes.voxel_size_nm)

    def reader(name: str) -> Callable[[Box], np.ndarray]:
        def read(box: Box) -> np.ndarray:
            inside: np.ndarray = cells.read(box) != 0
            if name != CELLS:
                inside &= classes.read_class(name, box)
            return inside

        return read

    meshes = {}
    for name in (*classes.classes.foreground, CELLS):
        mesh = mesh_of_blocks(
            reader(name),
            grid.blocks,
            classes.shape,
            classes.voxel_size_nm,
            origin_nm=classes.origin_nm,
            step_vox=step,
            advance=advance,
        )
        meshes[name] = simplify(smooth(mesh), MAX_FACES)
    return meshes


def mesh_step(shape: Triple, voxel_size_nm: VoxelSize) -> Triple:
    """How many voxels (z, y, x) make one of a mesh: as near to cubes as needed for `COARSE_VOXELS` of them."""
    step = [1, 1, 1]
    while prod(-(-edge // wide) for edge, wide in zip(shape, step, strict=True)) > COARSE_VOXELS:
        edges = [wide * size for wide, size in zip(step, voxel_size_nm, strict=True)]
        step[edges.index(min(edges))] += 1
    z, y, x = step
    return z, y, x


def draw_side_by_side(
    participants: Mapping[str, tuple[Mapping[str, Mesh], Mapping[str, float]]], colors: Mapping[str, str]
) -> dict[str, Rendering]:
    """A picture of each of several segmentations of one volume, all from the same place.

    Args:
        participants: Meshes and shares as `draw` takes them, by name. What the first one's cell consists of is not
            drawn for any of them, so that pictures can be compared.
        colors: By class.

    Returns:
        By name; nothing where nobody has anything to see.
    """
    _, first = next(iter(participants.values()))
    drawn = {name: _bodies(meshes, first, colors) for name, (meshes, _) in participants.items()}
    every = [body for bodies in drawn.values() for body in bodies]
    found = {}
    for name, bodies in drawn.items():
        for picture in render(bodies, viewpoints=VIEWPOINTS[:1], width_px=_NARROW_PX, around=every):
            found[name] = picture
    return found


def draw(meshes: Mapping[str, Mesh], shares: Mapping[str, float], colors: Mapping[str, str]) -> list[Rendering]:
    """Pictures from two sides: organelles inside a cell of glass.

    Args:
        meshes: Of the classes and of the cells.
        shares: Of the cells' voxels, by class. A class with more than half of them is the cell's own substance: it is
            not drawn, but gives the glass its colour.
        colors: By class.
    """
    return render(_bodies(meshes, shares, colors))


def _bodies(meshes: Mapping[str, Mesh], shares: Mapping[str, float], colors: Mapping[str, str]) -> list[Body]:
    small = [name for name in shares if shares[name] <= 0.5]
    if not small:
        return [Body(meshes[name], colors[name]) for name in shares]
    substance = next((name for name in shares if shares[name] > 0.5), None)
    glass = Body(meshes[CELLS], _GREY if substance is None else colors[substance], translucent=True)
    return [*(Body(meshes[name], colors[name]) for name in small), glass]
