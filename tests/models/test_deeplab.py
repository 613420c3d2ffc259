"""DeepLabv3+ with DRN-D-54 and ResNet101 against derived counts, sizes and straight-line readings."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cristae.models import DeepLabDRNConfig, DeepLabResNetConfig, parameter_count

CONFIGS = {"drn": DeepLabDRNConfig, "resnet": DeepLabResNetConfig}
both = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        (DeepLabDRNConfig(), (35_296_176, 4_131_840, 1_305_447)),
        (DeepLabResNetConfig(), (42_500_160, 15_535_104, 1_305_447)),
    ],
)
def test_parameters_of_encoder_pyramid_and_decoder(config, parts):
    with torch.device("meta"):
        network = config.build(1, 7)
    assert tuple(map(parameter_count, (network.encoder, network.pyramid, network.decoder))) == parts


@pytest.mark.parametrize(
    ("config", "last"), [(DeepLabDRNConfig(), (512, 72, 72)), (DeepLabResNetConfig(), (2048, 36, 36))]
)
def test_shapes_inside_for_a_572_pixel_window(config, last):
    with torch.device("meta"):
        network, seen = config.build(1, 7).eval(), {}
        for name in ("encoder", "pyramid.merge", "decoder", "decoder.head"):
            network.get_submodule(name).register_forward_hook(
                lambda module, inputs, output, name=name: seen.update({name: (inputs, output)})
            )
        assert network(torch.empty(2, 1, 572, 572)).shape == (2, 7, 572, 572)
    (image,), (low, features) = seen["encoder"]
    assert (image.shape[1:], low.shape[1:], features.shape[1:]) == ((3, 572, 572), (256, 143, 143), last)
    assert seen["pyramid.merge"][0][0].shape[1:] == (1280, *last[1:])
    assert seen["decoder.head"][0][0].shape[1:] == (304, 143, 143)
    assert seen["decoder"][1].shape[1:] == (7, 143, 143)


def test_layers_that_the_encoders_are_named_after():
    with torch.device("meta"):
        drn, resnet = (config().encoder(3) for config in CONFIGS.values())
    convs = [sum(isinstance(m, nn.Conv2d) for m in encoder.modules()) for encoder in (drn, resnet)]
    # Without the shortcuts of the four stages, and with the fully connected layer that classified.
    assert [count - 4 + 1 for count in convs] == [54, 101]


class Reading:
    """Straight-line reading of the tables: takes (convolution, normalisation) pairs in their order."""

    def __init__(self, network: nn.Module) -> None:
        self.convs = iter([m for m in network.modules() if isinstance(m, nn.Conv2d)])
        self.norms = iter([m for m in network.modules() if isinstance(m, nn.BatchNorm2d)])

    def linear(self, x: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
        conv, norm = next(self.convs), next(self.norms)
        padding = dilation * (conv.weight.shape[-1] // 2)
        x = F.conv2d(x, conv.weight, None, stride, padding, dilation)
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-5)

    def conv(self, x: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
        return self.linear(x, stride, dilation).relu()

    def stage(self, x: Tensor, dilations: list[int], stride: int = 1) -> Tensor:
        for block, dilation in enumerate(dilations):
            step = 1 if block else stride
            y = self.linear(self.conv(self.conv(x), step, dilation))
            x = (y + (x if block else self.linear(x, step))).relu()
        return x

    def drn(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low = self.stage(self.conv(self.conv(self.conv(x)), 2), [1] * 3, 2)
        x = self.stage(self.stage(self.stage(low, [1] * 4, 2), [2] * 6), [4] * 3)
        return low, self.conv(self.conv(x, dilation=2))

    def resnet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low = self.stage(F.max_pool2d(self.conv(x, 2), 3, 2, 1), [1] * 3)
        return low, self.stage(self.stage(self.stage(low, [1] * 4, 2), [1] * 23, 2), [2, 4, 8])

    def logits(self, image: Tensor, encoder: str, rates: tuple[int, ...]) -> Tensor:
        low, x = getattr(self, encoder)(image)
        near = [self.conv(x), *(self.conv(x, dilation=rate) for rate in rates)]
        whole = self.conv(x.mean((2, 3), keepdim=True))
        x = self.conv(torch.cat([*near, whole.repeat(1, 1, *x.shape[2:])], 1))
        x = torch.cat([resized(x, low), self.conv(low)], 1)
        x = self.conv(self.conv(x))
        head = next(self.convs)
        return resized(F.conv2d(x, head.weight, head.bias), image)


def resized(x: Tensor, to: Tensor) -> Tensor:
    return F.interpolate(x, to.shape[2:], mode="bilinear", align_corners=True)


@pytest.mark.parametrize(
    ("encoder", "rates", "size"),
    # Large enough for every dilated kernel to have taps beside its centre; multiples of 4 and not of 8.
    [("drn", (12, 24, 36), (308, 140)), ("resnet", (6, 12, 18), (308, 140))],
)
def test_wiring_equals_a_straight_line_reading(randomised, encoder, rates, size):
    network = randomised(CONFIGS[encoder](base=4).build(2, 3))
    image = torch.rand(1, 2, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        reading = Reading(network)
        torch.testing.assert_close(network(image), reading.logits(image, encoder, rates), rtol=1e-9, atol=1e-9)
    assert next(reading.convs, None) is next(reading.norms, None) is None


@both
def test_one_channel_is_given_three_times_and_others_as_they_are(config):
    grey, colour, many = (config(base=4).build(channels, 2).eval() for channels in (1, 3, 5))
    assert [network.encoder.near[0][0].in_channels for network in (grey, colour, many)] == [3, 3, 5]
    grey.load_state_dict(colour.state_dict())
    image = torch.rand(1, 1, 36, 36, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(grey(image), colour(image.repeat(1, 3, 1, 1)))


@both
def test_dropout_behind_the_pyramid_and_between_the_last_convolutions(config):
    torch.manual_seed(0)
    network = config(base=16).build(1, 1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.bias, 100.0)  # so that ReLU makes no zeros
    seen = []
    watched = (network.decoder.head[2][0], network.decoder.head[4])
    for conv in watched:
        conv.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network.pyramid.register_forward_hook(lambda module, inputs, output: seen.append(output))

    with torch.no_grad():
        network(torch.rand(2, 1, 96, 96))
    shares_of_zero = [(features == 0).float().mean().item() for features in seen]
    assert shares_of_zero == pytest.approx([0.5, 0.5, 0.1], abs=0.05)


@both
def test_kernels_start_glorot_uniform_and_the_bias_at_zero(config):
    torch.manual_seed(0)
    network = config(base=16).build(1, 1)
    conv = network.decoder.head[2][0]
    limit = (6 / (9 * 2 * 64)) ** 0.5
    assert limit * 0.999 < conv.weight.abs().max() <= limit
    assert conv.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.01)
    biased = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.bias is not None]
    assert biased == [network.decoder.head[4]]
    assert torch.count_nonzero(biased[0].bias) == 0


@both
def test_training_needs_two_items(config):
    network = config(base=4).build(1, 1).train()
    assert config.smallest_batch == 2
    assert network(torch.rand(2, 1, 36, 36)).shape == (2, 1, 36, 36)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        network(torch.rand(1, 1, 36, 36))


@both
def test_window_and_stride(config):
    assert (config().window, config().total_stride) == ((572, 572), (4, 4))
