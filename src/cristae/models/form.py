"""The form of every network: a config that builds a module, and the sizes that the module works at."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, field_validator
from torch import Tensor, nn

from cristae.config import Config
from cristae.data.classes import Classes
from cristae.errors import NetworkError

Blend = Literal["gaussian", "centre_third", "farthest", "tiles"]
"""How the windows of a network that is not local are joined, see `inference.windows`."""


class Reference(NamedTuple):
    """Where a network was published."""

    authors: str
    year: int
    url: str


if TYPE_CHECKING:
    replaceable = property
else:

    class replaceable:  # noqa: N801
        """A property in whose place a subclass may have a field: neither the class nor its objects get in the way."""

        def __init__(self, read: Callable[[Any], Any]) -> None:
            self.read = read
            self.__doc__ = read.__doc__

        def __get__(self, instance: object, owner: type | None = None) -> Any:
            if instance is None:
                raise AttributeError
            return self.read(instance)


class NetworkConfig(Config):
    """What a recipe says about a network. The channels come from the data, never from here.

    Lengths along the spatial axes are given for each axis in the order z, y, x (2D networks: y, x).
    """

    model_config = ConfigDict(ignored_types=(replaceable,))

    reference: ClassVar[Reference]
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {"": {}}
    """The rows of the catalogue: a suffix of the name, and the options that make the variant."""
    blend: ClassVar[Blend] = "gaussian"
    """How windows are joined when the network is not local; what its paper does."""
    published_logits: ClassVar[int] = 1
    """Logits of the network as published: one for each of its classes, or a single one. What the catalogue counts."""
    smallest_batch: ClassVar[int] = 1
    """Patches that training needs at least in a batch."""

    @replaceable
    def ndim(self) -> int:
        """Number of spatial axes of its images: 2 for (Y, X), 3 for (Z, Y, X)."""
        return 2

    @property
    def in_slices(self) -> int:
        """Neighbouring slices that the network sees as channels; 1 unless it is 2D and its recipe says so."""
        return 1

    @property
    @abstractmethod
    def total_stride(self) -> tuple[int, ...]:
        """The layers work at sides that are multiples of this; the network pads to them. The output repeats with it:
        an image moved by this many voxels gives logits moved by as many."""

    @property
    def margin(self) -> tuple[int, ...]:
        """Voxels on both sides of each axis that the network sees and gives no logits for; 0 unless convolutions are
        not padded."""
        return (0,) * self.ndim

    @property
    def smallest_output(self) -> tuple[int, ...]:
        """Where there is a margin: the smallest side of the logits; others are larger by multiples of the stride."""
        return self.total_stride

    @property
    def fixed_output(self) -> bool:
        """Whether the logits have the smallest size and no other."""
        return False

    @property
    def window(self) -> tuple[int, ...]:
        """Size T of the patches that it is trained on when the recipe does not say; its paper's where it has one."""
        return (256, 256) if self.ndim == 2 else (32, 128, 128)

    @property
    def auxiliary_weights(self) -> tuple[float, ...]:
        """Factor of the loss of each output that the network has while training: the main output first, then its
        auxiliary outputs (deep supervision)."""
        return (1.0,)

    def check_classes(self, classes: Classes) -> None:
        """Make sure that the logits can stand for such classes; those of most networks can stand for any.

        Raises:
            NetworkError: They cannot; says what to set instead.
        """

    def input_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """Size S of the image whose logits are of the size `good_output(T)`; T itself unless there is a margin."""
        if not any(self.margin):
            return tuple(size)
        return tuple(a + 2 * b for a, b in zip(self.good_output(size), self.margin, strict=True))

    def good_output(self, size: Sequence[int]) -> tuple[int, ...]:
        """The smallest size of logits that is at least `size` T; T itself unless there is a margin.

        Where there is only one size, it is that one, however large T is.
        """
        if not any(self.margin):
            return tuple(size)
        if self.fixed_output:
            return self.smallest_output
        steps = zip(size, self.smallest_output, self.total_stride, strict=True)
        return tuple(least + max(0, -((least - side) // stride)) * stride for side, least, stride in steps)

    def output_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """Size T of the logits for an image of `size` S. They are those of the image's centre.

        Raises:
            NetworkError: The network has a margin and does not fit into this size; says the next one that is good.
        """
        if not any(self.margin):
            return tuple(size)
        output = tuple(side - 2 * margin for side, margin in zip(size, self.margin, strict=True))
        good = self.good_output(output)
        if good != output:
            raise NetworkError(
                f"{getattr(self, 'name', 'this network')} does not take images of {_sides(size)}, because its "
                f"convolutions are not padded; {'the only' if self.fixed_output else 'the next'} good size is "
                f"{_sides([a + 2 * b for a, b in zip(good, self.margin, strict=True)])}, "
                f"which gives logits of {_sides(good)}"
            )
        return output

    @abstractmethod
    def build(self, in_channels: int, out_channels: int) -> nn.Module:
        """A network with fresh weights: image (B, in_channels, *S) to logits (B, out_channels, *T).

        T is `output_size(S)`. While training it may return a tuple of logits, the main ones first; those of
        auxiliary outputs may be coarser. Weights are drawn from torch's own generator: seed that for repeatable ones.

        Raises:
            NetworkError: The network cannot be built for so many channels.
        """


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("must be odd: the slice itself and as many on each side")
    return value


class PlanarConfig(NetworkConfig):
    """A 2D network, which can see the neighbours of a slice as further channels (2.5D)."""

    slices: Annotated[int, Field(ge=1, le=31), AfterValidator(_odd)] = 1
    """Slices seen at once: 1 for the slice alone, 3 for one neighbour on each side, and so on. Beyond the first and
    last slice the stack is mirrored."""

    @property
    def in_slices(self) -> int:
        """The field `slices`."""
        return self.slices


class SpatialConfig(NetworkConfig):
    """A network for slices or for volumes, as its recipe says."""

    ndim: Literal[2, 3] = 2
    """Spatial axes: 2 for slices one by one, 3 for volumes."""
    slices: Annotated[int, Field(ge=1, le=31), AfterValidator(_odd)] = 1
    """For slices one by one: how many are seen at once, the slice itself and as many neighbours on each side."""

    @field_validator("slices")
    @classmethod
    def _only_flat(cls, slices: int, info: ValidationInfo) -> int:
        if slices > 1 and info.data.get("ndim") == 3:
            raise ValueError("must be 1 with `ndim: 3`, which sees the neighbouring slices anyway")
        return slices

    @property
    def in_slices(self) -> int:
        """The field `slices`."""
        return self.slices


def require_image(image: Tensor, *, in_channels: int, ndim: int) -> None:
    """Make sure that a batch (B, C, *S) has the channels C and the number of spatial axes that a network takes.

    Raises:
        NetworkError: It does not, or a side is empty.
    """
    if image.ndim != 2 + ndim or image.shape[1] != in_channels or 0 in image.shape:
        axes = ", ".join("zyx"[3 - ndim :])
        raise NetworkError(
            f"this network takes images (batch, {in_channels} channels, {axes}) with at least one of each, "
            f"got shape {tuple(image.shape)}; build it with in_channels equal to the channels of the data"
        )


def pad_far(image: Tensor, *, in_channels: int, multiple: Sequence[int]) -> Tensor:
    """Check a batch of images and zero-pad it at the far end of each spatial axis to the next multiple.

    Args:
        image: (B, C, *S).
        in_channels: The C that the network was built for.
        multiple: What the padded sides are multiples of, in voxels, for each spatial axis.

    Returns:
        (B, C, *S'); the same tensor when its size is allowed already.

    Raises:
        NetworkError: The number of axes or channels differs, or a side is empty.
    """
    require_image(image, in_channels=in_channels, ndim=len(multiple))
    missing = [-side % step for side, step in zip(image.shape[2:], multiple, strict=True)]
    if not any(missing):
        return image
    return F.pad(image, [amount for side in reversed(missing) for amount in (0, side)])


def pad_far_to_two(image: Tensor, *, in_channels: int, multiple: Sequence[int]) -> Tensor:
    """`pad_far` to at least two multiples in all: the normalisation of one coarse voxel alone is not defined."""
    padded = pad_far(image, in_channels=in_channels, multiple=multiple)
    return F.pad(padded, (0, multiple[-1])) if tuple(padded.shape[2:]) == tuple(multiple) else padded


def crop_near(logits: Tensor, size: torch.Size) -> Tensor:
    """The part of (B, K, *S') that belongs to the image of `size` S before `pad_far`."""
    for axis, side in enumerate(size):
        logits = logits.narrow(2 + axis, 0, side)
    return logits


def parameter_count(module: nn.Module) -> int:
    """Number of trainable parameters; running statistics of batch normalisation are not among them."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def buffer_count(module: nn.Module) -> int:
    """Number of running means and variances: what is saved and not trained, without batch counters."""
    return sum(buffer.numel() for buffer in module.buffers() if buffer.is_floating_point())


def _sides(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))
