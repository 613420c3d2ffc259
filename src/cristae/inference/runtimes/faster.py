"""What would be faster on this machine: measured on a small part before a long prediction. Nothing is switched."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.image import Image
from cristae.errors import RunError
from cristae.inference.blocks import Block, plan_blocks
from cristae.inference.config import Precision, Runtime
from cristae.inference.device import has_fast_bf16
from cristae.inference.own_grids import Grids
from cristae.inference.predictor import Predictor
from cristae.inference.runtimes.installed import runtimes_here
from cristae.inference.runtimes.sessions import session_of
from cristae.preprocess.filtered_slices import FilteredSlices
from cristae.words import duration

_PART: dict[int, Triple] = {2: (1, 192, 192), 3: (8, 64, 64)}
"""Voxels (z, y, x) that each way predicts, by the networks' axes."""
_WORTH = 1.15
"""How many times as fast a way must be to be worth a sentence."""


@dataclass(frozen=True)
class Way:
    """Another way to compute networks."""

    name: str
    runtime: Runtime
    precision: Precision
    how: str
    """What to ask for."""


BlockOf = Callable[[Way], Triple | None]
"""The block (z, y, x) that a way would get; None where the memory is too small for it."""


def ways_here() -> tuple[Way, ...]:
    """Those that this machine has, besides PyTorch in float32."""
    found = [
        Way(runtime, runtime, "fp32", f"--runtime {runtime}, with a new output place")
        for runtime in runtimes_here()
        if runtime != "torch"
    ]
    if has_fast_bf16():
        how = "precision: bf16 under predict: in the run's recipe.yaml, which changes probabilities by about 0.01"
        found.append(Way("bf16", "torch", "bf16", how))
    return tuple(found)


def faster_ways(
    predictor: Predictor,
    grid: Grids,
    shown: Image | FilteredSlices,
    blocks: Sequence[Block],
    seconds: float,
    block_of: BlockOf,
) -> Iterator[str]:
    """A sentence about each way that would be clearly faster.

    Args:
        predictor: Of the networks, as they are to be computed: by PyTorch, on the CPU, in float32.
        grid: On which they work.
        shown: What they are shown.
        blocks: All that are to be predicted.
        seconds: Forecast for them.
        block_of: How large blocks would be.
    """
    part = blocks[0].core.middle(_PART[max(member.locality.ndim for member in predictor.members)])
    raw = shown.read(grid.input_box(predictor, part))
    region = Box.around([block.core for block in blocks])
    usual = _seconds(predictor, grid, raw, part)
    for way in ways_here():
        block = block_of(way)
        if block is None:
            continue
        try:
            took = _seconds(_other(predictor, way), grid, raw, part)
        except RunError:  # a network that cannot be exported
            continue
        more = sum(grid.input_voxels(predictor, one.core) for one in plan_blocks(region, block)) / sum(
            grid.input_voxels(predictor, one.core) for one in blocks
        )
        expected = seconds * more * took / usual
        if seconds >= _WORTH * expected:
            yield f"{way.name} would take about {duration(expected)} instead of {duration(seconds)} ({way.how})"


def _other(predictor: Predictor, way: Way) -> Predictor:
    session = partial(session_of, runtime=way.runtime, patient=False)
    return Predictor(
        predictor.members,
        precision=way.precision,
        pass_vox=predictor.pass_vox,
        fusion=predictor.fusion,
        threshold=predictor.threshold,
        sessions=None if way.runtime == "torch" else session,
    )


def _seconds(predictor: Predictor, grid: Grids, raw: np.ndarray, part: Box) -> float:
    """Of a second pass; the first one does what is done once."""
    with predictor.predicting():
        grid.probabilities(predictor, raw, part)
        began = time.perf_counter()
        grid.probabilities(predictor, raw, part)
        return time.perf_counter() - began
