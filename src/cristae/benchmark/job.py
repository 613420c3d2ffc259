"""One job of a benchmark: a training, the prediction of what it has not seen, and its scores. Runs in any process."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from cristae.benchmark.measure import measuring
from cristae.data.files import write_json
from cristae.evaluation.scoring.settings import ScoreOptions
from cristae.progress import Progress
from cristae.recipe.benchmark_folder import HELD_OUT
from cristae.recipe.run import open_run
from cristae.recipe.study_members import Member
from cristae.workflows.score_held_out import score_held_out
from cristae.workflows.train_study import Result, train_member

COST = "cost.json"


def is_scored(folder: Path) -> bool:
    """Whether the job of a run folder has ended."""
    return (folder / HELD_OUT / COST).is_file()


def run_job(place: Path, member: Member, nested: bool, options: ScoreOptions, *, progress: Progress) -> Result:
    """Train a member of the study in a folder, predict and score what it has not seen; what an earlier try has
    finished is not repeated.

    Returns:
        Its validation and the hash of its weights.

    Raises:
        CristaeError: The recipe or its data cannot be used.
    """
    folder = place / member.name
    with measuring() as training:
        result = train_member(place, member, nested, progress=progress)
    with measuring() as scoring:
        found = score_held_out(open_run(folder), folder / HELD_OUT, options=options, progress=progress)
    write_json(
        folder / HELD_OUT / COST,
        {
            "training": asdict(training),
            "scoring": asdict(scoring),
            "predict_seconds": sum(one.predict_seconds for one in found.values()),
            "predict_vox": sum(one.predict_vox for one in found.values()),
            "evaluate_seconds": sum(one.evaluate_seconds for one in found.values()),
        },
    )
    return result
