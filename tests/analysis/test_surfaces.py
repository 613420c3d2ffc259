"""Meshes of classes inside cells."""

import numpy as np
import pytest
from cell_data import CELL, class_map, grid

from cristae.analysis.cells import cells_of_classes
from cristae.analysis.mesh import area_of, volume_of
from cristae.analysis.surfaces import CELLS, COARSE_VOXELS, class_meshes, draw, mesh_step

SIZE = (20.0, 10.0, 10.0)


def ball(shape, radius_nm, middle_nm):
    places = np.indices(shape).T.T
    return sum((axis * edge - at) ** 2 for axis, edge, at in zip(places, SIZE, middle_nm, strict=True)) <= radius_nm**2


def test_volumes_and_areas_of_classes_and_the_cell():
    shape = (26, 50, 50)
    labels = ball(shape, 220, (250, 245, 245)).astype(np.uint8)
    labels[ball(shape, 100, (250, 245, 245))] = 2
    classes = class_map(labels, size=SIZE)
    meshes = class_meshes(classes, cells_of_classes(classes), grid(shape, (9, 32, 32)))
    assert set(meshes) == {*CELL.foreground, CELLS}
    assert len(meshes["granule"].faces) == 0
    for name, radius in (("mito", 100), (CELLS, 220)):
        assert volume_of(meshes[name]) == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.03)
        assert area_of(meshes[name]) == pytest.approx(4 * np.pi * radius**2, rel=0.05)
    colors = dict.fromkeys(CELL.foreground, "#ff0000")
    first, second = draw(meshes, {"cell": 0.9, "mito": 0.1, "granule": 0.0}, colors)
    assert first.picture.shape == second.picture.shape
    assert (first.picture < 250).any()
    assert draw(dict.fromkeys(meshes, meshes["granule"]), {"cell": 1.0}, colors) == []


def test_meshes_of_large_volumes_are_made_of_coarser_cubes():
    assert mesh_step((100, 200, 200), SIZE) == (1, 1, 1)
    z, y, x = mesh_step((1000, 2000, 2000), SIZE)
    assert y == x == 2 * z
    assert np.prod([1000 / z, 2000 / y, 2000 / x]) <= COARSE_VOXELS
    assert mesh_step((20, 5000, 5000), (50.0, 5.0, 5.0))[0] == 1
