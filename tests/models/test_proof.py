"""Networks that are not what their config says are refused, with what to change."""

import re

import pytest
import torch
from torch import nn

from cristae.errors import NetworkError
from cristae.models import PlanarConfig, UNetBNConfig, UNetValidConfig
from cristae.models.proof import blamed_on, prove, require_form


class Through(nn.Module):
    """Runs a function where a network would be."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, image):
        return self.function(self, image)


def own(function=None, make=None, **properties):
    """A config with these properties, whose network is a function of (network, image)."""

    def build(self, in_channels, out_channels):
        return make(in_channels, out_channels) if make else Through(function)

    values = {"total_stride": (1, 1)} | properties
    body = {name: property(lambda self, value=value: value) for name, value in values.items()}
    return type("Own", (PlanarConfig,), {"build": build, "__module__": __name__, **body})()


def proved(config, out_channels=1):
    require_form(config, "mine:Own")
    prove(config, "mine:Own", in_channels=config.in_slices, out_channels=out_channels)


def refused(message, config, **more):
    with pytest.raises(NetworkError, match=message):
        proved(config, **more)


@pytest.mark.parametrize("config", [UNetBNConfig(widths=(4, 8)), UNetValidConfig(base=2, depth=3, slices=3)])
def test_good_networks_pass_and_draw_nothing(config):
    state = torch.get_rng_state()
    proved(config, out_channels=3)
    assert torch.equal(torch.get_rng_state(), state)


def test_auxiliary_outputs_pass_in_training_alone():
    config = own(
        lambda net, image: (image, image[..., ::2, ::2]) if net.training else image, auxiliary_weights=(1, 0.5)
    )
    proved(config)
    refused("gives 2 outputs in training, but auxiliary_weights has 1 number;", own(config.build(1, 1).function))


def valid(i, o):
    return nn.Conv2d(i, o, 3)


def pooled(i, o):
    return nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(i, o, 1), nn.Upsample(scale_factor=2))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (own(make=valid), "mine:Own gives 30 x 30 for an image of 32 x 32; pad inside, or say `margin`"),
        (own(make=valid, margin=(2, 2)), "gives 34 x 34 for an image of 36 x 36; its config says 32 x 32"),
        (
            own(make=pooled, total_stride=(2, 2)),
            "gives 32 x 32 for an image of 33 x 33; it must take images of any size, multiples of total_stride (2, 2) "
            "or not; pad inside",
        ),
        (own(make=lambda i, o: nn.Conv2d(i, 4, 1)), "gives 4 channels instead of 1;"),
        (
            own(make=lambda i, o: nn.Conv2d(2, o, 1)),
            "fails in prediction for images of 2 x 1 x 32 x 32 (batch, channel",
        ),
        (own(lambda net, image: [image]), "gives a list when it predicts;"),
        (own(lambda net, image: image[0]), "gives logits of shape (1, 32, 32) for 2 images"),
        (own(lambda net, image: image.mean(0, True)), "gives logits of shape (1, 1, 32, 32) for 2 images"),
        (own(lambda net, image: image > 0), "gives torch.bool; logits must be"),
        (own(lambda net, image: {"a": 1} if net.training else image), "gives a dict in training"),
        (own(lambda net, image: image / 0 if not net.training else 1 // 0), "fails in training for images of 2 x 1"),
        (own(lambda net, image: 1 // 0), "test_proof.py:"),
    ],
)
def test_what_a_network_does_wrong(config, message):
    refused(re.escape(message), config)


def test_a_forward_that_looks_at_values_passes():
    proved(own(lambda net, image: image if image.mean().item() > 0 else torch.from_numpy(image.numpy())))


class AsMethod(PlanarConfig):
    def total_stride(self):
        return (1, 1)

    def build(self, in_channels, out_channels):
        return nn.Identity()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (AsMethod(), "total_stride is a method; write it as a property that gives a tuple, one whole number of at lea"),
        (own(total_stride=1), "total_stride is 1; write it as a property that gives a tuple"),
        (own(total_stride=(0, 1)), "total_stride is (0, 1); write"),
        (own(margin=(1.5, 1)), "margin is (1.5, 1); write"),
        (own(margin=(1, 1, 1)), "margin is (1, 1, 1), but must have 2 numbers, as many as ndim"),
        (own(window="64"), "window is '64'; write"),
        (own(smallest_output=None), "smallest_output is None; write"),
        (own(ndim=4), "ndim is 4; it must be 2 for slices or 3"),
        (own(auxiliary_weights=1.0), "auxiliary_weights is 1.0; write it as a property"),
        (own(auxiliary_weights=()), "auxiliary_weights is (); write"),
        (own(fixed_output=1), "fixed_output is 1; write"),
        (own(blend="mean"), "blend is 'mean'; it must be one of gaussian, "),
        (own(smallest_batch=0), "smallest_batch is 0; it must be a whole number of at least 1"),
    ],
)
def test_properties_of_another_kind(config, message):
    with pytest.raises(NetworkError, match=rf"^mine:Own: {re.escape(message)}"):
        require_form(config, "mine:Own")


def test_a_property_that_fails_says_where():
    class Failing(PlanarConfig):
        @property
        def total_stride(self):
            return 1 // 0

        def build(self, in_channels, out_channels):
            return nn.Identity()

    with pytest.raises(NetworkError, match=r"total_stride cannot be read: .*test_proof\.py:\d+: ZeroDivisionError"):
        require_form(Failing(), "mine:Own")


def test_only_errors_from_the_files_of_a_network_are_blamed_on_it():
    message = r"^mine:Own fails: .*test_proof\.py:\d+: ZeroDivisionError: "
    with pytest.raises(NetworkError, match=message), blamed_on([__file__], "mine:Own fails"):
        _ = 1 // 0
    with pytest.raises(ZeroDivisionError), blamed_on(["elsewhere.py"], "mine:Own fails"):
        _ = 1 // 0
