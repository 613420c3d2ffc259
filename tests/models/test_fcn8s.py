"""FCN-8s against published and derived counts, a straight-line reading and what its parts do."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cristae.inference.locality import measure_locality
from cristae.models import FCN8sConfig, parameter_count
from cristae.models.fcn8s import FCN8s


def on_meta(**options) -> FCN8s:
    with torch.device("meta"):
        return FCN8sConfig(**options).build(1, 1).eval()


@pytest.mark.parametrize(
    ("options", "count"),
    [({"base": 32}, 33_570_819), ({"base": 64}, 134_264_547), ({"batch_norm": True}, 8_397_267)],
)
def test_parameter_count(options, count):
    assert parameter_count(on_meta(**options)) == count


def test_parameters_of_each_part():
    network = on_meta()
    assert parameter_count(network.encoder) == 920_496
    assert [parameter_count(network.classifier[index]) for index in (0, 3)] == [6_423_552, 1_049_600]
    scores = (network.score_fc7, network.score_pool4, network.score_pool3)
    assert [parameter_count(score) for score in scores] == [1025, 129, 65]
    assert sum(map(parameter_count, (network.up_fc7, network.up_pool4, network.up_pool3))) == 288


def test_shapes_inside_for_a_512_pixel_patch():
    network, seen = on_meta(), {}
    for name in ("classifier", "score_pool4", "score_pool3", "up_fc7", "up_pool4"):
        network.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: seen.update({name: (inputs[0].shape[1:], output.shape[1:])})
        )
    assert network(torch.empty(2, 1, 512, 512, device="meta")).shape == (2, 1, 512, 512)
    assert seen["classifier"] == ((128, 16, 16), (1024, 16, 16))
    assert seen["score_pool4"] == ((128, 32, 32), (1, 32, 32))
    assert seen["score_pool3"] == ((64, 64, 64), (1, 64, 64))
    assert seen["up_fc7"][1] == (1, 32, 32)
    assert seen["up_pool4"][1] == (1, 64, 64)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_wiring_equals_a_straight_line_reading(randomised, batch_norm):
    network = randomised(FCN8sConfig(base=2, batch_norm=batch_norm).build(2, 3))
    for up in (network.up_fc7, network.up_pool4, network.up_pool3):  # so that a swapped or transposed one shows
        up.weight.data += torch.rand(up.weight.shape, generator=torch.Generator().manual_seed(3))
    image = torch.rand(2, 2, 96, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    convs = iter([m for m in network.modules() if isinstance(m, nn.Conv2d)])
    norms = iter([m for m in network.modules() if isinstance(m, nn.BatchNorm2d)])

    def conv(x, padding=1):
        layer = next(convs)
        return F.conv2d(x, layer.weight, layer.bias, padding=padding)

    def normalised(x):
        if not batch_norm:
            return x
        norm = next(norms)
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-3)

    with torch.no_grad():
        x, pooled = image, []
        for convolutions in (2, 2, 3, 3, 3):
            for _ in range(convolutions):
                x = normalised(conv(x)).relu()
            x = F.max_pool2d(x, 2)
            pooled.append(x)
        x = conv(conv(x, padding=3).relu(), padding=0).relu()
        score7, score4, score3 = conv(x, 0), conv(pooled[3], 0), conv(pooled[2], 0)
        sixteenth = F.conv_transpose2d(score7, network.up_fc7.weight, stride=2, padding=1) + score4
        eighth = F.conv_transpose2d(sixteenth, network.up_pool4.weight, stride=2, padding=1) + score3
        expected = F.conv_transpose2d(eighth, network.up_pool3.weight, stride=8, padding=4)
        torch.testing.assert_close(network(image), expected, rtol=1e-10, atol=1e-10)
    assert next(convs, None) is next(norms, None) is None


@pytest.mark.parametrize(("name", "factor"), [("up_fc7", 2), ("up_pool4", 2), ("up_pool3", 8)])
def test_enlargements_start_bilinear_and_stay_in_place(name, factor):
    up = FCN8sConfig(base=1).build(1, 3).double().get_submodule(name)
    logits = torch.rand(1, 3, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(logits, scale_factor=factor, mode="bilinear", align_corners=False)
    inner = (..., slice(factor, -factor), slice(factor, -factor))  # beyond the border is zero, not the edge repeated
    torch.testing.assert_close(up(logits)[inner], expected[inner], rtol=1e-12, atol=1e-12)
    assert up.weight.requires_grad
    assert up.bias is None


def test_half_of_the_values_drop_out_behind_each_layer_that_was_fully_connected():
    torch.manual_seed(0)
    classifier = FCN8sConfig(base=4).build(1, 1).classifier.train()
    first, second = (module for module in classifier if isinstance(module, nn.Conv2d))
    for conv in (first, second):
        nn.init.constant_(conv.weight, 0.01)
    features = torch.ones(1, 32, 8, 8)
    assert (classifier(features) == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    nn.init.dirac_(second.weight)
    assert (classifier(features) == 0).float().mean().item() == pytest.approx(0.75, abs=0.02)
    assert not (classifier.eval()(features) == 0).any()


def test_a_score_sees_404_pixels():
    network = FCN8sConfig(base=1).build(1, 1).double().eval()
    network.pool = nn.AvgPool2d(2)  # all influence, not that of maxima alone
    for name, values in network.named_parameters():
        nn.init.constant_(values, 0.0 if name.endswith("bias") else 1 / values[0].numel())
    scores = []
    network.score_fc7.register_forward_hook(lambda module, inputs, output: scores.append(output))
    row = torch.ones(1, 1, 32, 640, dtype=torch.float64, requires_grad=True)
    network(row)
    (gradient,) = torch.autograd.grad(scores[0][0, 0, 0, 10], row)
    touched = gradient[0, 0].amax(0).nonzero().flatten()
    assert touched.max() - touched.min() + 1 == 404


def test_reach_worked_out_by_hand():
    # The score for voxels 0 to 31 sees voxels -186 to 217 and is spread to the logits of -28 to 59.
    config = FCN8sConfig(base=1)
    assert measure_locality(config.build(1, 1), config).reach == (0, 217 + 28, 59 + 186)


def test_kernels_start_glorot_uniform_and_biases_at_zero():
    torch.manual_seed(0)
    network = FCN8sConfig(base=4).build(1, 1)
    conv = network.classifier[0]
    limit = (6 / (49 * (32 + 256))) ** 0.5
    assert limit * 0.999 < conv.weight.abs().max() <= limit
    assert conv.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.01)
    assert not any(torch.count_nonzero(values) for name, values in network.named_parameters() if name.endswith("bias"))


def test_window_and_stride():
    assert (FCN8sConfig().window, FCN8sConfig().total_stride) == ((512, 512), (32, 32))
