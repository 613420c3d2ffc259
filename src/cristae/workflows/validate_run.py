"""Scores, pictures and page of a trained model."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from cristae.evaluation.validation import SlicePreview, Validation, score_slices
from cristae.metrics.score import write_scores
from cristae.metrics.tally import scores_of
from cristae.progress import Progress
from cristae.recipe.run import Run
from cristae.report.preview import PredictedSlice, write_preview
from cristae.workflows.report import PAGE, report

if TYPE_CHECKING:
    from torch import nn


def validate_run(run: Run, network: nn.Module, validation: Validation, progress: Progress) -> None:
    """Write `scores.csv`, `scores.json` and the pictures of the page; those of an earlier session are removed first."""
    previews = run.path / "preview"
    for name in ("scores.csv", "scores.json", PAGE):
        (run.path / name).unlink(missing_ok=True)
    shutil.rmtree(previews, ignore_errors=True)

    def keep(shown: SlicePreview) -> None:
        kept = PredictedSlice(
            volume=shown.volume.name,
            z=shown.z,
            image=shown.image,
            truth=shown.truth,
            valid=shown.valid,
            prediction=shown.prediction,
            voxel_size_nm=shown.volume.voxel_size_nm,
        )
        write_preview(previews, kept, validation.classes)

    tallies = score_slices(network, validation, keep, progress)
    write_scores(run.path / "scores.csv", scores_of(tallies, run=run.id, threshold=validation.threshold))


def write_page(run: Run) -> Run:
    """Write the page of a finished run, unless a session that was killed later has written it."""
    if not (run.path / PAGE).exists():
        report(run.path)
    return run
