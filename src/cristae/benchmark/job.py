"""The jobs of a benchmark, which run in any process: a training, the prediction of what it has not seen, and its
scores; or only the first epochs of a training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from cristae.benchmark.measure import Cost, measuring
from cristae.data.files import write_json
from cristae.evaluation.scoring.settings import ScoreOptions
from cristae.progress import Progress
from cristae.recipe.benchmark_folder import HELD_OUT
from cristae.recipe.folder import SUMMARY, is_run, read_facts
from cristae.recipe.run import open_run
from cristae.recipe.study_members import Member
from cristae.workflows.score_held_out import score_held_out
from cristae.workflows.train_study import Result, train_member, train_member_until

COST = "cost.json"
TRAINING_COST = "training-cost.json"
"""What the training took, where no session was interrupted; what a killed session took is not known."""


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
    with _training_measured(folder):
        result = train_member(place, member, nested, progress=progress)
    kept = folder / HELD_OUT / TRAINING_COST
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


def run_first_epochs(place: Path, member: Member, until: int, *, progress: Progress) -> None:
    """Train a member of the study in a folder until so many epochs are done; `run_job` does the rest.

    Raises:
        CristaeError: The recipe or its data cannot be used.
    """
    with _training_measured(place / member.name):
        train_member_until(place, member, until, progress=progress)


@contextmanager
def _training_measured(folder: Path) -> Iterator[None]:
    """Note what the trainings of a run folder take, all together."""
    kept, begun = folder / HELD_OUT / TRAINING_COST, is_run(folder)
    if begun and _has_ended(folder):
        yield
        return
    before = Cost(**read_facts(kept)) if kept.is_file() else None if begun else Cost()
    kept.unlink(missing_ok=True)  # until this session has ended in order
    with measuring() as cost:
        yield
    if before is not None:
        write_json(kept, asdict(before + cost))


def _has_ended(folder: Path) -> bool:
    summary = folder / SUMMARY
    return summary.is_file() and read_facts(summary).get("status") == "complete"


def _sum(seconds: Iterable[float | None]) -> float | None:
    """None where some are not known."""
    known = list(seconds)
    return None if None in known else sum(one for one in known if one is not None)
