"""3D U-Net, Thin and Thick, against its published sizes and a straight-line reading."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cristae.errors import NetworkError
from cristae.models import UNet3DConfig, network_config


def random_image(*shape: int) -> Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("config", "size", "output", "coarsest"),
    [
        (UNet3DConfig(), (5, 300, 300), (5, 296, 296), (256, 5, 75, 75)),
        (UNet3DConfig(depth=4), (5, 300, 300), (5, 296, 296), (512, 5, 37, 37)),
        (UNet3DConfig(padded=True), (5, 300, 300), (5, 300, 300), (256, 5, 75, 75)),
        (UNet3DConfig(shape="thick"), (16, 180, 180), (16, 180, 180), (256, 4, 45, 45)),
    ],
    ids=["thin", "thin-four-scales", "thin-padded", "thick"],
)
def test_published_windows(config, size, output, coarsest):
    seen = []
    with torch.device("meta"):
        network, image = config.build(1, 7), torch.empty(1, 1, *size)
    network.encoder[-1].register_forward_hook(lambda module, inputs, found: seen.append(found.shape[1:]))
    assert network(image).shape == (1, 7, *output)
    assert seen == [coarsest]
    assert config.input_size(output) == size


def test_sizes_that_do_not_fit_thin_are_refused_with_the_next_good_one():
    assert UNet3DConfig().window == (5, 296, 296)
    assert UNet3DConfig(shape="thick").window == (16, 180, 180)
    with pytest.raises(NetworkError, match="next good size is 5 x 304 x 300, which gives logits of 5 x 300 x 296"):
        UNet3DConfig(base=1).build(1, 1)(torch.zeros(1, 1, 5, 301, 300))
    with pytest.raises(NetworkError, match="next good size is 5 x 300 x 300, which gives"):
        UNet3DConfig(depth=4).output_size((5, 296, 296))


def straight_line(network: nn.Module, x: Tensor, factor: tuple[int, int, int], crops: tuple[int, ...]) -> Tensor:
    """Logits before the last crop; `crops` are the near sides of the skips, finest first."""
    convs = iter([m for m in network.modules() if isinstance(m, nn.Conv3d)])

    def block(x: Tensor) -> Tensor:
        for conv in (next(convs), next(convs), next(convs)):
            x = F.relu(F.conv3d(x, conv.weight, conv.bias, padding=1))
        return x

    skips = []
    for _ in crops:
        x = block(x)
        skips.append(x)
        x = F.max_pool3d(x, factor)
    x = block(x)
    for up, skip, crop in zip(network.ups, reversed(skips), reversed(crops), strict=True):
        x = F.conv_transpose3d(x, up.weight, up.bias, stride=factor)
        skip = skip[..., crop : crop + x.shape[-2], crop : crop + x.shape[-1]]
        x = block(torch.cat([skip, x], 1))
    head = next(convs)
    return F.conv3d(x, head.weight, head.bias)


@pytest.mark.parametrize(
    ("options", "size", "factor", "crops", "last"),
    [
        ({}, (3, 16, 12), (1, 2, 2), (0, 0), 2),
        ({"depth": 4}, (3, 20, 12), (1, 2, 2), (2, 1, 0), 0),
        ({"padded": True}, (3, 16, 12), (1, 2, 2), (0, 0), 0),
        ({"shape": "thick"}, (8, 16, 12), (2, 2, 2), (0, 0), 0),
    ],
    ids=["thin", "thin-four-scales", "thin-padded", "thick"],
)
def test_wiring_equals_a_straight_line_reading(options, size, factor, crops, last, randomised):
    network, image = randomised(UNet3DConfig(base=2, **options).build(2, 3)), random_image(1, 2, *size)
    with torch.no_grad():
        expected = straight_line(network, image, factor, crops)
        expected = expected[..., last : expected.shape[-2] - last, last : expected.shape[-1] - last]
        torch.testing.assert_close(network(image), expected, rtol=1e-10, atol=1e-10)


def test_kernels_start_glorot_uniform_and_biases_at_zero():
    torch.manual_seed(0)
    network = UNet3DConfig(base=16).build(1, 1)
    for conv, fans in ((network.encoder[2][2], 2 * 64 * 27), (network.ups[0], (64 + 32) * 4)):
        limit = (6 / fans) ** 0.5
        assert limit * 0.999 < conv.weight.abs().max() <= limit
        assert conv.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.02)
    assert all(torch.count_nonzero(v) == 0 for name, v in network.named_parameters() if name.endswith("bias"))


def test_thick_is_padded_anyway():
    assert not UNet3DConfig(shape="thick").padded
    with pytest.raises(NetworkError, match="padded: must be false with `shape: thick`"):
        network_config("unet_3d", {"shape": "thick", "padded": True})
