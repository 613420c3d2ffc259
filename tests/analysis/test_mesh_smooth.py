"""Smoothing: steps go, volume stays."""

import numpy as np
import pytest
from test_mesh import ball, whole

from cristae.analysis.mesh import Mesh, area_of, vertex_normals, volume_of
from cristae.analysis.mesh_smooth import smooth


@pytest.mark.parametrize(("rounds", "area"), [(10, 0.02), (30, 0.005)])
def test_a_ball_of_voxels_gets_the_area_of_a_ball_and_keeps_its_volume(rounds, area):
    mesh = whole(ball(20.0))
    smoothed = smooth(mesh, rounds=rounds)
    assert area_of(smoothed) == pytest.approx(4 * np.pi * 20**2, rel=area)
    assert volume_of(smoothed) == pytest.approx(volume_of(mesh), rel=1e-4)
    distance = np.linalg.norm(smoothed.vertices - smoothed.vertices.mean(axis=0), axis=1)
    assert distance.std() < 0.2 < np.linalg.norm(mesh.vertices - mesh.vertices.mean(axis=0), axis=1).std() < 0.4


def test_a_step_by_hand():
    vertices = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0], [0, 0, 4]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
    # All vertices are neighbours: x - mean of the others = 4/3 (x - middle), so a step of share s leaves 1 - 4/3 s.
    left = (1 - 4 / 3 * 0.5) * (1 - 4 / 3 / (0.03 - 2))
    smaller = 1 + left * (vertices - 1)
    # The volume, 4³ / 6, became less by left³; the area is that of three right triangles and an equilateral one.
    area = (3 * 16 / 2 + np.sqrt(3) / 4 * 32) * left**2
    moved = smooth(Mesh(vertices, faces), rounds=1).vertices - smaller
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 64 / 6 * (1 - left**3) / area, rtol=1e-5)
    assert ((moved * (vertices - 1)).sum(axis=1) > 0).all()


def test_a_place_far_away_changes_nothing():
    near, far = whole(ball(6.0)), whole(ball(6.0), origin_nm=(0.0, 0.0, 4096.0))
    shift = smooth(far).vertices - smooth(near).vertices
    np.testing.assert_allclose(shift, np.broadcast_to([4096, 0, 0], shift.shape), atol=1e-3)


def test_nothing_to_do():
    empty = Mesh(np.empty((0, 3), np.float32), np.empty((0, 3), np.int32))
    assert smooth(empty) is empty
    mesh = whole(ball(3.0))
    assert smooth(mesh, rounds=0) is mesh


def test_the_steps_of_high_voxels_go_and_the_volume_stays():
    mesh = whole(ball(200.0, voxel_size=(40.0, 10.0, 10.0)), (40.0, 10.0, 10.0))
    smoothed = smooth(mesh)
    assert volume_of(smoothed) == pytest.approx(volume_of(mesh), rel=1e-4)
    assert area_of(smoothed) == pytest.approx(4 * np.pi * 200**2, rel=0.015)


def test_normals_of_a_smooth_ball_point_away_from_its_middle():
    mesh = smooth(whole(ball(20.0)), rounds=60)
    away = mesh.vertices - mesh.vertices.mean(axis=0)
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    assert (vertex_normals(mesh) * away).sum(axis=1).min() > 0.95
