"""Features at a place are those that prediction computes there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.errors import RunError
from cristae.inference.arrays import ArrayModel
from cristae.inference.feature_maps import FeatureNetwork
from cristae.inference.locality import measure_locality
from cristae.inference.predictor import Member, Predictor
from cristae.models import NetworkConfig, UNet3DConfig, UNetBNConfig, UNetValidConfig
from cristae.preprocess.normalize import Normalizer

GREY = np.random.default_rng(0).integers(0, 256, (9, 60, 76)).astype(np.uint8)
IMAGE = image_of_array(GREY, name="cell")
CPU = torch.device("cpu")


def member_of(config: NetworkConfig) -> Member:
    torch.manual_seed(0)
    network = config.build(config.in_slices, 1).eval()
    locality = measure_locality(network, config, in_channels=config.in_slices)
    classes = Classes(names=("background", "mito"))
    return Member(network, locality, Normalizer(0.0, 255.0), classes, config.in_slices)


def collected(member: Member, place: Box, *, size: int, blocks: list[str] | None = None) -> np.ndarray:
    """(N, size, size)."""
    network = FeatureNetwork("net", member, kind="convolutions", size=size, device=CPU)
    network.choose(blocks, place, GREY.shape)
    found = np.full((network.channels, size * size), np.nan, np.float32)

    def keep(first: int, values: np.ndarray) -> None:
        found[first : first + len(values)] = values

    network.collect(network.shown(IMAGE), member.normalizer, place, keep)
    assert not np.isnan(found).any()
    return found.reshape(-1, size, size)


def means(values: np.ndarray, cell: int) -> np.ndarray:
    """(C, Y, X) in square cells."""
    channels, y, x = values.shape
    averaged: np.ndarray = values.reshape(channels, y // cell, cell, x // cell, cell).mean((2, 4))
    return averaged


def test_features_of_a_local_network_are_those_of_the_whole_slice() -> None:
    member = member_of(UNetBNConfig(widths=(3, 5)))
    kept: dict[str, Tensor] = {}
    for name, module in member.network.named_modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda _, __, made, name=name: kept.__setitem__(name, made.clone()))
    with torch.inference_mode():
        member.network(torch.from_numpy(GREY[4] / np.float32(255))[None, None])
    whole = [made[0].numpy() for made in kept.values()]  # in the order in which they ran
    found = collected(member, Box((4, 16, 24), (5, 48, 56)), size=8)
    # two convolutions of 3 channels, two of 5 at half the size
    assert np.allclose(found[:3], means(whole[0][:, 16:48, 24:56], 4), atol=1e-5)
    assert np.allclose(found[3:6], means(whole[1][:, 16:48, 24:56], 4), atol=1e-5)
    assert np.allclose(found[6:11], means(whole[2][:, 8:24, 12:28], 2), atol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        UNetValidConfig(base=2, depth=3),
        UNet3DConfig(base=2),
        UNet3DConfig(shape="thick", base=2),
        UNetBNConfig(widths=(3, 5)),
    ],
)
def test_the_last_features_are_the_logits_of_the_prediction(config: NetworkConfig) -> None:
    """So they lie where prediction puts them, whatever the network's margin and number of axes."""
    member, place = member_of(config), Box((4, 16, 24), (5, 32, 40))
    found = collected(member, place, size=16)
    predictor = Predictor([member])
    with predictor.predicting():
        expected = predictor.probabilities(IMAGE, place)[0, 0]
    assert np.allclose(1 / (1 + np.exp(-found[-1])), expected.numpy(), atol=1e-5)


def test_blocks_can_be_chosen_by_name_and_stage() -> None:
    member, place = member_of(UNetBNConfig(widths=(3, 5))), Box((4, 16, 24), (5, 32, 40))
    every = collected(member, place, size=4)
    assert np.array_equal(collected(member, place, size=4, blocks=["B2"]), every[6:16])
    assert np.array_equal(
        collected(member, place, size=4, blocks=["encoder.0", "B3"]), every[[*range(6), *range(16, 26)]]
    )


def test_a_forest_has_no_features() -> None:
    forest = ArrayModel(lambda grey, box: np.zeros((1, *box.shape), np.float32), reach=(0, 0, 0), bytes_per_vox=4)
    member = replace(member_of(UNetBNConfig(widths=(3, 5))), network=forest)
    with pytest.raises(RunError, match="random forest, which has no feature maps"):
        FeatureNetwork("forest", member, kind="convolutions", size=4, device=CPU)


def test_features_that_are_not_finite_are_refused() -> None:
    member = member_of(UNetBNConfig(widths=(3, 5)))
    with torch.no_grad():
        next(module for module in member.network.modules() if isinstance(module, nn.Conv2d)).weight.fill_(torch.inf)
    with pytest.raises(RunError, match=r"net: layer encoder.0.* gives values that are not finite"):
        collected(member, Box((4, 16, 24), (5, 32, 40)), size=4)
