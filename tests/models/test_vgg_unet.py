"""The network called VGG against its layer table."""

import torch
from straight_line import Layers, counts, pool, random_image, up, watch
from torch import nn

from cristae.models import VGGUNetConfig


def full() -> nn.Module:
    with torch.device("meta"):
        return VGGUNetConfig().build(1, 1)


def test_parameters_of_each_stage():
    network = full()
    assert counts(network.encoder) == [37_568, 221_440, 1_475_328, 5_899_776, 7_079_424]
    assert counts(network.decoder) == [8_131_072, 2_296_064, 574_592, 143_936, 127_552]
    assert sum(counts([network.hidden, network.head])) == 1_161


def test_no_normalisation_in_the_encoder_and_no_dropout():
    network = full()
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.encoder.modules())
    assert not any(isinstance(m, nn.modules.dropout._DropoutNd) for m in network.modules())


def test_skips_are_the_pooled_maps_and_the_first_block_before_pooling():
    network = full().eval()
    seen = watch(**{f"step{i}": step.features for i, step in enumerate(network.decoder)}, up=network.decoder[0].up)
    network(torch.empty(1, 1, 512, 512, device="meta"))
    assert seen["up"][0].shape == (1, 512, 16, 16)
    assert [tuple(seen[f"step{i}"][0].shape[1:]) for i in range(5)] == [
        (512 + 512, 32, 32),
        (256 + 256, 64, 64),
        (128 + 128, 128, 128),
        (64 + 64, 256, 256),
        (64 + 64, 512, 512),
    ]


def test_wiring_equals_a_straight_line_reading_of_the_table(randomised):
    network = randomised(VGGUNetConfig(base=2).build(2, 3))
    image, table = random_image(2, 2, 64, 32), Layers(network)
    with torch.no_grad():
        first = table.cr(table.cr(image))
        x, skips = pool(first), [first]
        for convolutions in (2, 3, 3, 3):
            skips.append(x)
            for _ in range(convolutions):
                x = table.cr(x)
            x = pool(x)
        for skip in reversed(skips):
            x = torch.relu(table.norm(table.conv2(up(x))))
            x = table.cbr(table.cbr(torch.cat([x, skip], 1)))
        torch.testing.assert_close(network(image), table.conv(table.cbr(x)), rtol=1e-9, atol=1e-9)
    table.require_done()
