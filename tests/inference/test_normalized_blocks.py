"""Blocks of every normalisation equal one pass over a volume that was normalised as a whole, made here by numpy."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from small_networks import MITO, Lagging, Pyramidal, Sizes, Solid, Valid, Whole, member, member_of
from torch import nn

from cristae.data.box import Box
from cristae.data.image import Image, image_of_array
from cristae.inference.locality import Locality
from cristae.inference.predictor import Member, Predictor
from cristae.inference.windows import Windows
from cristae.preprocess import HistogramMatching, Local, MinMax, NormalizeConfig, Percentiles, ZScore
from cristae.preprocess.fitting import Greys, fit_training, fit_volume, greys_of
from cristae.preprocess.histogram import IntensityHistogram
from cristae.preprocess.network_input import NetworkInput
from cristae.preprocess.normalize import Normalizer

SHAPE = (6, 45, 38)
AS_IT_IS = Normalizer(0.0, 1.0, clip=None)
Reference = Callable[[np.ndarray], np.ndarray]


def drifting(seed: int = 0) -> np.ndarray:
    """Slices that get brighter, with the contrast growing along x."""
    rng = np.random.default_rng(seed)
    grey = rng.normal(size=SHAPE) * np.linspace(10, 40, SHAPE[2]) + 15 * np.arange(SHAPE[0])[:, None, None] + 80
    return grey.clip(0, 255).astype(np.uint8)


def z_score(grey: np.ndarray) -> np.ndarray:
    return (grey - grey.mean()) / grey.std()


def of_slices(grey: np.ndarray) -> np.ndarray:
    low, high = grey.min((1, 2), keepdims=True), grey.max((1, 2), keepdims=True)
    return (grey - low) / (high - low)


def local(grey: np.ndarray) -> np.ndarray:
    low, high = (np.percentile(grey, percent, method="inverted_cdf") for percent in (0.5, 99.5))
    scaled = ((grey - low) / (high - low)).clip(-0.5, 1.5)
    mean = ndimage.uniform_filter(scaled, (1, 15, 15), mode="mirror")
    spread = ndimage.uniform_filter(scaled**2, (1, 15, 15), mode="mirror") - mean**2
    return (scaled - mean) / np.sqrt(spread.clip(0)).clip(0.05)


NORMALIZATIONS: dict[str, tuple[NormalizeConfig, Reference]] = {
    "z_score": (ZScore(scope="volume", ignore=()), z_score),
    "slice": (MinMax(scope="slice", ignore=()), of_slices),
    "local": (Local(scope="volume", ignore=(), reach_vox=7), local),
}
NETWORKS: dict[str, Callable[[], Member]] = {
    "2D": lambda: member(Pyramidal(), stride=4),
    "2.5D": lambda: member(nn.Conv2d(3, 1, 3, padding=1), stride=1, slices=3),
    "valid": lambda: member_of(Valid(), Valid.config),
    "lagging": lambda: member_of(Lagging(), Lagging.config),
    "3D": lambda: member_of(Solid(), Solid.config),
    "windows": lambda: member_of(Whole(), Sizes(stride=(1, 1)), windows=Windows("gaussian", (1, 16, 12), 2)),
}


def in_blocks(one: Member, image: Image, block: tuple[int, int, int]) -> torch.Tensor:
    predictor = Predictor([one])
    result = torch.full((one.classes.n_logits, *image.shape), torch.nan)
    with predictor.predicting():
        for core in Box.of_shape(image.shape).blocks(block):
            result[(slice(None), *core.slices)] = predictor.probabilities(image, core)
    return result


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_blocks_equal_one_pass_over_the_normalised_volume(kind: str, network: str) -> None:
    config, reference = NORMALIZATIONS[kind]
    grey, one = drifting(), NETWORKS[network]()
    image = image_of_array(grey)
    numbers = image_of_array(reference(grey.astype(np.float64)).astype(np.float32))
    expected = in_blocks(replace(one, normalizer=AS_IT_IS), numbers, SHAPE)
    assert expected.std() > 0.004
    own = replace(one, normalizer=fit_volume(config, greys_of(config, image)))
    for block in [(1, 16, 16), (4, 13, 9)]:
        assert (in_blocks(own, image, block) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("network", ["2D", "3D"])
def test_blocks_of_a_matched_volume(network: str) -> None:
    grey, training = drifting(), drifting(1) // 2
    image = image_of_array(grey)
    shared = fit_training(HistogramMatching(), Greys(IntensityHistogram.of(training)))
    normalizer = fit_volume(HistogramMatching(), greys_of(HistogramMatching(), image), shared)
    own = replace(NETWORKS[network](), normalizer=normalizer)
    expected = in_blocks(own, image, SHAPE)
    assert (in_blocks(own, image, (3, 20, 16)) - expected).abs().max() < 1e-5


def test_a_network_reads_no_more_than_its_halo_and_the_window_of_the_normalisation() -> None:
    one = NETWORKS["2D"]()
    wide = replace(one, normalizer=replace(one.normalizer, contrast=Local(reach_vox=7).contrast))
    shape, box = (4, 500, 500), Box((1, 200, 200), (2, 240, 232))
    plain, more = (Predictor([each]).input_box(box, shape) for each in (one, wide))
    assert more == plain.grow((0, 7, 7))
    corner = Box((0, 0, 0), (1, 16, 16))
    assert Predictor([wide]).input_box(corner, shape).start == (0, 0, 0)


def test_members_may_be_normalised_in_different_ways() -> None:
    grey = drifting()
    image, base = image_of_array(grey), NETWORKS["2D"]()
    configs = [config for config, _ in NORMALIZATIONS.values()]
    members = [replace(base, normalizer=fit_volume(config, greys_of(config, image))) for config in configs]
    predictor, box = Predictor(members), Box((2, 9, 8), (4, 30, 27))
    with predictor.predicting():
        found = predictor.probabilities(image, box)
    alone = torch.stack([in_blocks(one, image, SHAPE)[(slice(None), *box.slices)] for one in members])
    assert (found - alone.mean(0)).abs().max() < 1e-5


class FirstChannel(nn.Module):
    """Gives back what it gets."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image[:, :1]


@pytest.mark.parametrize("config", [MinMax(scope="patch"), ZScore(scope="patch"), Percentiles(scope="patch")])
def test_each_window_is_normalised_by_itself(config: NormalizeConfig) -> None:
    """Tiles of 15 x 19 fill 45 x 38 exactly, so that numpy can normalise them one by one."""
    grey = drifting()
    locality = Locality(False, "", (0, 0, 0), (1, 1, 1), 2)
    tiles = NetworkInput.of([config.patch_step()])
    before = Normalizer(20.0, 200.0, clip=None)
    one = Member(FirstChannel(), locality, before, MITO, 1, Windows("tiles", (1, 15, 19), 2), tiles)
    expected = np.empty(SHAPE)
    for core in Box.of_shape(SHAPE).blocks((1, 15, 19)):
        tile = grey[core.slices].astype(np.float64)
        if isinstance(config, ZScore):
            low, high = tile.mean(), tile.mean() + tile.std()
        else:
            percents = (0.5, 99.5) if isinstance(config, Percentiles) else (0, 100)
            low, high = np.percentile(tile, percents, method="inverted_cdf")
        numbers = (tile - low) / (high - low)
        expected[core.slices] = numbers.clip(-0.5, 1.5) if isinstance(config, Percentiles) else numbers
    for block in [SHAPE, (2, 16, 16)]:
        found = in_blocks(one, image_of_array(grey), block)[0].numpy()
        np.testing.assert_allclose(found, 1 / (1 + np.exp(-expected)), atol=1e-5)


def test_a_network_that_sees_patches_by_themselves_needs_windows() -> None:
    one = NETWORKS["2D"]()
    with pytest.raises(AssertionError, match="needs windows"):
        replace(one, network_input=NetworkInput.of([MinMax(scope="patch").patch_step()]))
