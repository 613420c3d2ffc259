"""One job of a benchmark: a training, the prediction of what it has not seen, and its scores. Runs in any process."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from cristae.benchmark.measure import measuring
from cristae.data.files import write_json
from cristae.evaluation.scoring.settings import ScoreOptions
from cristae.progress import Progress
from cristae.recipe.benchmark_folder import HELD_OUT
from cristae.recipe.folder import is_run
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import open_run
from cristae.workflows.score_held_out import score_held_out
from cristae.workflows.train import train

COST = "cost.json"


@dataclass(frozen=True, eq=False)
class Job:
    """What one worker is given: plain values and paths on a disk that all workers share."""

    cell: str
    member: str
    """Its name in the cell's study, such as `fold-1/instance-2`."""
    recipe: Recipe
    folder: Path
    """Its run folder."""
    options: ScoreOptions

    @property
    def key(self) -> str:
        """What messages call it."""
        return f"{self.cell}/{self.member}"


def is_scored(folder: Path) -> bool:
    """Whether the job of a run folder has ended."""
    return (folder / HELD_OUT / COST).is_file()


def run_job(job: Job, progress: Progress = Progress()) -> None:
    """Train, predict and score; what an earlier try has finished is not repeated.

    Raises:
        CristaeError: The recipe or its data cannot be used.
    """
    place = job.folder / HELD_OUT
    with measuring() as training:
        train(job.recipe, out=job.folder, resume=is_run(job.folder), progress=progress)
    with measuring() as scoring:
        found = score_held_out(open_run(job.folder), place, options=job.options, progress=progress)
    write_json(
        place / COST,
        {
            "training": asdict(training),
            "scoring": asdict(scoring),
            "predict_seconds": sum(one.predict_seconds for one in found.values()),
            "predict_vox": sum(one.predict_vox for one in found.values()),
            "evaluate_seconds": sum(one.evaluate_seconds for one in found.values()),
        },
    )
