"""Seams are found where there are some, and only there."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import MITO, UNCHANGED
from torch import nn

from cristae.data.box import Box
from cristae.data.image import image_of_array
from cristae.inference.locality import Locality
from cristae.inference.predictor import Member, Predictor
from cristae.inference.seam_check import SeamCheck
from cristae.inference.seams import _moved, check_seams, seams_of
from cristae.inference.windows import Windows

RULES = ["gaussian", "centre_third", "farthest", "tiles"]


def windowed(network, rule, size=(1, 24, 24), ndim=2):
    locality = Locality(False, "", (0, 0, 0), (1, 1, 1), ndim)
    return Member(network, locality, UNCHANGED, MITO, 1, Windows(rule, size, ndim))


def test_where_windows_meet_by_hand():
    # Windows 0-3, 4-7 and 6-9: voxel 6 is 2 from the border of the second, 1 from that of the third.
    assert seams_of(Windows("tiles", (1, 1, 4), 2), 2, 10) == [4, 7]
    assert seams_of(Windows("farthest", (1, 30, 30), 2), 1, 40) == [20]
    # Windows 0-3, 2-5 and 4-7 begin and end there.
    assert seams_of(Windows("gaussian", (1, 1, 4), 2), 2, 8) == [2, 4, 6]
    assert set(np.diff(seams_of(Windows("centre_third", (1, 1, 9), 2), 2, 40))) == {3}
    assert seams_of(Windows("tiles", (1, 1, 4), 2), 2, 4) == []


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 30), st.integers(1, 30)),
    size=st.tuples(st.integers(1, 6), st.integers(1, 13), st.integers(1, 13)),
    rule=st.sampled_from(RULES),
    ndim=st.sampled_from([2, 3]),
)
def test_windows_elsewhere_cover_the_volume_as_well(shape, size, rule, ndim):
    size = (1, *size[1:]) if ndim == 2 else size
    one = _moved(windowed(nn.Identity(), rule, size, ndim))
    image = image_of_array(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    expected = torch.sigmoid(UNCHANGED.apply(torch.from_numpy(image.read())))
    predictor = Predictor([one])
    with predictor.predicting():
        found = predictor.probabilities(image, Box.of_shape(shape))
    assert (found[0] - expected).abs().max() < 1e-6


class Unsure(nn.Module):
    """Takes bright voxels for the class, and is wrong about `share` of them: near to the border of its window, or
    anywhere in it."""

    def __init__(self, *, at_border: bool) -> None:
        super().__init__()
        self.at_border = at_border

    def forward(self, image):
        y, x = image.shape[-2:]
        result = image - 0.5
        if self.at_border:
            result[..., 0] = result[..., -1] = result[..., 0, :] = result[..., -1, :] = 1.0
            return result
        turned = torch.rand((y, x), generator=torch.Generator().manual_seed(0)) < 0.2
        return torch.where(turned, -result, result)


@pytest.mark.parametrize("rule", ["tiles", "gaussian", "farthest"])
def test_a_network_that_is_wrong_at_borders_leaves_seams_where_tiles_meet(rule):
    image = image_of_array(np.random.default_rng(1).integers(0, 256, (6, 200, 180), dtype=np.uint8))
    found = check_seams(Predictor([windowed(Unsure(at_border=True), rule)]), image, Box.of_shape(image.shape), 0.5)
    assert found.near + found.inside == 2 * 48 * 48
    assert found.inside_differing == 0
    assert found.seams == (rule == "tiles")
    assert found.text().startswith("seams show: " if rule == "tiles" else "no seams show: ")


def test_a_network_that_is_wrong_anywhere_leaves_none():
    image = image_of_array(np.random.default_rng(1).integers(0, 256, (6, 200, 180), dtype=np.uint8))
    found = check_seams(Predictor([windowed(Unsure(at_border=False), "tiles")]), image, Box.of_shape(image.shape), 0.5)
    assert found.inside_differing > 1000
    assert found.ratio == pytest.approx(1, abs=0.15)
    assert not found.seams


def test_nothing_to_compare(noise):
    exact = Member(nn.Identity(), Locality(True, "", (0, 0, 0), (1, 1, 1), 2), UNCHANGED, MITO)
    assert check_seams(Predictor([exact]), noise(2, 50, 50), Box.of_shape((2, 50, 50)), 0.5) is None
    one = windowed(nn.Identity(), "tiles")
    assert check_seams(Predictor([one]), noise(2, 20, 20), Box.of_shape((2, 20, 20)), 0.5) is None


def test_rates_by_hand():
    assert SeamCheck(1000, 0, 4000, 0).ratio == 1
    assert SeamCheck(1000, 30, 4000, 60).ratio == 2
    assert not SeamCheck(1000, 30, 4000, 60).seams  # so few may be an accident
    assert SeamCheck(10000, 300, 40000, 600).seams
    assert SeamCheck(1000, 200, 4000, 0).ratio == float("inf")
    assert SeamCheck(1000, 25, 4000, 40).text() == (
        "no seams show: with windows in other places, labels differ in 2.500% of the voxels near to where windows "
        "meet, and in 1.000% of the others"
    )
