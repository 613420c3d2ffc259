"""Sections that hold nothing, or what another one holds, are found; those of a good volume are not."""

import numpy as np
import pytest
from scipy import ndimage

from cristae.data.image import image_of_array
from cristae.data.sections import look_at_sections
from cristae.data.volume import Volume


def stack(seed: int = 0) -> np.ndarray:
    """Ten noisy sections that follow each other."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(10, 70, 80)), (2, 4, 4))
    grey = 128 + 30 * field / field.std() + rng.normal(0, 12, field.shape)
    return grey.clip(0, 255).astype(np.uint8)


def look(grey: np.ndarray, labels: np.ndarray | None = None):  # type: ignore[no-untyped-def]
    own = () if labels is None else (image_of_array(labels),)
    return look_at_sections(Volume("cell", image_of_array(grey), own), range(len(grey)))


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_found_in_good_sections(seed: int) -> None:
    assert look(stack(seed), np.ones((10, 70, 80), np.uint8)).useless == ()


def test_constant_black_and_faint_sections() -> None:
    grey = stack()
    grey[3], grey[4] = 0, 255
    grey[7] = np.random.default_rng(1).integers(0, 2, grey[7].shape)
    found = look(grey)
    assert found.constant == {3: 0.0, 4: 255.0}
    assert found.faint == (7,)
    assert found.useless == (3, 4, 7)


def test_copies_name_the_first_of_them() -> None:
    grey = stack()
    grey[[5, 8]] = grey[2]
    grey[9, 0, 0] = grey[9, 0, 0] ^ 1
    assert look(grey).repeated == {5: 2, 8: 2}


def test_a_negative_between_its_neighbours() -> None:
    grey = stack()
    grey[6] = 255 - grey[6]
    assert look(grey).inverted == (6,)
    grey[:] = 255 - grey
    assert look(grey).inverted == (6,), "a whole volume may have any contrast"


def test_a_slice_that_nobody_labelled() -> None:
    labels = np.zeros((10, 70, 80), np.uint8)
    labels[:, :20] = 1
    labels[[4, 9]] = 0
    assert look(stack(), labels).unlabelled == (4,), "the last one may lie behind the object"


def test_sections_of_floats_with_gaps_of_nan() -> None:
    grey = stack().astype(np.float32)
    grey[2] = np.nan
    assert look(grey).constant == {2: 0.0}


def hardly_alike(seed: int, shared: float) -> np.ndarray:
    """Twelve sections of structures of their own, and some that all share."""
    rng = np.random.default_rng(seed)
    own, common = (ndimage.gaussian_filter(rng.normal(size=(n, 96, 96)), (0, 3, 3)) for n in (12, 1))
    grey = 128 + 30 * (own / own.std() + shared * common / common.std())
    return grey.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(3))
def test_a_negative_among_sections_that_are_hardly_alike(seed: int) -> None:
    grey = hardly_alike(seed, shared=0.6)  # neighbours correlate by 0.26
    assert look(grey).inverted == ()
    grey[7] = 255 - grey[7]
    assert look(grey).inverted == (7,)


@pytest.mark.parametrize("seed", range(10))
def test_sections_that_have_nothing_in_common_are_no_negatives(seed: int) -> None:
    assert look(hardly_alike(seed, shared=0.0)).inverted == ()
