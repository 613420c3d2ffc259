"""Meshes in files that other programs open: PLY and STL, both binary and little-endian, places in nm as x, y, z.

PLY keeps which faces share a vertex. STL knows neither that nor a unit: most programs take its numbers for mm.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from cristae.analysis.mesh import Mesh
from cristae.data.files import require_new, write_bytes
from cristae.errors import FormatError, MissingFileError

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


def read_mesh(path: Path) -> Mesh:
    """Read a mesh that `write_mesh` wrote, or one of the same layout.

    Vertices of an STL file are merged where their numbers are equal, and then stand in the order of x, y, z.

    Raises:
        MissingFileError: There is no such file.
        FormatError: The name ends in neither .ply nor .stl, or the file is not such a mesh.
    """
    suffix = _suffix(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: there is no such mesh")
    content = path.read_bytes()
    mesh = _mesh_of_ply(path, content) if suffix == ".ply" else _mesh_of_stl(path, content)
    if len(mesh.faces) and not 0 <= mesh.faces.min() <= mesh.faces.max() < len(mesh.vertices):
        raise FormatError(f"{path}: a face names a vertex that the file does not have; write the mesh again")
    return mesh


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


def _mesh_of_ply(path: Path, content: bytes) -> Mesh:
    end = content.find(b"end_header\n") + len(b"end_header\n")
    header = content[:end].decode("ascii", errors="replace")
    header = re.sub(r"(comment|obj_info).*\n", "", header)
    counts = [int(count) for count in re.findall(r"element \w+ (\d+)\n", header)]
    expected = re.sub(r"comment.*\n", "", _PLY_HEADER)
    if len(counts) != 2 or header != expected.format(vertices=counts[0], faces=counts[1]):
        raise FormatError(
            f"{path}: not a PLY mesh of this layout; expected binary_little_endian with vertices of float x, y, z and "
            "faces as 'list uchar int vertex_indices'"
        )
    vertices, faces = counts
    size = end + 12 * vertices + _FACE.itemsize * faces
    if len(content) != size:
        raise FormatError(f"{path}: {len(content):,} bytes, but its header tells of {size:,}; the file is damaged")
    places = np.frombuffer(content, "<f4", 3 * vertices, end).reshape(-1, 3)
    rows = np.frombuffer(content, _FACE, faces, end + 12 * vertices)
    if not (rows["corners"] == 3).all():
        raise FormatError(f"{path}: has faces of other than three corners; cut them into triangles first")
    return Mesh(places.astype(np.float32), rows["vertices"].astype(np.int32))


def _stl(mesh: Mesh) -> bytes:
    triangles = np.zeros(len(mesh.faces), _TRIANGLE)
    places = mesh.vertices[mesh.faces]
    normal = np.cross(places[:, 1] - places[:, 0], places[:, 2] - places[:, 0])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    triangles["normal"] = np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)
    triangles["places"] = places
    return _STL_HEADER + len(triangles).to_bytes(4, "little") + bytes(triangles.tobytes())


def _mesh_of_stl(path: Path, content: bytes) -> Mesh:
    count = int.from_bytes(content[80:84], "little")
    size = 84 + _TRIANGLE.itemsize * count
    if len(content) != size:
        raise FormatError(
            f"{path}: {len(content):,} bytes, but a binary STL of its {count:,} triangles has {size:,}; "
            "it is damaged, or an STL of text"
        )
    places = np.frombuffer(content, _TRIANGLE, count, 84)["places"].reshape(-1, 3)
    vertices, faces = np.unique(places, axis=0, return_inverse=True)
    return Mesh(vertices.astype(np.float32), faces.reshape(-1, 3).astype(np.int32))
