"""Surfaces: closed, oriented, the same in blocks, with the volume and area of known bodies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cristae.analysis.mesh import Mesh, area_of, join_meshes, mesh_of_blocks, volume_of
from cristae.data.box import Box


def whole(mask, voxel_size_nm=(1.0, 1.0, 1.0), **options):
    blocks = [Box.of_shape(mask.shape)]
    return mesh_of_blocks(lambda box: mask[box.slices], blocks, mask.shape, voxel_size_nm, **options)


def directed_edges(mesh):
    return np.concatenate([mesh.faces[:, pair] for pair in ([0, 1], [1, 2], [2, 0])])


def euler_number(mesh):
    edges = np.unique(np.sort(directed_edges(mesh), axis=1), axis=0)
    return len(mesh.vertices) - len(edges) + len(mesh.faces)


def assert_closed(mesh):
    """Each edge runs once in each direction: two faces at every edge, and one side of the surface throughout."""
    edges, times = np.unique(directed_edges(mesh), axis=0, return_counts=True)
    assert set(times) <= {1}
    back = np.unique(edges[:, ::-1], axis=0)
    np.testing.assert_array_equal(edges, back)
    assert set(np.unique(mesh.faces)) == set(range(len(mesh.vertices)))


def ball(radius, margin=2, voxel_size=(1.0, 1.0, 1.0)):
    half = [int(np.ceil(radius / size)) + margin for size in voxel_size]
    z, y, x = (np.arange(-n, n + 1) * size for n, size in zip(half, voxel_size, strict=True))
    return z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 <= radius**2


def test_one_voxel_is_an_octahedron_of_half_voxels():
    mask = np.zeros((3, 3, 3), bool)
    mask[1, 1, 1] = True
    mesh = whole(mask, (4.0, 2.0, 1.0), origin_nm=(100.0, 10.0, 0.0))
    expected = {(1, 12, 102), (1, 12, 106), (1, 11, 104), (1, 13, 104), (0.5, 12, 104), (1.5, 12, 104)}
    assert {tuple(row) for row in mesh.vertices.tolist()} == expected
    assert mesh.faces.shape == (8, 3)
    assert mesh.vertices.dtype == np.float32
    assert mesh.faces.dtype == np.int32
    assert volume_of(mesh) == pytest.approx(4 * 2 * 1 / 6)


def test_a_mask_that_fills_the_volume_is_closed_at_its_borders():
    mesh = whole(np.ones((3, 4, 5), bool), (10.0, 1.0, 1.0))
    assert_closed(mesh)
    assert euler_number(mesh) == 2
    np.testing.assert_allclose(mesh.vertices.min(axis=0), [-0.5, -0.5, -5])
    np.testing.assert_allclose(mesh.vertices.max(axis=0), [4.5, 3.5, 25])


def test_an_empty_mask_has_an_empty_mesh():
    mesh = whole(np.zeros((3, 4, 5), np.uint8))
    assert mesh.vertices.shape == mesh.faces.shape == (0, 3)
    assert volume_of(mesh) == area_of(mesh) == 0


@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 1.0), (2.5, 1.0, 0.8)])
def test_a_ball_has_its_volume_one_piece_and_no_hole(voxel_size):
    mesh = whole(ball(20.0, voxel_size=voxel_size), voxel_size, origin_nm=(1e6, -1e6, 0.0))
    assert_closed(mesh)
    assert euler_number(mesh) == 2
    assert volume_of(mesh) == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.01)
    # Steps make the surface of a mask larger than that of the body, by a tenth and more, the most in long voxels.
    assert 1.0 < area_of(mesh) / (4 * np.pi * 20**2) < 1.16


def test_a_ring_has_one_hole():
    z, y, x = np.ogrid[-6:7, -16:17, -16:17]
    mesh = whole((np.hypot(y, x) - 10) ** 2 + z**2 <= 16)
    assert_closed(mesh)
    assert euler_number(mesh) == 0


def test_volume_is_that_of_the_voxels_up_to_cut_corners():
    rng = np.random.default_rng(3)
    mask = np.kron(rng.random((4, 4, 4)) < 0.5, np.ones((8, 8, 8))) > 0
    assert volume_of(whole(mask, (3.0, 2.0, 1.0))) == pytest.approx(6.0 * mask.sum(), rel=0.03)


masks = st.tuples(st.tuples(*[st.integers(1, 7)] * 3), st.integers(0, 2**32), st.floats(0.05, 0.95))


@settings(max_examples=60, deadline=None)
@given(masks, st.tuples(*[st.integers(1, 5)] * 3), st.tuples(*[st.integers(1, 3)] * 3))
def test_any_mask_is_closed_and_the_same_in_blocks(found, block, step):
    shape, seed, share = found
    mask = np.random.default_rng(seed).random(shape) < share
    mesh = whole(mask, (4.0, 2.0, 3.0), origin_nm=(5.0, 6.0, 7.0), step_vox=step)
    assert_closed(mesh)
    asked, steps = [], []

    def read(box):
        asked.append(box)
        assert Box.of_shape(shape).contains(box)
        return mask[box.slices]

    blocks = list(Box.of_shape(shape).blocks(block))[::-1]
    joined = mesh_of_blocks(
        read,
        blocks,
        shape,
        (4.0, 2.0, 3.0),
        origin_nm=(5.0, 6.0, 7.0),
        step_vox=step,
        advance=lambda: steps.append(1),
    )
    np.testing.assert_array_equal(joined.vertices, mesh.vertices)
    np.testing.assert_array_equal(joined.faces, mesh.faces)
    assert len(steps) == len(blocks)
    assert all(box.size <= np.prod(np.add(block, np.multiply(2, step))) for box in asked)


def test_steps_take_the_majority_and_keep_places():
    mask = np.zeros((4, 4, 6), bool)
    mask[:2, :2, 2:4] = True
    mask[0, 0, 2] = False
    mask[2, 2, 0] = True  # alone among eight
    coarse = np.zeros((2, 2, 3), bool)
    coarse[0, 0, 1] = True
    found = whole(mask, (1.0, 2.0, 3.0), step_vox=(2, 2, 2))
    expected = whole(coarse, (2.0, 4.0, 6.0), origin_nm=(0.5, 1.0, 1.5))
    np.testing.assert_array_equal(found.vertices, expected.vertices)
    np.testing.assert_array_equal(found.faces, expected.faces)


def test_joined_meshes_add_up():
    one, two = whole(ball(5.0)), whole(np.ones((2, 3, 4), bool))
    both = join_meshes([one, two])
    assert_closed(both)
    assert volume_of(join_meshes([one])) == volume_of(one)
    assert area_of(both) == pytest.approx(area_of(one) + area_of(two))
    assert join_meshes([]).faces.shape == (0, 3)


def test_volume_and_area_of_a_tetrahedron_by_hand():
    vertices = np.array([[0, 0, 0], [3, 0, 0], [0, 4, 0], [0, 0, 5]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
    mesh = Mesh(vertices, faces)
    assert volume_of(mesh) == pytest.approx(10)
    slanted = np.linalg.norm(np.cross([-3, 4, 0], [-3, 0, 5])) / 2
    assert area_of(mesh) == pytest.approx(6 + 7.5 + 10 + slanted)
