"""CDeep3M against its layer table, its 3D convolutions against real ones, and its start."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from straight_line import Layers, counts, random_image, watch
from torch import Tensor, nn

from cristae.data.classes import Classes
from cristae.errors import NetworkError
from cristae.models import CDeep3MConfig, create_model, parameter_count
from cristae.models.cdeep3m import SliceConvolutions, bilinear_kernel

SPREADS = {  # of the transposed convolutions of each head: kernel, stride, and pairs of dilation and padding
    0: (4, 2, [(1, 1), (5, 7), (11, 16), (17, 25), (23, 34)]),
    1: (8, 4, [(1, 2), (5, 16), (11, 37), (17, 58), (23, 79)]),
    2: (16, 8, [(1, 4), (5, 34), (11, 79), (17, 124), (23, 169)]),
    3: (32, 16, [(1, 8)]),
}


def full(slices: int = 1) -> nn.Module:
    with torch.device("meta"):
        return CDeep3MConfig(slices=slices).build(slices, 1)


@pytest.mark.parametrize(("slices", "first", "second"), [(1, 384, 18_624), (3, 960, 37_056), (5, 960, 55_488)])
def test_slices_change_the_first_two_convolutions_only(slices, first, second):
    network, single = full(slices), full()
    assert counts([network.slices.first, network.slices.second]) == [first, second]
    for part in ("stem", "stages", "heads"):
        assert counts([getattr(network, part)]) == counts([getattr(single, part)])


def test_parameters_of_each_stage():
    network = full()
    (down, a), (reduce_a, b), (reduce_b, c) = network.stages
    assert counts(network.stem.chains) == [59_872, 117_600]
    assert counts(down.chains) == [0, 332_352]
    assert [*counts([a.before]), *counts(a.branches.chains), *counts([a.merge])] == [
        148_608,
        12_384,
        21_696,
        54_192,
        50_304,
    ]
    assert counts(reduce_a.chains) == [0, 1_328_256, 1_575_552]
    assert [*counts([b.before]), *counts(b.branches.chains), *counts([b.merge])] == [
        1_332_870,
        222_144,
        507_552,
        446_598,
    ]
    assert counts(reduce_b.chains) == [0, 1_182_080, 960_608, 1_791_008]
    assert [*counts([c.before]), *counts(c.branches.chains), *counts([c.merge])] == [
        4_401_152,
        393_792,
        696_288,
        923_648,
    ]
    assert [sum(counts(head.ups)) for head in network.heads] == [30_730, 245_770, 2_954_250, 4_194_306]
    assert [parameter_count(head.fuse) for head in network.heads] == [46] * 4


@pytest.mark.parametrize(("slices", "convolutions"), [(1, 16_551_692), (3, 16_570_700), (5, 16_589_132)])
def test_parameters_of_each_kind(slices, convolutions):
    def total(kind: type[nn.Module]) -> int:
        return sum(counts(m for m in full(slices).modules() if isinstance(m, kind)))

    assert total(nn.Conv2d) == convolutions
    assert total(nn.ConvTranspose2d) == 7_425_056
    assert total(nn.BatchNorm2d) == 26_056
    assert sum(isinstance(m, nn.BatchNorm2d) for m in full(slices).modules()) == 48


def test_kernels_are_height_by_width_in_the_order_of_the_table():
    network = full()

    def kernels(chains: nn.Module) -> list[list[tuple[int, int]]]:
        return [[conv.kernel_size for conv in convs(chain)] for chain in chains]

    point, square = (1, 1), (3, 3)
    assert kernels(network.stem.chains) == [[point, square], [point, (7, 1), (1, 7), square]]
    blocks = [stage[1].branches.chains for stage in network.stages]
    assert kernels(blocks[0]) == [[point], [point, square], [point, square, square]]
    assert kernels(blocks[1]) == [[point], [point, (1, 7), (7, 1)]]
    assert kernels(blocks[2]) == [[point], [point, (1, 3), (3, 1)]]
    for conv in convs(network):
        assert conv.padding == tuple(side // 2 for side in conv.kernel_size)


def test_shapes_inside_for_a_512_pixel_patch():
    network = full().eval()
    reductions = {f"reduced{i}": stage[0] for i, stage in enumerate(network.stages)}
    taps = {f"tap{i}": head for i, head in enumerate(network.heads)}
    seen = watch(slices=network.slices, **reductions, **taps)
    assert network(torch.empty(1, 1, 512, 512, device="meta")).shape == (1, 1, 512, 512)
    assert seen["slices"][1].shape[1:] == (64, 256, 256)
    assert [seen[f"reduced{i}"][1].shape[1:] for i in range(3)] == [(384, 128, 128), (1152, 64, 64), (2146, 32, 32)]
    assert [seen[f"tap{i}"][0].shape[1:] for i in range(4)] == [
        (192, 256, 256),
        (384, 128, 128),
        (1154, 64, 64),
        (2048, 32, 32),
    ]
    assert all(seen[f"tap{i}"][1].shape[1:] == (2, 512, 512) for i in range(4))


def test_transposed_convolutions_are_those_of_the_table():
    for depth, head in enumerate(full().heads):
        kernel, stride, spreads = SPREADS[depth]
        assert [(up.dilation[0], up.padding[0]) for up in head.ups] == spreads
        assert {(*up.kernel_size, *up.stride) for up in head.ups} == {(kernel, kernel, stride, stride)}


@pytest.mark.parametrize("slices", [1, 3, 5])
@pytest.mark.parametrize("training", [False, True])
def test_slices_are_convolved_as_in_3d(slices, training):
    torch.manual_seed(0)
    block = SliceConvolutions(slices, 3, 4).double()
    image = random_image(2, slices, 8, 10)
    with torch.no_grad():
        for values in block.parameters():
            values.uniform_(-1, 1)
    depth, thickness = {1: (1, 1), 3: (2, 3), 5: (3, 3)}[slices]
    first, second = block.first[0], block.second[0]
    x = image.unsqueeze(1)
    weight = first.weight.unsqueeze(1)
    assert weight.shape == (3, 1, thickness, 3, 3)
    x = F.conv3d(x, weight, first.bias, (1 if slices == 1 else 2, 2, 2), (thickness // 2, 1, 1))
    assert x.shape == (2, 3, depth, 4, 5)
    x = F.relu(norm_3d(x, block.first[1], training))
    weight = second.weight.unflatten(1, (depth, 3)).transpose(1, 2)
    x = F.conv3d(x, weight, second.bias, 1, (0, 1, 1))
    x = F.relu(norm_3d(x, block.second[1], training)).squeeze(2)
    with torch.no_grad():
        torch.testing.assert_close(block.train(training)(image), x, rtol=1e-10, atol=1e-10)


def norm_3d(x: Tensor, norm: nn.BatchNorm2d, training: bool) -> Tensor:
    mean, variance = norm.running_mean.clone(), norm.running_var.clone()
    return F.batch_norm(x, mean, variance, norm.weight, norm.bias, training, 0.0, 1e-5)


class Table(Layers):
    """Straight-line reading of the layer table."""

    def linear(self, x: Tensor, stride: int = 1) -> Tensor:
        return self.norm(self.conv(x, stride), eps=1e-5)

    def k(self, x: Tensor, stride: int = 1) -> Tensor:
        return F.relu(self.linear(x, stride))

    def chain(self, x: Tensor, length: int, stride: int = 1) -> Tensor:
        for step in range(length):
            x = self.k(x, stride if step == length - 1 else 1)
        return x

    def halved(self, x: Tensor, *lengths: int) -> Tensor:
        pooled = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=float("-inf")), 3, 2)  # what rounding up adds
        return torch.cat([pooled, *(self.chain(x, length, 2) for length in lengths)], 1)

    def residual(self, x: Tensor, *lengths: int) -> Tensor:
        x = self.k(x)
        return F.relu(x + 0.1 * self.linear(torch.cat([self.chain(x, length) for length in lengths], 1)))

    def head(self, x: Tensor, depth: int) -> Tensor:
        _, stride, spreads = SPREADS[depth]
        total = 0
        for dilation, padding in spreads:
            conv = next(self.convs)
            total = total + F.conv_transpose2d(x, conv.weight, conv.bias, stride, padding, dilation=dilation)
        return self.k(F.relu(self.norm(total, eps=1e-5)))


@pytest.mark.parametrize("slices", [1, 5])
def test_wiring_equals_a_straight_line_reading_of_the_table(slices, randomised):
    network = CDeep3MConfig(base=2, slices=slices).build(slices, 3)
    with torch.no_grad():
        for values in network.heads.parameters():
            values.uniform_(-0.3, 0.3)
    network = randomised(network)
    image = random_image(2, slices, 32, 48)
    table = Table(network.stem, network.stages, network.heads)
    with torch.no_grad():
        x = network.slices(image)
        left = table.linear(table.k(x))
        taps = [torch.cat([left, table.chain(x, 4)], 1)]
        taps.append(table.residual(table.halved(taps[-1], 1), 1, 2, 3))
        taps.append(table.residual(table.halved(taps[-1], 1, 3), 1, 3))
        taps.append(table.residual(table.halved(taps[-1], 2, 2, 3), 1, 3))
        expected = sum(table.head(tap, depth) for depth, tap in enumerate(taps))
        found = network(image)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    table.require_done()
    assert found.min() >= 0
    assert found.std() > 0.1


def test_one_logit_is_foreground_minus_background(randomised):
    two, one = (randomised(CDeep3MConfig(base=2).build(1, classes)) for classes in (2, 1))
    one.load_state_dict(two.state_dict())
    image = random_image(1, 1, 32, 32)
    with torch.no_grad():
        maps, logit = two(image), one(image)
        assert maps.std() > 0
        torch.testing.assert_close(logit.sigmoid()[:, 0], maps.softmax(1)[:, 1], rtol=1e-12, atol=1e-12)


def test_bilinear_kernel():
    row = torch.tensor([0.25, 0.75, 0.75, 0.25])
    assert torch.equal(bilinear_kernel(4), row[:, None] * row)
    small = random_image(1, 1, 6, 6)
    for factor in (2, 4, 8, 16):
        kernel = bilinear_kernel(2 * factor).double()[None, None]
        found = F.conv_transpose2d(small, kernel, None, factor, factor // 2)
        expected = F.interpolate(small, scale_factor=float(factor), mode="bilinear", align_corners=False)
        inner = slice(factor, -factor)
        torch.testing.assert_close(found[..., inner, inner], expected[..., inner, inner])


def test_weights_start_as_published():
    torch.manual_seed(0)
    network = CDeep3MConfig(base=8).build(1, 1)
    heads = [m for head in network.heads for m in head.ups]
    for up in heads:
        if up.dilation == (1, 1):
            assert torch.equal(up.weight, bilinear_kernel(up.kernel_size[0]).expand_as(up.weight))
        else:
            assert up.weight.std().item() == pytest.approx(0.01, rel=0.1)
    for block in (network.slices.first, network.slices.second):
        assert block[0].weight.std().item() == pytest.approx(0.01, rel=0.2)
    for head in network.heads:
        assert head.fuse[-1][0].weight.std().item() == pytest.approx(0.001, rel=0.4)
    for part in (network.stem, network.stages):
        for conv in (m for m in part.modules() if isinstance(m, nn.Conv2d)):
            limit = math.sqrt(3 / conv.weight[0].numel())
            assert 0.95 * limit < conv.weight.abs().max() <= limit
    layers = (m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d))
    assert all(torch.count_nonzero(layer.bias) == 0 for layer in layers)


def test_several_logits_are_for_classes_of_which_one_applies():
    config, names = CDeep3MConfig(), ("a", "b", "c")
    for fitting in (Classes(names=names), Classes(names=names[:2]), Classes(names=names[:1], exclusive=False)):
        config.check_classes(fitting)
    with pytest.raises(NetworkError, match=r"3 overlapping classes.*never negative.*one class at a time"):
        config.check_classes(Classes(names=names, exclusive=False))


@pytest.mark.parametrize(("slices", "channels"), [(1, 3), (3, 1), (5, 3)])
def test_channels_other_than_slices_are_refused(slices, channels):
    with pytest.raises(NetworkError, match=rf"slices={slices} takes {slices} channels.*got {channels}; set slices"):
        CDeep3MConfig(slices=slices).build(channels, 1)


def test_other_numbers_of_slices_are_refused():
    with pytest.raises(NetworkError, match="slices"):
        create_model("cdeep3m", in_channels=7, out_channels=1, slices=7)


def test_one_network_of_each_kind_is_in_the_catalogue():
    assert [CDeep3MConfig(**options).in_slices for options in CDeep3MConfig.variants.values()] == [1, 3, 5]
    assert list(CDeep3MConfig.variants) == ["1fm", "3fm", "5fm"]


def test_widths_keep_their_proportions():
    one, two = (CDeep3MConfig(base=base).build(1, 1) for base in (2, 4))
    assert all(a.weight.shape[0] <= b.weight.shape[0] for a, b in zip(convs(one), convs(two), strict=True))
    widths = [stage[1].merge[0].out_channels for stage in one.stages]
    assert widths == [24, 72, 128]
    assert all(a < b for a, b in pairwise(widths))


def convs(network: nn.Module) -> list[nn.Conv2d]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d)]
