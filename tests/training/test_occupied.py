"""What is known coarsely of where voxels count is never wrong, and decides what a sampler asks most."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cristae.data.box import Box
from cristae.training.occupied import OccupiedCells


def cells_of(counts: np.ndarray, block: tuple[int, int, int]) -> OccupiedCells:
    """Of all voxels, noted in blocks."""
    cells = OccupiedCells(counts.shape)
    for box in Box.of_shape(counts.shape).blocks(block):
        cells.add(counts[box.slices], box)
    return OccupiedCells(counts.shape, cells.bits)


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 90), st.integers(1, 90)),
    block=st.tuples(st.integers(1, 3), st.integers(1, 50), st.integers(1, 50)),
    count=st.integers(0, 6),
)
def test_an_answer_is_what_the_voxels_say(seed, shape, block, count):
    """Blocks of any size, whose borders are not those of cells; boxes anywhere."""
    rng = np.random.default_rng(seed)
    counts = np.zeros(shape, bool)
    counts[tuple(rng.integers(0, side, count) for side in shape)] = True
    cells = cells_of(counts, block)
    for _ in range(20):
        ends = [sorted(rng.choice(side + 1, 2, replace=False).tolist()) for side in shape]
        box = Box(tuple(a for a, _ in ends), tuple(b for _, b in ends))
        assert cells.holds(box) in (None, bool(counts[box.slices].any()))
    assert cells.holds(Box.of_shape(shape)) == bool(counts.any())


def test_only_cells_that_lie_half_in_a_box_leave_it_open():
    """One voxel at (40, 70) of 100 x 100: it is in the cell of rows 32 to 63 and columns 64 to 95."""
    counts = np.zeros((2, 100, 100), bool)
    counts[1, 40, 70] = True
    cells = cells_of(counts, (2, 100, 100))
    assert cells.holds(Box((0, 0, 0), (1, 100, 100))) is False
    assert cells.holds(Box((1, 0, 0), (2, 32, 100))) is False
    assert cells.holds(Box((1, 32, 64), (2, 64, 96))) is True
    assert cells.holds(Box((0, 20, 50), (2, 99, 99))) is True
    assert cells.holds(Box((1, 33, 0), (2, 100, 100))) is None
