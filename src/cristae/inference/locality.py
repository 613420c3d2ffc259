"""Is a network local, and how large is its receptive field?

A local network's output depends on a bounded neighbourhood of its input. Then blocks with a halo of that reach give
exactly what one pass over the whole image gives. It is found by following, through every function that the network
calls, which voxels of the image each position depends on (see `influence`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from cristae.config import facts_from
from cristae.data.box import Triple
from cristae.inference.influence.spans import NotLocalError, Span
from cristae.inference.influence.watch import Watch
from cristae.inference.shadow import Shadow, shadow_of
from cristae.models.form import NetworkConfig

_LONGEST_PROBE = 1 << 17
"""Voxels; a network with a larger receptive field is taken for global."""
_FIRST_PROBES = (8, 9, 10)
"""Total strides of the first probe, for each axis; they differ, so that no layer of a fixed size fits them all."""
_BORDERS = 6
"""A probe is at least this many times as long as the reach and the longest kernel, so that a part of the image that the
network crops from the middle, say, is recognised."""
_NO_REACH = (0, 0, 0)


@dataclass(frozen=True)
class Locality:
    """What has to be known about a network to predict in blocks. All triples are voxels (z, y, x)."""

    local: bool
    reason: str
    """Why it is local or not, in words."""
    reach: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt]
    """Voxels on each side that can change an output voxel, the largest over all stride phases and both sides; z is 0
    for 2D networks."""
    stride: tuple[PositiveInt, PositiveInt, PositiveInt]
    """The output repeats with it: block outputs start at its multiples."""
    ndim: Annotated[int, Field(ge=2, le=3)]
    """Spatial axes of the network: 2 (slices one by one) or 3."""
    margin: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt] = (0, 0, 0)
    """Voxels on both sides by which the input is larger than the output."""
    smallest: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt] = (0, 0, 0)
    """The smallest output; others are larger by multiples of the stride. 0 is the stride itself."""

    def good_side(self, axis: int, side: int) -> int:
        """The smallest side of an output, along an axis, that is at least `side`."""
        step = self.stride[axis]
        least = self.smallest[axis] or step
        return least + max(0, -((least - side) // step)) * step

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


def measure_locality(network: nn.Module, config: NetworkConfig, *, in_channels: int = 1) -> Locality:
    """Find out whether a network is local, and its receptive field. Nothing is computed: weights do not matter.

    Args:
        network: Maps (B, in_channels, *S) to logits (B, K, *T), on any device, 'meta' included. It is not changed.
        config: What says which sizes it works at.
        in_channels: Channels of the image.

    Returns:
        The verdict; the same for every machine and weight.
    """
    flat = (0,) * (3 - config.ndim)
    geometry = Locality(
        local=False,
        reason="",
        reach=_NO_REACH,
        stride=_triple([1] * len(flat) + list(config.total_stride)),
        ndim=config.ndim,
        margin=_triple([*flat, *config.margin]),
        smallest=_triple([*flat, *config.smallest_output]),
    )
    try:
        if config.fixed_output:
            raise NotLocalError("it takes images of one size only")
        with shadow_of(network) as shadow:
            reach = _reach(shadow, geometry, in_channels)
    except NotLocalError as found:
        return Locality(**{**geometry.to_dict(), "reason": str(found)})
    reason = f"every output voxel depends on at most {max(reach)} voxels on each side"
    return Locality(**{**geometry.to_dict(), "local": True, "reason": reason, "reach": _triple([*flat, *reach])})


def _reach(shadow: Shadow, geometry: Locality, in_channels: int) -> list[int]:
    """Reach along each axis of the network, from a probe that is long enough."""
    axes = range(3 - geometry.ndim, 3)
    strides = [geometry.stride[axis] for axis in axes]
    sides = [geometry.good_side(axis, n * geometry.stride[axis]) for axis, n in zip(axes, _FIRST_PROBES, strict=False)]
    while True:
        rows, longest = _probe(shadow, geometry, sides, in_channels)
        found, again = [], list(sides)
        for place, (axis, span) in enumerate(zip(axes, rows, strict=True)):
            stride, margin = strides[place], geometry.margin[axis]
            reach = _reach_within(span, margin, slice(sides[place] // 3, -(-sides[place] * 2 // 3)))
            # A dilated kernel can jump over the border of a short probe: there must be room for the longest jump.
            border = reach + longest[place]
            if sides[place] < _BORDERS * border:
                again[place] = geometry.good_side(axis, max(2 * sides[place], _BORDERS * border))
                if again[place] > _LONGEST_PROBE * stride:
                    raise NotLocalError(
                        f"a voxel influences the output more than {sides[place] // _BORDERS} voxels away"
                    )
            else:
                _require_repeats(span, stride, margin, slice(border, sides[place] - border))
            found.append(reach)
        if again == sides:
            return found
        sides = again


def _reach_within(span: Span, margin: int, part: slice) -> int:
    low, high = _offsets(span, part, margin)
    return max(0, -int(low.min()), int(high.max()))


def _require_repeats(span: Span, stride: int, margin: int, part: slice) -> None:
    """What a voxel depends on must be the same a stride further on, wherever it lies in the image."""
    for offsets in _offsets(span, part, margin):
        if np.any(offsets[stride:] != offsets[:-stride]):
            raise NotLocalError(f"its output does not move with the image when that moves by {stride}")


def _offsets(span: Span, part: slice, margin: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last voxel that each position depends on, counted from the position's own voxel."""
    own = np.arange(part.start, part.stop) + margin
    return span.first[part] - own, span.last[part] - own


def _probe(
    shadow: Shadow, geometry: Locality, sides: Sequence[int], in_channels: int
) -> tuple[list[Span], Sequence[int]]:
    """Run the network once on shapes.

    Returns:
        For each axis, what output positions depend on and the voxels that the longest kernel spans.
    """
    margins = geometry.margin[3 - geometry.ndim :]
    image = torch.empty(
        (1, in_channels, *(side + 2 * m for side, m in zip(sides, margins, strict=True))), device="meta"
    )
    watch = Watch(shadow.tensors.values(), image)
    output = _run(shadow, watch, image)
    if not isinstance(output, Tensor) or tuple(output.shape[2:]) != tuple(sides):
        shape = tuple(output.shape[2:]) if isinstance(output, Tensor) else type(output).__name__
        raise NotLocalError(f"an input of {tuple(image.shape[2:])} gives an output of {shape}")
    field = watch.field(output) or (None,) * output.ndim
    rows = []
    for axis, span in enumerate(field[2:]):
        if span is None or span.axis != axis:
            raise NotLocalError("the axes of its output are not those of the image")
        rows.append(span)
    return rows, watch.longest


def _run(shadow: Shadow, watch: Watch, image: Tensor) -> Tensor:
    try:
        with watch:
            return shadow(image)
    except NotLocalError:
        raise
    except Exception as error:  # code of any author: what cannot run on shapes is predicted in windows
        message = (str(error).splitlines() or [type(error).__name__])[0]
        raise NotLocalError(f"it cannot be analysed without values: {message[:160]}") from None


def _triple(values: Sequence[int]) -> Triple:
    z, y, x = (int(value) for value in values)
    return z, y, x
