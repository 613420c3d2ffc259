"""U-Net with a ResNet-50 encoder against counts by hand, an independent ResNet-50 and a straight-line reading."""

import pytest
import torch
import torch.nn.functional as F
from straight_line import Layers, counts, random_image, up, watch
from torch import Tensor, nn

from cristae.models import ResNet50UNetConfig, parameter_count

UNITS = (3, 4, 6, 3)


def full(in_channels: int = 3) -> nn.Module:
    with torch.device("meta"):
        return ResNet50UNetConfig().build(in_channels, 1)


def unit(given: int, width: int) -> int:
    """Kernels without biases of 1x1, 3x3, 1x1, two numbers for each channel that is normalised."""
    return given * width + 9 * width**2 + 4 * width**2 + 2 * (width + width + 4 * width)


def test_parameters_of_each_stage_of_the_encoder_by_hand():
    """A stage of n units, 64 k wide inside: one that reads the stage before, its shortcut, n - 1 that read 256 k."""
    stem = 7 * 7 * 3 * 64 + 2 * 64
    expected, given = [], 64
    for stage, units in enumerate(UNITS):
        width = 64 << stage
        shortcut = given * 4 * width + 2 * 4 * width
        expected.append(unit(given, width) + shortcut + (units - 1) * unit(4 * width, width))
        given = 4 * width
    assert (stem, expected) == (9_536, [215_808, 1_219_584, 7_098_368, 14_964_736])
    network = full()
    assert counts([network.stem, *network.encoder]) == [stem, *expected]


def test_the_encoder_is_a_resnet_50():
    """23,508,032 parameters for three channels, and 50 layers with the fully connected one that is not there."""
    network = full()
    assert sum(counts([network.stem, network.encoder])) == 23_508_032
    assert [len(stage) for stage in network.encoder] == list(UNITS)
    convs = [m for part in (network.stem, network.encoder) for m in part.modules() if isinstance(m, nn.Conv2d)]
    assert all(conv.bias is None for conv in convs)
    assert len(convs) - 4 + 1 == 50  # each stage has one shortcut with a convolution


def test_parameters_of_decoder_and_head_by_hand():
    """A step from c to w channels with s of the skip: 2x2, 3x3, 3x3, each with a bias and two numbers of its norm."""
    expected = [
        (4 * c + 9 * (w + s) + 9 * w + 3 * 3) * w
        for c, s, w in [(2048, 1024, 512), (512, 512, 256), (256, 256, 128), (128, 64, 64), (64, 0, 64)]
    ]
    network = full()
    assert counts([*network.decoder, network.last]) == expected
    assert expected == [13_636_096, 2_885_888, 722_048, 143_936, 90_688]
    assert parameter_count(network.head) == 9 * 64 + 1
    assert parameter_count(network) == 23_508_032 + sum(expected) + 577 == 40_987_265


def test_shapes_inside_for_a_512_pixel_patch():
    network = full().eval()
    stages = {f"e{i}": stage for i, stage in enumerate(network.encoder)}
    steps = {f"d{i}": step.features for i, step in enumerate(network.decoder)}
    seen = watch(stem=network.stem, last=network.last, head=network.head, **stages, **steps)
    assert network(torch.empty(2, 3, 512, 512, device="meta")).shape == (2, 1, 512, 512)
    shapes = {name: (tuple(given.shape[1:]), tuple(output.shape[1:])) for name, (given, output) in seen.items()}
    assert shapes["stem"][1] == (64, 256, 256)
    assert shapes["e0"][0] == (64, 128, 128)
    assert [shapes[f"e{i}"][1] for i in range(4)] == [(256, 128, 128), (512, 64, 64), (1024, 32, 32), (2048, 16, 16)]
    assert [shapes[f"d{i}"] for i in range(4)] == [
        ((512 + 1024, 32, 32), (512, 32, 32)),
        ((256 + 512, 64, 64), (256, 64, 64)),
        ((128 + 256, 128, 128), (128, 128, 128)),
        ((64 + 64, 256, 256), (64, 256, 256)),
    ]
    assert shapes["last"] == ((64, 256, 256), (64, 512, 512))
    assert shapes["head"] == ((64, 512, 512), (1, 512, 512))


def test_the_encoder_gives_what_an_independent_resnet_50_gives(randomised):
    """MONAI's ResNet-50 with the same weights, in the order of their layers, and the constants of normalisation."""
    nets = pytest.importorskip("monai.networks.nets")
    widths = [4, 8, 16, 32]
    reference = nets.ResNet("bottleneck", list(UNITS), widths, 2, 3, 7, 2, feed_forward=False, bias_downsample=False)
    network = ResNet50UNetConfig(base=4).build(3, 1).double().eval()
    names = [name for name in network.state_dict() if name.startswith(("stem", "encoder"))]
    weights = randomised(reference).state_dict().values()
    network.load_state_dict(dict(zip(names, weights, strict=True)), strict=False)
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
    seen = watch(own=network.encoder[-1], expected=reference.layer4)
    with torch.no_grad():
        for one in (network, reference):
            one(random_image(2, 3, 64, 96))
    torch.testing.assert_close(seen["own"][1], seen["expected"][1], rtol=1e-9, atol=1e-9)


class Table(Layers):
    """The layers of the encoder have no biases."""

    def linear(self, x: Tensor, stride: int = 1) -> Tensor:
        conv = next(self.convs)
        return self.norm(F.conv2d(x, conv.weight, None, stride, conv.weight.shape[-1] // 2))

    def stage(self, x: Tensor, units: int, stride: int) -> Tensor:
        for number in range(units):
            step = 1 if number else stride
            y = self.linear(F.relu(self.linear(F.relu(self.linear(x)), step)))
            x = F.relu(y + (x if number else self.linear(x, step)))
        return x


def test_wiring_equals_a_straight_line_reading(randomised):
    network = randomised(ResNet50UNetConfig(base=2).build(2, 3))
    image, table = random_image(2, 2, 64, 96), Table(network)
    with torch.no_grad():
        skips = [F.relu(table.linear(image, 2))]
        x = F.max_pool2d(skips[0], 3, 2, 1)
        for units, stride in zip(UNITS, (1, 2, 2, 2), strict=True):
            x = table.stage(x, units, stride)
            skips.append(x)
        for skip in reversed(skips[:4]):
            x = F.relu(table.norm(table.conv2(up(x))))
            x = table.cbr(table.cbr(torch.cat([x, skip], 1)))
        x = F.relu(table.norm(table.conv2(up(x))))
        expected = table.conv(table.cbr(table.cbr(x)))
        torch.testing.assert_close(network(image), expected, rtol=1e-9, atol=1e-9)
    table.require_done()


def test_a_single_small_patch_can_be_learnt_from():
    """32 x 32 voxels are one of the coarsest map, whose normalisation would not be defined."""
    network = ResNet50UNetConfig(base=2).build(1, 1).train()
    assert network(torch.rand(1, 1, 32, 32)).shape == (1, 1, 32, 32)
