"""Is a network local, and how far does it see?

A local network's output depends on a bounded neighbourhood of its input. Then blocks with a halo of that reach give
exactly what one pass over the whole image gives. The network runs once on a small float64 image while every torch
function that it calls is looked at: one that is not known to be local refuses; convolutions and poolings become
positive means over all channels and pointwise functions the identity, so that no influence is lost or cancels. The
extent of the gradient of output voxels of all stride phases is then the reach.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cristae.config import facts_from
from cristae.data.box import Triple

_LONGEST_PROBE = 4096
"""Total strides; a network that sees further is taken for global."""
_CONVOLUTIONS = {getattr(torch, f"conv{n}d"): False for n in "123"}
_CONVOLUTIONS |= {getattr(torch, f"conv_transpose{n}d"): True for n in "123"}
_POOLING: dict[Any, Callable[..., Tensor]] = {getattr(F, f"max_pool{n}d"): getattr(F, f"avg_pool{n}d") for n in "123"}
_POINTWISE = frozenset((
    "relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "prelu", "elu", "elu_", "celu", "selu", "silu", "mish",
    "gelu", "hardtanh", "hardswish", "hardsigmoid", "sigmoid", "sigmoid_", "tanh", "tanh_", "softplus", "dropout",
    "dropout2d", "dropout3d", "alpha_dropout", "batch_norm", "clone", "contiguous", "to", "float", "double", "type",
))  # fmt: skip
_SHAPING = frozenset((
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "interpolate", "pad", "cat", "concat", "concatenate", "stack",
    "__getitem__", "narrow", "chunk", "split", "unbind", "unsqueeze", "squeeze",
))  # fmt: skip
_ARITHMETIC: dict[str, Callable[..., Tensor]] = {
    **dict.fromkeys(("add", "add_", "__add__", "__radd__", "__iadd__"), torch.add),
    **dict.fromkeys(("mul", "mul_", "__mul__", "__rmul__", "__imul__"), torch.mul),
}


@dataclass(frozen=True)
class Locality:
    """What has to be known about a network to predict in blocks."""

    local: bool
    reason: str
    """Why it is local or not, in words."""
    reach: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt]
    """Voxels (z, y, x) on each side that can change an output voxel, the largest over all stride phases and both
    sides; z is 0 for 2D networks."""
    stride: tuple[PositiveInt, PositiveInt, PositiveInt]
    """Block inputs start at multiples of this many voxels (z, y, x) and have sizes that are its multiples."""
    ndim: Annotated[int, Field(ge=2, le=3)]
    """Spatial axes of the network: 2 (slices one by one) or 3."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Locality:
        """From what `to_dict` gave, also after a trip through JSON.

        Raises:
            RunError: A field is missing, unknown or wrong.
        """
        return facts_from(cls, values, "locality")


class _NotLocalError(Exception):
    """The network does something whose reach is not bounded, or not known to be."""


def measure_locality(network: nn.Module, *, ndim: int, stride: int | Sequence[int], in_channels: int = 1) -> Locality:
    """Find out whether a network is local and how far it sees.

    Args:
        network: Maps (B, in_channels, *S) to logits (B, K, *S). It is copied, not changed.
        ndim: Number of spatial axes, 2 or 3.
        stride: Input sides that the network takes without padding are multiples of this, as one number or one for
            each spatial axis; it is also the period of its stride phases (`total_stride` of a network's config).
        in_channels: Channels of the image.

    Returns:
        The verdict; the same for every machine and weight.
    """
    steps = [stride] * ndim if isinstance(stride, int) else list(stride)
    probe = _positive_copy(network)
    try:
        reach = [_reach(probe, axis, steps, in_channels) for axis in range(ndim)]
    except _NotLocalError as found:
        return Locality(False, str(found), (0, 0, 0), _triple([1] * (3 - ndim) + steps), ndim)
    return Locality(
        local=True,
        reason=f"every output voxel depends on at most {max(reach)} voxels on each side",
        reach=_triple([0] * (3 - ndim) + reach),
        stride=_triple([1] * (3 - ndim) + steps),
        ndim=ndim,
    )


def _reach(probe: nn.Module, axis: int, steps: Sequence[int], in_channels: int) -> int:
    """Reach along one axis. The other axes are one stride long: every layer treats its axes alike and apart."""
    step = steps[axis]
    length = 8 * step
    while True:
        touched, longest = _touched(probe, axis, steps, in_channels, length)
        centre = length // 2 // step * step
        reach = 0
        for place in range(centre, centre + step):
            low, high = touched(place)
            reach = max(reach, place - low, high - place)
        # A dilated kernel can jump over the border of a short probe: there must be room for the longest jump.
        if reach + step * longest < min(centre, length - centre - step):
            return reach
        length = max(2 * length, 4 * step * longest)
        if length > _LONGEST_PROBE * step:
            raise _NotLocalError(f"a voxel influences the output more than {length // 8} voxels away")


def _touched(
    probe: nn.Module, axis: int, steps: Sequence[int], in_channels: int, length: int
) -> tuple[Callable[[int], tuple[int, int]], int]:
    """Run the network once.

    Returns:
        A function that gives the first and last input position that an output position depends on, and the extent of
        the longest kernel.
    """
    sides = list(steps)
    sides[axis] = length
    image = torch.ones((1, in_channels, *sides), dtype=torch.float64, requires_grad=True)
    watch = _LocalOnly()
    with torch.inference_mode(False), torch.enable_grad(), watch:
        output = probe(image)
    if output.shape[2:] != image.shape[2:]:
        raise _NotLocalError(f"an input of {tuple(image.shape[2:])} gives an output of {tuple(output.shape[2:])}")
    rows = output.movedim(2 + axis, 0).reshape(length, -1).sum(1)

    def extent(position: int) -> tuple[int, int]:
        (gradient,) = torch.autograd.grad(rows[position], image, retain_graph=True)
        found = gradient.movedim(2 + axis, 0).reshape(length, -1).abs().amax(1).nonzero().flatten()
        return int(found.min()), int(found.max())

    return extent, watch.longest


def _positive_copy(network: nn.Module) -> nn.Module:
    """A float64 copy in evaluation whose factors are 1 and whose biases are 0, so that a learnt 0 hides nothing."""
    probe = copy.deepcopy(network).cpu().double().eval()
    for name, values in probe.named_parameters():
        values.requires_grad_(False)
        values.fill_(0.0 if name.endswith("bias") else 1.0)
    return probe


class _LocalOnly(TorchFunctionMode):
    """Refuses torch functions that are not known to be local, and lets the others pass all influence on."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = 1
        """Voxels from the first to the last tap of the longest kernel."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if not any(_carries_image(value) for value in (*args, *given.values())):
            return func(*args, **given)
        name = getattr(func, "__name__", str(func))
        if func in _CONVOLUTIONS:
            self.longest = max(self.longest, _kernel_extent(func, args, given))
            return _mean_convolution(func, *args, **given)
        if func in _POOLING:
            self.longest = max(self.longest, *_numbers(args[1] if len(args) > 1 else given["kernel_size"]))
            return _mean_pool(_POOLING[func], *args, **given)
        if name in _ARITHMETIC:
            return _ARITHMETIC[name](*args, **given)
        if name in _POINTWISE:
            _check_batch_norm(name, args, given)
            return args[0] if args else given["input"]
        result = func(*args, **given)
        if name in _SHAPING:
            _check_shaping(name, args, given)
        elif _carries_image(result):
            raise _NotLocalError(f"it uses '{name}', which may look at the whole image")
        return result


def _kernel_extent(function: Any, args: Sequence[Any], given: Mapping[str, Any]) -> int:
    place = 7 if _CONVOLUTIONS[function] else 5
    dilation = args[place] if len(args) > place else given.get("dilation", 1)
    weight = args[1] if len(args) > 1 else given["weight"]
    return int((max(weight.shape[2:]) - 1) * max(_numbers(dilation)) + 1)


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (int(value),)


def _carries_image(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.requires_grad
    return isinstance(value, tuple | list) and any(_carries_image(part) for part in value)


def _check_batch_norm(name: str, args: Sequence[Any], given: Mapping[str, Any]) -> None:
    if name == "batch_norm" and (given.get("training") or (len(args) > 5 and args[5])):
        raise _NotLocalError("its batch normalisation has no running statistics and looks at the whole image")


def _check_shaping(name: str, args: Sequence[Any], given: Mapping[str, Any]) -> None:
    if name == "interpolate" and given.get("align_corners"):
        raise _NotLocalError("it interpolates with align_corners, which depends on the size of the image")
    if name == "pad" and "circular" in (*args, *given.values()):
        raise _NotLocalError("it pads with the opposite side of the image")


def _mean_convolution(
    function: Any, image: Tensor, weight: Tensor, __bias: Any = None, *args: Any, **given: Any
) -> Tensor:
    """The convolution with every weight the same, computed on the mean over channels."""
    options = list(args)
    groups = int(options[3] if len(options) > 3 else given.get("groups", 1))
    if len(options) > 3:
        options[3] = 1
    given = {key: value for key, value in given.items() if key not in ("groups", "bias")}
    channels = weight.shape[1] * groups if _CONVOLUTIONS[function] else weight.shape[0]
    kernel = torch.full((1, 1, *weight.shape[2:]), 1.0 / weight[0, 0].numel(), dtype=image.dtype)
    result: Tensor = function(image.mean(1, keepdim=True), kernel, None, *options, **given)
    return result.expand(-1, channels, *result.shape[2:])


def _mean_pool(
    pool: Callable[..., Tensor],
    image: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    if return_indices or max(_numbers(dilation)) > 1:
        raise _NotLocalError("its max-pooling hands on indices or is dilated, which is not analysed")
    return pool(image, kernel_size, stride, padding, ceil_mode)


def _triple(values: Sequence[int]) -> Triple:
    z, y, x = (int(value) for value in values)
    return z, y, x
