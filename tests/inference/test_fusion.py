"""Rules that combine the members of an ensemble: values by hand, laws, and an independent reference."""

import math
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import TypeAdapter, ValidationError

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.errors import RunError
from cristae.inference.blocks import plan_blocks
from cristae.inference.ensemble import plan_ensemble
from cristae.inference.fusion import Average, Fusion, Majority, Weighted
from cristae.inference.labels import labels_of
from cristae.inference.memory import Budget
from cristae.inference.plan import WHOLE, Workload, plan_memory
from cristae.inference.predictor import Predictor

MITO = Classes(names=("background", "mito"))
THREE = Classes(names=("background", "a", "b"))
OVERLAPPING = Classes(names=("a", "b"), exclusive=False)
EIGHTHS = st.integers(0, 8).map(lambda n: np.float32(n / 8))


def voxels(*columns):
    """(K, 1, 1, N) probabilities from one tuple of K values for each voxel."""
    return torch.tensor(columns, dtype=torch.float32).T[:, None, None].contiguous()


def fuse(rule, members, *, softmax=False, threshold=0.5):
    """The rule applied to copies, which it may overwrite."""
    return rule.fuse(((n, one.clone()) for n, one in enumerate(members)), softmax=softmax, threshold=threshold)


def labels(rule, members, classes, threshold=0.5):
    ensemble = plan_ensemble([classes] * len(members))
    found = fuse(rule, members, softmax=classes.softmax, threshold=threshold)
    return labels_of(found, ensemble, rule.label_threshold(threshold))[:, 0, 0].tolist()


def test_average_and_weighted_by_hand():
    members = [voxels((0.25,), (1.0,)), voxels((0.5,), (0.0,)), voxels((0.75,), (0.5,))]
    assert fuse(Average(), members)[0, 0, 0].tolist() == [0.5, 0.5]
    # (1 * 0.25 + 1 * 0.5 + 2 * 0.75) / 4 and (1 * 1 + 1 * 0 + 2 * 0.5) / 4
    assert fuse(Weighted(weights=(1, 1, 2)), members)[0, 0, 0].tolist() == [0.5625, 0.5]
    assert labels(Weighted(weights=(1, 1, 2)), members, MITO) == [[1, 0]]


def test_majority_by_hand():
    """Three members, one sigmoid: two votes of three win, whatever the mean is; the threshold decides each vote."""
    members = [voxels((0.6,), (0.9,), (0.6,)), voxels((0.6,), (0.4,), (0.6,)), voxels((0.1,), (0.4,), (0.6,))]
    assert fuse(Majority(), members)[0, 0, 0].tolist() == pytest.approx([2 / 3, 1 / 3, 1])
    assert labels(Majority(), members, MITO) == [[1, 0, 1]]
    assert labels(Average(), members, MITO) == [[0, 1, 1]]
    assert labels(Majority(), members, MITO, threshold=0.3) == [[1, 1, 1]]
    assert labels(Majority(), members, MITO, threshold=0.7) == [[0, 0, 0]]


def test_ties_of_votes():
    """Two members that disagree: background with sigmoid, the lower id with softmax, no mask where classes overlap."""
    assert labels(Majority(), [voxels((0.9,)), voxels((0.1,))], MITO) == [[0]]
    assert labels(Majority(), [voxels((0.1, 0.2, 0.7)), voxels((0.1, 0.8, 0.1))], THREE) == [[1]]
    assert labels(Majority(), [voxels((0.1, 0.2, 0.7)), voxels((0.8, 0.1, 0.1))], THREE) == [[0]]
    assert labels(Majority(), [voxels((0.9, 0.9)), voxels((0.1, 0.9))], OVERLAPPING) == [[0], [1]]
    # A member that cannot decide between its classes votes for the lower id.
    assert labels(Majority(), [voxels((0.2, 0.4, 0.4))], THREE) == [[1]]


def test_votes_of_merged_structures():
    """Two members vote for the first structure, one for the second: the highest fraction of votes wins."""
    ensemble = plan_ensemble([Classes(names=("background", name)) for name in ("a", "b", "a")])
    first = Majority().fuse(
        iter([(0, voxels((0.9,), (0.9,), (0.1,))), (2, voxels((0.9,), (0.1,), (0.1,)))]), softmax=False, threshold=0.5
    )
    second = Majority().fuse(iter([(1, voxels((0.6,), (0.6,), (0.1,)))]), softmax=False, threshold=0.5)
    assert torch.cat([first, second])[:, 0, 0].tolist() == [[1.0, 0.5, 0.0], [1.0, 1.0, 0.0]]
    assert labels_of(torch.cat([first, second]), ensemble, 0.5)[0, 0, 0].tolist() == [1, 2, 0]


members_of = st.integers(1, 3).flatmap(
    lambda k: st.integers(1, 6).flatmap(lambda n: hnp.arrays(np.float32, (n, k, 1, 2, 3), elements=EIGHTHS))
)


@given(members_of)
def test_the_average_is_what_it_was(found):
    """Bit for bit the sum in the order of the members, divided once."""
    total = torch.from_numpy(found[0].copy())
    for one in found[1:]:
        total = total.add_(torch.from_numpy(one))
    expected = total if len(found) == 1 else total.div_(len(found))
    members = [torch.from_numpy(one) for one in found]
    assert torch.equal(fuse(Average(), members), expected)
    assert torch.equal(fuse(Weighted(weights=(1.0,) * len(found)), members), expected), "equal weights are an average"


@given(members_of, st.floats(0.1, 10))
def test_only_ratios_of_weights_matter(found, factor):
    members, weights = [torch.from_numpy(one) for one in found], np.arange(1, len(found) + 1)
    one = fuse(Weighted(weights=tuple(weights)), members)
    other = fuse(Weighted(weights=tuple(factor * weights)), members)
    assert torch.allclose(one, other, atol=1e-6)
    expected = np.average(found.astype(np.float64), axis=0, weights=weights)
    np.testing.assert_allclose(one.numpy(), expected, atol=1e-6)


@given(members_of, st.sampled_from([0.25, 0.5, 0.7]), st.booleans())
def test_majority_counts_labels(found, threshold, softmax):
    """Against counting with numpy, and in any order of the members."""
    softmax = softmax and found.shape[1] > 1
    members = [torch.from_numpy(one) for one in found]
    if softmax:
        expected = np.mean([np.eye(found.shape[1])[one.argmax(0)].transpose(3, 0, 1, 2) for one in found], axis=0)
    else:
        expected = (found > threshold).mean(0)
    fractions = fuse(Majority(), members, softmax=softmax, threshold=threshold)
    np.testing.assert_allclose(fractions.numpy(), expected, atol=1e-6)
    assert torch.equal(fractions, fuse(Majority(), members[::-1], softmax=softmax, threshold=threshold))
    more_than_half = 2 * (found > threshold).sum(0) > len(found)
    if not softmax:
        assert np.array_equal(fractions.numpy() > Majority().label_threshold(threshold), more_than_half)


@pytest.mark.parametrize("classes", [MITO, THREE, OVERLAPPING])
@given(st.data())
def test_a_single_member_keeps_its_labels(classes, data):
    found = data.draw(hnp.arrays(np.float32, (classes.n_logits, 1, 1, 5), elements=EIGHTHS))
    threshold = data.draw(st.sampled_from([0.25, 0.5, 0.7]))
    one = [torch.from_numpy(found)]
    assert labels(Majority(), one, classes, threshold) == labels(Average(), one, classes, threshold)


@pytest.mark.parametrize("rule", [Average(), Majority(), Weighted(weights=(1.0,) * 8)])
@pytest.mark.parametrize("softmax", [False, True])
def test_memory_does_not_grow_with_the_members(rule, softmax):
    """When a member is asked for, only the running sum is left of those before it."""
    alive: list[weakref.ref] = []

    def members():
        for place in range(8):
            assert sum(one() is not None for one in alive) <= 1
            alive.append(weakref.ref(one := torch.rand(3, 2, 2, 2)))
            yield place, one
            del one

    rule.fuse(members(), softmax=softmax, threshold=0.5)


@pytest.mark.parametrize("rule", [Average(), Majority(), Weighted(weights=(1, 2, 5))])
@pytest.mark.parametrize("classes", [MITO, THREE, OVERLAPPING])
def test_blocks_equal_the_whole(pyramidal, noise, rule, classes):
    image, members = noise(2, 50, 61), [pyramidal(classes, seed=seed) for seed in range(3)]
    predictor = Predictor(members, fusion=rule, threshold=0.4)
    with predictor.predicting():
        whole = predictor.probabilities(image, Box.of_shape(image.shape))
        assert whole.std() > 0.01
        for block in plan_blocks(Box.of_shape(image.shape), (1, 23, 30)):
            part = whole[(slice(None), *block.core.slices)]
            found = predictor.probabilities(image, block.core)
            # A probability that blocks round in another way may change a vote; there is none here.
            assert (found - part).abs().max() < 1e-5


def test_the_rule_needs_as_many_weights_as_runs(pyramidal):
    with pytest.raises(RunError, match=r"2 weights for 1 run; give one for each run"):
        Predictor([pyramidal()], fusion=Weighted(weights=(1, 2)))
    Predictor([pyramidal()] * 2, fusion=Weighted(weights=(1, 2)))


@pytest.mark.parametrize("weights", [(), (0.0, 1.0), (-1.0,), (math.inf,), (math.nan,)])
def test_weights_are_positive_numbers(weights):
    with pytest.raises(ValidationError):
        Weighted(weights=weights)


@pytest.mark.parametrize("rule", [Average(), Majority(), Weighted(weights=(1.5, 2))])
def test_a_rule_is_chosen_by_its_name(rule):
    adapter = TypeAdapter(Fusion)
    assert adapter.validate_python(rule.model_dump(mode="json")) == rule
    with pytest.raises(ValidationError, match="median"):
        adapter.validate_python({"name": "median"})


def test_the_plan_accounts_for_votes(pyramidal):
    """An int64 index of the best class for each voxel of a block, whatever the number of members."""
    shape, budget = (1, 8000, 8000), Budget(2**30, None)
    ensemble = plan_ensemble([THREE] * 2)
    members = tuple(pyramidal(THREE) for _ in range(2))

    def block(rule):
        options = {"scale": (1.0, 1.0, 1.0), "itemsize": 1, "halves": False, "keep_probabilities": False}
        return plan_memory(
            Workload(members, ensemble, shape, fusion=rule, **options), shape, budget, passes=(WHOLE,)
        ).block

    assert math.prod(block(Majority())) < math.prod(block(Average()))
    assert block(Weighted(weights=(1, 2))) == block(Average())
