"""Fewer faces: vertices that lie in the same cell of a grid become one, placed where their faces meet.

Lindstrom (2000), Out-of-core simplification of large polygonal models, https://doi.org/10.1145/344779.344912
"""

from __future__ import annotations

import numpy as np

from cristae.analysis.mesh import Mesh, area_of

_FACES_PER_CELL = 3.0
"""A surface of area A passes through about 1.5 A / s² cells of side s and has two faces for each vertex."""
_FLAT = 1e-3
"""Directions in which faces vary less than this share of the most are left as they are (the paper's limit)."""


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
        place, faces = _clusters(mesh, side_nm)
        if len(faces) <= max_faces:
            return _merged(mesh, place, faces, side_nm)
        side_nm *= max(1.02, float(np.sqrt(len(faces) / max_faces)))


def _clusters(mesh: Mesh, side_nm: float) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of each vertex (V,), and what is left of the faces (F, 3), in clusters."""
    low = mesh.vertices.min(axis=0) if len(mesh.vertices) else np.zeros(3)
    cells = np.floor((mesh.vertices - low) / side_nm).astype(np.int64)
    size = cells.max(axis=0, initial=0) + 1
    _, place = np.unique(np.ravel_multi_index(tuple(cells.T), tuple(size)), return_inverse=True)
    return place, _without_pairs(place[mesh.faces])


def _merged(mesh: Mesh, place: np.ndarray, faces: np.ndarray, side_nm: float) -> Mesh:
    vertices = _meeting_places(mesh, place, side_nm)
    used, faces = np.unique(faces, return_inverse=True)
    return Mesh(vertices[used].astype(np.float32), faces.reshape(-1, 3).astype(np.int32))


def _meeting_places(mesh: Mesh, place: np.ndarray, side_nm: float) -> np.ndarray:
    """(C, 3) for each cluster the point with the least sum of squared distances to the planes of all faces that have a
    vertex in it, a plane counting by the square of its face's area; at most `side_nm` from the mean of its vertices.

    Args:
        mesh: The surface.
        place: (V,) cluster of each vertex.
        side_nm: Side of the clusters.
    """
    size = np.bincount(place)
    mean = np.stack([np.bincount(place, mesh.vertices[:, axis]) / size for axis in range(3)], axis=1)
    a, b, c = (mesh.vertices[mesh.faces[:, corner]].astype(np.float64) for corner in range(3))
    normal = np.cross(b - a, c - a)
    spread, pull = np.zeros((len(size), 3, 3)), np.zeros((len(size), 3))
    for corner in range(3):
        at = place[mesh.faces[:, corner]]
        height = np.einsum("ij,ij->i", normal, a - mean[at])
        for row in range(3):
            pull[:, row] += np.bincount(at, height * normal[:, row], minlength=len(size))
            for column in range(row + 1):
                spread[:, row, column] += np.bincount(at, normal[:, row] * normal[:, column], minlength=len(size))
    strength, axes = np.linalg.eigh(spread)  # of the lower triangle
    firm = strength > _FLAT * strength[:, -1:]
    along = np.einsum("cji,cj->ci", axes, pull)
    step = np.einsum("cij,cj->ci", axes, np.divide(along, strength, out=np.zeros_like(along), where=firm))
    length = np.linalg.norm(step, axis=1, keepdims=True)
    places: np.ndarray = mean + step * np.minimum(1, side_nm / np.maximum(length, 1e-30))
    return places


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
