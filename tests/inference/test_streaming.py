"""Streamed networks give what one pass gives, whatever the rows, and keep what is needed only."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from published_networks import LOCAL, narrow, seeded
from small_networks import Lagging, Pyramidal, Solid, Valid, member
from torch import nn

from cristae.data.box import Box
from cristae.inference.locality import measure_locality
from cristae.inference.memory import live_bytes
from cristae.inference.predictor import Predictor
from cristae.inference.streaming.forms import StreamedForms
from cristae.inference.streaming.recording import NotStreamableError
from cristae.inference.streaming.streamed import Streamed, rows_of_strip
from cristae.models import NETWORKS


def difference(network, image, *, rows, axis=0):
    """The largest, as a part of the largest output; outputs are not all alike."""
    with torch.inference_mode():
        whole, streamed = network(image), Streamed(network, image.shape, rows=rows, axis=axis)(image)
    assert whole.shape == streamed.shape
    assert whole.numel() < 4 or whole.std() > 1e-4
    return float((whole - streamed).abs().max() / whole.abs().max().clamp(min=1e-6))


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    dilation=st.integers(1, 3),
    rows=st.integers(1, 9),
    axis=st.integers(0, 1),
    length=st.integers(10, 25),
)
def test_convolutions(kernel, stride, padding, dilation, rows, axis, length):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 3, kernel, stride, padding, dilation), nn.ReLU(inplace=True), nn.Conv2d(3, 2, 1)
    )
    assert difference(network, torch.randn(1, 2, length, length + 3), rows=rows, axis=axis) < 1e-5


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    extra=st.integers(0, 2),
    groups=st.sampled_from([1, 2]),
    rows=st.integers(1, 9),
    axis=st.integers(0, 1),
)
def test_transposed_convolutions(kernel, stride, padding, extra, groups, rows, axis):
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(2, 4, kernel, stride, min(padding, (kernel - 1) // 2), min(extra, stride - 1), groups)
    network, image = seeded(nn.Sequential(layer, nn.BatchNorm2d(4), nn.ReLU())), torch.randn(1, 2, 8, 9)
    if kernel < stride:
        with pytest.raises(NotStreamableError, match="gaps"):
            Streamed(network, image.shape, rows=rows)
        return
    assert difference(network, image, rows=rows, axis=axis) < 1e-5


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    ceil=st.booleans(),
    rows=st.integers(1, 5),
    length=st.integers(10, 20),
)
def test_pooling(kernel, stride, padding, dilation, ceil, rows, length):
    pool = nn.MaxPool2d(kernel, stride, min(padding, kernel // 2), dilation, ceil_mode=ceil)
    assert difference(pool, torch.randn(1, 2, length, 17), rows=rows) == 0


def test_averages_of_windows():
    assert difference(nn.AvgPool2d(3, 2), torch.randn(1, 2, 17, 13), rows=2) < 1e-6
    with pytest.raises(NotStreamableError, match="padding"):
        Streamed(nn.AvgPool2d(3, 2, 1), (1, 1, 17, 13), rows=2)


@settings(max_examples=40, deadline=None)
@given(
    factor=st.integers(2, 5),
    mode=st.sampled_from(["nearest", "bilinear"]),
    rows=st.integers(1, 9),
    axis=st.integers(0, 1),
)
def test_enlargement(factor, mode, rows, axis):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Upsample(scale_factor=factor, mode=mode), nn.Conv2d(2, 2, 3, padding=1))
    assert difference(network, torch.randn(1, 2, 7, 6), rows=rows, axis=axis) < 1e-5


@settings(max_examples=40, deadline=None)
@given(
    before=st.integers(-3, 6),
    after=st.integers(-3, 6),
    sides=st.integers(-1, 2),
    value=st.sampled_from([0.0, 2.0]),
    rows=st.integers(1, 9),
    axis=st.integers(0, 1),
)
def test_padding_and_cropping(before, after, sides, value, rows, axis):
    class Padding(nn.Module):
        def forward(self, image):
            amounts = (sides, sides, before, after) if axis == 0 else (before, after, sides, sides)
            found = nn.functional.pad(image.sigmoid(), amounts, value=value).exp()
            return found[:, :, 1:, 1:] * 2

    assert difference(Padding(), torch.randn(1, 2, 9, 9), rows=rows, axis=axis) < 1e-6


class Remembered(nn.Module):
    """Pooling whose places are used again, a skip that is taken before a function in place, and a split."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, image):
        fine = self.first(image)
        shifted = fine * 3
        fine.relu_()
        coarse, places = nn.functional.max_pool2d(fine, 2, return_indices=True)
        low, high = coarse.sigmoid().split(2, dim=1)
        up = nn.functional.max_unpool2d(torch.cat([high, low], 1), places, 2, output_size=fine.shape[2:])
        return self.last(torch.cat([up, fine + shifted], 1)).softmax(1) + self.last(torch.cat([fine, up], 1))


@pytest.mark.parametrize("rows", [1, 2, 5, 7, 100])
def test_places_skips_and_functions_in_place(rows):
    torch.manual_seed(0)
    network, image = Remembered(), torch.randn(1, 1, 24, 16)
    assert difference(network, image, rows=rows) < 1e-6
    with pytest.raises(NotStreamableError, match="max_pool2d_with_indices' whose places"):
        Streamed(network, image.shape, rows=rows, axis=1)


@pytest.mark.parametrize("network", [Pyramidal(), Lagging(), Valid(), Solid()], ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("rows", [1, 3, 8])
def test_small_networks_along_every_axis(network, rows):
    ndim = 3 if isinstance(network, Lagging | Solid) else 2
    margin = {Valid: 4, Lagging: 1}.get(type(network), 0)
    sides = [4, 28, 24] if ndim == 3 else [28, 24]
    sides = [side + (2 * margin if axis or ndim == 2 else 0) for axis, side in enumerate(sides)]
    for axis in range(ndim):
        assert difference(seeded(network), torch.randn(1, 1, *sides), rows=rows, axis=axis) < 1e-5


@pytest.mark.parametrize("name", LOCAL)
def test_the_local_networks_of_the_papers(name):
    config = narrow(NETWORKS[name]())
    network = seeded(config.build(1, 2))
    where = measure_locality(network, config)
    assert where.local
    axes = range(3 - config.ndim, 3)
    sides = [where.good_side(axis, (9, 50, 40)[axis]) + 2 * where.margin[axis] for axis in axes]
    assert difference(network, torch.randn(1, 1, *sides), rows=where.stride[axes[0]]) < 1e-5


def test_every_other_network_of_the_papers_is_not_local():
    for name, config in NETWORKS.items():
        if name in LOCAL or name in ("external", "deepvess") or name.startswith("monai"):
            continue
        with torch.device("meta"):
            network = config().build(1, 2)
        assert not measure_locality(network, config()).local, name


@pytest.mark.parametrize(
    ("layer", "what"),
    [
        (nn.AdaptiveAvgPool2d(1), "mean"),
        (nn.InstanceNorm2d(2), "view"),
        (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), "upsample_bilinear2d"),
        (nn.ReflectionPad2d(1), "reflection_pad2d"),
        (nn.Flatten(2), "view"),
    ],
)
def test_what_is_refused(layer, what):
    with pytest.raises(NotStreamableError, match=what):
        Streamed(layer.eval(), (1, 2, 16, 16), rows=4)


def test_the_memory_of_a_pass_does_not_grow_with_its_length():
    network = NETWORKS["unet_bn"](widths=[8, 16, 32]).build(1, 1).eval()
    weights = {name: one.to("meta") for name, one in network.state_dict().items()}
    peaks = []
    for length in (256, 1024):
        form = Streamed(network, (1, 1, length, 64), rows=16, weights=weights)
        peak, _ = live_bytes(form, torch.empty(1, 1, length, 64, device="meta"))
        peaks.append(peak - 2 * 4 * length * 64)  # its input and output are there as a whole
    assert peaks[0] == peaks[1]
    whole, _ = live_bytes(network.to("meta"), torch.empty(1, 1, 1024, 64, device="meta"))
    assert peaks[1] < whole / 5


def test_when_images_are_streamed():
    """Those of more than two strips, in rows that are multiples of the stride."""
    assert rows_of_strip((1, 1, 64, 64), 0, 4) is None
    assert rows_of_strip((1, 1, 64, 64), 2048, 4) is None
    assert rows_of_strip((1, 1, 64, 64), 2047, 4) == 28
    assert rows_of_strip((1, 1, 64, 64), 10, 4) == 4
    assert rows_of_strip((1, 1, 40, 30, 20), 3000, 1) == 5
    network = nn.Conv2d(1, 1, 3, padding=1)
    forms = StreamedForms(network, 1, 100)
    assert isinstance(forms.suited_to((1, 1, 30, 30)), Streamed)
    assert forms.suited_to((1, 1, 30, 30)) is forms.suited_to((1, 1, 30, 30))
    assert forms.suited_to((2, 1, 30, 30)) is network
    assert not StreamedForms(nn.AdaptiveAvgPool2d(1), 1, 100).streams((1, 1, 30, 30))


@pytest.mark.parametrize("kind", [Pyramidal, Valid])
def test_a_prediction_that_streams(kind, noise):
    """Blocks of several shapes, one after the other."""
    one = member(kind(), stride=4) if kind is Pyramidal else None
    if one is None:
        from small_networks import member_of

        one = member_of(Valid(), Valid.config)
    image = noise(3, 61, 50)
    whole, strips = Predictor([one]), Predictor([one], strip_vox=200)
    for core in Box.of_shape(image.shape).blocks((2, 40, 28)):
        with whole.predicting(), strips.predicting():
            assert (whole.probabilities(image, core) - strips.probabilities(image, core)).abs().max() < 1e-5
