"""Intensity normalisation: the same grey means the same number to the network, whichever type the detector stored.

A mapping of grey values is found from statistics of the training data, of a volume or of each of its slices, before
anything is trained or predicted; then the number of a voxel depends on its own grey value alone or, with a local
contrast, on those within a stated reach. So blocks get the numbers of the whole volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from pydantic import FiniteFloat

from cristae.config import facts_from
from cristae.data.box import Box, Triple
from cristae.data.image import Image
from cristae.data.mirror import mirrored_positions
from cristae.errors import RunError
from cristae.preprocess.arrays import like
from cristae.preprocess.local_contrast import LocalContrast
from cristae.preprocess.matching import Matching

Array = TypeVar("Array")
"""A numpy array or a torch tensor."""

SHARES = (0.0, 0.005, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.995, 1.0)
"""Fractions of voxels at which a normaliser remembers the grey values of the data it was fitted on."""

_KINDS = ("unknown", "float", *(f"{sign}int{bits}" for sign in ("u", "") for bits in (8, 16, 32, 64)))


@dataclass(frozen=True)
class Normalizer:
    """The mapping of grey values to numbers: `low` to 0 and `high` to 1 (the other way round when inverted)."""

    low: FiniteFloat
    high: FiniteFloat
    invert: bool = False
    clip: tuple[FiniteFloat, FiniteFloat] | None = (-0.5, 1.5)
    """Limits of the numbers; None has none."""
    kind: str = "unknown"
    """What the data was stored as: an integer type such as 'uint16', or 'float'."""
    ignored: tuple[FiniteFloat, ...] = ()
    """Grey values that were taken for padding."""
    quantiles: tuple[FiniteFloat, ...] = ()
    """Grey values of the fitted data at `SHARES`, from which `distance` measures how far another volume is."""
    slices: tuple[tuple[FiniteFloat, FiniteFloat], ...] = ()
    """`low` and `high` of each slice of one volume, on the grid that networks work on; () where all share one. Slices
    that a prediction of a box does not need have those of all that it does."""
    matching: Matching | None = None
    """What comes first: grey values get the histogram of the training data."""
    contrast: LocalContrast | None = None
    """What comes last."""

    @property
    def reach(self) -> Triple:
        """Voxels (z, y, x) on each side of a voxel whose grey values decide its number."""
        return (0, 0, 0) if self.contrast is None else self.contrast.reach

    @property
    def placeless(self) -> bool:
        """Whether a grey value has the same number everywhere, so that `apply` suffices."""
        return not self.slices and self.contrast is None

    @property
    def bytes_per_vox(self) -> int:
        """Memory that `within` takes for each voxel beyond what goes in and what comes out, at its peak."""
        return (20 if self.matching is not None else 0) + (8 if self.contrast is not None else 0)

    def apply(self, grey: Array) -> Array:
        """Map grey values of any type to float32, where that does not depend on their place.

        Args:
            grey: A numpy array or torch tensor of any shape; it is not changed.

        Returns:
            float32 array or tensor of the same shape, within `clip`.
        """
        assert self.placeless
        numbers: Array = self._scaled(grey, self.low, self.high)
        return numbers

    def at(self, grey: Array, z: Sequence[int] | np.ndarray) -> Array:
        """Map grey values whose place is known.

        Args:
            grey: (..., Z, Y, X), with `reach` more on both sides than is wanted; mirrored where the volume ends.
            z: The slice of the volume that each of the Z is.

        Returns:
            float32 (..., Z, Y, X) without the reach.
        """
        low: Any = self.low
        high: Any = self.high
        if self.slices:
            ranges = np.asarray(self.slices)[np.asarray(z)][:, :, None, None]
            low, high = like(ranges[:, 0], grey), like(ranges[:, 1], grey)
        scaled = self._scaled(grey, low, high)
        numbers: Array = scaled if self.contrast is None else self.contrast.apply(scaled)
        return numbers

    def within(self, grey: Array, known: Box, box: Box, shape: Triple) -> Array:
        """The numbers of a box of a volume.

        Args:
            grey: (..., Z, Y, X) of the box `known`, which holds `box` and, as far as the volume goes, the reach around
                it.
            known: Where `grey` lies.
            box: What is wanted.
            shape: The volume's (z, y, x).
        """
        wanted: Any = grey
        around = box.grow(self.reach)
        places = [mirrored_positions(*axis) for axis in zip(around.start, around.stop, shape, strict=True)]
        for axis, place in enumerate(places):
            inside = place - known.start[axis]
            wanted = _taken(wanted, inside, axis - 3)
        numbers: Array = self.at(wanted, places[0])
        return numbers

    def read(self, image: Image, box: Box) -> np.ndarray:
        """The numbers of a box inside an image, float32 (Z, Y, X)."""
        known = box.grow(self.reach).intersect(Box.of_shape(image.shape))
        return self.within(image.read(known), known, box, image.shape)

    def _scaled(self, grey: Any, low: Any, high: Any) -> Any:
        grey = grey if self.matching is None else self.matching.apply(grey)
        offset, scale = (high, 1 / (low - high)) if self.invert else (low, 1 / (high - low))
        values = _floats(grey) - offset
        values *= scale
        if isinstance(values, np.ndarray):
            values = values.astype(np.float32, copy=False)
        return values if self.clip is None else values.clip(*self.clip)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` gives back an equal normaliser, exactly."""
        return {
            "low": self.low,
            "high": self.high,
            "invert": self.invert,
            "clip": None if self.clip is None else list(self.clip),
            "kind": self.kind,
            "ignored": list(self.ignored),
            "quantiles": list(self.quantiles),
            **({"slices": [list(one) for one in self.slices]} if self.slices else {}),
            **({} if self.matching is None else {"matching": self.matching.to_dict()}),
            **({} if self.contrast is None else {"contrast": self.contrast.to_dict()}),
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Normalizer:
        """The normaliser that `to_dict` wrote, now or in earlier versions.

        Raises:
            RunError: A field is missing, unknown or wrong.
        """
        normalizer = facts_from(cls, content, "normalizer")
        quantiles, clip = normalizer.quantiles, normalizer.clip
        ascending = len(quantiles) in (0, len(SHARES)) and list(quantiles) == sorted(quantiles)
        rules = {
            "low: must be below high": normalizer.low < normalizer.high,
            "clip: must reach from 0 or less to 1 or more": clip is None or clip[0] <= 0 < 1 <= clip[1],
            f"kind: must be one of {', '.join(_KINDS)}": normalizer.kind in _KINDS,
            f"quantiles: must be {len(SHARES)} ascending numbers": ascending,
            "slices: each low must be below its high": all(low < high for low, high in normalizer.slices),
            "matching: must be two tables of numbers that do not fall": (
                normalizer.matching is None or normalizer.matching.valid
            ),
        }
        for rule, kept in rules.items():
            if not kept:
                raise RunError(f"normalizer.{rule}")
        return normalizer


def _floats(grey: Any) -> Any:
    """Float32, or float64 for numpy types whose values float32 cannot distinguish. Tensors always float32."""
    if not isinstance(grey, np.ndarray):
        return grey.float()
    exact = grey.dtype.itemsize <= 2 or grey.dtype == np.float32
    return grey.astype(np.float32 if exact else np.float64)


def _taken(values: Any, place: np.ndarray, axis: int) -> Any:
    """Voxels at some places of an axis: a view where they follow each other."""
    if (np.diff(place) == 1).all():
        index = [slice(None)] * values.ndim
        index[axis] = slice(int(place[0]), int(place[-1]) + 1)
        return values[tuple(index)]
    if isinstance(values, np.ndarray):
        return values.take(place, axis)
    index = [slice(None)] * values.ndim
    index[axis] = place.tolist()
    return values[tuple(index)]
