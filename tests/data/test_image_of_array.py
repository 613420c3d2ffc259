"""Images in memory: arrays that are no stack of sections are reported at once."""

import numpy as np
import pytest

from cristae.data.image import image_of_array
from cristae.errors import VolumeError, VoxelSizeError

STACK = np.zeros((2, 3, 4), np.uint8)


@pytest.mark.parametrize(
    "array",
    [STACK[0, 0], STACK[None, None], STACK[:0], STACK.astype(object), STACK.astype(complex)],
    ids=["one axis", "five axes", "nothing", "objects", "complex numbers"],
)
def test_an_array_that_is_no_stack_is_refused(array: np.ndarray) -> None:
    with pytest.raises(VolumeError, match="'cell' is an array"):
        image_of_array(array, name="cell")


@pytest.mark.parametrize("edge", [0.0, -1.0, float("nan"), float("inf"), 1e300])
def test_a_voxel_size_that_is_none_is_refused(edge: float) -> None:
    with pytest.raises(VoxelSizeError, match="voxel size"):
        image_of_array(STACK, voxel_size_nm=(edge, 5.0, 5.0))


def test_a_single_section_becomes_a_stack_of_one() -> None:
    assert image_of_array(STACK[0]).shape == (1, 3, 4)
