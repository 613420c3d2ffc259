"""The form of every network: a config that builds a module, and the sizes that the module works at."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cristae.config import Config
from cristae.errors import NetworkError


class NetworkConfig(Config):
    """What a recipe says about a network. The channels come from the data, never from here."""

    @property
    def ndim(self) -> int:
        """Number of spatial axes of its images: 2 for (Y, X), 3 for (Z, Y, X)."""
        return 2

    @property
    @abstractmethod
    def size_multiple(self) -> int:
        """Every side that the layers work at is a multiple of this many voxels: the total stride."""

    def output_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """Size T of the logits for an image of `size` S, in voxels; the same unless convolutions are not padded."""
        return tuple(size)

    @abstractmethod
    def build(self, in_channels: int, out_channels: int) -> nn.Module:
        """A network with fresh weights: image (B, in_channels, *S) to logits (B, out_channels, *S), for any size S.

        Weights are drawn from torch's own generator: seed that for repeatable ones.
        """


def pad_far(image: Tensor, *, in_channels: int, multiple: int) -> Tensor:
    """Check a batch of 2D images and zero-pad it at the bottom and right to the next multiple.

    Args:
        image: (B, C, Y, X).
        in_channels: The C that the network was built for.
        multiple: What the padded sides are multiples of, in pixels.

    Returns:
        (B, C, Y', X'); the same tensor when its size is allowed already.

    Raises:
        NetworkError: The number of axes or channels differs, or a side is empty.
    """
    if image.ndim != 4 or image.shape[1] != in_channels or 0 in image.shape:
        raise NetworkError(
            f"this network takes images (batch, {in_channels} channels, y, x) with at least one of each, "
            f"got shape {tuple(image.shape)}; build it with in_channels equal to the channels of the data"
        )
    bottom, right = (-side % multiple for side in image.shape[2:])
    return F.pad(image, (0, right, 0, bottom)) if bottom or right else image


def crop_near(logits: Tensor, size: torch.Size) -> Tensor:
    """The part of (B, K, Y', X') that belongs to the image of `size` (Y, X) before `pad_far`."""
    return logits[..., : size[0], : size[1]]


def parameter_count(module: nn.Module) -> int:
    """Number of trainable parameters; running statistics of batch normalisation are not among them."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
