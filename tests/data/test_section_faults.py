"""One defect at a known slice is found there and nowhere else; drifts, steps and sound volumes flag nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cristae.augment.batch import Batch
from cristae.augment.form import SectionAugmentation
from cristae.augment.sections import BlurredSections, ContrastJumps, DuplicatedSections, MissingSections
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.open import Dataset
from cristae.data.section_findings import section_findings
from cristae.data.section_outliers import deviation, outliers
from cristae.data.sections import Kind, Sections, look_at_sections, middle_of
from cristae.data.volume import Volume

COUNT = 16


def stack(seed: int = 0, count: int = COUNT, side: int = 128) -> np.ndarray:
    """Sections of structures that change from one to the next, with noise of their own, as float (Z, Y, X)."""
    rng = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(rng.normal(size=(count, side, side)), (2, s, s)) for s in (1.5, 4)]
    return (
        128
        + sum(25 * field / field.std((1, 2), keepdims=True) for field in fields)
        + rng.normal(0, 6, (count, side, side))
    )


def grey(volume: np.ndarray) -> np.ndarray:
    return np.rint(volume).clip(0, 255).astype(np.uint8)


def look(volume: np.ndarray, **options: int) -> Sections:
    return look_at_sections(Volume("cell", image_of_array(volume)), range(len(volume)), **options)


def blurred(plane: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(plane, 1.5)


def shifted(plane: np.ndarray) -> np.ndarray:
    return np.roll(plane, (7, -4), (0, 1))


DEFECTS = {
    "missing": lambda plane: np.zeros_like(plane),
    "blurred": blurred,
    "shifted": shifted,
    "inverted": lambda plane: 256 - plane,
    "jumped": lambda plane: (plane - plane.mean()) * 0.5 + plane.mean() + 25,
}


@given(z=st.integers(1, COUNT - 2), kind=st.sampled_from(sorted(DEFECTS)), seed=st.integers(0, 50))
@settings(max_examples=12, deadline=None)
def test_precision_and_recall_are_1_for_one_defect(z: int, kind: Kind, seed: int) -> None:
    """Of 12 volumes of 16 sections, one bad: it is found, as what it is, and no other."""
    volume = stack(seed)
    volume[z] = DEFECTS[kind](volume[z])
    assert [(one.slice, one.kind) for one in look(grey(volume)).bad] == [(z, kind)]


@pytest.mark.parametrize("z", [0, COUNT - 1])
@pytest.mark.parametrize("kind", ["missing", "blurred", "jumped"])
def test_first_and_last_sections_are_judged_by_one_side(z: int, kind: Kind) -> None:
    volume = stack(3)
    volume[z] = DEFECTS[kind](volume[z])
    assert [(one.slice, one.kind) for one in look(grey(volume)).bad] == [(z, kind)]


def test_what_was_found_is_measured() -> None:
    volume = stack(1)
    volume[6], volume[11] = shifted(volume[6]), DEFECTS["jumped"](volume[11])
    found = look(grey(volume))
    assert np.abs(np.subtract(found.shifted[6], (7, -4))).max() < 0.5
    contrast, brightness = found.jumped[11]
    assert contrast == pytest.approx(0.5, rel=0.1)
    spread = np.median([np.std(plane) for plane in volume])
    assert brightness == pytest.approx(25 / spread, rel=0.2)
    assert next(one.text for one in found.bad if one.kind == "shifted").startswith("by +7")


def test_two_and_three_bad_sections_in_a_row() -> None:
    volume = stack(2)
    volume[4:6], volume[9:12] = blurred(volume[4:6]), 0
    assert [(one.slice, one.kind) for one in look(grey(volume)).bad] == [
        *((z, "blurred") for z in (4, 5)),
        *((z, "missing") for z in (9, 10, 11)),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_slow_changes_and_steps_that_last_are_no_defects(seed: int) -> None:
    volume, z = stack(seed, 24), np.arange(24)[:, None, None]
    fading = (volume - 128) * (1 - 0.025 * z) + 128 + 2 * z
    brighter = volume + 40 * (z >= 12)
    displaced = np.stack([np.roll(plane, 9 * (k >= 12), 0) for k, plane in enumerate(volume)])
    sharper = np.stack([ndimage.gaussian_filter(plane, 1.2) if k < 12 else plane for k, plane in enumerate(volume)])
    drifting = np.stack([np.roll(plane, (k, -2 * k), (0, 1)) for k, plane in enumerate(volume)])
    for sound in (volume, fading, brighter, displaced, sharper, drifting):
        assert look(grey(sound)).bad == ()


@pytest.mark.parametrize("seed", range(3))
def test_sections_that_all_differ_and_few_sections_flag_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    volume = stack(seed)
    uneven = (volume - 128) * rng.uniform(0.5, 1.5, (COUNT, 1, 1)) + 128 + rng.normal(0, 25, (COUNT, 1, 1))
    unaligned = np.stack([np.roll(plane, rng.integers(-9, 10, 2), (0, 1)) for plane in volume])
    for each in (uneven, unaligned, rng.normal(128, 30, volume.shape), volume[:2], volume[:1]):
        assert look(grey(each)).bad == ()


@pytest.mark.parametrize(
    ("augmentation", "kind"),
    [
        (MissingSections(probability=1), "missing"),
        (DuplicatedSections(probability=1), "repeated"),
        (BlurredSections(probability=1, sigma_vox=(1.5, 3.0)), "blurred"),
        (ContrastJumps(probability=1, contrast=0.1, brightness=0, extent="single"), None),
    ],
)
def test_the_defects_that_training_simulates(augmentation: SectionAugmentation, kind: Kind | None) -> None:
    """Found where they are, except for contrast that changes by a tenth, which is nothing to say."""
    for seed in range(3):
        image = torch.from_numpy(((stack(seed) - 128) / 100).astype(np.float32))[None, None]
        nothing = torch.zeros(image.shape[0], *image.shape[2:], dtype=torch.uint8)
        batch = Batch(image, nothing, nothing == 0, None, (Box.of_shape(image.shape[2:]),), ("cell",))
        changed = augmentation(batch, [np.random.default_rng(seed)]).image
        (places,) = np.nonzero((changed != image)[0, 0].flatten(1).any(1).numpy())
        found = look(changed[0, 0].numpy()).bad
        if kind == "repeated":  # of two that are equal, the later one is the copy
            assert [(one.kind, one.slice in (*places, *(places + 1))) for one in found] == [(kind, True)]
        else:
            assert [(one.slice, one.kind) for one in found] == [(z, kind) for z in places if kind]


def test_large_sections_are_judged_by_their_middle() -> None:
    volume = stack(4, COUNT, 320)
    volume[5] = blurred(volume[5])
    volume[9, :40] = 0  # outside the middle
    found = look(grey(volume), most_voxels=COUNT * 150 * 150)
    assert found.part == Box((0, 85, 85), (COUNT, 235, 235))
    assert [(one.slice, one.kind) for one in found.bad] == [(5, "blurred")]
    assert middle_of((9, 40, 4000), 9, 9 * 200 * 200) == Box((0, 0, 1900), (9, 40, 2100))


def test_of_volumes_that_take_too_long_to_read_runs_are_looked_at() -> None:
    volume = grey(stack(5, 64, 32))
    image = image_of_array(volume)
    found = look_at_sections(Volume("cell", image), range(64), most_voxels=512 * 512 * 8)  # a slice decodes 512 x 512
    assert found.looked_at == (*range(16), *range(48, 64))


def test_slices_that_do_not_follow_each_other_are_not_compared() -> None:
    volume = stack(6, 40)
    volume[20] = shifted(blurred(volume[20] * 0.5 + 90))
    found = look_at_sections(Volume("cell", image_of_array(grey(volume))), range(0, 40, 5))
    assert (found.bad, found.looked_at) == ((), tuple(range(0, 40, 5)))


def test_the_doctor_tells_them_with_what_mends_them() -> None:
    volume = stack(1)
    volume[3], volume[7], volume[12] = blurred(volume[3]), shifted(volume[7]), DEFECTS["jumped"](volume[12])
    image = image_of_array(grey(volume), name="my cell.tif")
    dataset = Dataset(Classes(names=("background", "mito")), (Volume("cell", image),), (), (), ())
    found = {one.what: one for one in section_findings(dataset)}
    assert found.keys() == {"blurred sections", "displaced sections", "jumps of contrast"}
    assert found["blurred sections"].text.startswith("slices 3 of 'cell' show less fine detail")
    assert found["displaced sections"].text.startswith("slices 7 by +7, -4 voxels (y, x) of 'cell' are displaced")
    assert found["displaced sections"].fix.startswith("cristae align 'my cell.tif' aligned.zarr --labels ")
    assert found["jumps of contrast"].text.startswith("slices 12 of 'cell' differ in contrast")


def test_deviations_by_hand() -> None:
    values = np.array([1.0, 1, 1, 5, 1, 1, 1, 9, 9, 9, 9])
    assert [deviation(values, z) for z in (3, 7, 10)] == [4.0, 0.0, 8.0 * 0]
    rising = np.arange(12.0)
    assert {deviation(rising, z) for z in range(12)} == {0.0}
    rising[6] = np.nan
    assert outliers(rising, 0.0) == {}
    rising[6] = 26
    assert outliers(rising, 3.0) == {6: 17.0}
