"""Networks: each a config with `build(in_channels, out_channels)`. A new one is a file and a name in `Network`."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import ValidationError
from torch import nn

from cristae.errors import NetworkError
from cristae.models.cdeep3m import CDeep3MConfig
from cristae.models.deeplab import DeepLabDRNConfig, DeepLabResNetConfig
from cristae.models.deeplab_vgg import DeepLabVGGConfig
from cristae.models.deepvess import DeepVessConfig
from cristae.models.efficient_unet import EfficientUNetConfig
from cristae.models.emnet import EMNetConfig
from cristae.models.external import ExternalConfig
from cristae.models.fcn8s import FCN8sConfig
from cristae.models.form import NetworkConfig, PlanarConfig, Reference, SpatialConfig, buffer_count, parameter_count
from cristae.models.hybrid_2d3d import Hybrid2D3DConfig
from cristae.models.hybrid_2d3d_port import Hybrid2D3DPortConfig
from cristae.models.monai import MonaiSegResNetConfig, MonaiSwinUNETRConfig, MonaiUNetPPConfig
from cristae.models.resenc_unet import ResEncUNetConfig
from cristae.models.resnet50_unet import ResNet50UNetConfig
from cristae.models.resnet_small import ResNetSmallConfig
from cristae.models.seget import SegETConfig
from cristae.models.segnet import SegNetConfig
from cristae.models.segnet_upsampling import SegNetUpsamplingConfig
from cristae.models.unet_3d import UNet3DConfig
from cristae.models.unet_bn import UNetBNConfig
from cristae.models.unet_fibsem import UNetFIBSEMConfig
from cristae.models.unet_stellar import UNetStellarConfig
from cristae.models.unet_valid import UNetValidConfig
from cristae.models.vgg_unet import VGGUNetConfig
from cristae.problems import explain

Network = (
    CDeep3MConfig
    | DeepLabDRNConfig
    | DeepLabResNetConfig
    | DeepLabVGGConfig
    | DeepVessConfig
    | EfficientUNetConfig
    | EMNetConfig
    | ExternalConfig
    | FCN8sConfig
    | Hybrid2D3DConfig
    | Hybrid2D3DPortConfig
    | MonaiSegResNetConfig
    | MonaiSwinUNETRConfig
    | MonaiUNetPPConfig
    | ResEncUNetConfig
    | ResNet50UNetConfig
    | ResNetSmallConfig
    | SegETConfig
    | SegNetConfig
    | SegNetUpsamplingConfig
    | UNet3DConfig
    | UNetBNConfig
    | UNetFIBSEMConfig
    | UNetStellarConfig
    | UNetValidConfig
    | VGGUNetConfig
)
"""Any network, discriminated by `name`."""

NETWORKS: dict[str, type[NetworkConfig]] = {config.model_fields["name"].default: config for config in get_args(Network)}
"""Every network's config by name."""


def create_model(name: str, *, in_channels: int, out_channels: int, **options: Any) -> nn.Module:
    """A network with fresh weights, as a plain module that gives logits.

    Args:
        name: One of `NETWORKS`.
        in_channels: Channels of the image.
        out_channels: Number of logits: `Classes.n_logits`.
        options: Fields of the network's config.

    Returns:
        A module that maps an image (B, in_channels, *S) to logits (B, out_channels, *T), T being its config's
        `output_size(S)`: S itself unless convolutions are not padded. While training it may give a tuple of logits,
        the main ones first.

    Raises:
        NetworkError: No such network or option, or a value that it does not take.

    Example:
        >>> network = create_model("unet_bn", in_channels=1, out_channels=1, widths=(8, 16))
        >>> parameter_count(network)
        6553
    """
    for what, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if channels < 1:
            raise NetworkError(f"{what} must be at least 1, got {channels}")
    return network_config(name, options).build(in_channels, out_channels)


def network_config(name: str, options: Mapping[str, Any]) -> NetworkConfig:
    """What a recipe would say about a network.

    Args:
        name: One of `NETWORKS`.
        options: Fields of the network's config; the others get their defaults.

    Raises:
        NetworkError: No such network or option, or a value that it does not take.
    """
    if name not in NETWORKS:
        near = get_close_matches(name, NETWORKS)
        guess = f"did you mean {' or '.join(near)}? Choose" if near else "choose"
        raise NetworkError(f"there is no network '{name}'; {guess} one of {', '.join(sorted(NETWORKS))}")
    config = NETWORKS[name]
    try:
        return config.model_validate(options)
    except ValidationError as error:
        raise NetworkError("\n".join(explain(error, config, lambda _: f"network '{name}'"))) from None


__all__ = [
    "NETWORKS",
    "CDeep3MConfig",
    "DeepLabDRNConfig",
    "DeepLabResNetConfig",
    "DeepLabVGGConfig",
    "DeepVessConfig",
    "EMNetConfig",
    "EfficientUNetConfig",
    "ExternalConfig",
    "FCN8sConfig",
    "Hybrid2D3DConfig",
    "Hybrid2D3DPortConfig",
    "MonaiSegResNetConfig",
    "MonaiSwinUNETRConfig",
    "MonaiUNetPPConfig",
    "Network",
    "NetworkConfig",
    "PlanarConfig",
    "Reference",
    "ResEncUNetConfig",
    "ResNet50UNetConfig",
    "ResNetSmallConfig",
    "SegETConfig",
    "SegNetConfig",
    "SegNetUpsamplingConfig",
    "SpatialConfig",
    "UNet3DConfig",
    "UNetBNConfig",
    "UNetFIBSEMConfig",
    "UNetStellarConfig",
    "UNetValidConfig",
    "VGGUNetConfig",
    "buffer_count",
    "create_model",
    "network_config",
    "parameter_count",
]
