"""U-Net of Meyer et al. (2021) against its published stages and a straight-line reading."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cristae.models import UNetFIBSEMConfig, parameter_count


def test_parameters_of_each_stage():
    with torch.device("meta"):
        network = UNetFIBSEMConfig().build(1, 4)
        three = UNetFIBSEMConfig().build(3, 4)
    assert [parameter_count(block) for block in network.encoder] == [37_824, 221_952, 886_272, 3_542_016, 14_161_920]
    assert [parameter_count(up) for up in network.ups] == [2_097_664, 524_544, 131_200, 32_832]
    assert [parameter_count(block) for block in network.decoder] == [7_080_960, 1_771_008, 443_136, 110_976]
    assert parameter_count(network.head) == 260
    assert parameter_count(three.encoder[0]) == 38_976
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert sum(norm.num_features for norm in norms) == 5_888
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


def test_shapes_inside_for_the_published_patch():
    with torch.device("meta"):
        network = UNetFIBSEMConfig().build(1, 4).eval()
        image = torch.empty(2, 1, 256, 256)
    seen = []
    for block in (*network.encoder, *network.ups, *network.decoder):
        block.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[1:3])))
    assert network(image).shape == (2, 4, 256, 256)
    assert seen == [
        *[(64, 256), (128, 128), (256, 64), (512, 32), (1024, 16)],
        *[(512, 32), (512, 32), (256, 64), (256, 64), (128, 128), (128, 128), (64, 256), (64, 256)],
    ]


def test_wiring_equals_a_straight_line_reading(randomised):
    network = randomised(UNetFIBSEMConfig(widths=(3, 5, 7)).build(2, 2))
    image = torch.rand(2, 2, 12, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    convs = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    ups = [m for m in network.modules() if isinstance(m, nn.ConvTranspose2d)]

    def double(x, level):
        for conv, norm in list(zip(convs, norms, strict=False))[2 * level : 2 * level + 2]:
            x = F.conv2d(x, conv.weight, conv.bias, padding=1).relu()
            x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-3)
        return x

    with torch.no_grad():
        a = double(image, 0)
        b = double(F.max_pool2d(a, 2), 1)
        c = double(F.max_pool2d(b, 2), 2)
        d = double(torch.cat([b, F.conv_transpose2d(c, ups[0].weight, ups[0].bias, stride=2)], 1), 3)
        e = double(torch.cat([a, F.conv_transpose2d(d, ups[1].weight, ups[1].bias, stride=2)], 1), 4)
        expected = F.conv2d(e, convs[-1].weight, convs[-1].bias)
        torch.testing.assert_close(network(image), expected, rtol=1e-10, atol=1e-10)


def test_dropout_acts_on_the_normalised_bottom_alone():
    network = UNetFIBSEMConfig(widths=(4, 8, 16)).build(1, 1).train()
    seen = {}
    network.encoder[-1].register_forward_hook(lambda m, i, output: seen.update(bottom=output.clone()))
    network.ups[0].register_forward_hook(lambda m, inputs, o: seen.update(dropped=inputs[0].clone()))
    network.decoder[0].register_forward_hook(lambda m, inputs, o: seen.update(skip=inputs[0][:, :8].clone()))
    network.encoder[1].register_forward_hook(lambda m, i, output: seen.update(level=output.clone()))
    network(torch.rand(4, 1, 64, 64))
    kept = seen["dropped"] != 0
    assert kept.double().mean().item() == pytest.approx(0.5, abs=0.02)
    assert torch.equal(seen["dropped"][kept], 2 * seen["bottom"][kept])
    assert torch.equal(seen["skip"], seen["level"])
    assert sum(isinstance(module, nn.Dropout) for module in network.modules()) == 1


def test_initial_weights():
    torch.manual_seed(0)
    network = UNetFIBSEMConfig(widths=(16, 32, 64, 128)).build(1, 4)
    for conv in (module for block in (*network.encoder, *network.decoder) for module in block):
        if isinstance(conv, nn.Conv2d) and conv.in_channels >= 64:
            fan_in = 9 * conv.in_channels
            cut = 2 * (2 / fan_in) ** 0.5 / 0.8796256610342398
            assert conv.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.01)
            assert 0.98 * cut < conv.weight.abs().max().item() <= cut * (1 + 1e-6)
    for up, (below, width) in zip(network.ups, [(128, 64), (64, 32), (32, 16)], strict=True):
        limit = (6 / (4 * (below + width))) ** 0.5
        assert 0.99 * limit < up.weight.abs().max().item() <= limit * (1 + 1e-6)
    limit = (6 / (16 + 4)) ** 0.5
    assert 0.9 * limit < network.head.weight.abs().max().item() <= limit * (1 + 1e-6)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            assert torch.count_nonzero(module.bias) == 0


def test_windows_are_those_of_the_paper():
    config = UNetFIBSEMConfig()
    assert (config.window, config.total_stride, config.blend) == ((256, 256), (16, 16), "centre_third")
