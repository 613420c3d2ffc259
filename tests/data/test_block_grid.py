"""Blocks that maps are worked on in."""

from math import prod
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cristae.data.block_grid import block_shape
from cristae.data.image import Image

triples = st.tuples(st.integers(1, 40), st.integers(1, 5000), st.integers(1, 5000))
multiples = st.tuples(st.integers(1, 16), st.integers(1, 128), st.integers(1, 128))


@given(triples, triples, multiples, st.integers(1, 1 << 22))
def test_blocks_are_multiples_and_hold_at_most_twice_what_is_asked_for(shape, chunks, multiple, voxels) -> None:
    """Also where the chunks are whole sections, and the blocks are several sections thick."""
    image = Image(Path("x"), "array", shape, np.dtype(np.uint8), lambda box: np.zeros(box.shape), chunks=chunks)
    edges = block_shape([image], multiple=multiple, voxels=voxels)
    assert not any(edge % step for edge, step in zip(edges, multiple, strict=True))
    assert prod(edges) <= max(2 * voxels, prod(multiple))
    assert all(edge < most + step for edge, most, step in zip(edges, shape, multiple, strict=True))
