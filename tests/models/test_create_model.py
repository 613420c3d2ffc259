"""Building networks by name, as a user does."""

import doctest

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

import cristae.models
from cristae.errors import NetworkError
from cristae.models import NETWORKS, Network, SegETConfig, create_model


def test_unknown_name_lists_the_nearest_and_all():
    with pytest.raises(NetworkError, match=r"no network 'unet_b'; did you mean unet_bn.*one of .*seget.*unet_bn"):
        create_model("unet_b", in_channels=1, out_channels=1)
    with pytest.raises(NetworkError, match=r"no network '!'; choose one of .*seget.*unet_bn"):
        create_model("!", in_channels=1, out_channels=1)


def test_unknown_option_lists_those_that_exist():
    with pytest.raises(NetworkError, match=r"'seget': depth: unknown field; the fields here are slices, base, skip"):
        create_model("seget", in_channels=1, out_channels=1, depth=3)


def test_every_mistake_is_told_once_in_a_line():
    with pytest.raises(NetworkError) as caught:
        create_model("unet_bn", in_channels=1, out_channels=1, width=3, widths=["a", 8], slices="two")
    lines = [line.partition(" (")[0] for line in str(caught.value).splitlines()]
    assert lines == [
        "network 'unet_bn': slices: must be a whole number, got 'two'",
        "network 'unet_bn': widths.0: must be a whole number, got 'a'",
        "network 'unet_bn': width: unknown field; did you mean 'widths'?",
    ]


@pytest.mark.parametrize("options", [{"base": 6}, {"base": 0}, {"fusion": "none"}])
def test_option_out_of_range(options):
    with pytest.raises(NetworkError, match=next(iter(options))):
        create_model("seget", in_channels=1, out_channels=1, **options)


@pytest.mark.parametrize("widths", [(), (8,), (8, 0)])
def test_unet_needs_two_positive_widths(widths):
    with pytest.raises(NetworkError, match="widths"):
        create_model("unet_bn", in_channels=1, out_channels=1, widths=widths)


@pytest.mark.parametrize("channels", [{"in_channels": 0, "out_channels": 1}, {"in_channels": 1, "out_channels": 0}])
def test_channels_must_be_positive(channels):
    with pytest.raises(NetworkError, match="at least 1, got 0"):
        create_model("unet_bn", **channels)


def test_same_seed_same_weights():
    torch.manual_seed(3)
    first = create_model("seget", in_channels=1, out_channels=1, base=4).state_dict()
    torch.manual_seed(3)
    second = create_model("seget", in_channels=1, out_channels=1, base=4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_union_tells_networks_apart_by_name():
    assert TypeAdapter(Network).validate_python({"name": "seget"}) == SegETConfig()
    assert {"seget", "unet_bn"} <= set(NETWORKS)
    with pytest.raises(ValidationError, match="seget"):
        TypeAdapter(Network).validate_python({"name": "other"})


def test_every_field_says_what_it_is():
    for config in NETWORKS.values():
        assert all(field.description for name, field in config.model_fields.items() if name != "name")


def test_docstring_example():
    assert doctest.testmod(cristae.models).failed == 0
    assert doctest.testmod(cristae.models).attempted > 0
