"""Area means: exact where cells are whole voxels, and never more or less than the whole."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cristae.inference.area_mean import area_weights


def test_whole_voxels_are_averaged_exactly() -> None:
    values = np.arange(12.0) ** 2
    assert np.array_equal(area_weights(12, 0, 12, 3) @ values, values.reshape(3, 4).mean(1))
    assert np.array_equal(area_weights(12, 4, 12, 2) @ values, values[4:].reshape(2, 4).mean(1))


def test_smaller_cells_repeat_voxels_and_share_those_that_they_cut() -> None:
    assert area_weights(2, 0, 2, 4).tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]
    assert np.allclose(area_weights(2, 0, 2, 3), [[1, 0], [0.5, 0.5], [0, 1]])


def test_what_lies_outside_does_not_count() -> None:
    assert area_weights(2, -1, 3, 4).tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]
    assert area_weights(2, -1, 1, 1).tolist() == [[1, 0]]


@given(length=st.integers(1, 40), cells=st.integers(1, 50), values=st.integers(0, 2**32 - 1))
def test_the_mean_of_all_cells_is_that_of_all_voxels(length: int, cells: int, values: int) -> None:
    image = np.random.default_rng(values).normal(size=length)
    weights = area_weights(length, 0, length, cells)
    assert np.allclose(weights.sum(1), 1)
    assert np.isclose((weights @ image).mean(), image.mean())
