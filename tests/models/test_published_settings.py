"""What counts of parameters cannot see: windows, defaults, normalisation, dropout, initial weights of every network."""

import fnmatch
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, sqrt
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cristae.models import (
    NETWORKS,
    CDeep3MConfig,
    DeepLabDRNConfig,
    DeepLabResNetConfig,
    DeepLabVGGConfig,
    DeepVessConfig,
    EfficientUNetConfig,
    EMNetConfig,
    FCN8sConfig,
    Hybrid2D3DConfig,
    Hybrid2D3DPortConfig,
    MonaiSegResNetConfig,
    MonaiSwinUNETRConfig,
    MonaiUNetPPConfig,
    NetworkConfig,
    ResEncUNetConfig,
    ResNet50UNetConfig,
    ResNetSmallConfig,
    SegETConfig,
    SegNetConfig,
    SegNetUpsamplingConfig,
    UNet3DConfig,
    UNetBNConfig,
    UNetFIBSEMConfig,
    UNetStellarConfig,
    UNetValidConfig,
    VGGUNetConfig,
)

LOGITS = 40
"""So many that the last kernels have enough values for their distribution to be seen."""
KERAS = {("BatchNorm2d", 1e-3, 0.01)}
TORCH = {("BatchNorm2d", 1e-5, 0.1)}
CAFFE = {("BatchNorm2d", 1e-5, 0.001)}


@dataclass(frozen=True)
class Published:
    """A narrow network, and what its paper or its code says. Defaults are those of the catalogue's first row."""

    config: NetworkConfig
    defaults: Mapping[str, Any]
    window: tuple[int, ...]
    norms: set[tuple[str, float, float]]
    kernels: Mapping[str, str]
    """How kernels start, by a pattern of their names; the first that fits. '' leaves them out."""
    dropout: Mapping[tuple[str, float], int] = field(default_factory=dict)
    """How many layers of each kind and rate, without those of rate 0."""
    blend: str = "gaussian"
    logits: int = 1
    batch: int = 1
    outputs: tuple[float, ...] = (1.0,)


GLOROT = {"*": "glorot"}
HE_BUT_LAST = {"head.weight": "glorot", "*": "he_cut"}
DENSE: dict[str, Any] = {"logits": 7, "kernels": GLOROT}
"""What the networks of Guay et al. (2021) have in common."""
DEEPLAB: dict[str, Any] = {
    **DENSE,
    "defaults": {"slices": 1, "base": 64, "spatial_dropout": False},
    "window": (572, 572),
    "norms": TORCH,
    "dropout": {("Dropout", 0.5): 2, ("Dropout", 0.1): 1},
    "blend": "farthest",
    "batch": 2,
}
PUBLISHED = {
    "cdeep3m": Published(
        CDeep3MConfig(base=8),
        {"slices": 1, "base": 32},
        window=(320, 320),
        norms=CAFFE,
        kernels={"heads.*": "", "slices.*": "", "*": "caffe"},  # those have tests of their own
    ),
    "deeplab_drn": Published(DeepLabDRNConfig(base=8), **DEEPLAB),
    "deeplab_resnet": Published(DeepLabResNetConfig(base=8), **DEEPLAB),
    "deeplab_vgg": Published(
        DeepLabVGGConfig(base=8),
        {"slices": 1, "base": 16, "split": (2, 2, 4, 4, 4, 3, 2, 2), "conv_bias": False},
        window=(512, 512),
        norms=KERAS,
        kernels=GLOROT,
        batch=2,
    ),
    "deepvess": Published(
        DeepVessConfig(base=8, hidden=64),
        {"base": 32, "hidden": 1024},
        window=(1, 5, 5),
        norms=set(),
        blend="tiles",
        **DENSE,
    ),
    "efficient_unet": Published(
        EfficientUNetConfig(width=0.5, depth=1.0, decoder_widths=(24, 20, 16, 12, 8)),
        {
            "slices": 1,
            "width": 1.4,
            "depth": 1.8,
            "decoder_widths": (512, 256, 128, 64, 32),
            "stochastic_depth": 0.2,
            "keras_rescale": False,
        },
        window=(256, 256),
        norms=KERAS,
        kernels={"encoder.*": "he_out_cut", "*": "glorot"},
        blend="centre_third",
        logits=4,
    ),
    "emnet": Published(
        EMNetConfig(base=4),
        {"slices": 1, "variant": "v1_2x", "base": 16},
        window=(512, 512),
        norms=KERAS,
        kernels=HE_BUT_LAST,
        dropout={("Dropout2d", 0.5): 1},
    ),
    "fcn8s": Published(
        FCN8sConfig(base=4),
        {"slices": 1, "base": 16, "batch_norm": False, "spatial_dropout": False},
        window=(512, 512),
        norms=set(),
        kernels={"up_*": "", "*": "glorot"},  # those start bilinear
        dropout={("Dropout", 0.5): 2},
    ),
    "hybrid_2d3d": Published(
        Hybrid2D3DConfig(base=8),
        {
            "base": 64,
            "convs_3x3x3": True,
            "pyramid": True,
            "pyramid_convs": (3, 5),
            "feed": "softmax",
            "relu_logits": False,
            "z_double_upsample": False,
            "symmetric_ups": False,
            "padded": False,
        },
        window=(5, 296, 296),
        norms=set(),
        blend="farthest",
        outputs=(1.0, 0.33),
        **DENSE,
    ),
    "hybrid_2d3d_port": Published(
        Hybrid2D3DPortConfig(base=8),
        {"base": 64, "shared": True},
        window=(5, 296, 296),
        norms={("InstanceNorm", 1e-5, 0.1)},
        blend="farthest",
        outputs=(1.0, 0.33),
        **DENSE,
    ),
    "monai_segresnet": Published(
        MonaiSegResNetConfig(base=8, blocks=(1, 1, 1, 1, 1)),
        {"ndim": 2, "slices": 1, "base": 32, "blocks": (1, 2, 2, 4, 4), "outputs": 4, "norm": "batch"},
        window=(256, 256),
        norms=TORCH,
        kernels={"*": ""},  # its own
        outputs=(8 / 15, 4 / 15, 2 / 15, 1 / 15),
    ),
    "monai_swin_unetr": Published(
        MonaiSwinUNETRConfig(base=12),
        {"ndim": 2, "slices": 1, "base": 24, "attention_window": 7, "depths": (2, 2, 2, 2), "drop_path": 0.0},
        window=(256, 256),
        norms={("InstanceNorm2d", 1e-5, 0.1)},
        kernels={"*": ""},
    ),
    "monai_unetpp": Published(
        MonaiUNetPPConfig(base=4),
        {"ndim": 2, "slices": 1, "base": 32, "norm": "instance", "dropout": 0.0},
        window=(256, 256),
        norms={("InstanceNorm2d", 1e-5, 0.1)},
        kernels={"*": ""},
        outputs=(0.25, 0.25, 0.25, 0.25),
    ),
    "resenc_unet": Published(
        ResEncUNetConfig(base=4, blocks=(1, 2)),
        {
            "ndim": 2,
            "slices": 1,
            "window_vox": None,
            "anisotropy": 1.0,
            "base": 32,
            "most": None,
            "blocks": (1, 3, 4, 6),
            "strides": (),
            "kernels": (),
        },
        window=(256, 256),
        norms={("InstanceNorm2d", 1e-5, 0.1)},
        kernels={"*": "he_leaky"},
        outputs=(16 / 31, 8 / 31, 4 / 31, 2 / 31, 1 / 31),
    ),
    "resnet50_unet": Published(
        ResNet50UNetConfig(base=8), {"slices": 1, "base": 64}, window=(512, 512), norms=KERAS, kernels=HE_BUT_LAST
    ),
    "resnet_small": Published(
        ResNetSmallConfig(base=4), {"slices": 1, "base": 16}, window=(512, 512), norms=KERAS, kernels=GLOROT
    ),
    "seget": Published(
        SegETConfig(base=4),
        {
            "slices": 1,
            "base": 16,
            "skip_width": "half",
            "skip_position": "main_path",
            "down_width": "same",
            "first_branch": "3x3",
            "branch_width": "full",
            "centre_input": "branch_input",
            "centre_width": "full",
            "fusion": "two_steps",
            "head": "separate",
            "conv_bias": True,
        },
        window=(512, 512),
        norms=KERAS,
        kernels=GLOROT,
    ),
    "segnet": Published(
        SegNetConfig(base=4), {"slices": 1, "base": 16}, window=(512, 512), norms=KERAS, kernels=GLOROT
    ),
    "segnet_upsampling": Published(
        SegNetUpsamplingConfig(base=8), {"slices": 1, "base": 32}, window=(512, 512), norms=KERAS, kernels=GLOROT
    ),
    "unet_3d": Published(
        UNet3DConfig(base=8),
        {"shape": "thin", "base": 64, "depth": 3, "padded": False},
        window=(5, 296, 296),
        norms=set(),
        blend="farthest",
        **DENSE,
    ),
    "unet_bn": Published(
        UNetBNConfig(widths=(4, 8, 16, 32)),
        {"slices": 1, "widths": (16, 32, 64, 128, 256)},
        window=(256, 256),
        norms=KERAS,
        kernels=GLOROT,
    ),
    "unet_fibsem": Published(
        UNetFIBSEMConfig(widths=(8, 16, 32)),
        {"slices": 1, "widths": (64, 128, 256, 512, 1024), "dropout": 0.5, "spatial_dropout": False},
        window=(256, 256),
        norms=KERAS,
        kernels={"ups.*": "glorot", "head.*": "glorot", "*": "he_cut"},
        dropout={("Dropout", 0.5): 1},
        blend="centre_third",
        logits=4,
    ),
    "unet_stellar": Published(
        UNetStellarConfig(base=8),
        {"slices": 1, "norm": "batch", "activation": "relu", "base": 64, "spatial_dropout": False},
        window=(512, 512),
        norms=KERAS,
        kernels=HE_BUT_LAST,
        dropout={("Dropout", 0.5): 1},
    ),
    "unet_valid": Published(
        UNetValidConfig(base=4, depth=4),
        {"slices": 1, "base": 64, "depth": 5},
        window=(388, 388),
        norms=set(),
        blend="tiles",
        **DENSE,
    ),
    "vgg_unet": Published(
        VGGUNetConfig(base=8), {"slices": 1, "base": 64}, window=(512, 512), norms=KERAS, kernels=HE_BUT_LAST
    ),
}
every = pytest.mark.parametrize("name", PUBLISHED)
KEPT = 0.8796256610342398
"""Standard deviation of what is left of a standard normal distribution between -2 and 2."""
FARTHEST = {"glorot": sqrt(3), "caffe": sqrt(3), "he_cut": 2 / KEPT, "he_out_cut": 2 / KEPT, "he_leaky": inf}
"""The largest value that there can be, in standard deviations."""
EXPECTED = {"glorot": 1.71, "caffe": 1.71, "he_cut": 2.2, "he_out_cut": 2.2, "he_leaky": 2.6}
"""What the largest of some thousand values exceeds."""


def build(name: str) -> nn.Module:
    if name.startswith("monai"):
        pytest.importorskip("monai")
    torch.manual_seed(0)
    config = PUBLISHED[name].config
    return config.build(config.in_slices, LOGITS)


def variance(rule: str, kernel: Tensor, module: nn.Module) -> float:
    """That of a kernel (out, in, ...) which starts by the rule."""
    fan_in, taps = kernel[0].numel(), kernel[0, 0].numel()
    return {
        "glorot": 2 / (taps * (kernel.shape[0] + kernel.shape[1])),
        "caffe": 1 / fan_in,
        "he_cut": 2 / fan_in,
        "he_out_cut": 2 * getattr(module, "groups", 1) / (taps * kernel.shape[0]),
        "he_leaky": 2 / (1.0001 * fan_in),
    }[rule]


def test_every_network_is_in_the_table():
    assert set(PUBLISHED) == set(NETWORKS) - {"external"}


@every
def test_windows_batches_and_auxiliary_outputs(name):
    published, config = PUBLISHED[name], NETWORKS[name]()
    assert config.model_dump(exclude={"name"}) == published.defaults
    assert (config.window, config.blend, config.published_logits) == (
        published.window,
        published.blend,
        published.logits,
    )
    assert (config.smallest_batch, config.auxiliary_weights) == (published.batch, pytest.approx(published.outputs))
    first, *_ = config.variants.values()
    assert NETWORKS[name](**first) == config


@every
def test_normalisation_and_dropout(name):
    published, network = PUBLISHED[name], build(name)
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
    assert {(type(m).__name__, m.eps, m.momentum) for m in norms} == published.norms
    drops = [m for m in network.modules() if isinstance(m, nn.modules.dropout._DropoutNd) and m.p]
    assert Counter((type(m).__name__, m.p) for m in drops) == published.dropout


@every
def test_kernels_start_as_published_and_biases_at_zero(name):
    published, network = PUBLISHED[name], build(name)
    drawn: dict[str, list[Tensor]] = {}
    for path, module in network.named_modules():
        if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
            kernel = module.weight.detach()
            rule = next(
                rule for pattern, rule in published.kernels.items() if fnmatch.fnmatch(f"{path}.weight", pattern)
            )
            if rule:
                normal = kernel.flatten() / sqrt(variance(rule, kernel, module))
                drawn.setdefault(rule, []).append(normal)
                if len(normal) > 200:
                    assert normal.std().item() == pytest.approx(1, abs=5 / sqrt(2 * len(normal))), path
                    assert abs(normal.mean().item()) < 5 / sqrt(len(normal)), path
            if not name.startswith("monai") and module.bias is not None:
                assert torch.count_nonzero(module.bias) == 0, path
    assert set(drawn) == {rule for rule in published.kernels.values() if rule}
    for rule, normals in drawn.items():
        largest = torch.cat(normals).abs().max().item()
        assert EXPECTED[rule] < largest <= FARTHEST[rule] * (1 + 1e-5), rule


def test_released_flags_and_ablations_of_the_hybrid_network():
    assert Hybrid2D3DConfig.variants == {
        "": {},
        "released": {"z_double_upsample": True, "relu_logits": True, "feed": "relu_logits"},
        "no_3x3x3": {"convs_3x3x3": False},
        "no_pyramid": {"pyramid": False},
    }
