"""Mesh files, read by parsers written out here from the formats' descriptions."""

import struct

import numpy as np
import pytest
from test_mesh import assert_closed, ball, whole

from cristae.analysis.mesh import Mesh, volume_of
from cristae.analysis.mesh_files import write_mesh
from cristae.errors import FormatError, OutputExistsError


@pytest.fixture
def mesh():
    return whole(ball(5.0), (8.0, 4.5, 4.5), origin_nm=(100.0, 20.0, -3.0))


def parse_ply(content):
    """Vertices and faces, one number after the other."""
    header, _, body = content.partition(b"end_header\n")
    lines = header.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    assert "comment unit nm" in lines
    vertices, faces = (int(line.split()[2]) for line in lines if line.startswith("element"))
    place, found = 0, []
    for _ in range(vertices):
        found.append(struct.unpack_from("<fff", body, place))
        place += 12
    rows = []
    for _ in range(faces):
        assert body[place] == 3
        rows.append(struct.unpack_from("<iii", body, place + 1))
        place += 13
    assert place == len(body)
    return found, rows


def parse_stl(content):
    assert b"nm" in content[:80]
    assert not content.startswith(b"solid")  # which some programs take for the text form
    (count,) = struct.unpack_from("<I", content, 80)
    triangles = [struct.unpack_from("<12fH", content, 84 + 50 * number) for number in range(count)]
    assert len(content) == 84 + 50 * count
    return triangles


def test_ply_holds_the_mesh(tmp_path, mesh):
    write_mesh(tmp_path / "ball.ply", mesh)
    vertices, faces = parse_ply((tmp_path / "ball.ply").read_bytes())
    np.testing.assert_array_equal(np.array(vertices, np.float32), mesh.vertices)
    np.testing.assert_array_equal(faces, mesh.faces)


def test_stl_holds_the_triangles_and_their_outward_normals(tmp_path, mesh):
    write_mesh(tmp_path / "ball.STL", mesh)
    triangles = np.array(parse_stl((tmp_path / "ball.STL").read_bytes()))
    np.testing.assert_array_equal(triangles[:, 3:12].reshape(-1, 3, 3), mesh.vertices[mesh.faces])
    np.testing.assert_allclose(np.linalg.norm(triangles[:, :3], axis=1), 1, rtol=1e-5)
    outward = triangles[:, 3:6] - mesh.vertices.mean(axis=0)
    assert ((triangles[:, :3] * outward).sum(axis=1) > 0).mean() > 0.99
    vertices, corners = np.unique(triangles[:, 3:12].reshape(-1, 3), axis=0, return_inverse=True)
    back = Mesh(vertices.astype(np.float32), corners.reshape(-1, 3).astype(np.int32))
    assert_closed(back)
    assert len(back.vertices) == len(mesh.vertices)
    assert volume_of(back) == pytest.approx(volume_of(mesh))


@pytest.mark.parametrize(("name", "parse", "empty"), [("no.ply", parse_ply, ([], [])), ("no.stl", parse_stl, [])])
def test_an_empty_mesh_is_a_file_too(tmp_path, name, parse, empty):
    write_mesh(tmp_path / name, Mesh(np.empty((0, 3), np.float32), np.empty((0, 3), np.int32)))
    assert parse((tmp_path / name).read_bytes()) == empty


def test_what_exists_is_kept_and_other_names_are_refused(tmp_path, mesh):
    (tmp_path / "ball.ply").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"ball\.ply"):
        write_mesh(tmp_path / "ball.ply", mesh)
    assert (tmp_path / "ball.ply").read_text() == "mine"
    with pytest.raises(FormatError, match=r"ends in one of them"):
        write_mesh(tmp_path / "ball.obj", mesh)
