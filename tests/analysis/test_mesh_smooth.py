"""Smoothing: steps go, volume stays."""

import numpy as np
import pytest
from test_mesh import ball, whole

from cristae.analysis.mesh import Mesh, area_of, volume_of
from cristae.analysis.mesh_smooth import smooth


@pytest.mark.parametrize(("rounds", "area"), [(10, 0.02), (30, 0.015)])
def test_a_ball_of_voxels_gets_the_area_of_a_ball_and_keeps_its_volume(rounds, area):
    mesh = whole(ball(20.0))
    smoothed = smooth(mesh, rounds=rounds)
    assert area_of(smoothed) == pytest.approx(4 * np.pi * 20**2, rel=area)
    assert volume_of(smoothed) == pytest.approx(volume_of(mesh), rel=0.005)
    distance = np.linalg.norm(smoothed.vertices - smoothed.vertices.mean(axis=0), axis=1)
    assert distance.std() < 0.2 < np.linalg.norm(mesh.vertices - mesh.vertices.mean(axis=0), axis=1).std() < 0.4


def test_a_step_by_hand():
    vertices = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0], [0, 0, 4]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
    # All vertices are neighbours: x - mean of the others = 4/3 (x - middle), so a step of share s leaves 1 - 4/3 s.
    left = (1 - 4 / 3 * 0.5) * (1 - 4 / 3 / (0.1 - 2))
    smoothed = smooth(Mesh(vertices, faces), rounds=1)
    np.testing.assert_allclose(smoothed.vertices, 1 + left * (vertices - 1), rtol=1e-6)


def test_a_place_far_away_changes_nothing():
    near, far = whole(ball(6.0)), whole(ball(6.0), origin_nm=(0.0, 0.0, 4096.0))
    shift = smooth(far).vertices - smooth(near).vertices
    np.testing.assert_allclose(shift, np.broadcast_to([4096, 0, 0], shift.shape), atol=1e-3)


def test_nothing_to_do():
    empty = Mesh(np.empty((0, 3), np.float32), np.empty((0, 3), np.int32))
    assert smooth(empty) is empty
    mesh = whole(ball(3.0))
    assert smooth(mesh, rounds=0) is mesh
