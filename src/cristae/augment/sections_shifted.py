"""Sections out of line: what is left where a stack was not aligned well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import PositiveFloat

from cristae.augment.batch import Batch
from cristae.augment.form import Generators, Probability, SectionAugmentation, drawn_if
from cristae.augment.geometric import GeometricAugmentation, Reach
from cristae.augment.mapping import SliceShifts


class ShiftedSections(GeometricAugmentation, SectionAugmentation):
    """Shift one slice of a patch, or it and all that follow, in y and x.

    Labels move with their slices. Of a 2D network that sees neighbouring slices these are the image's channels, and its
    labels are those of the middle one.
    """

    name: Literal["shifted_sections"] = "shifted_sections"
    moves: Literal["slice", "following"] = "slice"
    """Whether one slice is shifted, or all from one on. The slice is drawn evenly, the first one only for `slice`."""
    amount_vox: PositiveFloat = 5
    """The shift along y and x is drawn evenly from -amount_vox to +amount_vox."""
    probability: Probability = 0.5
    """How often a patch has such a fault."""

    def reach(self, reach: Reach, size: Sequence[int]) -> Reach:
        """The box with the largest shift on all sides."""
        return reach.grown(y=self.amount_vox, x=self.amount_vox)

    def draw(self, batch: Batch, generators: Generators) -> SliceShifts:
        applies, drawn = drawn_if(lambda g: g.random(3), self.probability, generators)
        first = int(self.moves == "following" and batch.n_slices > 1)
        chosen = first + np.floor(drawn[:, :1] * (batch.n_slices - first))
        number = np.arange(batch.n_slices)
        moved = (number >= chosen if self.moves == "following" else number == chosen) & applies[:, None]
        return SliceShifts(np.where(moved[..., None], self.amount_vox * (2 * drawn[:, None, 1:] - 1), 0.0))
