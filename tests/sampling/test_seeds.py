"""No two things that should be independent are drawn from the same generator."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sampled_parts import part_of

from cristae.augment.batch import epoch_generator
from cristae.sampling import GridPatches, IndexedPatches, JitteredPatches, RandomPatches, RejectionPatches, Sampling
from cristae.training.module import patch_keys

SEED = 5


@pytest.mark.parametrize(
    "sampling",
    [
        GridPatches(size=(8, 8), stride=(4, 4)),
        IndexedPatches(size=(8, 8), per_epoch=12, uniform_share=0.9),
        JitteredPatches(size=(8, 8), spacing=(4, 4)),
        RandomPatches(size=(8, 8), per_epoch=12),
        RejectionPatches(size=(8, 8), per_epoch=12),
    ],
    ids=lambda sampling: sampling.name,
)
def test_samplers_and_augmentation_have_generators_of_their_own(
    sampling: Sampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """States are compared, not keys: of [5, 1] and [5, 1, 0] NumPy makes one and the same."""
    target = np.random.default_rng(0).choice([0, 1, 2, 255], (4, 20, 20), p=[0.02, 0.02, 0.01, 0.95]).astype(np.uint8)
    part = part_of(target, n_classes=3)
    keys: list[Sequence[int]] = []
    make = np.random.default_rng

    def record(key: Any) -> np.random.Generator:
        keys.append(tuple(key))
        return make(key)

    monkeypatch.setattr(np.random, "default_rng", record)
    plan = sampling.plan([part], SEED)
    for epoch in range(4):
        for index in range(len(plan)):
            plan.place(epoch, index)
        for draws in range(3):
            epoch_generator((SEED, epoch), "volume", draws)
        keys += [tuple(key) for key in patch_keys(SEED, epoch, range(len(plan)))]
    once = set(keys)
    states = {tuple(np.random.SeedSequence(key).generate_state(4)) for key in once}
    assert len(states) == len(once)
    assert not [key for key in once if len(key) == 4 and key[3] == 1 and keys.count(key) > 1]
