"""Fewer faces: vertices that lie in the same cell of a grid become one.

Rossignac, Borrel (1993), Multi-resolution 3D approximations for rendering complex scenes,
https://doi.org/10.1007/978-3-642-78114-8_29
"""

from __future__ import annotations

import numpy as np

from cristae.analysis.mesh import Mesh, area_of

_FACES_PER_CELL = 3.0
"""A surface of area A passes through about 1.5 A / s² cells of side s and has two faces for each vertex."""


def simplify(mesh: Mesh, max_faces: int) -> Mesh:
    """The mesh with at most `max_faces` faces, and not many fewer.

    What is thinner than a cell collapses, and then more than two faces may meet at an edge; but every edge still runs
    as often one way as the other, so the volume inside stays defined.

    Args:
        mesh: A closed surface.
        max_faces: At least 1.
    """
    if max_faces < 1:
        raise ValueError(f"a mesh of at most {max_faces} faces: at least 1 is needed")
    if len(mesh.faces) <= max_faces:
        return mesh
    side_nm = float(np.sqrt(_FACES_PER_CELL * area_of(mesh) / max_faces)) * 0.8
    while True:
        simpler = cluster(mesh, side_nm)
        count = len(simpler.faces)
        if count <= max_faces:
            return simpler
        side_nm *= max(1.02, float(np.sqrt(count / max_faces)))


def cluster(mesh: Mesh, side_nm: float) -> Mesh:
    """The mesh with the vertices of each cube of side `side_nm` replaced by their mean.

    Faces that keep fewer than three vertices go, and so do pairs of faces that lie on each other back to back.
    """
    low = mesh.vertices.min(axis=0) if len(mesh.vertices) else np.zeros(3)
    cells = np.floor((mesh.vertices - low) / side_nm).astype(np.int64)
    size = cells.max(axis=0, initial=0) + 1
    _, place = np.unique(np.ravel_multi_index(tuple(cells.T), tuple(size)), return_inverse=True)
    count = np.bincount(place)
    vertices = np.stack([np.bincount(place, mesh.vertices[:, axis]) / count for axis in range(3)], axis=1)
    faces = _without_pairs(place[mesh.faces])
    used, faces = np.unique(faces, return_inverse=True)
    return Mesh(vertices[used].astype(np.float32), faces.reshape(-1, 3).astype(np.int32))


def _without_pairs(faces: np.ndarray) -> np.ndarray:
    """Faces of three different vertices; of those on the same three, only what one way exceeds the other."""
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    turn = (faces.argmin(axis=1)[:, None] + np.arange(3)) % 3
    faces = np.take_along_axis(faces, turn, axis=1)
    way = np.where(faces[:, 1] < faces[:, 2], 1, -1)
    corners, place = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True)
    excess = np.bincount(place.reshape(-1), way, minlength=len(corners)).astype(np.int64)
    turned = np.where((excess > 0)[:, None], corners, corners[:, [0, 2, 1]])
    return np.repeat(turned, np.abs(excess), axis=0)
