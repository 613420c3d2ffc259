"""Test-time augmentation: the network predicts mirrored and turned copies of the volume, which are turned back and
averaged.

What a variant predicts is defined by one pass over the whole volume: the volume is mirrored and turned, predicted as
any other volume is (exactly, or in windows that are counted from its new first voxel), and the result is turned back.
So a window that is not square lies turned in the volume, and what one pass adds at the far side of a mirrored volume
lies at the near side of the volume itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

from torch import Tensor

from cristae.data.box import Box, Triple

TestTime = Literal["none", "flips", "flips_z", "dihedral", "dihedral_z"]
"""Which variants are averaged: the volume alone (1), in-plane mirrorings (4), the same with the order of slices
reversed, too (8), in-plane mirrorings and quarter turns (8), and these with the order of slices reversed, too (16), as
CDeep3M has them (Haberl et al. 2018, https://doi.org/10.1038/s41592-018-0106-z)."""


@dataclass(frozen=True)
class Variant:
    """A mirroring of the axes, then perhaps an exchange of y and x: of these two all eight ways to lay a slice."""

    mirrored: tuple[bool, bool, bool] = (False, False, False)
    """Which axes (z, y, x) are reversed."""
    exchanged: bool = False
    """Whether y and x are exchanged after that."""

    def shape(self, shape: Triple) -> Triple:
        """The (z, y, x) shape of the variant of a volume of this shape, and the other way round."""
        z, y, x = shape
        return (z, x, y) if self.exchanged else shape

    def box(self, box: Box, shape: Triple) -> Box:
        """Where a box of a volume of this shape lies in the variant; it may reach outside."""
        mirrored = self._mirrored(box, shape)
        return Box(self.shape(mirrored.start), self.shape(mirrored.stop))

    def box_back(self, box: Box, shape: Triple) -> Box:
        """Where a box of the variant lies in the volume, whose shape this is."""
        return self._mirrored(Box(self.shape(box.start), self.shape(box.stop)), shape)

    def apply(self, values: Tensor) -> Tensor:
        """Values (..., Z, Y, X) of a box as the variant has them."""
        flipped = values.flip(self._axes) if self._axes else values
        return flipped.transpose(-2, -1) if self.exchanged else flipped

    def undo(self, values: Tensor) -> Tensor:
        """Values of the variant as the volume has them."""
        back = values.transpose(-2, -1) if self.exchanged else values
        return back.flip(self._axes) if self._axes else back

    @property
    def _axes(self) -> list[int]:
        return [axis - 3 for axis, mirrored in enumerate(self.mirrored) if mirrored]

    def _mirrored(self, box: Box, shape: Triple) -> Box:
        sides = [
            (size - stop, size - start) if mirrored else (start, stop)
            for mirrored, start, stop, size in zip(self.mirrored, box.start, box.stop, shape, strict=True)
        ]
        (z0, z1), (y0, y1), (x0, x1) = sides
        return Box((z0, y0, x0), (z1, y1, x1))


def variants_of(test_time: TestTime, *, single_slices: bool) -> tuple[Variant, ...]:
    """The variants that are averaged, the volume as it is first.

    Args:
        test_time: What is asked for.
        single_slices: Whether the network sees one slice at a time, so that their order does not matter: mirroring z
            would average each variant with itself and is left out.
    """
    if test_time == "none":
        return (Variant(),)
    exchanges = (False, True) if test_time.startswith("dihedral") else (False,)
    reversals = (False, True) if test_time.endswith("_z") and not single_slices else (False,)
    ways = product(reversals, exchanges, (False, True), (False, True))
    return tuple(Variant((z, y, x), exchanged) for z, exchanged, y, x in ways)
