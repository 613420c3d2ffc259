"""The network called ResNet against its layer table."""

import torch
import torch.nn.functional as F
from straight_line import Layers, counts, random_image, up, watch
from torch import Tensor, nn

from cristae.models import ResNetSmallConfig


def full() -> nn.Module:
    with torch.device("meta"):
        return ResNetSmallConfig().build(1, 1)


def test_parameters_of_each_stage():
    network = full()
    assert counts([network.stem]) == [832]
    assert counts(network.encoder) == [10_912, 42_304, 166_528, 660_736]
    assert counts(network.decoder) == [1_102_720, 572_992, 144_160, 36_496]
    assert counts([network.head]) == [145]


def test_shapes_inside_for_a_512_pixel_patch():
    network = full().eval()
    encoder = {f"e{i}": stage for i, stage in enumerate(network.encoder)}
    decoder = {f"d{i}": stage for i, stage in enumerate(network.decoder)}
    seen = watch(conv=network.stem[0], stem=network.stem, head=network.head, **encoder, **decoder)
    network(torch.empty(1, 1, 512, 512, device="meta"))
    shapes = {name: (tuple(given.shape[1:]), tuple(output.shape[1:])) for name, (given, output) in seen.items()}
    assert shapes["conv"][1] == (16, 257, 257)
    assert shapes["stem"][1] == (16, 128, 128)
    assert [shapes[f"e{i}"][1] for i in range(4)] == [(32, 128, 128), (64, 64, 64), (128, 32, 32), (256, 16, 16)]
    assert [shapes[f"d{i}"] for i in range(4)] == [
        ((256, 32, 32), (128, 32, 32)),
        ((256, 64, 64), (64, 64, 64)),
        ((128, 128, 128), (32, 128, 128)),
        ((64, 256, 256), (16, 256, 256)),
    ]
    assert shapes["head"][0] == (16, 512, 512)


class Table(Layers):
    """The residual unit of the paper's table."""

    def unit(self, x: Tensor, stride: int, proj: bool) -> Tensor:
        y = self.cbr(self.cbr(x, stride))
        y = self.norm(self.conv(y))
        return F.relu(y + (self.norm(self.conv(x, stride)) if proj else x))

    def stage(self, x: Tensor, stride: int = 1) -> Tensor:
        return self.unit(self.unit(self.unit(x, stride, True), 1, False), 1, False)


def test_wiring_equals_a_straight_line_reading_of_the_table(randomised):
    network = randomised(ResNetSmallConfig(base=2).build(2, 3))
    image, table = random_image(2, 2, 64, 96), Table(network)
    with torch.no_grad():
        x = F.relu(table.norm(table.conv(F.pad(image, (4, 4, 4, 4)), 2, padding=0)))
        x = F.max_pool2d(x, 3, 2)
        s2 = table.stage(x)
        s3 = table.stage(s2, 2)
        s4 = table.stage(s3, 2)
        x = table.stage(s4, 2)
        x = torch.cat([table.stage(up(x)), s4], 1)
        x = torch.cat([table.stage(up(x)), s3], 1)
        x = torch.cat([table.stage(up(x)), s2], 1)
        x = table.stage(up(x))
        torch.testing.assert_close(network(image), table.conv(up(x)), rtol=1e-9, atol=1e-9)
    table.require_done()


def test_every_kernel_starts_glorot_uniform():
    torch.manual_seed(0)
    for conv in ResNetSmallConfig().build(1, 1).modules():
        if isinstance(conv, nn.Conv2d):
            limit = (6 / ((conv.in_channels + conv.out_channels) * conv.kernel_size[0] ** 2)) ** 0.5
            assert 0.8 * limit < conv.weight.abs().max() <= limit
            assert torch.count_nonzero(conv.bias) == 0
