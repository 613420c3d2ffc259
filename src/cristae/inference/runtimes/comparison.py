"""Does another runtime give what PyTorch gives? Both predict some places of what has been predicted.

A new version of a runtime may compute an operation in another way, and a network may be one that magnifies roundings:
that is seen on the voxels of this volume, not on noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.image import Image
from cristae.inference.config import Runtime
from cristae.inference.labels import labels_of
from cristae.inference.own_grids import Grids
from cristae.inference.predictor import Predictor
from cristae.inference.runtime_check import RuntimeCheck
from cristae.preprocess.filtered_slices import FilteredSlices

_PLACE: dict[int, Triple] = {2: (1, 256, 256), 3: (8, 64, 64)}
"""Voxels (z, y, x) of a place, by the networks' axes."""
_PLACES, _LOOKED_AT = 3, 12
"""Places that are predicted, and those that they are chosen from."""


def compare_with_torch(
    predictor: Predictor,
    runtime: Runtime,
    grid: Grids,
    shown: Image | FilteredSlices,
    blocks: Sequence[Box],
    threshold: float,
    known_labels: Callable[[Box], np.ndarray],
) -> RuntimeCheck:
    """Predict the middle of some blocks in both ways, evenly spread, rather where there are structures.

    Args:
        predictor: That computes in the runtime.
        runtime: Which it is.
        grid: On which its networks work.
        shown: What they are shown.
        blocks: Those that have been predicted.
        threshold: Of labels.
        known_labels: What is on disk of a box.
    """
    side = _PLACE[max(member.locality.ndim for member in predictor.members)]
    step = max(1, len(blocks) // _LOOKED_AT)
    middles = [block.middle(side) for block in blocks[step // 2 :: step][:_LOOKED_AT]]
    structured = [box for box in middles if known_labels(box).any()]
    others = [box for box in middles if box not in structured]
    pool = structured if len(structured) >= _PLACES else [*structured, *others[: _PLACES - len(structured)]]
    chosen = pool[:: max(1, len(pool) // _PLACES)][:_PLACES]
    pair = [_same(predictor, with_sessions=each) for each in (True, False)]
    label_threshold = predictor.fusion.label_threshold(threshold)
    voxels, differing, largest = 0, 0, 0.0
    with pair[0].predicting():
        for box in chosen:
            raw = shown.read(grid.input_box(predictor, box))
            found, expected = (grid.probabilities(one, raw, box) for one in pair)
            labels = [labels_of(one, predictor.ensemble, label_threshold) for one in (found, expected)]
            voxels += box.size
            differing += int((labels[0] != labels[1]).any(0).sum())
            largest = max(largest, float((found - expected).abs().max()))
    return RuntimeCheck(runtime, len(chosen), voxels, differing, largest)


def _same(predictor: Predictor, *, with_sessions: bool) -> Predictor:
    return Predictor(
        predictor.members,
        device=predictor.device,
        pass_vox=predictor.pass_vox,
        fusion=predictor.fusion,
        threshold=predictor.threshold,
        sessions=predictor.sessions if with_sessions else None,
    )
