"""Slices out of line: one, or all from one on; labels stay with their slices."""

import numpy as np
import pytest

from cristae.augment import Flip, ShiftedSections, required_margin

KINDS = {
    "neighbouring slices": ((12, 12), 5),
    "3D": ((5, 12, 12), 0),
}
kinds = pytest.mark.parametrize(("size", "slices"), KINDS.values(), ids=KINDS)


def shifts(patches) -> np.ndarray:
    """(B, Z, 2): how far each slice was moved; all of its voxels alike."""
    moved = patches.sources()[1:] - patches.places()[1:, None, :, 5:-5, 5:-5]
    assert np.ptp(moved, axis=(3, 4)).max() < 1e-4
    return np.moveaxis(moved[..., 0, 0], 0, -1)


@kinds
def test_one_slice_is_shifted(window, size, slices):
    patches = window([ShiftedSections(probability=1)], *size, slices=slices).only(200)
    assert patches.margin[-2:] == (5, 5)
    found = shifts(patches)
    moved = np.abs(found).max(axis=2) > 1e-4
    assert np.all(moved.sum(axis=1) == 1)
    counts = moved.sum(axis=0)
    assert counts.min() > 20
    assert counts.max() < 65  # 40 each
    assert 4.5 < np.abs(found).max() <= 5
    assert abs(found[moved].mean()) < 0.7
    assert abs(np.corrcoef(found[moved].T)[0, 1]) < 0.25


@kinds
def test_a_slice_and_all_that_follow_are_shifted(window, size, slices):
    patches = window([ShiftedSections(moves="following", amount_vox=5, probability=1)], *size, slices=slices).only(100)
    found = shifts(patches)
    moved = np.abs(found).max(axis=2) > 1e-4
    assert not moved[:, 0].any()
    assert moved[:, -1].all()
    assert np.all(moved[:, 1:] >= moved[:, :-1])
    first = moved.argmax(axis=1)
    assert set(first) == {1, 2, 3, 4}
    for sample, start in enumerate(first):
        assert np.ptp(found[sample, start:], axis=0).max() < 1e-4


def test_the_target_of_a_flat_patch_moves_only_with_its_own_slice(window):
    """The middle one of the neighbouring slices; alignment itself is in test_alignment.py."""
    patches = window([ShiftedSections(probability=1)], 12, 12, slices=3).only(60)
    own = np.abs(shifts(patches)[:, 1]).max(axis=1) > 1e-4
    rows = np.broadcast_to(np.arange(22.0)[:, None], (22, 22))
    moved = patches.moved(patches.batch(np.zeros((3, 22, 22)), rows)).weight.numpy()
    far = np.abs(shifts(patches)[:, 1, 0]) > 0.51
    still = np.all(moved == np.arange(5.0, 17)[:, None], axis=(1, 2))
    assert np.all(still[~own])
    assert not still[far].any()
    assert 10 < own.sum() < 30


def test_a_flipped_stack_is_shifted_at_the_other_end(window):
    """The fault belongs to the volume's slices, which are mirrored after it."""
    steps = [ShiftedSections(moves="following", probability=1), Flip(axes=("z",), probability=1)]
    sources = window(steps, 5, 12, 12).only(40).sources()
    places = window([], 5, 12, 12).places()
    moved = np.abs(sources[1, ..., 6, 6] - places[1, :, 6, 6]).max(axis=0) > 1e-4
    assert moved[0]
    assert not moved[-1]


def test_margin_is_in_the_plane():
    assert required_margin([ShiftedSections(amount_vox=3.2)], (5, 12, 12)) == (0, 4, 4)


@pytest.mark.parametrize("fields", [{"amount_vox": 0}, {"moves": "all"}, {"probability": -0.1}])
def test_fields_out_of_range(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        ShiftedSections(**fields)
