"""The constants that networks share."""

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from cristae.models import UNetFIBSEMConfig, create_model
from cristae.models.blocks import conv_bn_relu, crop_centre, dropout, upsample

WITH_DROPOUT = {
    "deeplab_drn": {"base": 4},
    "deeplab_resnet": {"base": 4},
    "fcn8s": {"base": 2},
    "unet_fibsem": {"widths": (4, 8)},
    "unet_stellar": {"base": 2},
}
"""Narrow networks whose papers drop single values."""


def test_running_statistics_take_one_part_in_a_hundred():
    block = conv_bn_relu(1, 1, kernel=1)
    block[0].weight.data.fill_(1.0)
    block[0].bias.data.zero_()
    block(torch.full((2, 1, 3, 3), 50.0))
    assert block[1].running_mean.item() == 0.5
    assert round(block[1].running_var.item(), 6) == 0.99


def test_dilation_and_stride_keep_or_halve_the_size():
    image = torch.zeros(1, 1, 32, 32)
    assert conv_bn_relu(1, 1, dilation=8)(image).shape == (1, 1, 32, 32)
    assert conv_bn_relu(1, 1, stride=2)(image).shape == (1, 1, 16, 16)


def test_enlargement_treats_voxels_as_areas():
    row = torch.tensor([0.0, 4.0]).view(1, 1, 1, 2)
    torch.testing.assert_close(upsample(2)(row)[0, 0, 0], torch.tensor([0.0, 1.0, 3.0, 4.0]))


def test_central_part_starts_at_half_of_what_is_cut_off_rounded_down():
    for side, wanted, start in ((75, 74, 0), (150, 148, 1), (300, 296, 2), (7, 7, 0)):
        row = torch.arange(side).view(1, 1, 1, side)
        found = crop_centre(row, (1, wanted)).flatten()
        assert found.tolist() == list(range(start, start + wanted))


@pytest.mark.parametrize("rate", [0.5, 0.1])
def test_spatial_dropout_zeroes_whole_maps_of_single_items_and_keeps_the_mean(rate: float) -> None:
    channels = 4_000
    features = torch.rand(2, channels, 3, 5, generator=torch.Generator().manual_seed(0)) + 0.5
    layer = dropout(rate, spatial=True).train()
    torch.manual_seed(1)
    found = layer(features)
    dropped = (found == 0).flatten(2)
    assert torch.equal(dropped.any(2), dropped.all(2))
    kept = ~dropped.all(2)[..., None, None]
    torch.testing.assert_close(found, features * kept / (1 - rate))
    share = dropped.all(2).double().mean(1)
    deviation = (rate * (1 - rate) / channels) ** 0.5
    assert (share - rate).abs().max() < 5 * deviation
    assert found.mean().item() == pytest.approx(features.mean().item(), rel=5 * deviation / (1 - rate))
    assert not torch.equal(dropped[0], dropped[1])  # each item of a batch has maps of its own


def test_dropout_of_single_values_leaves_no_map_whole() -> None:
    torch.manual_seed(1)
    found = dropout(0.5, spatial=False).train()(torch.ones(2, 50, 16, 16))
    share = (found == 0).flatten(2).double().mean(2)
    assert (share - 0.5).abs().max() < 5 * (0.25 / 256) ** 0.5


@pytest.mark.parametrize("spatial", [False, True])
def test_dropout_repeats_with_torchs_seed_and_does_nothing_in_prediction(spatial: bool) -> None:
    layer, features = dropout(0.5, spatial=spatial), torch.rand(2, 64, 4, 4)
    assert torch.equal(layer.eval()(features), features)

    def seeded(seed: int) -> Tensor:
        torch.manual_seed(seed)
        made: Tensor = layer.train()(features)
        return made

    assert torch.equal(seeded(3), seeded(3))
    assert not torch.equal(seeded(3), seeded(4))


@pytest.mark.parametrize("name", WITH_DROPOUT)
def test_every_network_that_drops_values_can_drop_whole_maps_instead(name: str) -> None:
    """The layers of dropout change and nothing else: weights of one fit the other."""
    single, whole = (
        create_model(name, in_channels=1, out_channels=1, **WITH_DROPOUT[name], spatial_dropout=spatial)
        for spatial in (False, True)
    )
    found = []
    for network in (single, whole):
        layers = [m for m in network.modules() if isinstance(m, torch.nn.modules.dropout._DropoutNd)]
        found.append([(type(m).__name__, m.p) for m in layers])
    assert found[0]
    assert found[1] == [("Dropout2d", rate) for _, rate in found[0]]
    assert {kind for kind, _ in found[0]} == {"Dropout"}
    whole.load_state_dict(single.state_dict())


def test_spatial_dropout_of_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="has no effect with `dropout: 0`"):
        UNetFIBSEMConfig(dropout=0, spatial_dropout=True)
    assert not UNetFIBSEMConfig(dropout=0).spatial_dropout
