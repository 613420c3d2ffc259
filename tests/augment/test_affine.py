"""Turns, shears, zooms and shifts are those of Keras, and draw no margin that they do not need."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from cristae.augment import Batch, Flip, Rotate, Rotate90, Shear, Shift, Zoom, move, required_margin
from cristae.errors import RecipeError

EM_STELLAR = [
    Rotate(degrees=140, probability=1),
    Shift(amount=0.2, probability=1),
    Shear(degrees=0.2, probability=1),
    Zoom(factors=(0.8, 1.2), probability=1),
    Flip(axes=("x", "y")),
]
"""EM-stellar's augmentation (em-stellar.md, 5.5) in the order in which Keras applies it."""


def keras_matrix(theta: float, tx: float, ty: float, shear: float, zx: float, zy: float, size: tuple[int, int]):
    """The matrix (3, 3) that Keras' apply_affine_transform hands to SciPy, written from its formulas.

    From (row, column, 1) of the output to the input, about the centre; x is the row."""
    theta, shear = np.deg2rad(theta), np.deg2rad(shear)
    rotation = np.array([[np.cos(theta), -np.sin(theta), 0], [np.sin(theta), np.cos(theta), 0], [0, 0, 1]])
    shift = np.array([[1, 0, tx], [0, 1, ty], [0, 0, 1]])
    sheared = np.array([[1, -np.sin(shear), 0], [0, np.cos(shear), 0], [0, 0, 1]])
    zoom = np.array([[zx, 0, 0], [0, zy, 0], [0, 0, 1]])
    ox, oy = size[0] / 2 - 0.5, size[1] / 2 - 0.5
    there, back = np.array([[1, 0, ox], [0, 1, oy], [0, 0, 1]]), np.array([[1, 0, -ox], [0, 1, -oy], [0, 0, 1]])
    return there @ (rotation @ shift @ sheared @ zoom) @ back


@pytest.mark.parametrize("size", [(40, 40), (31, 44)])
def test_em_stellar_is_what_keras_and_scipy_make_of_it(size):
    """Rotation, shift as a fraction of the side, shear in degrees, zoom of each axis, flips; bilinear."""
    margin = required_margin(EM_STELLAR, size)
    grown = tuple(side + 2 * around for side, around in zip(size, margin, strict=True))
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.random((6, 1, *grown), np.float32))
    target = torch.from_numpy(rng.integers(0, 9, (6, *grown), np.uint8))
    batch = Batch(image, target, target >= 0, None, (), ("v",) * 6, margin)
    moved = move(EM_STELLAR, batch, [np.random.default_rng([2, i]) for i in range(6)])
    assert moved.valid.all()
    for sample in range(6):
        draw = np.random.default_rng([2, sample])
        draw.random()
        theta = draw.uniform(-140, 140)
        draw.random()
        tx, ty = draw.uniform(-1, 1, 2) * 0.2 * np.array(size)
        draw.random()
        shear = draw.uniform(-0.2, 0.2)
        draw.random()
        zx, zy = draw.uniform(0.8, 1.2, 2)
        flip_x, flip_y = draw.random() < 0.5, draw.random() < 0.5
        matrix = keras_matrix(theta, tx, ty, shear, zx, zy, size)
        linear, offset = matrix[:2, :2], matrix[:2, 2] + margin
        expected = affine_transform(image[sample, 0].double().numpy(), linear, offset, output_shape=size, order=1)
        nearest = affine_transform(target[sample].numpy(), linear, offset, output_shape=size, order=0)
        at = np.einsum("ij,jyx->iyx", linear, np.indices(size)) + offset[:, None, None]
        clear = np.all(np.abs(at - np.floor(at) - 0.5) > 2e-3, axis=0)
        for mirrored, axis in ((flip_x, 1), (flip_y, 0)):
            if mirrored:
                expected, nearest, clear = (np.flip(one, axis) for one in (expected, nearest, clear))
        np.testing.assert_allclose(moved.image[sample, 0], expected, atol=5e-4)
        np.testing.assert_array_equal(moved.target[sample].numpy()[clear], nearest[clear])


def test_zoom_above_one_shows_more():
    ramp = torch.arange(-20.0, 21).expand(1, 1, 41, 41).contiguous()
    batch = Batch(ramp, ramp[:, 0].byte(), ramp[:, 0] > -99, None, (), ("v",), (10, 10))
    shown = Zoom(factors=(1.5, 1.5), axes=("x",), probability=1)(batch, [np.random.default_rng(0)]).image
    torch.testing.assert_close(shown[0, 0, 3], 1.5 * torch.arange(-10.0, 11))


def test_zoom_of_a_patch_is_the_same_along_all_axes(window):
    alike, apart = (
        window([Zoom(per=per, axes=("z", "y", "x"), probability=1)], 9, 9, 9).sources()[:, :, -1, -1, -1] / 4
        for per in ("patch", "axis")
    )
    np.testing.assert_allclose(alike, alike[:1].repeat(3, axis=0), atol=1e-5)
    assert np.all(np.abs(apart[0] - apart[1]) > 1e-3)
    assert np.all((apart >= 0.8) & (apart <= 1.2))


def test_shift_along_one_axis_in_voxels(window):
    sources = window([Shift(amount=3, unit="voxels", axes=("z",), probability=1)], 5, 8, 8).sources()
    places = window([], 5, 8, 8).sources()
    np.testing.assert_allclose(sources[1:], places[1:], atol=1e-5)
    shift = sources[0] - places[0]
    assert np.ptp(shift, axis=(1, 2, 3)).max() < 1e-5
    assert 0.5 < np.abs(shift).max() <= 3


@pytest.mark.parametrize(
    ("steps", "size", "expected"),
    [
        # Half of (10 - 1) is 4.5, and what is farther needs whole voxels.
        ([Rotate(degrees=180)], (10, 10), (2, 2)),  # sqrt(2) * 4.5 = 6.36
        ([Rotate(degrees=30)], (10, 10), (2, 2)),  # 4.5 * (cos 30 + sin 30) = 6.15
        ([Rotate(degrees=5)], (10, 10), (1, 1)),  # 4.5 * (cos 5 + sin 5) = 4.88
        ([Rotate(degrees=180)], (10, 20), (7, 2)),  # hypot(4.5, 9.5) = 10.51
        ([Rotate(degrees=180), Rotate(degrees=180)], (10, 10), (2, 2)),  # a circle stays one
        ([Zoom(factors=(0.8, 1.2))], (3, 10, 10), (0, 1, 1)),  # 5.4
        ([Zoom(factors=(0.5, 0.9))], (10, 10), (0, 0)),
        ([Zoom(factors=(0.5, 0.5), probability=1), Rotate(degrees=180)], (10, 10), (0, 0)),  # half of 6.36
        ([Shift(amount=0.2)], (10, 20), (2, 4)),
        ([Shift(amount=2.5, unit="voxels", axes=("z",))], (3, 10, 10), (3, 0, 0)),
        ([Shear(degrees=30)], (10, 10), (3, 0)),  # 0.5 * 4.5 = 2.25
        ([Flip(), Rotate90(), Rotate(degrees=180), Flip()], (10, 10), (2, 2)),
        # Zoomed to 5.4, shifted to 7.4, slanted by 0.1 degrees to 7.4 + 0.01; turned to sqrt(2) * 7.41 = 10.48.
        ([Rotate(degrees=180), Shear(degrees=0.1), Shift(amount=0.2), Zoom()], (10, 10), (6, 6)),
    ],
)
def test_margins_by_hand(steps, size, expected):
    assert required_margin(steps, size) == expected


@pytest.mark.parametrize(
    "steps", [*([one] for one in EM_STELLAR[:4]), [EM_STELLAR[0]] * 2, EM_STELLAR[1:3], EM_STELLAR[:2]]
)
def test_margins_are_needed(window, steps):
    """Of many draws one comes close to the last voxel of the margin."""
    steps = [type(one)(**(one.model_dump() | ({"degrees": 20} if isinstance(one, Shear) else {}))) for one in steps]
    patches = window(steps, 24, 24, slices=1).only(600)
    farthest = np.abs(patches.sources()[1:]).max(axis=(1, 2, 3, 4))
    reached = farthest - 11.5
    for axis in range(2):
        assert reached[axis] <= patches.margin[axis] + 1e-4
        if patches.margin[axis] > 0:
            assert reached[axis] > 0.8 * patches.margin[axis] - 1


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        (Rotate, {"degrees": 181}, "less than or equal to 180"),
        (Rotate, {"degrees": 0}, "greater than 0"),
        (Shear, {"degrees": 90}, "less than or equal to 60"),
        (Zoom, {"factors": (1.2, 0.8)}, "must ascend"),
        (Zoom, {"factors": (1, 1)}, "not both be 1"),
        (Zoom, {"factors": (0, 1)}, "greater than or equal to 0.25"),
        (Zoom, {"factors": (1, 5)}, "less than or equal to 4"),
        (Zoom, {"axes": ("y", "y")}, "named twice"),
        (Zoom, {"axes": ()}, "at least 1"),
        (Shift, {"amount": 2}, "more than a whole patch; write at most 1, or set unit: voxels"),
        (Shift, {"amount": -1}, "greater than 0"),
        (Shift, {"axes": ("x", "x")}, "named twice"),
        (Rotate, {"probability": 2}, "less than or equal to 1"),
    ],
)
def test_fields_out_of_range(kind, fields, text):
    with pytest.raises(ValueError, match=text):
        kind(**fields)


@pytest.mark.parametrize("step", [Shift(axes=("z", "y")), Zoom(axes=("z",))])
def test_flat_patches_have_no_z(make_batch, generators, step):
    step.check((4, 8, 8))
    for refuse in (lambda: step.check((8, 8)), lambda: step(make_batch(1, 8, 8), generators(1))):
        with pytest.raises(RecipeError, match="axis z needs 3D patches, but the network takes"):
            refuse()


class Ones(np.random.Generator):
    """Draws the largest shift."""

    def uniform(self, low, high, size):
        return np.ones(size)


@pytest.mark.parametrize(("amount", "whole", "half"), [(0.5, 0, 0.5), (1.5, 1, 0.5), (2, 2, 0), (1.25, 1, 0.25)])
def test_shifts_along_z_interpolate_between_slices(window, amount, whole, half):
    """The image linearly; labels from the nearest slice, of two alike the following one; none beyond the last."""
    grey = np.random.default_rng(0).random((9, 4, 4))
    batch = window([], 9, 4, 4).batch(grey, np.round(grey * 100))
    step = Shift(amount=amount, unit="voxels", axes=("z",), probability=1)
    moved = move([step], batch, [Ones(np.random.PCG64(0)) for _ in range(4)])
    expected = (1 - half) * grey[whole : 6 + whole] + half * grey[whole + 1 : 7 + whole]
    np.testing.assert_allclose(moved.image[0, 0, :6], expected, atol=1e-6)
    nearest = math.floor(amount + 0.5)
    np.testing.assert_array_equal(moved.weight[0, : 9 - nearest], np.round(grey * 100)[nearest:].astype(np.float32))
    assert moved.valid[0, : 9 - nearest].all()
    assert not moved.valid[0, 9 - nearest :].any()
