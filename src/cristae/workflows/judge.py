"""Scores and pictures of a trained model on the validation regions."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from torch import nn

from cristae.data.box import Box
from cristae.evaluation.validation import Judged, Validation
from cristae.metrics.score import write_scores
from cristae.metrics.tally import Tally, scores_of
from cristae.progress import Progress
from cristae.recipe.run import Run
from cristae.report.preview import PredictedSlice, write_preview

PAGE = "report.html"
_MAX_PREVIEWS = 12


def judge_run(run: Run, network: nn.Module, validation: Validation, progress: Progress) -> None:
    """Write `scores.csv`, `scores.json` and the pictures of the page; what an earlier sitting left goes first."""
    for name in ("scores.csv", "scores.json", PAGE):
        (run.path / name).unlink(missing_ok=True)
    tallies = _judge_and_show(network, validation, run.path / "preview", progress)
    write_scores(run.path / "scores.csv", scores_of(tallies, run=run.id, threshold=validation.threshold))


def _judge_and_show(network: nn.Module, validation: Validation, folder: Path, progress: Progress) -> list[Tally]:
    """Scores by slice; of all validation slices an evenly spread few are kept as pictures."""
    shutil.rmtree(folder, ignore_errors=True)
    tallies: dict[str, Tally] = {}
    total = len(list(validation.slabs()))
    keep = set(np.linspace(0, total - 1, min(_MAX_PREVIEWS, total)).round().astype(int).tolist())
    with progress.task("Scoring the validation slices", total, unit="slabs") as task:
        for number, slab in enumerate(validation.judged(network)):
            name = slab.part.volume.name
            slab.count_into(tallies.setdefault(name, Tally(name, validation.classes)))
            if number in keep:
                _keep_picture(slab, validation, folder)
            task.advance()
    return list(tallies.values())


def _keep_picture(slab: Judged, validation: Validation, folder: Path) -> None:
    """The first slice of a slab."""
    volume, box, exclusive = slab.part.volume, slab.box, validation.classes.exclusive
    first = Box(box.start, (box.start[0] + 1, box.stop[1], box.stop[2]))
    kept = PredictedSlice(
        volume=volume.name,
        z=box.start[0],
        image=volume.image.read(first)[0],
        truth=slab.truth[0, 0] if exclusive else slab.truth[:, 0],
        valid=None if slab.valid is None else slab.valid[0],
        prediction=slab.prediction[0, 0] if exclusive else slab.prediction[:, 0],
        voxel_size_nm=volume.voxel_size_nm,
    )
    write_preview(folder, kept, validation.classes)
