"""Laws that every network keeps."""

import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cristae.errors import NetworkError
from cristae.models import NETWORKS, NetworkConfig, SegETConfig, UNetBNConfig, parameter_count

PARAMETERS = {"seget": 4_838_329, "unet_bn": 1_943_761}
"""Trainable parameters with default options for one input and one output channel."""

SMALL: dict[str, NetworkConfig] = {
    "seget": SegETConfig(base=4),
    "seget-quarter-skip": SegETConfig(base=4, skip_width="quarter"),
    "seget-side-branch": SegETConfig(base=4, skip_position="side_branch", skip_width="full"),
    "seget-double-down": SegETConfig(base=4, down_width="double", centre_input="encoder_output"),
    "seget-centre": SegETConfig(base=4, first_branch="1x1", branch_width="half", centre_width="half"),
    "seget-bare-fusion": SegETConfig(base=4, fusion="two_steps_bare", conv_bias=False),
    "seget-full-size": SegETConfig(base=4, fusion="full_size", head="last_conv"),
    "unet_bn": UNetBNConfig(widths=(4, 8, 16)),
}

networks = pytest.mark.parametrize("config", SMALL.values(), ids=SMALL)


def build(config: NetworkConfig, in_channels: int = 2, out_channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    network = config.build(in_channels, out_channels).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d) and module.bias is not None:
            nn.init.uniform_(module.bias, -0.1, 0.3)
    return network


def image(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def test_every_network_is_tested_here():
    assert {config.name for config in SMALL.values()} == set(NETWORKS) == set(PARAMETERS)


@pytest.mark.parametrize("name", NETWORKS)
def test_default_parameter_count(name):
    with torch.device("meta"):
        assert parameter_count(NETWORKS[name]().build(1, 1)) == PARAMETERS[name]


@networks
@pytest.mark.parametrize("size", [(48, 64), (33, 70), (5, 1), (49, 31)])
def test_any_size_is_that_of_zero_padding_at_the_far_side(config, size):
    network = build(config)
    padded = tuple(math.ceil(side / config.size_multiple) * config.size_multiple for side in size)
    with torch.no_grad():
        logits = network(image(2, 2, *size))
        assert logits.shape == (2, 3, *config.output_size(size))
        whole = network(F.pad(image(2, 2, *size), (0, padded[1] - size[1], 0, padded[0] - size[0])))
    assert whole.shape[2:] == padded
    assert torch.equal(logits, whole[..., : size[0], : size[1]])


@networks
def test_gradient_reaches_every_parameter(config):
    network = build(config)
    network(image(2, 2, 64, 64)).square().sum().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or torch.count_nonzero(p.grad) == 0]
    assert without == []


@networks
def test_items_of_a_batch_do_not_mix(config):
    network, batch = build(config), image(3, 2, 32, 32)
    other = batch.clone()
    other[1] += 1
    with torch.no_grad():
        before, after = network(batch), network(other)
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.equal(before[1], after[1])


@networks
def test_saves_and_loads(config, tmp_path):
    network, batch = build(config), image(1, 2, 32, 32)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    torch.manual_seed(99)
    loaded = config.build(2, 3).eval()
    with torch.no_grad():
        assert not torch.equal(loaded(batch), network(batch))
        loaded.load_state_dict(load_file(tmp_path / "weights.safetensors"))
        assert torch.equal(loaded(batch), network(batch))


@networks
def test_memory_format_does_not_matter(config):
    network, batch = build(config).double(), image(1, 2, 32, 48).double()
    with torch.no_grad():
        expected = network(batch)
        found = network.to(memory_format=torch.channels_last)(batch.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@networks
def test_config_survives_json(config):
    assert type(config).model_validate_json(config.model_dump_json()) == config


@networks
@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (2, 16, 16), (1, 2, 1, 16, 16), (1, 2, 0, 16), (0, 2, 16, 16)])
def test_other_channels_or_axes_are_refused(config, shape):
    with pytest.raises(NetworkError, match=r"takes images \(batch, 2 channels, y, x\)"):
        build(config)(torch.zeros(shape))
