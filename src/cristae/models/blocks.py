"""Pieces that several networks share, with the constants and the initialisation of Keras."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

BN_EPS = 1e-3
BN_MOMENTUM = 0.01
"""PyTorch's fraction of the new batch; Keras calls the same setting 0.99."""
TRUNCATED_STD = 0.8796256610342398
"""Standard deviation of a standard normal distribution that is cut off at -2 and 2."""


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation with the constants of Keras."""
    return nn.BatchNorm2d(channels, eps=BN_EPS, momentum=BN_MOMENTUM)


def conv_bn_relu(
    in_channels: int, out_channels: int, *, kernel: int = 3, stride: int = 1, dilation: int = 1, bias: bool = True
) -> nn.Sequential:
    """Zero-padded convolution, batch normalisation, ReLU; keeps the size when `stride` is 1."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, bias=bias),
        batch_norm(out_channels),
        nn.ReLU(inplace=True),
    )


def conv_pair(in_channels: int, out_channels: int, *, bias: bool = True) -> nn.Sequential:
    """Two 3x3 `conv_bn_relu`, both `out_channels` wide."""
    return nn.Sequential(
        conv_bn_relu(in_channels, out_channels, bias=bias), conv_bn_relu(out_channels, out_channels, bias=bias)
    )


def dropout(rate: float, *, spatial: bool) -> nn.Dropout | nn.Dropout2d:
    """While training, sets a fraction of the features to 0 and divides the others by what is left of 1.

    Args:
        rate: The fraction.
        spatial: Whether whole feature maps are drawn, for each item of a batch, and not single values. Neighbouring
            values of a map are so alike that without one of them hardly anything is missing.

    References:
        Tompson et al. (2015), https://arxiv.org/abs/1411.4280, sect. 3.2
    """
    return nn.Dropout2d(rate) if spatial else nn.Dropout(rate)


def upsample(factor: int) -> nn.Upsample:
    """Bilinear enlargement in which voxels are areas (corners not aligned)."""
    return nn.Upsample(scale_factor=float(factor), mode="bilinear", align_corners=False)


def crop_centre(features: Tensor, size: Sequence[int]) -> Tensor:
    """The central part of `size` S of features (B, C, *S'); where it cannot be central, it is half a voxel nearer."""
    for axis, side in enumerate(size, start=2):
        features = features.narrow(axis, (features.shape[axis] - side) // 2, side)
    return features


def initialise(network: nn.Module) -> None:
    """Glorot-uniform kernels and zero biases for every convolution, transposed ones included.

    References:
        Glorot, Bengio (2010), https://proceedings.mlr.press/v9/glorot10a.html, eq. 16
    """
    for module in network.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def truncated_normal_(weight: Tensor, *, variance: float) -> None:
    """Fill with normal values, of which only those within two standard deviations are kept.

    Args:
        weight: Filled in place.
        variance: That of the values that are kept, as in Keras.
    """
    std = variance**0.5 / TRUNCATED_STD
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
