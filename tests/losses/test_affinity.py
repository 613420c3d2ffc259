"""The affinity term against all pairs of voxels, one by one."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from cristae.data.classes import Classes
from cristae.losses import Affinity
from cristae.losses.term import SumOfTerms

ONE = Classes(names=("background", "mito"))
THREE = Classes(names=("background", "mito", "granule"))
OVERLAPPING = Classes(names=("mito", "granule"), exclusive=False)


def by_pairs(logits: np.ndarray, target: np.ndarray, valid: np.ndarray, steps: tuple[int, ...], kind: Classes) -> float:
    """Mean of -ln of the probability that the pair is what it is; one sample (K, *S)."""
    losses = []
    shape = valid.shape
    for place, axis, step in product(np.ndindex(*shape), range(len(shape)), steps):
        there = tuple(at + step * (k == axis) for k, at in enumerate(place))
        if there[axis] >= shape[axis] or not (valid[place] and valid[there]):
            continue
        one, other = logits[(slice(None), *place)], logits[(slice(None), *there)]
        if kind.softmax:
            p, q = (np.exp(y) / np.exp(y).sum() for y in (one, other))
            same = [float((p * q).sum())]
            truly = [target[place] == target[there]]
        else:
            p, q = (1 / (1 + np.exp(-y)) for y in (one, other))
            same = list(p * q + (1 - p) * (1 - q))
            masks = target if target.ndim > valid.ndim else (target != 0)[None]
            truly = [mask[place] == mask[there] for mask in masks]
        losses += [-math.log(a if t else 1 - a) for a, t in zip(same, truly, strict=True)]
    return float(np.mean(losses))


@pytest.mark.parametrize("classes", [ONE, THREE, OVERLAPPING], ids=["one", "three", "overlapping"])
@pytest.mark.parametrize("shape", [(7, 5), (3, 4, 6)])
@pytest.mark.parametrize("steps", [(1,), (1, 4, 9)])
def test_all_pairs_one_by_one(classes: Classes, shape: tuple[int, ...], steps: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(1, classes.n_logits, *shape))
    channels = () if classes.exclusive else (2,)
    target = rng.integers(0, 3 if classes is THREE else 2, (1, *channels, *shape)).astype(np.uint8)
    valid = rng.random((1, *shape)) < 0.8
    found = SumOfTerms([Affinity(steps_vox=steps)], classes)(*map(torch.from_numpy, (logits, target, valid)), None)
    assert found.item() == pytest.approx(by_pairs(logits[0], target[0], valid[0], steps, classes), rel=1e-9)


def test_two_voxels_by_hand() -> None:
    """p = 3/4 and 1/4: the same class with 2 * 3/16, another one with 10/16."""
    logits = torch.tensor([[[[math.log(3), -math.log(3)]]]])
    valid = torch.ones(1, 1, 2, dtype=torch.bool)
    loss = SumOfTerms([Affinity(steps_vox=(1,))], ONE)
    for target, same in (([1, 1], 6 / 16), ([1, 0], 10 / 16)):
        found = loss(logits, torch.tensor([[target]], dtype=torch.uint8), valid, None)
        assert found.item() == pytest.approx(-math.log(same), rel=1e-6)


def test_a_wrong_voxel_costs_in_each_of_its_pairs() -> None:
    """Of 8 + 5 pairs along a row, the wrong voxel in the middle is in 2 + 2."""
    target = torch.tensor([[[1, 1, 1, 1, 0, 1, 1, 1, 1]]], dtype=torch.uint8)
    valid = torch.ones(1, 1, 9, dtype=torch.bool)
    missed = torch.full((1, 1, 1, 9), 8.0)
    p = 1 / (1 + math.exp(-8))
    same = p * p + (1 - p) ** 2
    found = SumOfTerms([Affinity(steps_vox=(1, 4))], ONE)(missed, target, valid, None)
    assert found.item() == pytest.approx(-(4 * math.log(1 - same) + 9 * math.log(same)) / 13, rel=1e-4)


def test_a_patch_without_room_for_a_step_counts_nothing() -> None:
    logits = torch.randn(1, 1, 3, 3, requires_grad=True)
    loss = SumOfTerms([Affinity(steps_vox=(3,))], ONE)
    value = loss(logits, torch.zeros(1, 3, 3, dtype=torch.uint8), torch.ones(1, 3, 3, dtype=torch.bool), None)
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()
