"""Pictures of surfaces: places, what hides what, and colours, worked out by hand or by ray."""

import time

import numpy as np
import pytest
from test_mesh import ball, whole

from cristae.analysis.mesh import Mesh
from cristae.analysis.mesh_smooth import smooth
from cristae.analysis.raster import draw_faces
from cristae.analysis.render import VIEWPOINTS, Body, Viewpoint, render

FRONT = Viewpoint(0, 0)


def inked(rendering):
    return (rendering.picture < 250).any(axis=2)


def body_of(mask, color, voxel_size=(1.0, 1.0, 1.0), *, translucent=False, **options):
    return Body(smooth(whole(mask, voxel_size, **options)), color, translucent)


def test_a_triangle_covers_the_pixels_whose_centres_it_holds():
    places = np.array([[0.0, 0, 5], [0, 6, 5], [6, 0, 8]])
    normals = np.tile([0.0, 0, -1], (3, 1))
    faces = np.array([[0, 1, 2]], np.int32)
    depth, normal, owner = draw_faces(places, normals, faces, np.array([7], np.int32), (7, 8))
    rows, columns = np.mgrid[:7, :8] + 0.5
    inside = rows + columns <= 6
    np.testing.assert_array_equal(owner, np.where(inside, 7, -1))
    np.testing.assert_allclose(depth[inside], 5 + 3 * columns[inside] / 6)
    assert np.isinf(depth[~inside]).all()
    np.testing.assert_allclose(normal[inside], np.broadcast_to([0, 0, -1], (inside.sum(), 3)))


def test_the_nearest_face_is_seen_and_backs_are_not():
    near, far = [[0, 0, 1], [0, 9, 1], [9, 0, 1]], [[0, 0, 2], [0, 9, 2], [9, 0, 2]]
    places, normals = np.array(far + near, float), np.zeros((6, 3))
    faces = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    numbers = np.array([0, 1], np.int32)
    for order in ([0, 1], [1, 0]):
        _, _, owner = draw_faces(places, normals, faces[order], numbers[order], (4, 4))
        assert (owner == 1).all()
    _, _, owner = draw_faces(places, normals, faces[:, ::-1].copy(), numbers, (4, 4))
    assert (owner == -1).all()


def test_parts_outside_the_picture_are_left_out():
    places = np.array([[-50.0, -50, 0], [-50, 150, 0], [150, -50, 0]])
    faces = np.array([[0, 1, 2]], np.int32)
    _, _, owner = draw_faces(places, np.zeros((3, 3)), faces, np.zeros(1, np.int32), (5, 6))
    assert (owner == 0).all()


def test_neighbouring_faces_leave_no_gap():
    mesh = whole(ball(12.0))
    depth, _, _ = draw_faces(
        mesh.vertices.astype(float), np.zeros((len(mesh.vertices), 3)), mesh.faces, np.zeros(len(mesh.faces), np.int32),
        (29, 29),
    )  # fmt: skip
    row, column = np.mgrid[:29, :29] + 0.5 - 14
    assert np.isfinite(depth[np.hypot(row, column) < 11.5]).all()
    assert np.isinf(depth[np.hypot(row, column) > 13]).all()


def test_a_ball_has_its_width_in_nm():
    (seen,) = render([body_of(ball(20.0), "#3cb44b", (10.0, 10.0, 10.0))], viewpoints=[FRONT], width_px=300)
    width = inked(seen).any(axis=0).sum()
    assert width * seen.nm_per_px == pytest.approx(400, rel=0.03)
    assert seen.picture.shape == (300, 300, 3)
    assert seen.picture.dtype == np.uint8


def test_it_looks_at_the_slices_from_the_front_and_can_be_turned():
    mask = np.zeros((3, 20, 30), bool)
    mask[:, :5, :] = True  # the top
    mask[:, :, :5] = True  # and the left side
    (seen,) = render([body_of(mask, "#3cb44b")], viewpoints=[FRONT], width_px=120)
    ink = inked(seen)
    height, width = ink.shape
    assert ink[height // 4].mean() > 0.8
    assert ink[:, width // 8].mean() > 0.7
    assert not ink[3 * height // 4, width // 2 :].any()
    x, y, z = np.eye(3)
    np.testing.assert_allclose(Viewpoint(0, 0).axes, [x, y, z], atol=1e-12)
    np.testing.assert_allclose(Viewpoint(90, 0).axes, [z, y, -x], atol=1e-12)
    np.testing.assert_allclose(Viewpoint(0, 90).axes, [x, -z, y], atol=1e-12)
    for viewpoint in VIEWPOINTS:
        np.testing.assert_allclose(viewpoint.axes @ viewpoint.axes.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(viewpoint.axes) == pytest.approx(1)


def test_what_is_in_front_hides_what_is_behind_and_glass_does_not():
    inner = body_of(ball(5.0), "#e6194b", origin_nm=(7.0, 7.0, 7.0))
    outer = ball(12.0)
    hidden = render([inner, body_of(outer, "#4363d8")], viewpoints=[FRONT], width_px=200)[0].picture
    shown = render([inner, body_of(outer, "#4363d8", translucent=True)], viewpoints=[FRONT], width_px=200)[0].picture
    middle = (slice(90, 110), slice(90, 110))
    red, _, blue = shown[middle].reshape(-1, 3).mean(axis=0)
    assert red > 1.2 * blue
    red, _, blue = hidden[middle].reshape(-1, 3).mean(axis=0)
    assert blue > 1.5 * red


def test_light_comes_from_the_upper_left():
    picture = render([body_of(ball(20.5), "#808080")], viewpoints=[FRONT], width_px=200)[0].picture.astype(int)
    upper, middle, lower = (picture[at - 12 : at + 12, at - 12 : at + 12].mean() for at in (70, 100, 130))
    assert upper > middle + 5 > lower + 10


def test_what_is_far_is_paler():
    bodies = [body_of(ball(5.0), "#c00000", origin_nm=(z, 0.0, x)) for z, x in ((0.0, 0.0), (200.0, 20.0))]
    picture = render(bodies, viewpoints=[FRONT], width_px=200)[0].picture.astype(int)
    left, right = picture[:, :100], picture[:, 100:]
    paleness = [half[half.sum(axis=2) < 740].min(axis=1).mean() for half in (left, right)]
    assert paleness[1] > paleness[0] + 30


def test_views_share_size_and_scale_and_the_same_bodies_give_the_same_bytes():
    bodies = [body_of(ball(6.0, voxel_size=(3.0, 1.0, 1.0)), "#3cb44b", (30.0, 10.0, 10.0))]
    one, two = render(bodies, width_px=200), render(bodies, width_px=200)
    assert len(one) == len(VIEWPOINTS)
    assert len({(view.picture.shape, view.nm_per_px) for view in one}) == 1
    assert all(np.array_equal(a.picture, b.picture) for a, b in zip(one, two, strict=True))


def test_nothing_to_see():
    empty = Mesh(np.empty((0, 3), np.float32), np.empty((0, 3), np.int32))
    assert render([Body(empty, "#ff0000")]) == []
    assert render([]) == []


@pytest.mark.slow
def test_200_000_faces_take_seconds():
    body = body_of(ball(75.0), "#3cb44b")
    assert len(body.mesh.faces) > 200_000
    render([body_of(ball(4.0), "#3cb44b")], width_px=100)
    start = time.perf_counter()
    render([body])
    assert time.perf_counter() - start < 12
