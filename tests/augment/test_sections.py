"""Defects of single sections touch the slices they are meant for and no others."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from cristae.augment import (
    Batch,
    BlurredSections,
    ContrastJumps,
    DuplicatedSections,
    MissingSections,
    SectionAugmentation,
)
from cristae.augment.sections import replacements
from cristae.errors import RecipeError

KINDS = (BlurredSections, ContrastJumps, DuplicatedSections, MissingSections)
COUNT = 64


def volumes(make_batch, slices: int = 5) -> Batch:
    return make_batch(COUNT, slices, 8, 8)


def neighbours(make_batch, slices: int = 5) -> Batch:
    """What a 2D network sees: as many slices as channels."""
    batch = make_batch(COUNT, 8, 8)
    image = torch.from_numpy(np.random.default_rng(1).random((COUNT, slices, 8, 8), np.float32))
    return replace(batch, image=image)


def touched(before: Batch, after: Batch) -> torch.Tensor:
    """Which slices changed: bool (B, n)."""
    differ = (before.image != after.image).any(-1).any(-1)
    if differ.ndim == 3:
        assert torch.equal(differ[:, 0], differ[:, 1])
        differ = differ[:, 0]
    return differ


def test_missing_sections_are_exactly_zero_and_the_others_untouched(make_batch, generators):
    batch = volumes(make_batch)
    changed = MissingSections(sections=3, probability=1)(batch, generators(COUNT))
    gone = touched(batch, changed)
    assert all((changed.image[i, :, gone[i]] == 0).all() for i in range(COUNT))
    assert all(torch.equal(changed.image[i, :, ~gone[i]], batch.image[i, :, ~gone[i]]) for i in range(COUNT))
    assert set(gone.sum(1).tolist()) == {1, 2, 3}
    assert gone.any(0).all()


def test_missing_sections_may_have_the_mean_of_the_patch(make_batch, generators):
    batch = volumes(make_batch)
    changed = MissingSections(value="mean", probability=1)(batch, generators(COUNT))
    gone = touched(batch, changed)
    assert (gone.sum(1) == 1).all()
    for i in range(COUNT):
        value = changed.image[i, :, gone[i]]
        torch.testing.assert_close(value, batch.image[i].mean().expand_as(value))


@pytest.mark.parametrize("kind", [MissingSections, DuplicatedSections])
@pytest.mark.parametrize("slices", [3, 5])
def test_the_middle_slice_of_a_2d_network_stays_unless_it_is_said(make_batch, generators, kind, slices):
    """Labels are those of the middle slice, which is all that a network sees of it."""
    batch = neighbours(make_batch, slices)
    gone = touched(batch, kind(sections=slices, probability=1)(batch, generators(COUNT)))
    assert not gone[:, slices // 2].any()
    assert gone.any(0).sum() == slices - 1
    gone = touched(batch, kind(sections=slices, middle=True, probability=1)(batch, generators(COUNT)))
    assert gone.any(0).all()


@pytest.mark.parametrize("kind", [MissingSections, DuplicatedSections, BlurredSections])
def test_one_slice_at_least_stays(make_batch, generators, kind):
    for batch in (volumes(make_batch, 2), volumes(make_batch, 3), neighbours(make_batch, 3)):
        options = {"middle": True} if "middle" in kind.model_fields else {}
        gone = touched(batch, kind(sections=9, probability=1, **options)(batch, generators(COUNT)))
        assert gone.sum(1).max() == gone.shape[1] - 1
        assert gone.sum(1).min() == 1


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ([0, -1, 0], [0, 0, 2]),
        ([0, 1, 0], [0, 2, 2]),
        ([-1, 0, 0], [1, 1, 2]),
        ([0, 0, 1], [0, 1, 1]),
        ([0, -1, -1, 0], [0, 0, 0, 3]),
        ([0, 1, 1, 0], [0, 3, 3, 3]),
        ([1, 1, 0, 0], [2, 2, 2, 3]),
    ],
)
def test_a_slice_is_replaced_by_the_nearest_that_stays(sides, expected):
    assert replacements(np.array(sides)).tolist() == expected


def test_duplicated_sections_are_copies_of_a_neighbour(make_batch, generators):
    batch = volumes(make_batch)
    changed = DuplicatedSections(probability=1)(batch, generators(COUNT))
    gone = touched(batch, changed)
    assert (gone.sum(1) == 1).all()
    steps = []
    for i in range(COUNT):
        z, slices = int(gone[i].nonzero()), batch.image[i].unbind(1)
        steps += [s for s in (-1, 1) if 0 <= z + s < 5 and torch.equal(changed.image[i, :, z], slices[z + s])]
    assert len(steps) == COUNT
    assert 16 < steps.count(1) < 48


def test_blurred_sections_are_blurred_in_their_plane(make_batch, generators):
    """Of one fixed sigma, compared with scipy's filter."""
    batch = volumes(make_batch)
    changed = BlurredSections(sigma_vox=(1.5, 1.5), sections=2, probability=1)(batch, generators(COUNT))
    gone = touched(batch, changed)
    assert set(gone.sum(1).tolist()) == {1, 2}
    blurred = gaussian_filter(batch.image.numpy().astype(float), (0, 0, 0, 1.5, 1.5), mode="nearest")
    expected = np.where(gone[:, None, :, None, None], blurred, batch.image)
    np.testing.assert_allclose(changed.image, expected, atol=2e-6)


@pytest.mark.parametrize("extent", ["single", "rest", "either"])
def test_contrast_jumps_in_one_slice_or_in_all_from_one_on(make_batch, generators, extent):
    for batch in (volumes(make_batch), neighbours(make_batch)):
        changed = ContrastJumps(extent=extent, probability=1)(batch, generators(COUNT))
        gone = touched(batch, changed)
        single = gone.sum(1) == 1
        rest = (gone[:, 1:] >= gone[:, :-1]).all(1) & gone[:, 4] & ~gone[:, 0]
        assert {"single": single, "rest": rest, "either": single | rest}[extent].all()
        seen = gone.any(0).tolist()
        assert seen == [extent != "rest", True, True, True, True]


def test_contrast_jumps_by_a_factor_and_a_value(make_batch, generators):
    """About the mean of each slice: it moves by the value, and the deviation changes by the factor."""
    batch = volumes(make_batch)
    changed = ContrastJumps(contrast=0.5, brightness=0.3, extent="rest", probability=1)(batch, generators(COUNT))
    shift = changed.image.mean((-2, -1)) - batch.image.mean((-2, -1))
    factor = changed.image.std((-2, -1)) / batch.image.std((-2, -1))
    last = shift[:, :, 4], factor[:, :, 4]
    gone = touched(batch, changed)
    for found, common, plain in ((shift, last[0], 0.0), (factor, last[1], 1.0)):
        expected = torch.where(gone[:, None], common[:, :, None], torch.tensor(plain))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert 0.5 <= factor.min() < 0.6
    assert 1.4 < factor.max() <= 1.5 + 1e-5
    assert -0.3 - 1e-6 <= shift.min() < -0.2
    assert 0.2 < shift.max() <= 0.3 + 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_patches_of_one_slice_are_refused(make_batch, generators, kind: type[SectionAugmentation]):
    name = kind.model_fields["name"].default
    kind().check((2, 8, 8))
    kind().check((8, 8))
    with pytest.raises(RecipeError, match=f"'{name}' needs patches of several slices, got 1; make them 2 or more"):
        kind().check((1, 8, 8))
    with pytest.raises(RecipeError, match=r"got 1; set model\.slices to 3 or more, or take a 3D network"):
        kind().check_slices(1, flat=True)
    for batch in (volumes(make_batch, 1), neighbours(make_batch, 1)):
        with pytest.raises(RecipeError, match="needs patches of several slices"):
            kind()(batch, generators(COUNT))


def test_a_jump_of_nothing_is_refused():
    with pytest.raises(ValueError, match="both 0"):
        ContrastJumps(contrast=0, brightness=0)
