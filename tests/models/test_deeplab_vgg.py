"""DeepLabv3+ with the VGG19-like encoder against derived counts and a straight-line reading."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cristae.errors import NetworkError
from cristae.models import DeepLabVGGConfig, create_model, parameter_count
from cristae.models.deeplab_vgg import DeepLabVGG


def on_meta(**options) -> DeepLabVGG:
    with torch.device("meta"):
        return DeepLabVGGConfig(**options).build(1, 1).eval()


@pytest.mark.parametrize(
    ("options", "count"),
    [({"base": 32}, 10_502_481), ({"base": 64}, 41_986_721), ({"conv_bias": True}, 2_631_317)],
)
def test_parameter_count(options, count):
    assert parameter_count(on_meta(**options)) == count


def test_parameters_of_each_part():
    network = on_meta()
    assert parameter_count(network.encoder) == 2_287_952
    assert parameter_count(network.pyramid) == 258_816
    assert sum(map(parameter_count, (network.low_level, network.decoder, network.head))) == 81_753


@pytest.mark.parametrize("split", [(2, 2, 4, 4, 4, 3, 2, 2), (2, 2, 3, 3, 3, 3, 3, 4)])
def test_split_of_the_23_convolutions(split):
    network = on_meta(split=split)
    convs = [module for module in network.encoder.modules() if isinstance(module, nn.Conv2d)]
    widths = [16 * multiple for multiple, n in zip((1, 2, 4, 8, 8, 8, 8, 8), split, strict=True) for _ in range(n)]
    assert [conv.out_channels for conv in convs] == widths
    assert len(widths) == 23
    assert parameter_count(network.encoder) == sum(
        9 * a * b + 2 * b for a, b in zip([1, *widths[:-1]], widths, strict=True)
    )
    assert [conv.dilation[0] for conv in convs] == [1] * sum(split[:4]) + [2] * sum(split[4:])


def test_another_number_of_convolutions_or_blocks_is_refused():
    with pytest.raises(NetworkError, match=r"split: .*must add up to 23 convolutions, these are 24"):
        create_model("deeplab_vgg", in_channels=1, out_channels=1, split=(2, 2, 4, 4, 4, 3, 3, 2))
    with pytest.raises(NetworkError, match="split"):
        create_model("deeplab_vgg", in_channels=1, out_channels=1, split=(2, 2, 4, 4, 4, 3, 4))


def test_shapes_inside_for_a_512_pixel_patch():
    network, seen = on_meta(), {}
    for name in ("pyramid", "pyramid.merge", "low_level", "decoder"):
        network.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: seen.update({name: (inputs[0].shape[1:], output.shape[1:])})
        )
    assert network(torch.empty(2, 1, 512, 512, device="meta")).shape == (2, 1, 512, 512)
    assert seen == {
        "pyramid.merge": ((320, 32, 32), (64, 32, 32)),
        "pyramid": ((128, 32, 32), (64, 32, 32)),
        "low_level": ((64, 128, 128), (12, 128, 128)),
        "decoder": ((76, 128, 128), (64, 128, 128)),
    }


def test_wiring_equals_a_straight_line_reading(randomised):
    network = randomised(DeepLabVGGConfig(base=4).build(2, 3))
    # 28 x 20 at the last block, so that every dilated kernel reaches the map with taps beside its centre
    image = torch.rand(1, 2, 448, 320, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    convs = iter([m for m in network.modules() if isinstance(m, nn.Conv2d)])
    norms = iter([m for m in network.modules() if isinstance(m, nn.BatchNorm2d)])

    def conv(x, dilation=1):
        layer, norm = next(convs), next(norms)
        padding = dilation * (layer.weight.shape[-1] // 2)
        x = F.conv2d(x, layer.weight, None, padding=padding, dilation=dilation)
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-3).relu()

    def up(x):
        return F.interpolate(x, [4 * side for side in x.shape[2:]], mode="bilinear", align_corners=False)

    with torch.no_grad():
        x, low = image, image
        for block, convolutions in enumerate((2, 2, 4, 4, 4, 3, 2, 2)):
            for _ in range(convolutions):
                x = conv(x, dilation=1 if block < 4 else 2)
            low = x if block == 2 else low
            x = F.max_pool2d(x, 2) if block < 4 else x
        near = [conv(x), conv(x, 6), conv(x, 12), conv(x, 18)]
        whole = conv(x.mean((2, 3), keepdim=True))
        x = conv(torch.cat([*near, whole.repeat(1, 1, *x.shape[2:])], 1))
        x = conv(conv(torch.cat([up(x), conv(low)], 1)))
        head = next(convs)
        expected = up(F.conv2d(x, head.weight, head.bias))
        torch.testing.assert_close(network(image), expected, rtol=1e-10, atol=1e-10)
    assert next(convs, None) is next(norms, None) is None


def test_training_needs_two_items():
    network = DeepLabVGGConfig(base=4).build(1, 1).train()
    assert DeepLabVGGConfig.smallest_batch == 2
    assert network(torch.rand(2, 1, 32, 32)).shape == (2, 1, 32, 32)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        network(torch.rand(1, 1, 32, 32))


def test_kernels_start_glorot_uniform():
    torch.manual_seed(0)
    conv = DeepLabVGGConfig().build(1, 1).pyramid.branches[1][0]
    limit = (6 / (9 * (128 + 64))) ** 0.5
    assert limit * 0.999 < conv.weight.abs().max() <= limit
    assert conv.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.01)


def test_window_and_stride():
    assert (DeepLabVGGConfig().window, DeepLabVGGConfig().total_stride) == ((512, 512), (16, 16))
