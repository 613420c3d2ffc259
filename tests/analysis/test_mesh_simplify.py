"""Fewer faces: as many as asked, still closed in the balance of edges, the body nearly the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_mesh import ball, directed_edges, whole

from cristae.analysis.mesh import Mesh, area_of, volume_of
from cristae.analysis.mesh_simplify import _clusters, _merged, simplify
from cristae.analysis.mesh_smooth import smooth


def cluster(mesh, side):
    """The vertices of each cube replaced by one, as `simplify` does with the side that gives few enough faces."""
    return _merged(mesh, *_clusters(mesh, side), side)


def assert_balanced(mesh):
    edges = directed_edges(mesh).astype(np.int64)
    way = np.where(edges[:, 0] < edges[:, 1], 1, -1)
    _, place = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True)
    assert not np.bincount(place.reshape(-1), way).any()


@pytest.mark.parametrize("max_faces", [200, 1000, 5000])
def test_a_ball_keeps_its_form(max_faces):
    mesh = smooth(whole(ball(20.0), (2.0, 2.0, 2.0)))
    simpler = simplify(mesh, max_faces)
    assert 0.5 * max_faces < len(simpler.faces) <= max_faces
    assert_balanced(simpler)
    rel = 0.06 if max_faces == 200 else 0.01
    assert volume_of(simpler) == pytest.approx(volume_of(mesh), rel=rel)
    assert area_of(simpler) == pytest.approx(area_of(mesh), rel=2 * rel)
    assert len(np.unique(simpler.faces)) == len(simpler.vertices)


def test_small_enough_is_left_alone():
    mesh = whole(ball(3.0))
    assert simplify(mesh, len(mesh.faces)) is mesh
    with pytest.raises(ValueError, match="at least 1"):
        simplify(mesh, 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 0.9), st.floats(0.7, 6.0))
def test_any_clustering_stays_balanced(seed, share, side):
    mesh = whole(np.random.default_rng(seed).random((5, 6, 7)) < share)
    assert_balanced(cluster(mesh, side))


def test_vertices_stay_on_flat_faces_and_in_corners():
    mask = np.zeros((40, 40, 40), bool)
    mask[4:36, 4:36, 4:36] = True
    simpler = cluster(whole(mask), 7.0)
    # Marching cubes cuts edges and corners by half a voxel; nothing else is lost.
    assert volume_of(simpler) == pytest.approx(volume_of(whole(mask)), rel=0.005)
    outside = np.abs(simpler.vertices - 19.5).max(axis=1)
    assert outside.min() > 15.4
    assert outside.max() < 16.2


def test_one_cell_leaves_nothing():
    mesh = cluster(whole(ball(3.0)), 100.0)
    assert mesh.vertices.shape == mesh.faces.shape == (0, 3)


def test_faces_back_to_back_cancel():
    vertices = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0], [0, 0, 0.5]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
    assert len(cluster(Mesh(vertices, faces), 1.0).faces) == 0
    assert len(cluster(Mesh(vertices, faces), 0.25).faces) == 4
