"""How much members disagree, against numpy and values by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from small_networks import MITO, Pyramidal, member

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.inference.disagreement import Disagreement
from cristae.inference.fusion import Weighted
from cristae.inference.predictor import Predictor

THREE = Classes(names=("background", "a", "b"))


def of_members(members, *, softmax, weights=None):
    between = Disagreement(softmax=softmax)
    for one, weight in zip(members, weights or [1.0] * len(members), strict=True):
        between.add(torch.as_tensor(one, dtype=torch.float32), weight)
    return between.result().numpy()


def by_numpy(members, *, softmax, weights=None):
    """In float64 from (M, K, Z, Y, X): entropy of the mean less the mean entropy, over log(min(K or 2, M))."""
    members = np.asarray(members, np.float64)
    weights = np.ones(len(members)) if weights is None else np.asarray(weights)

    def entropy(p):
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = np.where(p > 0, -p * np.log(p), 0)
            rest = np.where(p < 1, -(1 - p) * np.log(1 - p), 0)
        return parts.sum(0, keepdims=True) if softmax else parts + rest

    mean = np.average(members, axis=0, weights=weights)
    information = entropy(mean) - np.average([entropy(one) for one in members], axis=0, weights=weights)
    return information.max(0) / math.log(min(members.shape[1] if softmax else 2, len(members)))


def softmaxed(values):
    powers = np.exp(values)
    return powers / powers.sum(1, keepdims=True)


def test_by_hand():
    """Members that are sure of different classes disagree most; those that share a doubt do not disagree."""
    sure = [[[[[1.0]]], [[[0.0]]]], [[[[0.0]]], [[[1.0]]]]]
    assert of_members(np.array(sure)[:, :, 0], softmax=True).item() == pytest.approx(1)
    doubt = np.full((2, 2, 1, 1, 1), 0.5)
    assert of_members(doubt, softmax=True).item() == 0
    # One class, members at 1 and 1/2: entropy of 3/4 less half of log 2, over log 2.
    expected = (-0.75 * math.log2(0.75) - 0.25 * math.log2(0.25)) - 0.5
    assert of_members([[[[[1.0]]]], [[[[0.5]]]]], softmax=False).item() == pytest.approx(expected, abs=1e-6)
    # Of three classes, two members can disagree by log 2 at most, three by log 3.
    for count in (2, 3):
        members = np.eye(3)[:count, :, None, None, None]
        assert of_members(members, softmax=True).item() == pytest.approx(1)
    assert of_members(doubt[:1], softmax=True).item() == 0
    # A mean over copies may be above 1 by rounding.
    above = np.nextafter(np.float32(1), np.float32(2))
    assert of_members(np.full((2, 1, 1, 1, 1), above), softmax=False).item() == pytest.approx(0, abs=1e-6)


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(2, 5), st.integers(1, 4), st.just(1), st.just(2), st.just(2)),
               elements=st.floats(-30, 30)),
    st.booleans(),
    st.data(),
)  # fmt: skip
def test_against_numpy(values, softmax, data):
    """With any weights; of saturated members, too."""
    softmax = softmax and values.shape[1] > 1
    members = (softmaxed(values) if softmax else 1 / (1 + np.exp(-values))).astype(np.float32)
    weights = data.draw(st.lists(st.floats(0.1, 10), min_size=len(members), max_size=len(members)))
    found = of_members(members, softmax=softmax, weights=weights)
    np.testing.assert_allclose(found, by_numpy(members, softmax=softmax, weights=weights), atol=2e-5)
    assert (found >= 0).all()
    assert (found <= 1).all()


def predicted(predictor, image, block):
    result = torch.full((predictor.ensemble.channels + 1, *image.shape), torch.nan)
    with predictor.predicting():
        for core in Box.of_shape(image.shape).blocks(block):
            result[(slice(None), *core.slices)] = predictor.probabilities(image, core)
    return result.numpy()


@pytest.mark.parametrize("classes", [MITO, THREE, Classes(names=("a", "b"), exclusive=False)])
def test_the_last_channel_is_the_disagreement_of_the_members(noise, classes):
    members = [member(Pyramidal(classes.n_logits, seed), stride=4, classes=classes) for seed in range(3)]
    image, each = noise(2, 24, 30), []
    for one in members:
        predictor = Predictor([one])
        with predictor.predicting():
            each.append(predictor.probabilities(image, Box.of_shape(image.shape)).numpy())
    found = predicted(Predictor(members, disagreement=True), image, (1, 9, 16))
    np.testing.assert_allclose(found[:-1], np.mean(each, 0), atol=1e-5)
    expected = by_numpy(each, softmax=classes.softmax)
    assert expected.max() > 0.02
    np.testing.assert_allclose(found[-1], expected, atol=1e-4)
    weighted = Predictor(members, disagreement=True, fusion=Weighted(weights=(1, 2, 5)))
    expected = by_numpy(each, softmax=classes.softmax, weights=(1, 2, 5))
    np.testing.assert_allclose(predicted(weighted, image, (2, 24, 30))[-1], expected, atol=1e-4)


def test_of_merged_structures_the_largest_counts(noise):
    """Two members for one structure, one for another, which has none to disagree with."""
    other = Classes(names=("background", "granule"))
    members = [
        member(Pyramidal(1, 0), stride=4),
        member(Pyramidal(1, 1), stride=4),
        member(Pyramidal(1, 2), stride=4, classes=other),
    ]
    image = noise(2, 24, 30)
    found = predicted(Predictor(members, disagreement=True), image, (2, 24, 30))
    pair = predicted(Predictor(members[:2], disagreement=True), image, (2, 24, 30))
    np.testing.assert_array_equal(found[-1], pair[-1])
    assert found.shape[0] == 3
