"""What a CPU does in one pass is what `resample` does in several on any device."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from cristae.augment import Batch, Rotate, Shear, ShiftedSections, Zoom, move, resample
from cristae.augment.affine_cpu import linear, nearest
from cristae.data.box import Box

STEPS = (Rotate(degrees=140, probability=1), Shear(degrees=8, probability=1), Zoom(probability=1))


def batch_of(flat: bool, masks: int) -> Batch:
    """Two patches of 24 x 31 with a margin of 20, of five slices; target, valid mask and weight of random numbers."""
    rng, size = np.random.default_rng(0), (64, 71)
    image = torch.from_numpy(rng.random((2, 5, *size) if flat else (2, 1, 5, *size), np.float32))
    inner = size if flat else (5, *size)
    target = torch.from_numpy(rng.integers(0, 7, (2, masks, *inner) if masks else (2, *inner)).astype(np.uint8))
    valid, weight = (
        torch.from_numpy(rng.random((2, *inner)) > 0.2),
        torch.from_numpy(rng.random((2, *inner), np.float32)),
    )
    margin = (20, 20) if flat else (0, 20, 20)
    return Batch(image, target, valid, weight, (Box((0, 0, 0), (1 if flat else 5, *size)),) * 2, ("v",) * 2, margin)


@pytest.mark.parametrize("flat", [True, False], ids=["2D", "3D"])
@pytest.mark.parametrize("masks", [0, 3], ids=["ids", "masks"])
@pytest.mark.parametrize("slices", [(), (ShiftedSections(probability=1),)], ids=["alike", "by slice"])
def test_a_cpu_finds_the_voxels_that_any_device_finds(monkeypatch, flat, masks, slices):
    """Labels, valid mask and weights to the bit; the image but for the rounding of places."""
    batch, steps = batch_of(flat, masks), (*STEPS, *slices)
    fast, general = [], []
    for found, quick in ((fast, True), (general, False)):
        if not quick:
            monkeypatch.setattr(resample, "_affine_on_cpu", lambda places: False)
        for seed in range(3):
            found.append(move(steps, batch, [np.random.default_rng([seed, i]) for i in range(2)]))
    for one, other in zip(fast, general, strict=True):
        for name in ("target", "valid", "weight"):
            assert torch.equal(getattr(one, name), getattr(other, name))
        torch.testing.assert_close(one.image, other.image, atol=1e-4, rtol=0)
        assert not torch.equal(one.image, batch.cropped().image)


def test_linear_is_scipys_and_ends_at_the_border():
    """Places between voxels, on the last ones and beyond them, where the border goes on."""
    rng = np.random.default_rng(1)
    image = rng.random((1, 2, 1, 9, 7), np.float32)
    rows = rng.uniform(-3, 6, (1, 1, 40)).astype(np.float32), rng.uniform(-1, 6, (1, 1, 30)).astype(np.float32)
    columns = rng.uniform(-3, 4, (1, 1, 40)).astype(np.float32), rng.uniform(-1, 5, (1, 1, 30)).astype(np.float32)
    at = [add[0][0, 0][:, None] + add[1][0, 0] for add in (rows, columns)]
    assert all(place.min() < 0 and place.max() > side - 1 for place, side in zip(at, (9, 7), strict=True))
    found = linear(torch.from_numpy(image), rows, columns).numpy()
    for channel in range(2):
        expected = map_coordinates(image[0, channel, 0], at, order=1, mode="nearest")
        np.testing.assert_allclose(found[0, channel, 0], expected, atol=2e-6)


def test_nearest_takes_what_a_row_and_column_hold():
    """Row i holds 0 to below 1 of i; slices by their number."""
    maps = torch.arange(24, dtype=torch.uint8).view(1, 1, 2, 3, 4)
    rows = np.array([[[0.0, 0.99, 2.5]]], np.float32), np.zeros((1, 1, 2), np.float32)
    columns = np.zeros((1, 1, 3), np.float32), np.array([[[3.999, 1.0]]], np.float32)
    (found, bools) = nearest([maps, maps > 12], np.array([[1]]), rows, columns)
    assert found[0, 0, 0].tolist() == [[15, 13], [15, 13], [23, 21]]
    assert bools.dtype == torch.bool
    assert bools.all()
