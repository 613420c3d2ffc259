"""The original U-Net against its published sizes and a straight-line reading."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cristae.errors import NetworkError
from cristae.models import UNetValidConfig


def random_image(*shape: int) -> Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_shapes_inside_for_the_published_window():
    with torch.device("meta"):
        network, image = UNetValidConfig().build(1, 7), torch.empty(1, 1, 572, 572)
    encoded, enlarged = [], []
    for block in network.encoder:
        block.register_forward_hook(lambda module, inputs, output: encoded.append(output.shape[1:]))
    for up in network.ups:
        up.register_forward_hook(lambda module, inputs, output: enlarged.append(output.shape[1:]))
    assert network(image).shape == (1, 7, 388, 388)
    assert encoded == [(64, 568, 568), (128, 280, 280), (256, 136, 136), (512, 64, 64), (1024, 28, 28)]
    assert enlarged == [(512, 56, 56), (256, 104, 104), (128, 200, 200), (64, 392, 392)]


def test_sizes_are_those_of_five_levels():
    config = UNetValidConfig()
    assert (config.margin, config.window, config.total_stride) == ((92, 92), (388, 388), (16, 16))
    assert config.input_size((388, 388)) == (572, 572)
    assert config.input_size((1, 5)) == (188, 204)
    with pytest.raises(NetworkError, match="next good size is 588 x 572, which gives logits of 404 x 388"):
        config.output_size((573, 572))


@pytest.mark.parametrize("depth", [2, 3, 4, 6, 7])
def test_every_depth_gives_what_its_config_says(depth):
    config = UNetValidConfig(base=1, depth=depth)
    with torch.device("meta"):
        network = config.build(1, 1)
        for output in (config.smallest_output, config.window):
            assert network(torch.empty(1, 1, *config.input_size(output))).shape[2:] == output


def test_wiring_equals_a_straight_line_reading(randomised):
    network, image = randomised(UNetValidConfig(base=3, depth=3).build(2, 2)), random_image(2, 2, 52, 44)
    convs = iter([m for m in network.modules() if isinstance(m, nn.Conv2d)])
    ups = iter(network.ups)

    def double(x: Tensor) -> Tensor:
        for conv in (next(convs), next(convs)):
            x = F.conv2d(x, conv.weight, conv.bias).relu()
        return x

    def enlarge(x: Tensor) -> Tensor:
        up = next(ups)
        return F.conv_transpose2d(x, up.weight, up.bias, stride=2)

    with torch.no_grad():
        a = double(image)  # 48 x 40
        b = double(F.max_pool2d(a, 2))  # 20 x 16
        c = double(F.max_pool2d(b, 2))  # 6 x 4
        d = double(torch.cat([b[..., 4:16, 4:12], enlarge(c)], 1))  # 8 x 4
        e = double(torch.cat([a[..., 16:32, 16:24], enlarge(d)], 1))
        head = next(convs)
        expected = F.conv2d(e, head.weight, head.bias)
        assert expected.shape[2:] == (12, 4)
        torch.testing.assert_close(network(image), expected, rtol=1e-10, atol=1e-10)


def test_an_answer_is_for_the_centre_of_the_image():
    network = UNetValidConfig(base=1).build(1, 1).double().eval()
    for conv in [m for m in network.modules() if isinstance(m, nn.Conv2d)]:
        nn.init.zeros_(conv.weight)
        conv.weight.data[:, 0, conv.weight.shape[2] // 2, conv.weight.shape[3] // 2] = 1.0  # the skip, the middle
    given = random_image(1, 1, 204, 188)
    with torch.no_grad():
        torch.testing.assert_close(network(given), given[..., 92:-92, 92:-92], rtol=0, atol=1e-12)


def test_kernels_start_glorot_uniform_and_biases_at_zero():
    torch.manual_seed(0)
    network = UNetValidConfig(base=16).build(1, 1)
    for conv, fans in ((network.encoder[3][2], 2 * 128 * 9), (network.ups[0], (256 + 128) * 4)):
        limit = (6 / fans) ** 0.5
        assert limit * 0.999 < conv.weight.abs().max() <= limit
        assert conv.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.02)
    assert all(torch.count_nonzero(v) == 0 for name, v in network.named_parameters() if name.endswith("bias"))
