"""Which channels of a network are its features, on networks whose layers can be counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cristae.models import NETWORKS, EfficientUNetConfig, NetworkConfig, UNetBNConfig, UNetStellarConfig
from cristae.models.features import FeatureKind, FeatureLayer, feature_layers
from cristae.models.stages import Trace
from cristae.models.trace import trace, watch


def layers_of(config: NetworkConfig, side: int, kind: FeatureKind) -> tuple[Trace, tuple[FeatureLayer, ...]]:
    with torch.device("meta"):
        network, image = config.build(1, 1).eval(), torch.empty(1, 1, side, side)
    shapes: dict[int, tuple[int, ...]] = {}
    found = watch(network, image, seen=lambda number, made: shapes.__setitem__(number, tuple(made.shape)))
    return found, feature_layers(found, shapes, kind)


def test_convolutions_of_a_small_unet_by_hand() -> None:
    found, layers = layers_of(UNetBNConfig(widths=(4, 8)), 8, "convolutions")
    assert [(found.stages[one.stage].name, one.channels, one.size) for one in layers] == [
        ("encoder.0", 4, (8, 8)),
        ("encoder.0", 4, (8, 8)),
        ("encoder.1", 8, (4, 4)),
        ("encoder.1", 8, (4, 4)),
        ("decoder.0", 4, (8, 8)),  # the transposed convolution, without activation
        ("decoder.0", 4, (8, 8)),
        ("decoder.0", 4, (8, 8)),
        ("decoder.0", 1, (8, 8)),  # the logits
    ]
    kinds = [found.layers[one.number].kind for one in layers]
    assert kinds == ["ReLU", "ReLU", "ReLU", "ReLU", "ConvTranspose2d", "ReLU", "ReLU", "Conv2d"]


def test_every_layer_counts_what_only_changes_values_again() -> None:
    """Two convolutions with normalisation and activation are 6 layers; what pools, enlarges or joins is one each."""
    _, layers = layers_of(UNetBNConfig(widths=(4, 8)), 8, "layers")
    assert [sum(one.channels for one in layers if one.stage == stage) for stage in range(3)] == [
        6 * 4,
        4 + 6 * 8,
        4 + 8 + 6 * 4 + 1,
    ]


def test_the_u_net_of_em_stellar_has_nine_blocks_with_the_bottleneck_in_the_middle() -> None:
    """Section 9: B1 is the first block at full size (512), B5 the bottleneck, B9 the output block."""
    found, layers = layers_of(UNetStellarConfig(base=2), 512, "convolutions")
    stages = sorted({one.stage for one in layers})
    scales = [next(one.scale[0] for one in layers if one.stage == stage) for stage in stages]
    assert scales == [1, 2, 4, 8, 16, 8, 4, 2, 1]
    assert found.stages[stages[0]].size == (512, 512)
    assert layers[-1].stage == stages[8]
    assert layers[-1].channels == 1  # the logits


def test_global_means_have_no_places() -> None:
    """The gates of squeeze-and-excite work on one value for each channel; those are no features."""
    found, layers = layers_of(EfficientUNetConfig(), 64, "convolutions")
    gates = [number for number, layer in enumerate(found.layers) if layer.conv_flop and layer.size == (1, 1)]
    assert gates
    assert not {one.number for one in layers} & set(gates)


def test_what_is_seen_is_what_layers_give() -> None:
    torch.manual_seed(0)
    network = UNetBNConfig(widths=(4, 8)).build(1, 1).eval()
    expected: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
        if not list(module.children()):
            module.register_forward_hook(lambda _, __, made, name=name: expected.__setitem__(name, made.clone()))
    seen: dict[int, Tensor] = {}
    image = torch.rand(1, 1, 12, 12)
    found = watch(network, image, seen=lambda number, made: seen.__setitem__(number, made.clone()))
    modules = {number: layer.path for number, layer in enumerate(found.layers) if layer.path in expected}
    assert len(modules) > 20
    for number, path in modules.items():
        assert torch.equal(seen[number], expected[path])


@pytest.mark.parametrize("name", ["unet_bn", "seget"])
def test_watching_values_finds_what_shapes_alone_do(name: str) -> None:
    config = NETWORKS[name]()
    size = tuple(4 * step for step in config.total_stride)
    assert watch(config.build(1, 2).eval(), torch.rand(1, 1, *size)).layers == trace(config, 1, 2, size).layers
