"""Labels that are turned or moved against their image are told from those that lie right, and the turn is named."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from cristae.data.alignment import align
from cristae.data.image import image_of_array
from cristae.data.turned import Turn, symmetries, turned
from cristae.data.volume import Volume

SHAPE = (9, 128, 128)


def make(seed: int, shape: tuple[int, int, int] = SHAPE, *, depth: float = 0.4, noise: float = 0.6) -> Volume:
    """Blobs of one class, brighter than the rest, under noise."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=shape), (depth, 4, 4))
    labels = field > np.quantile(field, 0.7)
    image = ndimage.gaussian_filter(labels.astype(float), (0, 1, 1)) + rng.normal(0, noise, shape)
    grey = (90 + 60 * image).clip(0, 255).astype(np.uint8)
    return Volume("cell", image_of_array(grey), (image_of_array(labels.astype(np.uint8)),))


def with_labels(volume: Volume, turn: Turn) -> Volume:
    return replace(volume, labels=tuple(turned(labels, turn) for labels in volume.labels))


def found_in(volume: Volume) -> Turn | None:
    return align(volume, (1,), exclusive=True).turn


TURNS = [
    Turn(mirrored=(False, True, False)),
    Turn(mirrored=(False, False, True)),
    Turn(mirrored=(False, True, True)),
    Turn(mirrored=(True, False, False)),
    Turn((0, 2, 1)),
    Turn((0, 2, 1), (False, True, False)),
    Turn(shift=(0, 2, 0)),
    Turn(shift=(0, 0, -3)),
    Turn(shift=(0, -17, 30)),
    Turn(shift=(1, 0, 0)),
    Turn(shift=(-2, 4, 0)),
]


@pytest.mark.parametrize("turn", TURNS, ids=lambda turn: turn.options)
def test_the_turn_that_undoes_it_is_named(turn: Turn) -> None:
    volume = make(1)
    undo = found_in(with_labels(volume, turn))
    assert undo is not None
    once = turned(volume.labels[0], turn)
    back, right = turned(once, undo).read(), volume.labels[0].read()
    inner = (slice(2, -2), slice(32, -32), slice(32, -32))
    np.testing.assert_array_equal(back[inner], right[inner])


@pytest.mark.parametrize("turn", [Turn(mirrored=(False, True, False)), Turn(shift=(0, 17, -30))], ids=str)
def test_a_single_tile_is_enough(turn: Turn) -> None:
    """Of 512 pixels, as cameras make them: parts of 256 would be too few to agree."""
    tile = make(2, (1, 512, 512))
    undo = found_in(with_labels(tile, turn))
    assert undo is not None
    assert turn.shift == (0, 0, 0) or undo.shift == (0, -17, 30)
    assert undo.mirrored == turn.mirrored
    assert found_in(tile) == Turn()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("noise", [0.3, 1.5])
def test_labels_that_lie_right_are_never_called_wrong(seed: int, noise: float) -> None:
    found = found_in(make(seed, (3, 96, 110), noise=noise))
    assert found in (Turn(), None)
    assert found is not None or noise > 1


@pytest.mark.parametrize("seed", range(5))
def test_labels_of_another_image_are_neither_right_nor_named(seed: int) -> None:
    volume, other = make(seed, (4, 96, 96)), make(100 + seed, (4, 96, 96))
    assert found_in(replace(volume, labels=other.labels)) is None


def test_labels_that_are_nowhere_say_nothing() -> None:
    volume = make(0, (3, 96, 96))
    empty = image_of_array(np.zeros((3, 96, 96), np.uint8))
    assert found_in(replace(volume, labels=(empty,))) is None


@pytest.mark.parametrize("turn", symmetries((64, 64, 64), across_slices=True)[5::14], ids=lambda turn: turn.options)
def test_all_turns_of_a_cube_are_tried_where_voxels_are_cubes(turn: Turn) -> None:
    rng = np.random.default_rng(2)
    field = ndimage.gaussian_filter(rng.normal(size=(64, 64, 64)), 3)
    labels = field > np.quantile(field, 0.7)
    grey = ndimage.gaussian_filter(labels.astype(np.float32), 1) + rng.normal(0, 0.3, labels.shape)
    image = image_of_array(grey.astype(np.float32), voxel_size_nm=(8.0, 8.0, 8.0))
    volume = Volume("cube", image, (image_of_array(labels.astype(np.uint8)),), voxel_size_nm=(8.0, 8.0, 8.0))
    undo = found_in(with_labels(volume, turn))
    assert undo is not None
    np.testing.assert_array_equal(turned(turned(volume.labels[0], turn), undo).read(), volume.labels[0].read())
    thick = replace(with_labels(volume, turn), voxel_size_nm=(50.0, 8.0, 8.0))
    assert turn.axes[0] == 0 or found_in(thick) is None, "thick sections are not turned on edge"


def test_dark_structures_are_found_as_bright_ones() -> None:
    volume = make(4)
    dark = replace(volume, image=image_of_array(255 - volume.image.read()))
    turn = Turn(mirrored=(False, True, False))
    assert found_in(with_labels(dark, turn)) == turn
    relations = [align(one, (1,), exclusive=True).relation for one in (volume, dark)]
    assert relations[0] is not None
    assert relations[1] is not None
    assert relations[0][0, 0] > 0.3
    assert relations[1][0, 0] == pytest.approx(-relations[0][0, 0], abs=0.02)


def test_labels_of_some_slices_are_judged_and_not_moved_across() -> None:
    volume = make(5)
    labels = volume.labels[0].read().copy()
    slices = (0, 3, 8)
    labels[[z for z in range(SHAPE[0]) if z not in slices]] = 0
    sparse = replace(volume, labels=(image_of_array(labels),), labelled_slices=slices)
    assert align(sparse, (1,), exclusive=True).slices == 3
    assert found_in(sparse) == Turn()
    turn = Turn(mirrored=(False, False, True))
    assert found_in(with_labels(sparse, turn)) == turn


def test_overlapping_masks_and_masked_out_places() -> None:
    volume = make(6)
    labels = volume.labels[0].read()
    other = (np.roll(labels, 40, axis=2) & ~labels).astype(np.uint8)
    valid = np.ones(SHAPE, np.uint8)
    valid[:, :70] = 0
    both = replace(volume, labels=(*volume.labels, image_of_array(other)), valid=image_of_array(valid))
    assert align(both, (0,), exclusive=False).turn == Turn()
