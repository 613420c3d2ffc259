"""2D-3D + 3x3x3 against the layer table of its paper and a straight-line reading of it."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cristae.data.classes import Classes
from cristae.errors import NetworkError
from cristae.models import Hybrid2D3DConfig, parameter_count

RELEASED = Hybrid2D3DConfig.variants["released"]


def convs(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d))]


def default() -> nn.Module:
    with torch.device("meta"):
        return Hybrid2D3DConfig().build(1, 7)


def random_image(*shape: int) -> Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_parameters_of_each_row_of_the_layer_table():
    network = default()
    assert [[parameter_count(conv) for conv in block] for block in network.encoder] == [
        [896, 18_496, 36_928],
        [110_656, 73_856, 147_584],
        [295_168, 590_080],
        [1_180_160, 2_359_808],
    ]
    assert [parameter_count(up) for up in network.ups] == [524_544, 65_600, 16_416]
    assert [[parameter_count(conv) for conv in block] for block in network.decoder] == [
        [1_179_904, 590_080],
        [331_840, 73_856, 147_584],
        [82_976, 18_496, 36_928],
    ]
    pyramid = network.pyramid
    assert [parameter_count(conv) for conv in pyramid.fine] == [122_752, 110_656, 110_656]
    assert [parameter_count(layer) for layer in pyramid.coarse] == [0, 245_504, *[442_496] * 4, 8_256]
    assert parameter_count(pyramid.up) == 16_448
    assert (parameter_count(network.head_2d), parameter_count(network.head_3d)) == (455, 455)


def test_parts_of_the_penalty_hold_every_parameter_once():
    network = default()
    parts = network.parameter_parts()
    assert [sum(values.numel() for values in part) for part in parts] == [7_881_856, 2_384_256, 910]
    assert sorted(id(p) for part in parts for p in part) == sorted(id(p) for p in network.parameters())
    planar, volumetric, predictors = Hybrid2D3DConfig(base=2, pyramid=False).build(1, 2).parameter_parts()
    assert (len(planar) > 0, volumetric, len(predictors)) == (True, [], 2)


def test_kernels_with_three_slices_come_first_in_the_two_finest_blocks_and_in_the_pyramid():
    network = default()
    first = [block[0][0].kernel_size for block in (*network.encoder, *network.decoder)]
    deep, flat = (3, 3, 3), (1, 3, 3)
    assert first == [deep, deep, flat, flat, flat, deep, deep]
    later = [conv[0].kernel_size for block in (*network.encoder, *network.decoder) for conv in list(block)[1:]]
    assert set(later) == {flat}
    ablated = Hybrid2D3DConfig(base=2, convs_3x3x3=False).build(1, 1)
    assert {block[0][0].kernel_size for block in (*ablated.encoder, *ablated.decoder)} == {flat}


def test_shapes_inside_for_the_published_window():
    network, seen = default().train(), {}

    def record(name: str):
        return lambda module, inputs, output: seen.update({name: (tuple(inputs[0].shape), tuple(output.shape))})

    for level, block in enumerate(network.encoder):
        block.register_forward_hook(record(f"encoder{level}"))
    for level, (up, block) in enumerate(zip(network.ups, network.decoder, strict=True)):
        up.register_forward_hook(record(f"up{2 - level}"))
        block.register_forward_hook(record(f"decoder{2 - level}"))
    network.pyramid.register_forward_hook(record("pyramid"))
    network.pyramid.coarse[1].register_forward_hook(record("coarse"))
    logits = network(torch.empty(1, 1, 5, 300, 300, device="meta"))
    assert [one.shape for one in logits] == [(1, 7, 5, 296, 296)] * 2
    sides = [seen[f"encoder{level}"][1][2:] for level in range(4)]
    assert sides == [(5, 300, 300), (5, 150, 150), (5, 75, 75), (5, 37, 37)]
    assert [seen[f"up{level}"][1][1:] for level in range(3)] == [(32, 5, 296, 296), (64, 5, 148, 148), (256, 5, 74, 74)]
    assert [seen[f"decoder{level}"][0][1] for level in range(3)] == [96, 192, 512]
    assert seen["pyramid"] == ((1, 71, 5, 296, 296), (1, 64, 5, 296, 296))
    assert seen["coarse"] == ((1, 71, 5, 148, 148), (1, 128, 5, 148, 148))


@pytest.mark.parametrize(("side", "output"), [(300, 296), (60, 56), (12, 8)])
def test_a_window_loses_two_pixels_on_each_side(side, output):
    assert Hybrid2D3DConfig().output_size((5, side, side)) == (5, output, output)
    assert Hybrid2D3DConfig().input_size((5, output, output)) == (5, side, side)


def test_other_windows_are_refused_with_the_next_good_one():
    with pytest.raises(NetworkError, match="next good size is 5 x 300 x 300, which gives logits of 5 x 296 x 296"):
        Hybrid2D3DConfig().build(1, 1)(torch.zeros(1, 1, 5, 296, 296))
    assert Hybrid2D3DConfig(padded=True).output_size((5, 297, 303)) == (5, 297, 303)


class Reference:
    """Straight-line reading of the layer table; takes convolutions in the table's order."""

    def __init__(self, network: nn.Module, config: Hybrid2D3DConfig) -> None:
        self.convs = iter(convs(network))
        self.ups = list(network.ups)
        self.network = network
        self.config = config

    def conv(self, x: Tensor, conv: nn.Module) -> Tensor:
        return F.relu(F.conv3d(x, conv.weight, conv.bias, padding=[side // 2 for side in conv.weight.shape[2:]]))

    def block(self, x: Tensor, level: int, name: str) -> Tensor:
        layers = getattr(self.network, name)[level]
        for layer in layers:
            x = self.conv(x, layer[0])
        return x

    def up(self, x: Tensor, conv: nn.Module) -> Tensor:
        return F.conv_transpose3d(x, conv.weight, conv.bias, stride=conv.weight.shape[2:])

    def head(self, x: Tensor, conv: nn.Module) -> Tensor:
        x = F.conv3d(x, conv.weight, conv.bias)
        return x.clamp(min=0) if self.config.relu_logits else x

    def features(self, x: Tensor) -> Tensor:
        crops = (0, 0, 0) if self.config.padded else (2, 1, 0)
        skips = []
        for level in range(3):
            x = self.block(x, level, "encoder")
            skips.append(x)
            x = F.max_pool3d(x, (1, 2, 2))
        x = self.block(x, 3, "encoder")
        for step, level in enumerate((2, 1, 0)):
            x = self.up(x, self.ups[step])
            a, b = crops[level], crops[level] + x.shape[-1]
            c = crops[level] + x.shape[-2]
            x = self.block(torch.cat([skips[level][..., a:c, a:b], x], 1), step, "decoder")
        return x

    def logits(self, x: Tensor, central: slice = slice(None)) -> tuple[Tensor, Tensor]:
        x, network = self.features(x), self.network
        planar = self.head(x, network.head_2d)
        fed = {"softmax": planar.softmax(1), "sigmoid": planar.sigmoid(), "relu_logits": planar.relu()}
        x = torch.cat([x, fed[self.config.feed]], 1)
        fine, coarse = x, F.max_pool3d(x, (1, 2, 2))
        for layer in network.pyramid.fine:
            fine = self.conv(fine, layer[0])
        for layer in list(network.pyramid.coarse)[1:]:
            coarse = self.conv(coarse, layer[0])
        coarse = self.up(coarse, network.pyramid.up)[:, :, central]
        return self.head(fine + coarse, network.head_3d), planar


@pytest.mark.parametrize(
    ("options", "central"),
    [
        ({}, slice(None)),
        (RELEASED, slice(2, 7)),
        ({"convs_3x3x3": False, "symmetric_ups": True, "pyramid_convs": (1, 2), "feed": "sigmoid"}, slice(None)),
    ],
    ids=["default", "released", "others"],
)
def test_wiring_equals_a_straight_line_reading_of_the_table(options, central, randomised):
    config = Hybrid2D3DConfig(base=4, **options)
    network, image = randomised(config.build(2, 3)), random_image(1, 2, 5, 28, 36)
    with torch.no_grad():
        expected = Reference(network, config).logits(image, central)
        torch.testing.assert_close(network(image), expected[0], rtol=1e-10, atol=1e-10)
        found = network.train()(image)
    assert len(found) == 2
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_padded_wiring_pads_at_the_far_side_and_crops_no_skip(randomised):
    config = Hybrid2D3DConfig(base=4, padded=True)
    network, image = randomised(config.build(1, 3)), random_image(1, 1, 3, 21, 24)
    with torch.no_grad():
        expected, _ = Reference(network, config).logits(F.pad(image, (0, 0, 0, 3)))
        torch.testing.assert_close(network(image), expected[..., :21, :], rtol=1e-10, atol=1e-10)


def test_without_a_pyramid_the_answer_is_the_2d_one_and_keeps_its_factor(randomised):
    config = Hybrid2D3DConfig(base=4, pyramid=False)
    network, image = randomised(config.build(1, 3)), random_image(1, 1, 3, 20, 20)
    with torch.no_grad():
        reference = Reference(network, config)
        expected = reference.head(reference.features(image), network.head_2d)
        torch.testing.assert_close(network(image), expected, rtol=1e-10, atol=1e-10)
        assert len(network.train()(image)) == 1
    assert config.auxiliary_weights == (0.33,)
    assert Hybrid2D3DConfig().auxiliary_weights == (1.0, 0.33)


@pytest.mark.parametrize("feed", ["softmax", "sigmoid"])
def test_one_logit_feeds_its_sigmoid(feed, randomised):
    network, seen = randomised(Hybrid2D3DConfig(base=4, feed=feed).build(1, 1)).train(), []
    network.pyramid.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        _, planar = network(random_image(1, 1, 2, 12, 12))
    assert torch.equal(seen[0][:, 4:], planar.sigmoid())


def see_no_neighbours(network: nn.Module) -> nn.Module:
    """Weights that are 1 in the middle of each kernel and 0 around it: a voxel goes where the wiring takes it."""
    for conv in convs(network):
        nn.init.zeros_(conv.bias)
        if isinstance(conv, nn.ConvTranspose3d):
            nn.init.constant_(conv.weight, 0.1)
        else:
            nn.init.zeros_(conv.weight)
            conv.weight.data[(..., *(side // 2 for side in conv.weight.shape[2:]))] = 0.1
    return network.double().eval()


def reached(network: nn.Module, place: int, side: int = 36) -> list[int]:
    image = torch.zeros(1, 1, 1, side, side, dtype=torch.float64)
    image[..., place, place] = 1.0
    with torch.no_grad():
        output = network(image)[0, 0, 0]
    assert torch.equal(output, output.T)
    return output.any(0).nonzero().flatten().tolist()


def test_fine_features_answer_for_their_place_and_the_coarsest_lag_by_two_pixels():
    network = see_no_neighbours(Hybrid2D3DConfig(base=2, pyramid=False).build(1, 1))
    up_channels = [up.weight.shape[1] for up in network.ups]
    fine = [block[0][0].weight.data for block in network.decoder]
    kept = [weight.clone() for weight in fine]
    fine[2][:, -up_channels[2] :] = 0  # nothing from below the finest scale
    assert reached(network, 21) == [21 - 2]
    for weight, before, channels in zip(fine, kept, up_channels, strict=True):
        weight.copy_(before)
        weight[:, :-channels] = 0  # no skips
    assert reached(network, 15) == list(range(8, 16))
    assert reached(network, 16) == list(range(16, 24))
    assert reached(network, 34) == []  # halving rounds 36 / 8 down


def test_padded_features_lag_nowhere():
    network = see_no_neighbours(Hybrid2D3DConfig(base=2, pyramid=False, padded=True).build(1, 1))
    assert reached(network, 21, side=40) == list(range(16, 24))


def test_slices_mix_through_3d_convolutions_alone(randomised):
    image = random_image(1, 1, 6, 12, 12)
    other = image.clone()
    other[:, :, 5] = 0
    for options, first_changed in (({}, 1), ({"convs_3x3x3": False}, 5)):  # four such convolutions reach four slices
        network = randomised(Hybrid2D3DConfig(base=4, pyramid=False, **options).build(1, 2))
        with torch.no_grad():
            for values in network.parameters():
                values.abs_()
            changed = (network(image) != network(other)).any(-1).any(-1).any(1)[0]
        assert changed.nonzero().flatten().tolist() == list(range(first_changed, 6))


def test_kernels_start_glorot_uniform_and_biases_at_zero():
    torch.manual_seed(0)
    network = Hybrid2D3DConfig(base=32).build(1, 7)
    for conv, fans in ((network.encoder[1][1][0], (32 + 64) * 9), (network.ups[0], (256 + 128) * 4)):
        limit = (6 / fans) ** 0.5
        assert limit * 0.999 < conv.weight.abs().max() <= limit
        assert conv.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.02)
    assert all(torch.count_nonzero(conv.bias) == 0 for conv in convs(network))


def test_logits_after_relu_are_never_negative(randomised):
    network = randomised(Hybrid2D3DConfig(base=4, relu_logits=True).build(1, 3)).train()
    with torch.no_grad():
        outputs = network(random_image(1, 1, 2, 20, 20) - 0.5)
    assert all((logits >= 0).all() and (logits == 0).any() for logits in outputs)


def test_answers_that_end_with_relu_are_for_classes_of_which_one_applies():
    several, single = Classes(names=("a", "b", "c")), Classes(names=("a", "b"))
    overlapping = Classes(names=("a", "b"), exclusive=False)
    released = Hybrid2D3DConfig(**Hybrid2D3DConfig.variants["released"])
    released.check_classes(several)
    for classes in (single, overlapping, Classes(names=("a",), exclusive=False)):
        with pytest.raises(NetworkError, match=r"set model\.relu_logits: false"):
            released.check_classes(classes)


def test_the_pyramid_sees_no_softmax_of_overlapping_classes():
    overlapping = Classes(names=("a", "b"), exclusive=False)
    for classes in (Classes(names=("a", "b")), Classes(names=("a", "b", "c")), Classes(names=("a",), exclusive=False)):
        Hybrid2D3DConfig().check_classes(classes)
    for config in (Hybrid2D3DConfig(feed="sigmoid"), Hybrid2D3DConfig(pyramid=False)):
        config.check_classes(overlapping)
    with pytest.raises(NetworkError, match=r"set model\.feed: sigmoid"):
        Hybrid2D3DConfig().check_classes(overlapping)
