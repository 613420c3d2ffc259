"""Networks of MONAI: what is put around them, and what happens without MONAI."""

import sys

import pytest
import torch
import torch.nn.functional as F

from cristae.errors import NetworkError
from cristae.inference.locality import measure_locality
from cristae.models import MonaiSegResNetConfig, MonaiSwinUNETRConfig, MonaiUNetPPConfig, create_model

SMALL = {
    "segresnet": MonaiSegResNetConfig(base=4, blocks=(1, 1, 2)),
    "swin_unetr": MonaiSwinUNETRConfig(base=12, depths=(2, 1, 1, 1), attention_window=4),
    "unetpp": MonaiUNetPPConfig(base=4),
}
every = pytest.mark.parametrize("config", SMALL.values(), ids=SMALL)


@every
def test_images_that_fit_are_given_to_monai_as_they_are(config):
    torch.manual_seed(0)
    network, image = config.build(2, 3).eval(), torch.rand(1, 2, 64, 32)
    with torch.no_grad():
        given = network.network(image)
        expected = given[-1] if isinstance(given, list) else given
        assert torch.equal(network(image), expected)


@every
def test_one_coarse_voxel_has_a_second_one_beside_it(config):
    torch.manual_seed(0)
    network, image = config.build(1, 1).eval(), torch.rand(1, 1, 3, 5)
    sides = config.total_stride
    with torch.no_grad():
        whole = network(F.pad(image, (0, 2 * sides[1] - 5, 0, sides[0] - 3)))
        assert torch.equal(network(image), whole[..., :3, :5])


def test_main_logits_of_unetpp_are_those_of_the_deepest_node():
    torch.manual_seed(0)
    config = SMALL["unetpp"]
    network, image = config.build(1, 2).train(), torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        before = network(image)
        for node in (1, 2, 3, 4):
            getattr(network.network, f"final_conv_0_{node}").bias.add_(node)
        after = network(image)
    assert [(b - a).mean().item() for a, b in zip(before, after, strict=True)] == pytest.approx([4, 3, 2, 1], abs=1e-5)
    assert len(after) == len(config.auxiliary_weights)


def test_coarser_logits_of_segresnet_cover_the_image():
    network = MonaiSegResNetConfig(base=4, blocks=(1, 1, 1, 1), outputs=3).build(1, 1).train()
    with torch.no_grad():
        sizes = [tuple(one.shape[2:]) for one in network(torch.rand(2, 1, 13, 22))]
    assert sizes == [(13, 22), (7, 11), (4, 6)]


def test_no_more_heads_than_levels():
    config = MonaiSegResNetConfig(base=4, blocks=(1, 1, 1), outputs=4)
    assert config.auxiliary_weights == pytest.approx((2 / 3, 1 / 3))
    assert len(config.build(1, 1).train()(torch.rand(2, 1, 8, 8))) == 2


def test_normalisation_decides_whether_blocks_are_exact():
    for norm, local in (("batch", True), ("instance", False)):
        for config in (MonaiSegResNetConfig(base=4, blocks=(1, 1), norm=norm), MonaiUNetPPConfig(base=4, norm=norm)):
            found = measure_locality(config.build(1, 1).eval(), config)
            assert found.local == local, (config.name, found.reason)
    assert not measure_locality(SMALL["swin_unetr"].build(1, 1).eval(), SMALL["swin_unetr"]).local


def test_dropped_paths_grow_with_depth():
    network = MonaiSwinUNETRConfig(base=12, drop_path=0.7).build(1, 1)
    rates = [getattr(m, "drop_prob", 0.0) for n, m in network.named_modules() if n.endswith("drop_path")]
    assert rates == pytest.approx([0.1 * number for number in range(8)])


@every
def test_without_monai_the_extra_is_named(config, monkeypatch):
    for name in ("monai", "monai.networks", "monai.networks.nets"):
        monkeypatch.setitem(sys.modules, name, None)
    assert config.total_stride
    assert config.auxiliary_weights
    with pytest.raises(NetworkError, match=rf'{config.name} needs MONAI: pip install "cristae\[monai\]"'):
        config.build(1, 1)


def test_what_monai_refuses_is_told_as_a_network_error(monkeypatch):
    from monai.networks import nets

    def refuse(**options):
        raise ValueError("not like this")

    monkeypatch.setattr(nets, "SwinUNETR", refuse)
    with pytest.raises(NetworkError, match="MONAI cannot build monai_swin_unetr: not like this"):
        SMALL["swin_unetr"].build(1, 1)


def test_channels_of_attention_are_checked_before():
    with pytest.raises(NetworkError, match="base: must be a multiple of 12"):
        create_model("monai_swin_unetr", in_channels=1, out_channels=1, base=16)
