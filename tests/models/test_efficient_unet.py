"""EfficientUNet-B4 against its published stages, and its blocks by their behaviour."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cristae.models import EfficientUNetConfig, buffer_count, parameter_count
from cristae.models.efficient_unet import STAGES, Encoder, MBConv, SqueezeExcite, StochasticDepth

NARROW = {"width": 0.1, "depth": 0.5, "decoder_widths": (12, 10, 8, 6, 4)}


@pytest.fixture(scope="module")
def published():
    with torch.device("meta"):
        return EfficientUNetConfig().build(1, 4)


def test_parameters_of_each_stage(published):
    encoder = published.encoder
    assert parameter_count(published.to_three) == 6
    assert parameter_count(encoder.stem) == 1_392
    stages = [4_146, 66_238, 197_586, 1_059_898, 2_306_724, 8_636_228, 4_470_004]
    assert [parameter_count(stage) for stage in encoder.stages] == stages
    assert [len(stage) for stage in encoder.stages] == [2, 4, 4, 6, 6, 8, 2]
    assert parameter_count(encoder.top) == 806_400
    levels = [12_682_752, 1_954_560, 516_480, 156_864, 18_528]
    assert [parameter_count(level) for level in published.decoder] == levels
    assert parameter_count(published.head) == 132
    decoder = [module for level in published.decoder for module in level.modules() if isinstance(module, nn.Conv2d)]
    assert sum(parameter_count(conv) for conv in decoder) == 15_327_200


def test_encoder_alone_has_the_published_size(published):
    assert parameter_count(published.encoder) == 17_548_616
    assert parameter_count(published.encoder) + buffer_count(published.encoder) == 17_673_816


def test_b0_has_the_size_of_its_paper_without_top():
    """Keras counts 4,049,571 with the 7 numbers of its identity normalisation and 42,016 running statistics."""
    with torch.device("meta"):
        encoder = Encoder(EfficientUNetConfig(width=1.0, depth=1.0))
    assert (parameter_count(encoder), buffer_count(encoder)) == (4_049_571 - 7 - 42_016, 42_016)
    assert [len(stage) for stage in encoder.stages] == [1, 2, 2, 3, 3, 4, 1]


def test_shapes_inside_for_the_published_patch(published):
    seen = {"blocks": []}
    handles = [published.encoder.register_forward_hook(lambda m, i, output: seen.update(encoded=output))]
    for stage in published.encoder.stages:
        hook = lambda m, i, output: seen["blocks"].append(tuple(output[0].shape[1:3]))  # noqa: E731
        handles.append(stage[-1].register_forward_hook(hook))
    for level in published.decoder:
        handles.append(
            level.features.register_forward_hook(
                lambda m, inputs, output: seen.setdefault("decoder", []).append(
                    (inputs[0].shape[1], *output.shape[1:3])
                )
            )
        )
    with torch.device("meta"):
        assert published.eval()(torch.empty(2, 1, 256, 256)).shape == (2, 4, 256, 256)
    for handle in handles:
        handle.remove()
    bottom, _ = seen["encoded"]
    assert bottom.shape == (2, 1792, 8, 8)
    assert seen["blocks"] == [(24, 128), (32, 64), (56, 32), (112, 16), (160, 16), (272, 8), (448, 8)]
    assert seen["decoder"] == [(2752, 512, 16), (848, 256, 32), (448, 128, 64), (272, 64, 128), (64, 32, 256)]


def test_skips_are_the_expansions_of_first_blocks(published):
    with torch.device("meta"):
        _, skips = published.encoder(torch.empty(1, 3, 256, 256))
    assert [tuple(skip.shape[1:3]) for skip in skips] == [(144, 128), (192, 64), (336, 32), (960, 16)]
    torch.manual_seed(0)
    encoder = Encoder(EfficientUNetConfig(**NARROW)).eval()
    seen = []
    for number in (1, 2, 3, 5):
        encoder.stages[number][0].expand.register_forward_hook(lambda m, i, output: seen.append(output))
    with torch.no_grad():
        _, skips = encoder(torch.rand(1, 3, 64, 64))
    assert all(torch.equal(skip, expanded) for skip, expanded in zip(skips, seen, strict=True))


def test_block_equals_a_straight_line_reading(randomised):
    block = randomised(MBConv(8, 8, STAGES[4], first=True, drop_rate=0.1))
    x = torch.rand(2, 8, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def norm(y, layer):
        return F.batch_norm(y, layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=1e-3)

    with torch.no_grad():
        expanded = F.silu(norm(F.conv2d(x, block.expand[0].weight), block.expand[1]))
        deep = F.conv2d(expanded, block.depthwise[0].weight, padding=2, groups=48)
        deep = F.silu(norm(deep, block.depthwise[1]))
        reduce, _, enlarge, _ = block.excite.gate
        assert reduce.weight.shape == (2, 48, 1, 1)  # a quarter of the block's input, not of what it expands to
        squeezed = F.silu(deep.mean((2, 3)) @ reduce.weight[:, :, 0, 0].T + reduce.bias)
        gate = torch.sigmoid(squeezed @ enlarge.weight[:, :, 0, 0].T + enlarge.bias)
        expected = x + norm(F.conv2d(deep * gate[:, :, None, None], block.project[0].weight), block.project[1])
        found, given = block(x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(given, expanded, rtol=1e-12, atol=1e-12)


class Reading:
    """Straight-line reading of the whole network: takes convolutions and normalisations in the order of its tables."""

    def __init__(self, network):
        self.convs = iter([m for m in network.modules() if isinstance(m, nn.Conv2d)])
        self.norms = iter([m for m in network.modules() if isinstance(m, nn.BatchNorm2d)])

    def conv(self, x, stride=1, groups=1):
        conv = next(self.convs)
        return F.conv2d(x, conv.weight, conv.bias, stride, conv.weight.shape[-1] // 2, groups=groups)

    def norm(self, x):
        norm = next(self.norms)
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-3)

    def swish(self, x, stride=1, groups=1):
        x = self.norm(self.conv(x, stride, groups))
        return x * x.sigmoid()

    def block(self, x, expansion, stride):
        """The block's output, and what it expands to."""
        expanded = self.swish(x) if expansion > 1 else x
        y = self.swish(expanded, stride, groups=expanded.shape[1])
        gate = self.conv(y.mean((2, 3), keepdim=True))
        y = y * self.conv(gate * gate.sigmoid()).sigmoid()
        y = self.norm(self.conv(y))
        return (y + x if y.shape == x.shape else y), expanded

    def logits(self, x):
        x = self.swish(self.conv(x), 2)
        skips = []
        for blocks, expansion, stride in ((1, 1, 1), (1, 6, 2), (1, 6, 2), (2, 6, 2), (2, 6, 1), (2, 6, 2), (1, 6, 1)):
            for number in range(blocks):
                x, expanded = self.block(x, expansion, 1 if number else stride)
                if number == 0 and stride == 2:
                    skips.append(expanded)
        x = self.swish(x)
        for _ in range(5):
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            x = torch.cat([x, skips.pop()], 1) if skips else x
            x = self.norm(self.conv(x).relu()).relu()
        return self.conv(x)


def test_wiring_equals_a_straight_line_reading(randomised):
    network = randomised(EfficientUNetConfig(**NARROW).build(2, 3))
    image = torch.rand(2, 2, 64, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    reading = Reading(network)
    expected, found = reading.logits(image), network(image)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert next(reading.convs, None) is next(reading.norms, None) is None
    stem = network.encoder.stem[0].weight
    gradients = [torch.autograd.grad(logits.square().sum(), stem)[0] for logits in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


def test_blocks_add_only_where_sizes_agree(published):
    adds = [block.adds for stage in published.encoder.stages for block in stage]
    first = [number == 0 for stage in published.encoder.stages for number in range(len(stage))]
    assert adds == [not one for one in first]
    assert [stage[0].depthwise[0].stride[0] for stage in published.encoder.stages] == [1, 2, 2, 2, 1, 2, 1]
    kernels = [{block.depthwise[0].kernel_size[0] for block in stage} for stage in published.encoder.stages]
    assert kernels == [{3}, {3}, {5}, {3}, {5}, {5}, {3}]


def test_rates_of_stochastic_depth(published):
    rates = [getattr(block.drop, "rate", None) for stage in published.encoder.stages for block in stage]
    assert len(rates) == 32
    assert (rates[0], rates[1], rates[-1]) == (None, pytest.approx(0.00625), pytest.approx(0.19375))
    assert [rate for rate in rates if rate is not None] == [
        pytest.approx(0.2 * number / 32) for number, rate in enumerate(rates) if rate is not None
    ]


def test_stochastic_depth_leaves_out_whole_samples_and_keeps_the_mean():
    drop = StochasticDepth(0.25).train()
    torch.manual_seed(0)
    found = drop(torch.ones(4000, 3, 2, 2))
    per_sample = found.flatten(1)
    assert torch.equal(per_sample.amin(1), per_sample.amax(1))
    assert sorted(set(per_sample[:, 0].tolist())) == [0.0, pytest.approx(4 / 3)]
    assert found.mean().item() == pytest.approx(1, abs=0.03)
    assert torch.equal(drop.eval()(torch.ones(2, 1, 1, 1)), torch.ones(2, 1, 1, 1))


def test_excitation_sees_the_whole_image():
    torch.manual_seed(0)
    excite = SqueezeExcite(4, 2)
    image = torch.rand(1, 4, 8, 8)
    other = image.clone()
    other[..., 7, 7] += 5
    assert not torch.equal(excite(image)[..., 0, 0], excite(other)[..., 0, 0])
    with torch.no_grad():
        excite.gate[2].weight.zero_()
        excite.gate[2].bias.fill_(-100)
    assert excite(image).abs().max() < 1e-30


def test_decoder_concatenates_the_skip_behind_and_enlarges_to_nearest():
    torch.manual_seed(0)
    level = EfficientUNetConfig(**NARROW).build(1, 1).decoder[0].eval()
    conv, skips = level.features[0], 48
    below = conv.in_channels - skips
    coarse, skip = torch.rand(1, below, 2, 2), torch.rand(1, skips, 4, 4)
    with torch.no_grad():
        conv.weight[:, below:] = 0
        assert torch.equal(level(coarse, skip), level(coarse, torch.zeros_like(skip)))
        assert not torch.equal(level(coarse, skip), level(torch.zeros_like(coarse), skip))
        conv.weight.zero_()
        conv.weight[0, 0, 1, 1] = 1
        found = level(coarse, skip)
    scale = (1 + 1e-3) ** 0.5
    torch.testing.assert_close(found[0, 0] * scale, coarse[0, 0].repeat_interleave(2, 0).repeat_interleave(2, 1))


def test_decoder_activates_before_and_after_normalisation():
    level = EfficientUNetConfig(**NARROW).build(1, 1).decoder[-1].eval()
    conv, first, norm, last = level.features
    assert (type(first), type(norm), type(last)) == (nn.ReLU, nn.BatchNorm2d, nn.ReLU)
    with torch.no_grad():
        conv.weight.zero_()
        conv.bias.fill_(-3)
        norm.bias.fill_(0.5)
        assert torch.equal(level(torch.rand(1, 6, 2, 2), None), torch.full((1, 4, 4, 4), 0.5))
        norm.bias.fill_(-0.5)
        assert torch.count_nonzero(level(torch.rand(1, 6, 2, 2), None)) == 0


def test_rescaling_divides_what_the_encoder_gets():
    torch.manual_seed(0)
    plain = EfficientUNetConfig(**NARROW).build(1, 2).eval()
    scaled = EfficientUNetConfig(**NARROW, keras_rescale=True).build(1, 2).eval()
    scaled.load_state_dict(plain.state_dict())
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(scaled(image), plain(image))
        plain.to_three.weight.div_(255)
        plain.to_three.bias.div_(255)
        torch.testing.assert_close(scaled(image), plain(image))


def test_only_images_without_three_channels_are_mixed():
    assert isinstance(EfficientUNetConfig(**NARROW).build(3, 1).to_three, nn.Identity)
    mixed = EfficientUNetConfig(**NARROW).build(5, 1).to_three
    assert (mixed.in_channels, mixed.out_channels, mixed.kernel_size) == (5, 3, (1, 1))


def test_initial_weights():
    torch.manual_seed(0)
    network = EfficientUNetConfig(depth=0.5).build(1, 4)
    block = network.encoder.stages[5][1]
    for conv, fan_out in ((block.expand[0], 1632), (block.depthwise[0], 25), (block.project[0], 272)):
        assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)
        assert conv.weight.abs().max().item() <= 2 * (2 / fan_out) ** 0.5 / 0.8796
    assert network.encoder.stem[0].weight.std().item() == pytest.approx((2 / (9 * 48)) ** 0.5, rel=0.05)
    conv = network.decoder[0].features[0]
    limit = (6 / (9 * (2752 + 512))) ** 0.5
    assert 0.999 * limit < conv.weight.abs().max().item() <= limit * (1 + 1e-6)
    assert all(
        torch.count_nonzero(m.bias) == 0 for m in network.modules() if isinstance(m, nn.Conv2d) and m.bias is not None
    )


def test_windows_are_those_of_the_paper():
    config = EfficientUNetConfig()
    assert (config.window, config.total_stride, config.blend) == ((256, 256), (32, 32), "centre_third")
