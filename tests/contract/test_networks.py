"""Laws that every network keeps."""

import math

import pytest
import torch
import torch.nn.functional as F
from network_cases import Count, Small, collect
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cristae.errors import NetworkError
from cristae.models import NETWORKS, buffer_count, parameter_count

SMALL, COUNTS = collect()
networks = pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
LIBRARY_CONFIGS = {"external"}
"""Networks whose code is the user's, tested in a place of their own."""


def build(case: Small) -> nn.Module:
    torch.manual_seed(0)
    network = case.config.build(case.in_channels, case.out_channels).eval()
    for name, values in network.named_parameters():
        if name.endswith("bias"):
            nn.init.uniform_(values, -0.1, 0.3)
    return network


def image(case: Small, batch: int = 2, size: tuple[int, ...] | None = None) -> Tensor:
    shape = (batch, case.in_channels, *(size or case.size))
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def heads_of(output: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return output if isinstance(output, tuple) else (output,)


def test_every_network_is_tested_here():
    names = set(NETWORKS) - LIBRARY_CONFIGS
    assert {case.config.name for case in SMALL.values()} == names
    assert {count.config.name for count in COUNTS} == names


@pytest.mark.parametrize("count", COUNTS, ids=lambda count: count.id)
def test_parameter_and_buffer_count(count: Count):
    with torch.device("meta"):
        network = count.config.build(count.in_channels, count.out_channels)
    assert (parameter_count(network), buffer_count(network)) == (count.trainable, count.buffers)


@pytest.mark.parametrize("count", [c for c in COUNTS if c.conv_gflop is not None], ids=lambda count: count.id)
def test_convolution_flops(count: Count):
    with torch.device("meta"):
        network = count.config.build(count.in_channels, count.out_channels).eval()
        given = torch.empty(1, count.in_channels, *count.size)
    with FlopCounterMode(display=False) as counter:
        network(given)
    found = sum(n for operation, n in counter.get_flop_counts()["Global"].items() if "convolution" in str(operation))
    assert f"{found / 1e9:.3f}" == f"{count.conv_gflop:.3f}"


@networks
def test_every_size_gives_logits_of_the_stated_size(case):
    network = build(case)
    for size in case.all_sizes:
        with torch.no_grad():
            logits = network(image(case, size=size))
        assert logits.shape == (2, case.out_channels, *case.config.output_size(size)), size


@networks
def test_padding_inside_is_zeros_at_the_far_side(case):
    if any(case.config.margin):
        pytest.skip("convolutions are not padded")
    network, stride = build(case), case.config.total_stride
    for size in case.all_sizes:
        missing = [-side % step for side, step in zip(size, stride, strict=True)]
        padded = F.pad(image(case, size=size), [n for amount in reversed(missing) for n in (0, amount)])
        with torch.no_grad():
            found, whole = network(image(case, size=size)), network(padded)
        assert torch.equal(found, whole[(..., *(slice(side) for side in size))]), size


@networks
def test_a_size_that_does_not_fit_is_refused_with_the_next_good_one(case):
    if not any(case.config.margin):
        pytest.skip("takes any size")
    config = case.config
    bad = tuple(side + 1 for side in case.size)
    with pytest.raises(NetworkError, match="good size is"):
        config.output_size(bad)
    with pytest.raises(NetworkError, match="good size is"):
        build(case)(image(case, size=bad))
    if not config.fixed_output:
        good = config.input_size(tuple(side - 2 * m for side, m in zip(bad, config.margin, strict=True)))
        assert all(a >= b for a, b in zip(good, bad, strict=True))
        assert config.output_size(good) == config.good_output(config.output_size(good))


@networks
def test_gradient_reaches_every_parameter(case):
    network = build(case).train()
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        network(image(case))
    for norm in norms:  # the same statistics as constants: otherwise the biases before them get rounding errors alone
        norm.eval()
    loss = sum(logits.square().sum() for logits in heads_of(network(image(case))))
    loss.backward()
    without = {name for name, p in network.named_parameters() if p.grad is None or torch.count_nonzero(p.grad) == 0}
    assert without == case.unreached


@networks
def test_gradient_is_the_slope_of_the_logits(case):
    network, given = build(case).double(), image(case, batch=1).double()
    generator, weights = torch.Generator().manual_seed(2), list(network.parameters())
    ways = [torch.randn(p.shape, generator=generator, dtype=p.dtype) * p.detach().abs() for p in weights]
    mix = torch.randn(network(given).shape, generator=generator, dtype=torch.float64)
    gradients = torch.autograd.grad((network(given) * mix).sum(), weights, allow_unused=True)
    expected = sum((g * way).sum() for g, way in zip(gradients, ways, strict=True) if g is not None)
    values, step = [], 1e-8
    with torch.no_grad():
        for start in (step, -2 * step):
            torch._foreach_add_(weights, ways, alpha=start)
            values.append((network(given) * mix).sum())
    torch.testing.assert_close((values[0] - values[1]) / (2 * step), expected, rtol=1e-3, atol=1e-4)


@networks
def test_heads_while_training(case):
    network = build(case).train()
    found = heads_of(network(image(case)))
    assert len(found) == case.outputs == len(case.config.auxiliary_weights)
    assert found[0].shape == (2, case.out_channels, *case.config.output_size(case.size))
    assert all(one.shape[:2] == (2, case.out_channels) for one in found)
    assert isinstance(network.eval()(image(case)), Tensor)


@networks
def test_dropout_only_while_training(case):
    network, given = build(case), image(case, batch=4)
    with torch.no_grad():
        assert torch.equal(network(given), network(given))
        for module in network.modules():  # batch statistics would make passes differ too
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = 0.0
        network.train()
        torch.manual_seed(1)
        one = heads_of(network(given))[0]
        torch.manual_seed(2)
        other = heads_of(network(given))[0]
    assert torch.equal(one, other) != case.dropout


@networks
def test_items_of_a_batch_do_not_mix(case):
    network, batch = build(case), image(case, batch=3)
    other = batch.clone()
    other[1] = 1 - other[1].flip(-1)
    with torch.no_grad():
        before, after = network(batch), network(other)
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.equal(before[1], after[1])


@networks
def test_saves_and_loads(case, tmp_path):
    network, batch = build(case), image(case, batch=1)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    torch.manual_seed(99)
    loaded = case.config.build(case.in_channels, case.out_channels).eval()
    with torch.no_grad():
        assert not torch.equal(loaded(batch), network(batch))
        loaded.load_state_dict(load_file(tmp_path / "weights.safetensors"))
        assert torch.equal(loaded(batch), network(batch))


@networks
def test_memory_format_does_not_matter(case):
    network, batch = build(case).double(), image(case, batch=1).double()
    layout = torch.channels_last if case.config.ndim == 2 else torch.channels_last_3d
    with torch.no_grad():
        expected = network(batch)
        found = network.to(memory_format=layout)(batch.to(memory_format=layout))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@networks
def test_config_survives_json(case):
    assert type(case.config).model_validate_json(case.config.model_dump_json()) == case.config


@networks
def test_other_channels_or_axes_are_refused(case):
    axes = "y, x" if case.config.ndim == 2 else "z, y, x"
    good = (2, case.in_channels, *case.size)
    bad = [(2, case.in_channels + 1, *case.size), good[1:], (*good[:2], 1, *good[2:]), (0, *good[1:])]
    for shape in (*bad, (*good[:-1], 0)):
        with pytest.raises(NetworkError, match=rf"takes images \(batch, {case.in_channels} channels, {axes}\)"):
            build(case)(torch.zeros(shape))


@networks
def test_every_variant_of_the_catalogue_is_valid(case):
    for options in case.config.variants.values():
        type(case.config).model_validate(options)


@networks
def test_window_is_a_size_that_the_network_answers_for(case):
    config = case.config
    assert len(config.window) == config.ndim == len(config.total_stride) == len(config.margin)
    assert config.output_size(config.input_size(config.window)) == config.window
    assert math.prod(config.window) > 0
