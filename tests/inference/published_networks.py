"""The networks of papers that are local, small enough to be run whole."""

import torch
from torch import nn

LOCAL = [
    "cdeep3m", "emnet", "fcn8s", "hybrid_2d3d", "resnet50_unet", "resnet_small", "seget", "segnet", "segnet_upsampling",
    "unet_3d", "unet_bn", "unet_fibsem", "unet_stellar", "unet_valid", "vgg_unet",
]  # fmt: skip


def narrow(config):
    """The network of a paper, with few features."""
    fields = type(config).model_fields
    small = {name: 4 for name in ("base", "width") if name in fields}
    return type(config)(**small, **({"widths": [4] * len(config.widths)} if "widths" in fields else {}))


def seeded(network):
    """In evaluation, with weights and statistics that are not those of the beginning."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    return network.eval()
