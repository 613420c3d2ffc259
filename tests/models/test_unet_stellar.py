"""The U-nets of EM-stellar against their layer table."""

import pytest
import torch
from straight_line import Layers, counts, pool, random_image, randomise_slopes, up, watch
from torch import Tensor, nn

from cristae.models import UNetStellarConfig

PLAIN, BN, PRELU = {"norm": "none"}, {}, {"activation": "prelu"}
STAGES = [
    (
        PLAIN,
        [37_568, 221_440, 885_248, 3_539_968, 14_157_824],
        [9_176_576, 2_294_528, 573_824, 143_552],
        1_157,
    ),
    (BN, [37_824, 221_952, 886_272, 3_542_016, 14_161_920], [9_179_648, 2_296_064, 574_592, 143_936], 1_161),
    (PRELU, [37_952, 222_208, 886_784, 3_543_040, 14_163_968], [9_181_184, 2_296_832, 574_976, 144_128], 1_163),
]


@pytest.mark.parametrize(("options", "encoder", "decoder", "head"), STAGES, ids=["plain", "bn", "prelu"])
def test_parameters_of_each_stage(options, encoder, decoder, head):
    with torch.device("meta"):
        network = UNetStellarConfig(**options).build(1, 1)
    assert counts(network.encoder) == encoder
    steps = zip(network.ups, network.decoder, strict=True)
    assert [sum(counts(step)) for step in steps] == decoder
    assert sum(counts([network.hidden, network.head])) == head


def test_three_variants_are_in_the_catalogue():
    assert list(UNetStellarConfig.variants.values()) == [BN, PLAIN, PRELU]


def test_prelu_replaces_all_23_hidden_activations_and_starts_as_relu():
    with torch.device("meta"):
        network = UNetStellarConfig(activation="prelu").build(1, 1)
    slopes = [m for m in network.modules() if isinstance(m, nn.PReLU)]
    assert len(slopes) == sum(isinstance(m, nn.Conv2d) for m in network.modules()) - 1 == 23
    assert sum(counts(slopes)) == 6850
    assert not any(isinstance(m, nn.ReLU) for m in network.modules())
    torch.manual_seed(0)
    relu, prelu = UNetStellarConfig(base=2).build(1, 1).eval(), UNetStellarConfig(base=2, activation="prelu")
    learnt = prelu.build(1, 1).eval()
    learnt.load_state_dict(relu.state_dict(), strict=False)
    image = torch.rand(1, 1, 16, 16)
    assert torch.equal(learnt(image), relu(image))


class Table(Layers):
    """Straight-line reading of the layer table; the options say what follows each convolution."""

    def __init__(self, *parts: nn.Module, norm: str = "batch", activation: str = "relu") -> None:
        super().__init__(*parts)
        self.normed, self.learnt = norm == "batch", activation == "prelu"

    def after(self, x: Tensor) -> Tensor:
        x = self.norm(x) if self.normed else x
        return torch.where(x > 0, x, next(self.slopes).weight[:, None, None] * x) if self.learnt else x.clamp(min=0)

    def c(self, x: Tensor) -> Tensor:
        return self.after(self.conv(x))


@pytest.mark.parametrize("options", [PLAIN, BN, PRELU], ids=["plain", "bn", "prelu"])
def test_wiring_equals_a_straight_line_reading_of_the_table(options, randomised):
    network = randomise_slopes(randomised(UNetStellarConfig(base=2, **options).build(2, 3)))
    image = random_image(2, 2, 32, 48)
    steps = [part for step in zip(network.ups, network.decoder, strict=True) for part in step]
    table = Table(network.encoder, *steps, network.hidden, network.head, **options)
    with torch.no_grad():
        x, skips = image, []
        for level in range(5):
            x = table.c(table.c(pool(x) if level else x))
            skips.append(x)
        for skip in reversed(skips[:4]):
            x = table.after(table.conv2(up(x)))
            x = table.c(table.c(torch.cat([skip, x], 1)))
        torch.testing.assert_close(network(image), table.conv(table.c(x)), rtol=1e-9, atol=1e-9)
    table.require_done()


def test_single_values_are_dropped_before_the_fourth_skip_and_after_the_bottleneck():
    torch.manual_seed(0)
    network = UNetStellarConfig(base=8).build(1, 1).train()
    levels = {f"level{i}": level for i, level in enumerate(network.encoder)}
    steps = {f"step{i}": step for i, step in enumerate(network.decoder)}
    seen = watch(up=network.ups[0], **levels, **steps)
    network(torch.rand(2, 1, 64, 64))
    for level in range(3):
        out = seen[f"level{level}"][1]
        assert torch.equal(seen[f"step{3 - level}"][0][:, : out.shape[1]], out)
        assert torch.equal(seen[f"level{level + 1}"][0], pool(out))
    before, skip = seen["level3"][1], seen["step0"][0][:, :64]
    assert_values_dropped(before, skip)
    assert torch.equal(seen["level4"][0], pool(skip))
    assert_values_dropped(seen["level4"][1], seen["up"][0])


def assert_values_dropped(before: Tensor, after: Tensor) -> None:
    alive = before > 0
    assert torch.equal(after[alive & (after != 0)], 2 * before[alive & (after != 0)])
    kept = (alive & (after != 0)).flatten(2).sum(2) / alive.flatten(2).sum(2)
    kept = kept[alive.flatten(2).sum(2) >= 8]
    assert kept.numel() > 20
    assert 0.4 < kept.mean() < 0.6
    assert ((kept > 0) & (kept < 1)).float().mean() > 0.9  # whole channels would be 0 or 1
