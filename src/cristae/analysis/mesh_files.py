"""Meshes in files that other programs open: PLY and STL, both binary and little-endian, places in nm as x, y, z.

PLY keeps which faces share a vertex. STL knows neither that nor a unit: most programs take its numbers for mm.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cristae.analysis.mesh import Mesh
from cristae.data.files import require_new, write_bytes
from cristae.errors import FormatError

_FACE = np.dtype([("corners", "u1"), ("vertices", "<i4", 3)])
_TRIANGLE = np.dtype([("normal", "<f4", 3), ("places", "<f4", (3, 3)), ("attribute", "<u2")])
_PLY_HEADER = """ply
format binary_little_endian 1.0
comment made by Cristae
comment unit nm
element vertex {vertices}
property float x
property float y
property float z
element face {faces}
property list uchar int vertex_indices
end_header
"""
_STL_HEADER = b"Cristae surface, unit nm".ljust(80)


def write_mesh(path: Path, mesh: Mesh) -> None:
    """Write a mesh in the format that the name ends in, in one step.

    Args:
        path: A name that ends in .ply or .stl.
        mesh: What to write.

    Raises:
        FormatError: The name ends otherwise.
        OutputExistsError: There is something already.
        StorageError: The disk is full or the place may not be written.
    """
    suffix = _suffix(path)
    require_new(path, what="the mesh")
    write_bytes(path, _ply(mesh) if suffix == ".ply" else _stl(mesh))


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in (".ply", ".stl"):
        raise FormatError(f"{path}: meshes are kept as .ply or .stl; give a name that ends in one of them")
    return suffix


def _ply(mesh: Mesh) -> bytes:
    faces = np.empty(len(mesh.faces), _FACE)
    faces["corners"], faces["vertices"] = 3, mesh.faces
    header = _PLY_HEADER.format(vertices=len(mesh.vertices), faces=len(mesh.faces))
    return header.encode() + mesh.vertices.astype("<f4").tobytes() + faces.tobytes()


def _stl(mesh: Mesh) -> bytes:
    triangles = np.zeros(len(mesh.faces), _TRIANGLE)
    places = mesh.vertices[mesh.faces]
    normal = np.cross(places[:, 1] - places[:, 0], places[:, 2] - places[:, 0])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    triangles["normal"] = np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)
    triangles["places"] = places
    return _STL_HEADER + len(triangles).to_bytes(4, "little") + bytes(triangles.tobytes())
