"""Blocks give what one pass over the whole image gives."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.inference.blocks import plan_blocks
from cristae.inference.locality import Locality
from cristae.inference.predictor import Member, Predictor
from cristae.models import SegETConfig, UNetBNConfig
from cristae.preprocess.normalize import Normalizer


def in_blocks(predictor, image, shape):
    """All probabilities, put together from blocks."""
    result = torch.full((predictor.ensemble.channels, *image.shape), torch.nan)
    with predictor.predicting():
        for block in plan_blocks(Box.of_shape(image.shape), shape):
            part = result[(slice(None), *block.core.slices)]
            assert part.isnan().all(), "a voxel in two blocks"
            part.copy_(predictor.probabilities(image, block.core))
    return result


@pytest.mark.parametrize("size", [(3, 70, 91), (1, 64, 96), (2, 33, 130)])
@pytest.mark.parametrize("block", [(1, 16, 16), (2, 40, 24), (4, 1000, 7)])
def test_blocks_equal_one_pass(pyramidal, noise, whole, size, block):
    one, image = pyramidal(), noise(*size)
    expected = whole(one, image)
    assert expected.std() > 0.05, "the network must have something to say"
    assert (in_blocks(Predictor([one]), image, block) - expected).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("config", "size", "blocks"),
    [
        (UNetBNConfig(widths=(4, 8, 8, 8, 8)), (1, 411, 300), [(1, 128, 128), (1, 100, 77), (1, 411, 150)]),
        (SegETConfig(base=4), (1, 701, 333), [(1, 64, 333), (1, 300, 200)]),
    ],
)
def test_published_networks_in_blocks_equal_one_pass(make_member, noise, whole, config, size, blocks):
    torch.manual_seed(1)
    network = config.build(1, 1)
    _trained_like(network)
    one, image = make_member(network, stride=config.total_stride), noise(*size)
    expected = whole(one, image)
    assert expected.std() > 0.01
    for block in blocks:
        assert (in_blocks(Predictor([one]), image, block) - expected).abs().max() < 1e-4


def test_too_small_a_reach_would_be_seen(make_member, noise, whole):
    """The comparison above can fail: with one voxel less of halo on each side the result differs."""
    one, image = make_member(nn.Conv2d(1, 1, 9, padding=4), stride=1), noise(1, 50, 50)
    assert one.locality.reach == (0, 4, 4)
    short = Locality(True, "", (0, 3, 3), (1, 1, 1), 2)
    wrong = Member(one.network, short, one.normalizer, one.classes)
    expected = whole(one, image)
    assert (in_blocks(Predictor([one]), image, (1, 16, 16)) - expected).abs().max() < 1e-6
    assert (in_blocks(Predictor([wrong]), image, (1, 16, 16)) - expected).abs().max() > 1e-3


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 30), st.integers(1, 30)),
    block=st.tuples(st.integers(1, 5), st.integers(1, 35), st.integers(1, 35)),
    stride=st.sampled_from([1, 2, 4, 16]),
    reach=st.integers(0, 20),
    pass_vox=st.sampled_from([1, 500, 10**6]),
)
def test_the_identity_returns_its_input(shape, block, stride, reach, pass_vox):
    grey = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    locality = Locality(True, "", (0, reach, reach), (1, stride, stride), 2)
    binary = Classes(names=("background", "a"))
    predictor = Predictor([Member(nn.Identity(), locality, Normalizer(0.0, 255.0), binary)], pass_vox=pass_vox)
    found = in_blocks(predictor, image_of_array(grey), block)
    expected = torch.sigmoid(Normalizer(0.0, 255.0).apply(torch.from_numpy(grey)))
    assert (found[0] - expected).abs().max() < 1e-6


def test_sub_batches_do_not_matter(pyramidal, noise):
    image = noise(7, 60, 60)
    box = Box((1, 3, 5), (7, 44, 50))
    results = []
    for pass_vox in (1, 2 * 64 * 64, 10**7):
        predictor = Predictor([pyramidal()], pass_vox=pass_vox)
        with predictor.predicting():
            results.append(predictor.probabilities(image, box))
    assert torch.allclose(results[0], results[1], atol=1e-6)
    assert torch.allclose(results[0], results[2], atol=1e-6)


def test_runs_of_the_same_classes_are_averaged(pyramidal, noise, whole):
    image = noise(2, 50, 61)
    members = [pyramidal(seed=seed) for seed in range(3)]
    found = in_blocks(Predictor(members), image, (1, 30, 30))
    expected = torch.stack([whole(one, image) for one in members]).mean(0)
    assert (found - expected).abs().max() < 1e-5


def test_softmax_classes_add_up(pyramidal, noise, whole):
    image = noise(1, 40, 40)
    one = pyramidal(Classes(names=("background", "a", "b")))
    found = in_blocks(Predictor([one, pyramidal(one.classes, seed=1)]), image, (1, 16, 16))
    assert found.shape[0] == 3
    assert torch.allclose(found.sum(0), torch.ones(image.shape), atol=1e-5)


def test_structures_are_stacked_in_the_order_of_the_runs(pyramidal, noise, whole):
    image = noise(1, 40, 40)
    names = ["synapse", "golgi", "synapse"]
    members = [pyramidal(Classes(names=("background", name)), seed=i) for i, name in enumerate(names)]
    predictor = Predictor(members)
    assert predictor.ensemble.channel_names == ("synapse", "golgi")
    found = in_blocks(predictor, image, (1, 16, 16))
    each = [whole(one, image)[0] for one in members]
    assert (found[0] - (each[0] + each[2]) / 2).abs().max() < 1e-5
    assert (found[1] - each[1]).abs().max() < 1e-5


def test_bfloat16_is_near(pyramidal, noise, whole):
    one, image = pyramidal(), noise(1, 60, 70)
    found = in_blocks(Predictor([one], precision="bf16"), image, (1, 64, 64))
    assert found.dtype == torch.float32
    difference = (found - whole(one, image)).abs()
    assert 0 < difference.max() < 0.05


def test_predicting_restores_the_mode_and_touches_no_statistics(pyramidal, noise):
    one, image = pyramidal(), noise(1, 20, 20)
    one.network.train()
    before = {name: values.clone() for name, values in one.network.state_dict().items()}
    predictor = Predictor([one])
    with predictor.predicting():
        assert not one.network.training
        predictor.probabilities(image, Box.of_shape(image.shape))
    assert one.network.training
    assert all(torch.equal(values, before[name]) for name, values in one.network.state_dict().items())


def _trained_like(network):
    """Batch statistics and scales as after training, so that activations neither vanish nor explode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.3, 0.6)
    network.head.weight.data.mul_(5)
