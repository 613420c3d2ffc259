"""One job of a benchmark: a training, the prediction of what it has not seen, and its scores. Runs in any process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from cristae.benchmark.measure import measuring
from cristae.data.files import write_json
from cristae.evaluation.scoring.settings import ScoreOptions
from cristae.progress import Progress
from cristae.recipe.benchmark_folder import HELD_OUT
from cristae.recipe.folder import is_run, read_facts
from cristae.recipe.run import open_run
from cristae.recipe.study_members import Member
from cristae.workflows.score_held_out import score_held_out
from cristae.workflows.train_study import Result, train_member

COST = "cost.json"
TRAINING_COST = "training-cost.json"
"""What the training took, where one session did all of it; what a killed session took is not known."""


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
    kept, begun = folder / HELD_OUT / TRAINING_COST, is_run(folder)
    with measuring() as training:
        result = train_member(place, member, nested, progress=progress)
    if not begun:
        write_json(kept, asdict(training))
    with measuring() as scoring:
        found = score_held_out(open_run(folder), folder / HELD_OUT, options=options, progress=progress)
    write_json(
        folder / HELD_OUT / COST,
        {
            "training": read_facts(kept) if kept.is_file() else None,
            "scoring": asdict(scoring),
            "predict_seconds": _sum(one.predict_seconds for one in found.values()),
            "predict_vox": sum(one.predict_vox for one in found.values()),
            "evaluate_seconds": _sum(one.evaluate_seconds for one in found.values()),
        },
    )
    return result


def _sum(seconds: Iterable[float | None]) -> float | None:
    """None where some are not known."""
    known = list(seconds)
    return None if None in known else sum(one for one in known if one is not None)
