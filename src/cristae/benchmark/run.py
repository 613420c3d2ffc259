"""Run a plan: all its jobs, then the tables and the page."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cristae.benchmark.cells import cells_of
from cristae.benchmark.collect import collect
from cristae.benchmark.fair import PlannedCell, plan_cells
from cristae.benchmark.job import Job, is_scored, run_job
from cristae.benchmark.plan import Plan
from cristae.data.files import require_new, require_writable, write_text
from cristae.errors import CristaeError, OutputExistsError, RunError
from cristae.evaluation.scoring.settings import ScoreOptions
from cristae.progress import Progress, WarnOnce
from cristae.recipe.benchmark_folder import (
    CELLS,
    PLAN,
    BenchmarkFacts,
    CellFacts,
    is_benchmark,
    read_benchmark,
    write_benchmark,
)
from cristae.recipe.study import Study, create_study
from cristae.recipe.study_members import Member
from cristae.recipe.text import config_to_yaml
from cristae.workflows.train_study import finish_study, is_finished, note_trained


@dataclass(frozen=True)
class BenchmarkOptions:
    """How a plan is run. The fields are the options of `cristae benchmark`."""

    resume: bool = False
    """Resume a benchmark that was interrupted; what is finished is not repeated."""


def benchmark(
    plan: Plan, *, out: str | Path, options: BenchmarkOptions = BenchmarkOptions(), progress: Progress = Progress()
) -> BenchmarkFacts:
    """Train, predict and evaluate every cell of a plan, then write tables and a page.

    Args:
        plan: As `load_plan` gives it.
        out: The benchmark folder.
        options: Where jobs run, and whether to resume.
        progress: Where to show how far it is.

    Raises:
        CristaeError: The plan, a recipe or its data cannot be used; nothing was overwritten.
        RunError: Jobs failed; all others are finished, and `resume` tries those again.
        KeyboardInterrupt: Ctrl-C; `resume` continues.

    Example:
        cristae.benchmark(cristae.load_plan("which-network.yaml"), out="which-network")
    """
    out, progress = Path(out), WarnOnce(progress)
    _require_place(out, plan, options)
    cells, notes = plan_cells(plan, cells_of(plan), progress)
    facts = _facts(plan, cells, notes)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / PLAN, config_to_yaml(plan, defaults=False))
    write_benchmark(out, facts)
    studies = {
        one.cell.name: create_study(
            out / CELLS / one.cell.name,
            one.study.recipe,
            one.study.facts,
            one.study.members,
            resume=(out / CELLS / one.cell.name).exists(),
        )
        for one in cells
    }
    failed = _run_jobs(list(_jobs(cells, studies)), cells, studies, progress)
    collect(out, progress)
    if failed:
        raise RunError("\n".join([f"{out}: {len(failed)} jobs failed; --resume tries them again", *failed]))
    return facts


def _require_place(out: Path, plan: Plan, options: BenchmarkOptions) -> None:
    if is_benchmark(out):
        if not options.resume:
            raise OutputExistsError(
                f"{out}: holds a benchmark already; continue it with --resume, or choose another folder with --out"
            )
        if (there := read_benchmark(out).name) != plan.name:
            raise RunError(f"{out}: holds the benchmark '{there}', not '{plan.name}'; choose another folder with --out")
        return
    require_new(out, what="the benchmark")
    require_writable(out)


def _facts(plan: Plan, cells: Sequence[PlannedCell], notes: Sequence[str]) -> BenchmarkFacts:
    found = [CellFacts(one.cell.name, one.cell.label, one.cell.settings, one.cell.changes) for one in cells]
    sha256 = hashlib.sha256(plan.model_dump_json(by_alias=True).encode()).hexdigest()
    return BenchmarkFacts(plan.name, sha256, tuple(found), plan.rank_by.metric, plan.rank_by.class_name, tuple(notes))


def _jobs(cells: Sequence[PlannedCell], studies: dict[str, Study]) -> Iterator[tuple[PlannedCell, Member, Job]]:
    """The jobs that are not finished."""
    for one in cells:
        study = studies[one.cell.name]
        for member in one.study.members:
            folder = study.path / member.name
            if not (is_finished(study, member) and is_scored(folder)):
                yield one, member, Job(one.cell.name, member.name, member.recipe, folder, ScoreOptions())


def _run_jobs(
    jobs: Sequence[tuple[PlannedCell, Member, Job]],
    cells: Sequence[PlannedCell],
    studies: dict[str, Study],
    progress: Progress,
) -> list[str]:
    """Run jobs and finish the studies whose jobs have all ended. Returns what failed."""
    failed = []
    for number, (one, member, job) in enumerate(jobs, start=1):
        progress.say(f"Job {number} of {len(jobs)}: {job.key}")
        try:
            run_job(job, progress)
        except CristaeError as error:
            failed.append(f"{job.key}: {error}")
            continue
        studies[one.cell.name] = note_trained(studies[one.cell.name], member)
    for one in cells:
        study = studies[one.cell.name]
        if study.complete:
            finish_study(study, one.study.members)
    return failed
