"""How long a prediction will take, how much memory and how much disk: measured on a small part before it begins."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from cristae.data.box import Triple
from cristae.data.image import Image
from cristae.inference.blocks import Block
from cristae.inference.own_grids import Grids
from cristae.inference.predictor import Predictor
from cristae.inference.writer import Layout
from cristae.preprocess.filtered_slices import FilteredSlices
from cristae.words import duration, memory

_PART: dict[int, Triple] = {2: (1, 512, 512), 3: (16, 96, 96)}
"""Voxels (z, y, x) that are predicted to measure the speed, by the networks' axes."""
_WORTH = 200
"""How much more there must be to do than such a part, for a forecast to be worth its time."""


@dataclass(frozen=True)
class Forecast:
    """Of the blocks of a prediction; coarser levels and post-processing come after them."""

    seconds: float
    disk_bytes: int
    """At most: what is written is compressed."""

    def text(self, memory_bytes: int) -> str:
        """A sentence before the blocks are predicted.

        Args:
            memory_bytes: What the plan allows the process; 0 where that is not known.
        """
        held = f", {memory(memory_bytes)} of memory" if memory_bytes else ""
        return f"forecast: {duration(self.seconds)}{held}, at most {memory(self.disk_bytes)} on disk"

    def outcome(self, seconds: float, peak_bytes: int) -> str:
        """A sentence after them."""
        wrong = f"{seconds / self.seconds - 1:+.0%}"
        return f"the blocks took {duration(seconds)}, {wrong} of the forecast, and {memory(peak_bytes)} of memory"


def forecast_of(
    predictor: Predictor, grid: Grids, shown: Image | FilteredSlices, layout: Layout, blocks: Sequence[Block]
) -> Forecast | None:
    """Measure the speed on a part in the middle of the first block.

    Args:
        predictor: Of the networks.
        grid: On which they work.
        shown: What they are shown.
        layout: Of the output.
        blocks: Those that are to be predicted.

    Returns:
        None where there is so little to do that it is not worth measuring.
    """
    if not blocks:
        return None
    part = blocks[0].core.middle(_PART[max(member.locality.ndim for member in predictor.members)])
    of_all, of_part = sum(grid.input_voxels(predictor, b.core) for b in blocks), grid.input_voxels(predictor, part)
    if of_all < _WORTH * of_part:
        return None
    raw = shown.read(grid.input_box(predictor, part))
    with predictor.predicting():
        grid.probabilities(predictor, raw, part).cpu()  # with all that is done once
        began = time.perf_counter()
        grid.probabilities(predictor, raw, part).cpu()
        seconds = time.perf_counter() - began
    return Forecast(seconds * of_all / of_part, round(layout.bytes_per_vox * sum(block.core.size for block in blocks)))
