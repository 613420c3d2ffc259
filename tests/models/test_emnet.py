"""EM-net against its layer table: counts of each stage, wiring, dropout, trainable linear units."""

import pytest
import torch
from straight_line import Layers, counts, pool, random_image, randomise_slopes, up, watch
from torch import Tensor, nn

from cristae.models import EMNetConfig
from cristae.models.emnet import TrainableLinearUnit

VARIANTS = ("v1_2x", "v1_4x", "v1_bn", "v1_bn_2x", "v2", "v2_2x", "v2_4x")
DECODER = [2_033_920, 574_592, 143_936, 36_128]
STAGES = {
    "v1_2x": ([28_224, 129_888, 517_824, 2_067_840], 1_477_440, DECODER, 585),
    "v1_4x": (
        [111_744, 517_824, 2_067_840, 8_264_448],
        5_904_000,
        [8_131_072, 2_296_064, 574_592, 143_936],
        1_161,
    ),
    "v1_bn": ([14_448, 74_688, 296_832, 1_183_488], 1_036_032, DECODER, 585),
    "v1_bn_2x": ([19_296, 84_384, 334_656, 1_332_864], 2_366_976, [2_001_152, 500_864, 125_504, 31_520], 585),
    "v2": ([37_728, 167_040, 665_856, 2_658_816], 1_257_600, DECODER, 585),
    "v2_2x": ([88_704, 388_800, 1_551_744, 6_200_064], 2_808_000, [2_885_888, 722_048, 180_800, 45_344], 585),
    "v2_4x": ([47_040, 332_544, 1_328_640, 5_311_488], 18_876_416, [6_228_992, 1_295_872, 324_352, 81_280], 585),
}
BOTTLENECKS = {
    "v1_2x": [369_216, 148_032, 812_160, 148_032],
    "v1_4x": [1_475_712, 590_976, 3_246_336, 590_976],
    "v1_bn": [369_600, 148_416, 369_600, 148_416],
    "v1_bn_2x": [591_744] * 4,
    "v2": [222_144, 369_792, 517_248, 148_416],
    "v2_2x": [369_600, 1_181_952, 812_160, 444_288],
}


def full(variant: str) -> nn.Module:
    with torch.device("meta"):
        return EMNetConfig(variant=variant).build(1, 1)


def test_every_published_variant_is_in_the_catalogue():
    assert tuple(EMNetConfig.variants) == VARIANTS == tuple(STAGES)
    assert [EMNetConfig(**options).variant for options in EMNetConfig.variants.values()] == list(VARIANTS)


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters_of_each_stage(variant):
    network = full(variant)
    encoder, bottleneck, decoder, head = STAGES[variant]
    assert counts(network.encoder) == encoder
    assert sum(counts(network.bottleneck)) == bottleneck
    assert counts(network.decoder) == decoder
    assert sum(counts([network.hidden, network.head])) == head
    if variant in BOTTLENECKS:
        assert counts(unit for branch in network.bottleneck for unit in branch.units) == BOTTLENECKS[variant]


WIDTHS = {  # skips finest first, what enters the bottleneck, what leaves it, what leaves each decoder step
    "v1_2x": ([32, 64, 128, 256], 512, 256, [256, 128, 64, 32]),
    "v1_4x": ([64, 128, 256, 512], 1024, 512, [512, 256, 128, 64]),
    "v1_bn": ([32, 64, 128, 256], 512, 256, [256, 128, 64, 32]),
    "v1_bn_2x": ([16, 32, 64, 128], 256, 512, [256, 128, 64, 32]),
    "v2": ([32, 64, 128, 256], 256, 256, [256, 128, 64, 32]),
    "v2_2x": ([64, 128, 256, 512], 512, 512, [256, 128, 64, 32]),
    "v2_4x": ([128, 256, 512, 1024], 1024, 1024, [256, 128, 64, 32]),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_shapes_inside_for_a_512_pixel_patch(variant):
    network = full(variant).eval()
    seen = watch(**{f"level{i}": level for i, level in enumerate(network.encoder)})
    seen_steps = watch(**{f"step{i}": step for i, step in enumerate(network.decoder)})
    inside = watch(bottleneck=network.bottleneck[0], up=network.decoder[0].up)
    assert network(torch.empty(1, 1, 512, 512, device="meta")).shape == (1, 1, 512, 512)
    skips, entering, leaving, steps = WIDTHS[variant]
    assert [seen[f"level{i}"][1][1].shape[1:] for i in range(4)] == [
        (w, 512 >> i, 512 >> i) for i, w in enumerate(skips)
    ]
    assert inside["bottleneck"][0].shape[1:] == (entering, 32, 32)
    assert inside["up"][0].shape[1:] == (leaving, 32, 32)
    assert [seen_steps[f"step{i}"][1].shape[1:] for i in range(4)] == [
        (w, 64 << i, 64 << i) for i, w in enumerate(steps)
    ]


class Table(Layers):
    """The units of the paper's table."""

    def ct(self, x: Tensor, bn: bool) -> Tensor:
        x = self.conv(x)
        x = self.norm(x) if bn else x
        slope = next(self.slopes)
        return slope.beta * x.clamp(min=0) - slope.alpha * (-x).clamp(min=0)

    def a(self, x: Tensor, bn: bool = False) -> Tensor:
        p = self.ct(x, bn)
        q = self.ct(p, bn)
        r = self.ct(q, bn)
        return torch.cat([p, r], 1)

    def abn(self, x: Tensor) -> Tensor:
        return self.a(x, bn=True)

    def b(self, x: Tensor) -> Tensor:
        p = self.ct(x, False)
        q = self.ct(p, False)
        r = self.ct(q, False)
        s = self.ct(r, False)
        return torch.cat([q, s], 1)

    def c(self, x: Tensor) -> Tensor:
        p = self.ct(x, False)
        q = self.ct(p, False)
        t = torch.cat([p, q], 1)
        r = self.ct(t, False)
        return torch.cat([t, r], 1)

    def level(self, variant: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """The skip, and what is pooled."""
        if variant in ("v1_2x", "v1_4x"):
            a = self.a(x)
            b = self.b(a)
            return b, torch.cat([a, b], 1)
        if variant == "v1_bn":
            a = self.abn(x)
            b = self.abn(a)
            return b, torch.cat([a, b], 1)
        if variant == "v1_bn_2x":
            b = self.abn(self.abn(x))
            d = self.abn(self.abn(b))
            return d, torch.cat([b, d], 1)
        x = self.c(x) if variant == "v2_4x" else self.b(self.b(x))
        return x, x

    def bottleneck(self, variant: str, x: Tensor) -> Tensor:
        if variant in ("v1_2x", "v1_4x"):
            return torch.cat([self.a(self.a(x)), self.a(self.b(x))], 1)
        if variant == "v1_bn":
            return torch.cat([self.abn(self.abn(x)), self.abn(self.abn(x))], 1)
        if variant == "v1_bn_2x":
            q = self.abn(self.abn(x))
            return torch.cat([q, self.abn(self.abn(q))], 1)
        if variant == "v2_4x":
            return self.cr(self.cr(x))
        return torch.cat([self.b(self.abn(x)), self.abn(self.b(x))], 1)

    def logits(self, variant: str, x: Tensor) -> Tensor:
        skips = []
        for _ in range(4):
            skip, x = self.level(variant, x)
            skips.append(skip)
            x = pool(x)
        x = self.bottleneck(variant, x)
        for skip in reversed(skips):
            x = torch.relu(self.norm(self.conv2(up(x))))
            x = self.cbr(self.cbr(torch.cat([x, skip], 1)))
        return self.conv(self.cbr(x))


@pytest.mark.parametrize("variant", VARIANTS)
def test_wiring_equals_a_straight_line_reading_of_the_table(variant, randomised):
    network = randomise_slopes(randomised(EMNetConfig(variant=variant, base=2).build(2, 3)))
    image, table = random_image(2, 2, 32, 48), Table(network)
    with torch.no_grad():
        torch.testing.assert_close(network(image), table.logits(variant, image), rtol=1e-9, atol=1e-9)
    table.require_done()


def dropped_channels(before: Tensor, after: Tensor) -> float:
    """Make sure that each channel is 0 or doubled; the fraction that is 0 among those that were not."""
    alive = before.flatten(2).abs().amax(2) > 0
    zero = after.flatten(2).abs().amax(2) == 0
    torch.testing.assert_close(after, torch.where(zero[..., None, None], 0.0, 2 * before), rtol=1e-6, atol=0)
    return (zero & alive).sum().item() / alive.sum().item()


@pytest.mark.parametrize("variant", ["v1_2x", "v1_4x", "v1_bn"])
def test_both_branches_of_the_bottleneck_read_the_same_dropped_channels(variant):
    torch.manual_seed(0)
    network = EMNetConfig(variant=variant, base=4).build(1, 1).train()
    left, right = network.bottleneck
    seen = watch(last=network.encoder[3], left=left, right=right, up=network.decoder[0].up)
    network(torch.rand(2, 1, 32, 32))
    assert torch.equal(seen["left"][0], seen["right"][0])
    assert 0.3 < dropped_channels(pool(seen["last"][1][0]), seen["left"][0]) < 0.7
    joined = torch.cat([seen["left"][1][0], seen["right"][1][0]], 1)
    if variant == "v1_4x":
        assert 0.3 < dropped_channels(joined, seen["up"][0]) < 0.7
    else:
        assert torch.equal(joined, seen["up"][0])


def test_v2_4x_drops_channels_in_each_unit_before_the_skip_is_taken_and_after_the_bottleneck():
    torch.manual_seed(0)
    network = EMNetConfig(variant="v2_4x", base=4).build(1, 1).train()
    units = [level.units[0] for level in network.encoder]
    steps = {f"step{i}": step.features for i, step in enumerate(network.decoder)}
    drops = {f"drop{i}": unit.drop for i, unit in enumerate(units)}
    levels = {f"level{i}": level for i, level in enumerate(network.encoder)}
    seen = watch(bottleneck=network.bottleneck[0], up=network.decoder[0].up, **steps, **drops, **levels)
    network(torch.rand(2, 1, 32, 32))
    for level in range(4):
        assert 0.2 < dropped_channels(*seen[f"drop{level}"]) < 0.8
        dropped = seen[f"drop{level}"][1]
        assert torch.equal(seen[f"step{3 - level}"][0][:, -dropped.shape[1] :], dropped)
        below = seen[f"level{level + 1}"] if level < 3 else seen["bottleneck"]
        assert torch.equal(below[0], pool(dropped))
    assert 0.3 < dropped_channels(seen["bottleneck"][1][0], seen["up"][0]) < 0.7


def test_dropout_sits_where_the_table_says_and_nowhere_else():
    found = {}
    for variant in VARIANTS:
        drops = [m for m in full(variant).modules() if isinstance(m, nn.modules.dropout._DropoutNd)]
        assert all(type(m) is nn.Dropout2d and m.p == 0.5 for m in drops)
        found[variant] = len(drops)
    assert found == {"v1_2x": 1, "v1_4x": 2, "v1_bn": 1, "v1_bn_2x": 0, "v2": 0, "v2_2x": 0, "v2_4x": 5}


def test_trainable_linear_unit_starts_as_relu_and_learns_both_slopes():
    unit = TrainableLinearUnit(2)
    values = torch.tensor([[-2.0, 3.0, -1.0, 5.0], [4.0, -7.0, 0.0, 1.0]]).view(1, 2, 2, 2)
    assert torch.equal(unit(values), torch.relu(values))
    unit(values).sum().backward()
    assert unit.alpha.grad.flatten().tolist() == [-3.0, -7.0]
    assert unit.beta.grad.flatten().tolist() == [8.0, 5.0]
    with torch.no_grad():
        unit.alpha.copy_(torch.tensor([0.5, 2.0]).view(1, 2, 1, 1))
        unit.beta.copy_(torch.tensor([3.0, 0.25]).view(1, 2, 1, 1))
        assert unit(values).flatten().tolist() == [-1.0, 9.0, -0.5, 15.0, 1.0, -14.0, 0.0, 0.25]


SLOPES = [6240, 12_480, 4416, 7392, 8064, 12_096, 3840]


@pytest.mark.parametrize(("variant", "slopes"), list(zip(VARIANTS, SLOPES, strict=True)))
def test_number_of_slopes(variant, slopes):
    units = [m for m in full(variant).modules() if isinstance(m, TrainableLinearUnit)]
    assert sum(counts(units)) == slopes
