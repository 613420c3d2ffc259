"""SegNet against published and derived counts, a straight-line reading and what unpooling does."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cristae.inference.locality import measure_locality
from cristae.models import SegNetConfig, parameter_count
from cristae.models.segnet import SegNet


def on_meta(**options) -> SegNet:
    with torch.device("meta"):
        return SegNetConfig(**options).build(1, 1).eval()


@pytest.mark.parametrize(("base", "count"), [(32, 7_366_849), (64, 29_442_433)])
def test_parameter_count(base, count):
    assert parameter_count(on_meta(base=base)) == count


def test_parameters_and_widths_of_each_half():
    network = on_meta()
    assert parameter_count(network.encoder) == 922_608
    assert parameter_count(network.decoder) + parameter_count(network.head) == 922_225
    widths = [[conv[0].out_channels for conv in block] for block in (*network.encoder, *network.decoder)]
    assert widths == [
        [16, 16],
        [32, 32],
        [64, 64, 64],
        [128, 128, 128],
        [128, 128, 128],
        [128, 128, 128],
        [128, 128, 64],
        [64, 64, 32],
        [32, 16],
        [16],
    ]
    assert parameter_count(network.head) == 9 * 16 + 1


def test_shapes_inside_for_a_512_pixel_patch():
    network, seen = on_meta(), []
    for block in network.decoder:
        block.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0].shape, output.shape)))
    assert network(torch.empty(2, 1, 512, 512, device="meta")).shape == (2, 1, 512, 512)
    assert [inside for inside, _ in seen] == [
        (2, 128, 32, 32),
        (2, 128, 64, 64),
        (2, 64, 128, 128),
        (2, 32, 256, 256),
        (2, 16, 512, 512),
    ]


def largest(x: Tensor) -> tuple[Tensor, Tensor]:
    """Maxima of 2 x 2 windows and a mask of the first place of each, by comparison."""
    batch, channels, height, width = x.shape
    windows = x.view(batch, channels, height // 2, 2, width // 2, 2).movedim(3, 4).flatten(-2)
    best = windows.max(-1).values
    first = (windows == best[..., None]).double().argmax(-1)
    mask = F.one_hot(first, 4).unflatten(-1, (2, 2)).movedim(-2, 3).reshape(x.shape)
    return best, mask.to(x.dtype)


def test_wiring_equals_a_straight_line_reading(randomised):
    network = randomised(SegNetConfig(base=2).build(2, 3))
    image = torch.rand(2, 2, 96, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    convs = iter([m for m in network.modules() if isinstance(m, nn.Conv2d)])
    norms = iter([m for m in network.modules() if isinstance(m, nn.BatchNorm2d)])

    def conv(x):
        layer, norm = next(convs), next(norms)
        x = F.conv2d(x, layer.weight, layer.bias, padding=1)
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-3).relu()

    with torch.no_grad():
        x, masks = image, []
        for convolutions in (2, 2, 3, 3, 3):
            for _ in range(convolutions):
                x = conv(x)
            x, mask = largest(x)
            masks.append(mask)
        for convolutions in (3, 3, 3, 2, 1):
            x = F.interpolate(x, scale_factor=2, mode="nearest") * masks.pop()
            for _ in range(convolutions):
                x = conv(x)
        head = next(convs)
        expected = F.conv2d(x, head.weight, head.bias, padding=1)
        torch.testing.assert_close(network(image), expected, rtol=1e-10, atol=1e-10)
    assert next(convs, None) is next(norms, None) is None


def test_a_maximum_returns_to_its_place_and_the_rest_is_zero():
    network = SegNetConfig(base=1).build(1, 1)
    features = torch.tensor([[1.0, 2.0, 5.0, 5.0], [4.0, 3.0, 5.0, 5.0]]).view(1, 1, 2, 4)
    pooled, places = network.pool(features)
    expected = torch.tensor([[0.0, 0.0, 7.0, 0.0], [6.0, 0.0, 0.0, 0.0]]).view(1, 1, 2, 4)
    assert torch.equal(pooled, torch.tensor([4.0, 5.0]).view(1, 1, 1, 2))
    assert torch.equal(network.unpool(pooled + 2, places), expected)  # of equals the first


def test_reach_worked_out_by_hand():
    # Convolutions of either half: 2 + 2 * 2 + 3 * 4 + 3 * 8 + 3 * 16 = 90 voxels; between them a window of 32.
    config = SegNetConfig(base=1)
    assert measure_locality(config.build(1, 1), config).reach == (0, 90 + 31 + 90, 90 + 31 + 90)


def test_kernels_start_glorot_uniform_and_biases_at_zero():
    torch.manual_seed(0)
    network = SegNetConfig(base=8).build(1, 1)
    conv = network.encoder[4][1][0]
    limit = (6 / (9 * 2 * 64)) ** 0.5
    assert limit * 0.999 < conv.weight.abs().max() <= limit
    assert conv.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.02)
    assert not any(torch.count_nonzero(values) for name, values in network.named_parameters() if name.endswith("bias"))


def test_window_and_stride():
    assert (SegNetConfig().window, SegNetConfig().total_stride) == ((512, 512), (32, 32))
