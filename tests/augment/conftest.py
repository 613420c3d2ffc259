from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from moved_window import Window

from cristae.augment import Batch
from cristae.data.box import Box

MakeBatch = Callable[..., Batch]


@pytest.fixture
def make_batch() -> MakeBatch:
    """A batch whose image, target, valid and weight all follow from the same random map, so they must move together."""

    def make(count: int, *size: int, masks: int = 0, seed: int = 0) -> Batch:
        image = torch.from_numpy(np.random.default_rng(seed).random((count, 2, *size), np.float32))
        ids = (image[:, 0] * 5).byte()
        target = torch.stack([(ids == k).byte() for k in range(masks)], dim=1) if masks else ids
        boxes = tuple(Box((i, 0, 0), (i + 1, *size[-2:])) for i in range(count))
        return Batch(image, target, image[:, 1] > 0.3, 1 + image[:, 0], boxes, ("cell",) * count)

    return make


@pytest.fixture
def generators() -> Callable[[int], Sequence[np.random.Generator]]:
    """Fresh generators, seeded by sample number."""
    return lambda count: [np.random.default_rng([7, i]) for i in range(count)]


@pytest.fixture
def window() -> type[Window]:
    return Window
