"""The residual-encoder U-Net: its planning against published plans, its wiring against a straight-line reading."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import nn

from cristae.errors import NetworkError
from cristae.models import ResEncUNetConfig, network_config
from cristae.models.resenc_unet import plan


def halvings(window, spacing):
    return [sum(stride[axis] == 2 for stride in plan(window, spacing).strides) for axis in range(len(window))]


@pytest.mark.parametrize(
    ("window", "spacing", "published"),
    [
        ((40, 56, 40), (1, 1, 1), [3, 3, 3]),  # hippocampus
        ((128, 128, 128), (1, 1, 1), [5, 5, 5]),  # brain tumours
        ((20, 320, 256), (3.6, 0.62, 0.62), [2, 6, 6]),  # prostate
        ((512, 512), (1, 1), [7, 7]),  # liver, 2D
    ],
)
def test_halvings_of_each_axis_are_those_of_published_plans(window, spacing, published):
    assert halvings(window, spacing) == published


def test_stages_of_an_anisotropic_plan():
    found = plan((20, 320, 256), (3.6, 0.62, 0.62))
    flat, deep = (1, 2, 2), (2, 2, 2)
    assert found.strides == ((1, 1, 1), flat, flat, deep, deep, flat, flat)
    assert found.kernels == ((1, 3, 3), (1, 3, 3), *[(3, 3, 3)] * 5)


def test_an_axis_waits_until_the_others_are_half_as_fine():
    """40 x 10 x 10 nm becomes 40 x 20 x 20, where 40 is still twice 20, and 40 x 40 x 40, where z joins."""
    assert plan((32, 128, 128), (40, 10, 10)).strides[:4] == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2))
    assert plan((32, 128, 128), (19, 10, 10)).strides[1] == (2, 2, 2)


def test_a_last_axis_alone_needs_twelve_voxels():
    assert plan((8, 4), (1, 1)).strides == ((1, 1),)
    assert plan((11, 4), (1, 1)).strides == ((1, 1),)
    assert plan((12, 4), (1, 1)).strides == ((1, 1), (2, 1))
    assert plan((8, 8), (1, 1)).strides == ((1, 1), (2, 2))


def test_odd_sides_are_rounded_up():
    assert halvings((15, 15), (1, 1)) == [2, 2]  # 15, 8, 4
    assert halvings((14, 14), (1, 1)) == [1, 1]  # 14, 7


def test_config_by_default():
    flat, deep = ResEncUNetConfig(), ResEncUNetConfig(ndim=3)
    assert (flat.window, flat.total_stride, flat.ndim) == ((256, 256), (64, 64), 2)
    assert flat.widths == (32, 64, 128, 256, 512, 512, 512)
    assert (deep.window, deep.total_stride, deep.ndim) == ((32, 128, 128), (8, 32, 32), 3)
    assert deep.widths == (32, 64, 128, 256, 320, 320)


def test_blocks_of_each_stage_repeat_the_last_number():
    with torch.device("meta"):
        network = ResEncUNetConfig().build(1, 1)
    assert [len(stage) for stage in network.encoder] == [1, 3, 4, 6, 6, 6, 6]


def test_weights_of_the_outputs():
    assert ResEncUNetConfig().auxiliary_weights == pytest.approx([one / 31 for one in (16, 8, 4, 2, 1)])
    assert sum(ResEncUNetConfig(ndim=3).auxiliary_weights) == pytest.approx(1)
    assert ResEncUNetConfig(window_vox=(8, 8)).auxiliary_weights == (1.0,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window_vox": (32, 64, 64)}, "window_vox\n.*must have 2 numbers"),
        ({"window_vox": (6, 6)}, r"window_vox \(6, 6\) is too small"),
        ({"ndim": 3, "slices": 3}, "slices\n.*must be 1 with `ndim: 3`"),
        ({"strides": ((1, 1), (2, 2, 2))}, "strides\n.*stage 1 must have 2 numbers"),
        ({"strides": ((2, 2), (2, 2))}, "strides\n.*first stage must have strides of 1"),
        ({"strides": ((1, 1), (2, 2))}, "2 stages of strides and 7 of kernels"),
        ({"kernels": ((2, 3),)}, "kernels\n.*must be odd"),
    ],
)
def test_configs_that_make_no_network(options, message):
    with pytest.raises(ValidationError, match=message):
        ResEncUNetConfig(**options)


@pytest.fixture
def small():
    """Two halvings, the second of the last axis alone; float64 with weights far from their defaults."""
    torch.manual_seed(0)
    config = ResEncUNetConfig(
        base=3, blocks=(1, 2), strides=((1, 1), (2, 2), (1, 2), (1, 2)), kernels=((3, 5), (3, 3), (1, 3), (1, 3))
    )
    network = config.build(2, 2).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.uniform_(-0.3, 0.6)
    return network


def test_wiring_equals_a_straight_line_reading(small):
    image = torch.rand(2, 2, 8, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = dict(small.named_parameters())

    def conv(x, name, stride=1):
        kernel = weights[f"{name}.weight"]
        padding = [side // 2 for side in kernel.shape[2:]]
        return F.conv2d(x, kernel, weights.get(f"{name}.bias"), stride, padding)

    def norm(x, name):
        mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), unbiased=False, keepdim=True)
        scale, shift = (weights[f"{name}.{kind}"][:, None, None] for kind in ("weight", "bias"))
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    def leaky(x):
        return torch.where(x > 0, x, 0.01 * x)

    def block(x, name, stride=(1, 1)):
        y = leaky(norm(conv(x, f"{name}.first.0", stride), f"{name}.first.1"))
        y = norm(conv(y, f"{name}.second.0"), f"{name}.second.1")
        if max(stride) > 1:
            x = F.avg_pool2d(x, stride)
        place = f"{name}.shortcut.{1 if max(stride) > 1 else 0}"
        if f"{place}.weight" in weights:
            assert f"{place}.bias" not in weights
            norm_place = f"{name}.shortcut.{2 if max(stride) > 1 else 1}"
            x = norm(conv(x, place), norm_place)
        return leaky(x + y)

    def up(below, skip, number, stride):
        y = F.conv_transpose2d(below, weights[f"ups.{number}.weight"], weights[f"ups.{number}.bias"], stride)
        return leaky(norm(conv(torch.cat([y, skip], 1), f"decoder.{number}.0"), f"decoder.{number}.1"))

    with torch.no_grad():
        a = block(leaky(norm(conv(image, "stem.0"), "stem.1")), "encoder.0.0")
        b = block(block(a, "encoder.1.0", (2, 2)), "encoder.1.1")
        c = block(block(b, "encoder.2.0", (1, 2)), "encoder.2.1")
        d = block(block(c, "encoder.3.0", (1, 2)), "encoder.3.1")
        e = up(d, c, 0, (1, 2))
        f = up(e, b, 1, (1, 2))
        g = up(f, a, 2, (2, 2))
        main, coarse = small.train()(image)
        torch.testing.assert_close(main, conv(g, "heads.0"), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(coarse, conv(f, "heads.1"), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(small.eval()(image), conv(g, "heads.0"), rtol=1e-10, atol=1e-10)


def test_auxiliary_outputs_are_those_of_the_image_without_its_padding(small):
    with torch.no_grad():
        main, coarse = small.train()(torch.rand(1, 2, 7, 13, dtype=torch.float64))
    assert (main.shape[2:], coarse.shape[2:]) == ((7, 13), (4, 7))


def test_an_image_of_one_coarse_voxel_is_normalised_with_a_second_one(small):
    with torch.no_grad():
        image = torch.rand(1, 2, 2, 8, dtype=torch.float64)
        assert torch.equal(small.eval()(image), small(F.pad(image, (0, 8)))[..., :8])


def test_initial_weights():
    torch.manual_seed(0)
    network = ResEncUNetConfig(window_vox=(32, 32)).build(1, 1)
    image = torch.rand(1, 1, 32, 32)
    features = network.stem(image)
    block = network.encoder[0][0]
    assert torch.equal(block(features), F.leaky_relu(features, 0.01))
    conv = network.encoder[3][1].first[0]
    assert conv.weight.std().item() == pytest.approx((2 / (1 + 0.01**2) / conv.weight[0].numel()) ** 0.5, rel=0.01)
    assert all(torch.count_nonzero(m.bias) == 0 for m in network.modules() if isinstance(m, nn.ConvTranspose2d))


def test_slices_have_no_anisotropy():
    assert ResEncUNetConfig(ndim=3, anisotropy=2.0).anisotropy == 2
    with pytest.raises(NetworkError, match="anisotropy: must be 1 with `ndim: 2`"):
        network_config("resenc_unet", {"anisotropy": 2.0})
