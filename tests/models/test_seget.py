"""SegET against the numbers and the layer table of its specification."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cristae.models import SegETConfig, create_model, parameter_count
from cristae.models.seget import Centre, SegET


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 4_838_329),
        ({"skip_width": "quarter"}, 4_691_269),
        ({"skip_width": "full"}, 5_132_449),
        ({"skip_position": "side_branch"}, 4_936_249),
        ({"down_width": "double"}, 5_328_649),
        ({"first_branch": "1x1"}, 4_314_041),
        ({"branch_width": "half"}, 3_526_073),
        ({"branch_width": "quarter"}, 2_869_945),
        ({"centre_input": "encoder_output"}, 4_805_561),
        ({"centre_width": "half"}, 4_526_649),
        ({"centre_width": "half", "branch_width": "half"}, 3_279_929),
        ({"fusion": "full_size"}, 4_792_057),
        ({"fusion": "two_steps_bare"}, 4_792_057),
        ({"head": "last_conv"}, 4_836_105),
        ({"conv_bias": False}, 4_835_121),
    ],
)
def test_parameter_count_of_every_alternative(options, count):
    with torch.device("meta"):
        assert parameter_count(create_model("seget", in_channels=1, out_channels=1, **options)) == count


def test_parameters_of_each_row_of_the_layer_table():
    network = default()
    blocks = [[parameter_count(conv) for conv in (*e.features, e.skip, e.down)] for e in network.encoder]
    assert blocks == [
        [192, 2352, 1176, 1200],
        [4704, 9312, 4656, 4704],
        [18_624, 37_056, 18_528, 18_624],
        [74_112, 147_840, 73_920, 74_112],
    ]
    centre = network.centre
    assert [parameter_count(conv) for conv in centre.features] == [295_680, 590_592]
    assert [parameter_count(branch) for branch in centre.branches] == [590_592] * 4
    assert parameter_count(centre.merge) == 328_448
    assert [[parameter_count(conv) for conv in block.features] for block in network.decoder] == [
        [369_024, 147_840],
        [92_352, 37_056],
        [23_136, 9312],
        [5808, 2352],
    ]
    assert [parameter_count(conv) for conv in network.fusion.at_half] == [64_608, 9312]
    assert [parameter_count(conv) for conv in network.fusion.at_full] == [6960, 2352]
    assert parameter_count(network.head) == 17
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == 36
    assert not any(isinstance(module, nn.MaxPool2d) for module in network.modules())


def default() -> SegET:
    with torch.device("meta"):
        return SegETConfig().build(1, 1)


def test_shapes_inside_for_a_512_pixel_patch():
    network, seen = default(), {}

    def record(name: str):
        return lambda module, inputs, output: seen.update({name: (tuple(inputs[0].shape), tuple(output.shape))})

    network.centre.features.register_forward_hook(record("centre"))
    network.centre.merge.register_forward_hook(record("merge"))
    for level, block in enumerate(network.encoder):
        block.skip.register_forward_hook(record(f"skip{level}"))
    network.fusion.at_half.register_forward_hook(record("half"))
    network.fusion.at_full.register_forward_hook(record("full"))
    assert network(torch.empty(2, 1, 512, 512, device="meta")).shape == (2, 1, 512, 512)
    assert seen["centre"][0] == (2, 128, 32, 32)
    assert seen["merge"][0] == (2, 1280, 32, 32)
    skips = [seen[f"skip{level}"][1] for level in range(4)]
    assert skips == [(2, 8, 512, 512), (2, 16, 256, 256), (2, 32, 128, 128), (2, 64, 64, 64)]
    assert seen["half"][0] == (2, 224, 256, 256)
    assert seen["full"][0] == (2, 48, 512, 512)


class Reference:
    """Straight-line reading of the layer table: takes (convolution, normalisation) pairs in the table's order."""

    def __init__(self, network: nn.Module) -> None:
        self.convs = iter([m for m in network.modules() if isinstance(m, nn.Conv2d)])
        self.norms = iter([m for m in network.modules() if isinstance(m, nn.BatchNorm2d)])

    def conv(self, x: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
        conv, norm = next(self.convs), next(self.norms)
        padding = dilation * (conv.weight.shape[-1] // 2)
        x = F.conv2d(x, conv.weight, conv.bias, stride, padding, dilation)
        scale = norm.weight / (norm.running_var + 1e-3).sqrt()
        return F.relu((x - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None])

    def up(self, x: Tensor, factor: int) -> Tensor:
        size = [side * factor for side in x.shape[2:]]
        return F.interpolate(x, size, mode="bilinear", align_corners=False)

    def logits(self, x: Tensor, fusion: str = "two_steps", head: str = "separate") -> Tensor:
        skips = []
        for _ in range(4):
            x = self.conv(self.conv(x))
            x = self.conv(x)
            skips.append(x)
            x = self.conv(x, stride=2)
        x = self.conv(self.conv(x))
        x = self.conv(torch.cat([x, *(self.conv(x, dilation=d) for d in (1, 2, 4, 8))], 1))
        levels = []
        for skip in reversed(skips):
            x = self.conv(self.conv(torch.cat([self.up(x, 2), skip], 1)))
            levels.append(x)
        d1, d2, d3, d4 = levels
        if fusion == "full_size":
            y = self.conv(torch.cat([self.up(d1, 8), self.up(d2, 4), self.up(d3, 2), d4], 1))
        else:
            g = torch.cat([self.up(d1, 4), self.up(d2, 2), d3], 1)
            g = self.conv(self.conv(g)) if fusion == "two_steps" else g
            y = self.conv(torch.cat([self.up(g, 2), d4], 1))
        y = self.conv(y) if head == "separate" else y
        last = next(self.convs)
        assert last.kernel_size == ((1, 1) if head == "separate" else (3, 3))
        return F.conv2d(y, last.weight, last.bias, padding=last.kernel_size[0] // 2)


@pytest.mark.parametrize("first_branch", ["3x3", "1x1"])
@pytest.mark.parametrize("head", ["separate", "last_conv"])
@pytest.mark.parametrize("fusion", ["two_steps", "two_steps_bare", "full_size"])
def test_wiring_equals_a_straight_line_reading_of_the_table(fusion, head, first_branch, randomised):
    network = randomised(SegETConfig(base=4, fusion=fusion, head=head, first_branch=first_branch).build(2, 3))
    assert [branch[0].kernel_size[0] for branch in network.centre.branches] == [int(first_branch[0]), 3, 3, 3]
    image = torch.rand(1, 2, 208, 160, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        reference = Reference(network)
        expected = reference.logits(image, fusion, head)
        torch.testing.assert_close(network(image), expected, rtol=1e-10, atol=1e-10)
    assert [next(left, None) for left in (reference.convs, reference.norms)] == [None, None]


def test_side_branch_leaves_the_skip_off_the_main_path(randomised):
    image = torch.rand(1, 1, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for position, depends in (("main_path", True), ("side_branch", False)):
        block = randomised(SegETConfig(base=4, skip_position=position).build(1, 1)).encoder[0]
        down, _ = block(image)
        block.skip[0].weight.data += 1
        assert torch.equal(block(image)[0], down) is not depends


def test_encoder_output_joins_the_centre_first(randomised):
    centre = randomised(Centre(32, SegETConfig(base=4, centre_input="encoder_output")))
    seen = []
    centre.merge.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    encoded = torch.rand(1, 32, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    centre(encoded)
    assert torch.equal(seen[0][:, :32], encoded)


def test_kernels_start_glorot_uniform_and_biases_at_zero():
    torch.manual_seed(0)
    conv = SegETConfig().build(1, 1).centre.features[1][0]
    limit = (6 / (2 * 256 * 9)) ** 0.5
    assert limit * 0.999 < conv.weight.abs().max() <= limit
    assert conv.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.01)
    assert torch.count_nonzero(conv.bias) == 0
