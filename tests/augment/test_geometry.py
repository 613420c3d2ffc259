"""Flips and turns are exact permutations of everything in a batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cristae.augment import Batch, Flip, Noise, Rotate90, apply
from cristae.errors import RecipeError


def select(batch: Batch, index: list[int]) -> Batch:
    return batch.map(lambda tensor: tensor[index])


def assert_consistent(batch: Batch, masks: int = 0) -> None:
    """Target, valid and weight still follow from the image as they did before."""
    ids = (batch.image[:, 0] * 5).byte()
    target = torch.stack([(ids == k).byte() for k in range(masks)], dim=1) if masks else ids
    assert torch.equal(batch.target, target)
    assert torch.equal(batch.valid, batch.image[:, 1] > 0.3)
    assert torch.equal(batch.weight, 1 + batch.image[:, 0])


class Scripted(np.random.Generator):
    """A generator that gives out what a test wrote down."""

    def __init__(self, *values: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.values = list(values)

    def random(self) -> float:
        return self.values.pop(0)

    def integers(self, *bounds: int) -> int:
        return int(self.values.pop(0))


@pytest.mark.parametrize("flip_y", [False, True])
@pytest.mark.parametrize("flip_x", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_all_sixteen_combinations_are_those_of_numpy(make_batch, flip_y, flip_x, turns):
    batch = make_batch(1, 6, 6)
    script = Scripted(0.9 - 0.9 * flip_y, 0.9 - 0.9 * flip_x, 0.0 if turns else 0.9, max(turns, 1))
    moved = apply([Flip(), Rotate90()], batch, [script])
    assert script.values == []
    for name in ("image", "target", "valid", "weight"):
        expected = getattr(batch, name).numpy()
        expected = np.flip(expected, -2) if flip_y else expected
        expected = np.flip(expected, -1) if flip_x else expected
        expected = np.rot90(expected, turns, (-2, -1))
        np.testing.assert_array_equal(getattr(moved, name).numpy(), expected)


@pytest.mark.parametrize("masks", [0, 3])
def test_image_and_truth_move_together(make_batch, generators, masks):
    batch = make_batch(32, 8, 8, masks=masks)
    moved = apply([Flip(), Rotate90()], batch, generators(32))
    assert_consistent(moved, masks)
    changed = [not torch.equal(a, b) for a, b in zip(moved.image, batch.image, strict=True)]
    assert 20 < sum(changed) < 32
    assert (moved.boxes, moved.volumes) == (batch.boxes, batch.volumes)


def test_directions_are_equally_frequent():
    image = torch.arange(4.0).view(1, 1, 2, 2).repeat(4000, 1, 1, 1)
    flat = image[:, 0]
    batch = Batch(image, flat.byte(), flat >= 0, None, (), ())
    moved = apply([Flip(), Rotate90()], batch, [np.random.default_rng([1, i]) for i in range(4000)])
    assert moved.weight is None
    _, counts = np.unique(moved.image.flatten(1).numpy(), axis=0, return_counts=True)
    # Eight symmetries of a square, 500 times each; five standard deviations are 105.
    assert len(counts) == 8
    assert counts.min() > 395
    assert counts.max() < 605


def test_flip_in_three_dimensions(make_batch, generators):
    batch = make_batch(1, 3, 4, 5)
    moved = Flip(axes=("z",), probability=1)(batch, generators(1))
    assert torch.equal(moved.image, batch.image.flip(2))
    assert torch.equal(moved.target, batch.target.flip(1))
    assert_consistent(Rotate90(probability=1)(make_batch(4, 3, 5, 5), generators(4)))


def test_flip_keeps_to_its_axes_and_takes_oblong_patches(make_batch, generators):
    batch = make_batch(1, 4, 6)
    assert torch.equal(Flip(axes=("x",), probability=1)(batch, generators(1)).image, batch.image.flip(-1))


def test_turns_need_square_patches(make_batch, generators):
    Rotate90().check((4, 32, 32))
    for refuse in (lambda: Rotate90().check((4, 6)), lambda: Rotate90()(make_batch(1, 4, 6), generators(1))):
        with pytest.raises(RecipeError, match=r"square patches \(y = x\), got y = 4 and x = 6"):
            refuse()


def test_flip_along_z_needs_z(make_batch, generators):
    Flip(axes=("z", "y")).check((4, 6, 6))
    for refuse in (
        lambda: Flip(axes=("z",)).check((6, 6)),
        lambda: Flip(axes=("z",))(make_batch(1, 6, 6), generators(1)),
    ):
        with pytest.raises(RecipeError, match="leave z out"):
            refuse()


def test_an_axis_named_twice_is_refused():
    with pytest.raises(ValueError, match="named twice"):
        Flip(axes=("y", "y"))


@pytest.mark.parametrize("size", [(6, 6), (3, 6, 6)])
def test_an_image_that_is_larger_than_its_truth_keeps_its_centre(make_batch, generators, size):
    """The margin of a network: what truth says of a voxel holds for the voxel in the middle of the image."""
    batch = make_batch(16, *size)
    margin = (1, 2, 2)[-len(size) :]
    inside = (..., *(slice(m, n - m) for m, n in zip(margin, size, strict=True)))
    cut = replace(batch, target=batch.target[inside], valid=batch.valid[inside], weight=batch.weight[inside])
    axes = ("z", "y", "x")[-len(size) :]
    moved = apply([Flip(axes=axes), Rotate90(), Noise(probability=0)], cut, generators(16))
    assert moved.image.shape == batch.image.shape
    seen = replace(moved, image=moved.image[inside])
    assert_consistent(seen)
    assert not torch.equal(seen.image, batch.image[inside])


def test_turns_need_square_images_too(make_batch, generators):
    batch = make_batch(1, 4, 6)
    oblong = replace(batch, target=batch.target[..., 1:5], valid=batch.valid[..., 1:5], weight=None)
    with pytest.raises(RecipeError, match=r"square patches \(y = x\), got y = 4 and x = 6"):
        Rotate90()(oblong, generators(1))
