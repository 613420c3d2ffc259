"""The later variant of 2D-3D + 3x3x3 against its counts and a straight-line reading."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cristae.data.classes import Classes
from cristae.errors import NetworkError
from cristae.models import Hybrid2D3DPortConfig, parameter_count


def random_image(*shape: int) -> Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_parameters_of_each_part():
    with torch.device("meta"):
        network = Hybrid2D3DPortConfig().build(1, 7)
    planar = [network.stem, network.encoder, network.ups, network.decoder, network.head_2d]
    assert sum(parameter_count(part) for part in planar) == 8_129_799
    assert parameter_count(network.pyramid.fine) == 233_408
    assert parameter_count(network.pyramid.coarse) == 696_256
    assert parameter_count(network.pyramid.up) == 16_384
    assert parameter_count(network.head_3d) == 455
    assert all(up.bias is None for up in (*network.ups, network.pyramid.up))
    parts = network.parameter_parts()
    assert [sum(values.numel() for values in part) for part in parts] == [8_129_799 - 455, 946_048, 910]
    assert sorted(id(p) for part in parts for p in part) == sorted(id(p) for p in network.parameters())


def test_published_window_keeps_its_size():
    with torch.device("meta"):
        network = Hybrid2D3DPortConfig().build(1, 7).train()
        image = torch.empty(1, 1, 5, 296, 296)
    assert [logits.shape for logits in network(image)] == [(1, 7, 5, 296, 296)] * 2


class Reference:
    """Straight-line reading: takes convolutions in the order of the network's modules."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def conv(self, x: Tensor, conv: nn.Module) -> Tensor:
        return F.conv3d(x, conv.weight, conv.bias, padding=[side // 2 for side in conv.weight.shape[2:]])

    def norm(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3, 4), keepdim=True)
        variance = ((x - mean) ** 2).mean((2, 3, 4), keepdim=True)
        return F.relu((x - mean) / (variance + 1e-5).sqrt())

    def block(self, x: Tensor, block: nn.Module) -> Tensor:
        *first, last = [layer for layer in block if isinstance(layer, nn.Conv3d)]
        for conv in first:
            x = self.conv(x, conv).relu()
        return self.norm(self.conv(x, last))

    def branch(self, x: Tensor, branch: nn.Module, convs: list[nn.Module]) -> Tensor:
        x = self.conv(x, branch.first)
        for conv in convs:
            x = self.conv(x.relu(), conv)
        return self.norm(x)

    def logits(self, x: Tensor, *, shared: bool) -> tuple[Tensor, Tensor]:
        network, skips = self.network, []
        x = self.conv(x, network.stem)
        for block in list(network.encoder)[:3]:
            x = self.block(x, block)
            skips.append(x)
            x = F.max_pool3d(x, (1, 2, 2))
        x = self.block(x, network.encoder[3])
        for up, block in zip(network.ups, network.decoder, strict=True):
            x = self.block(torch.cat([F.conv_transpose3d(x, up.weight, stride=(1, 2, 2)), skips.pop()], 1), block)
        planar = self.conv(x, network.head_2d)
        x = torch.cat([x, F.relu(planar).softmax(1)], 1)
        a, b = network.pyramid.fine, network.pyramid.coarse
        fine = self.branch(x, a, [a.others[0]] * 2 if shared else list(a.others))
        branch = b[1]
        coarse = F.max_pool3d(x, (1, 2, 2))
        coarse = self.branch(coarse, branch, [branch.others[0]] * 6 if shared else list(branch.others))
        coarse = self.norm(self.conv(coarse, b[2]))
        up = F.conv_transpose3d(coarse, network.pyramid.up.weight, stride=(1, 2, 2))
        return self.conv(fine + up, network.head_3d), planar


@pytest.mark.parametrize("shared", [True, False])
def test_wiring_equals_a_straight_line_reading(shared, randomised):
    network = randomised(Hybrid2D3DPortConfig(base=4, shared=shared).build(2, 3)).train()
    image = random_image(2, 2, 3, 16, 24)
    with torch.no_grad():
        found, expected = network(image), Reference(network).logits(image, shared=shared)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(network.eval()(image), expected[0], rtol=1e-9, atol=1e-9)


def test_branches_apply_two_and_six_further_convolutions():
    network, calls = Hybrid2D3DPortConfig(base=2).build(1, 1), []
    fine, coarse = network.pyramid.fine, network.pyramid.coarse[1]
    for branch, name in ((fine, "fine"), (coarse, "coarse")):
        assert len(branch.others) == 1
        branch.others[0].register_forward_hook(lambda module, inputs, output, name=name: calls.append(name))
    network(torch.zeros(1, 1, 2, 8, 8))
    assert (calls.count("fine"), calls.count("coarse")) == (2, 6)


def test_the_stem_lets_negative_values_through(randomised):
    network = randomised(Hybrid2D3DPortConfig(base=4).build(1, 1))
    seen = []
    network.encoder[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(random_image(1, 1, 2, 8, 8) - 0.5)
    assert (seen[0] < 0).any()


def test_one_logit_feeds_the_sigmoid_of_its_relu(randomised):
    network, seen = randomised(Hybrid2D3DPortConfig(base=4).build(1, 1)).train(), []
    network.pyramid.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        _, planar = network(random_image(1, 1, 2, 16, 16))
    assert torch.equal(seen[0][:, 4:], planar.relu().sigmoid())


def test_a_single_coarsest_voxel_is_normalised_to_zero(randomised):
    network, seen = randomised(Hybrid2D3DPortConfig(base=4).build(1, 1)), []
    network.encoder[3].register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        logits = network(random_image(1, 1, 1, 8, 8))
    assert seen[0].shape[2:] == (1, 1, 1)
    assert torch.count_nonzero(seen[0]) == 0
    assert torch.isfinite(logits).all()


def test_classes_do_not_overlap():
    Hybrid2D3DPortConfig().check_classes(Classes(names=("a", "b", "c")))
    Hybrid2D3DPortConfig().check_classes(Classes(names=("a",), exclusive=False))
    with pytest.raises(NetworkError, match="use hybrid_2d3d with feed: sigmoid"):
        Hybrid2D3DPortConfig().check_classes(Classes(names=("a", "b"), exclusive=False))
