"""The features of every network of the catalogue can be had: blocks are found and filled, on tiny inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from network_cases import Small, collect

from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.inference.feature_maps import FeatureNetwork
from cristae.inference.locality import Locality
from cristae.inference.predictor import Member
from cristae.inference.windows import Windows
from cristae.models import NETWORKS
from cristae.preprocess.normalize import Normalizer

SMALL, _ = collect()
FIRST = {f"{small.config.name}-{small.config.ndim}d": name for name, small in reversed(SMALL.items())}  # type: ignore[attr-defined]
BLOCKS = {
    "cdeep3m-2d": 8,
    "deepvess-3d": 2,
    "emnet-2d": 9,
    "hybrid_2d3d-3d": 9,
    "segnet-2d": 10,
    "seget-2d": 11,
    "unet_stellar-2d": 9,
    "unet_valid-2d": 9,
    "vgg_unet-2d": 10,
}
"""Blocks of some, counted in their papers: scales on the way down and up, heads and pyramids."""


def member_of(small: Small) -> tuple[Member, Triple]:
    """The network in a window of its smallest test image, and the shape of an image for that."""
    config = small.config
    torch.manual_seed(0)
    network = config.build(config.in_slices, small.out_channels).eval()
    output = config.output_size(small.size)
    flat = (1,) * (3 - config.ndim)
    margin = (0,) * len(flat) + config.margin
    smallest = (0,) * len(flat) + (config.smallest_output if any(config.margin) else (0,) * config.ndim)
    locality = Locality(
        False, "it is not asked", (0, 0, 0), (*flat, *config.total_stride), config.ndim, margin, smallest
    )  # type: ignore[arg-type]
    size: Triple = (*flat, *output)  # type: ignore[assignment]
    classes = Classes(names=("background", *(f"c{n}" for n in range(small.out_channels - 1))))
    windows = Windows("tiles", size, config.ndim)
    member = Member(network, locality, Normalizer(0.0, 255.0), classes, config.in_slices, windows)
    return member, (max(size[0], 4), size[1] + 3, size[2] + 5)


def test_the_catalogue_is_complete() -> None:
    assert {name.rpartition("-")[0] for name in FIRST} == set(NETWORKS) - {"external"}


@pytest.mark.parametrize("name", sorted(FIRST))
def test_blocks_are_found_and_filled(name: str) -> None:
    member, shape = member_of(SMALL[FIRST[name]])
    network = FeatureNetwork(name, member, kind="convolutions", size=4, device=torch.device("cpu"))
    y, x = member.windows.size[1:] if member.windows else (1, 1)
    place = Box((1, 1, 2), (2, 1 + y, 2 + x))
    names = network.choose(None, place, shape)
    assert [block.name for block in network.blocks] == [f"B{n + 1}" for n in range(len(network.blocks))]
    assert set(names) == {word for block in network.blocks for word in (block.name, block.stage)}
    assert len(network.blocks) == BLOCKS.get(name, len(network.blocks)) >= 2
    grey = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    found = np.full((network.channels, 16), np.nan, np.float32)

    def keep(first: int, values: np.ndarray) -> None:
        found[first : first + len(values)] = values

    network.collect(network.shown(image_of_array(grey, name="cell")), member.normalizer, place, keep)
    assert np.isfinite(found).all()
    assert (np.ptp(found, axis=1) > 0).mean() > 0.2
