"""Run a plan: all its jobs, then the tables and the page."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence, Set
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cristae.benchmark.cells import cells_of
from cristae.benchmark.collect import collect
from cristae.benchmark.execution import Execution
from cristae.benchmark.fair import PlannedCell, plan_cells
from cristae.benchmark.imported import IMPORTED, imported_cells, score_imported
from cristae.benchmark.label_numbers import SLICES
from cristae.benchmark.load import load_plan
from cristae.benchmark.plan import Plan
from cristae.benchmark.ranked import require_score
from cristae.cluster.jobs import JobFailure
from cristae.cluster.options import ClusterOptions
from cristae.data.files import require_new, require_writable, write_json, write_text
from cristae.errors import BenchmarkError, OutputExistsError, RunError
from cristae.progress import Progress, SayOnce, WarnOnce
from cristae.recipe.benchmark_folder import (
    BENCHMARK,
    CELLS,
    FAILURES,
    PLAN,
    BenchmarkFacts,
    CellFacts,
    is_benchmark,
    read_benchmark,
    write_benchmark,
)
from cristae.recipe.folder import read_epochs
from cristae.recipe.study import Study, create_study, resumable_study
from cristae.recipe.text import config_to_yaml

_SESSION = ".session.part"
"""Locked while a process works on a benchmark; named like what a killed process leaves, which is in nobody's way."""


def benchmark(
    plan: Plan,
    *,
    out: str | Path,
    resume: bool = False,
    options: ClusterOptions = ClusterOptions(),
    progress: Progress = Progress(),
) -> Path:
    """Train, predict and evaluate every cell of a plan, then write tables and a page.

    Args:
        plan: As `load_plan` gives it.
        out: The benchmark folder.
        resume: Resume a benchmark that was interrupted: what is finished is not repeated. The plan may have got
            further cells.
        options: Where jobs are carried out; without any, one after the other in this process.
        progress: Where to show how far it is.

    Returns:
        The benchmark folder, with its page `report.html`.

    Raises:
        CristaeError: The plan, a recipe or its data cannot be used; nothing was overwritten.
        BenchmarkError: Jobs failed; all others are finished, tables and page are of those, and `resume` tries again. Or
            another process works on the benchmark.
        KeyboardInterrupt: Ctrl-C; `resume` continues.

    Example:
        cristae.run_benchmark(cristae.load_plan("which-network.yaml"), out="which-network")
    """
    with ExitStack() as session:
        return _benchmark(plan, out, resume, options, progress, session)


def _benchmark(
    plan: Plan, out: str | Path, resume: bool, options: ClusterOptions, progress: Progress, session: ExitStack
) -> Path:
    out, progress = Path(out), WarnOnce(progress)
    _require_place(out, plan, resume=resume)
    if not (fresh := not is_benchmark(out)):
        session.enter_context(_alone(out))
    known = _epochs_before(out, plan)
    once = SayOnce(progress)
    cells, notes = plan_cells(plan, cells_of(plan), once, epochs=known) if plan.trains else ((), [])
    for note in notes:
        once.say(note)
    require_score(plan, cells)
    imported = imported_cells(plan, {one.cell.name: one.cell.label for one in cells})
    _tell_of_left_out(out, {*(one.cell.name for one in cells), *(one.name for one in imported)}, progress)
    facts = _facts(plan, cells, imported, notes)
    _require_resumable(out, plan, cells)
    out.mkdir(parents=True, exist_ok=True)
    if fresh:
        session.enter_context(_alone(out))
    write_benchmark(out, facts)
    write_text(out / PLAN, config_to_yaml(plan.anchored(), defaults=False))
    studies = {one.cell.name: _open_study(out, one) for one in cells}
    if imported:
        score_imported(plan, imported, out / IMPORTED, progress)
    failures = Execution(studies, options, progress).run(cells, plan.halving, out)
    write_json(out / FAILURES, [_failure_facts(one) for one in failures])
    collect(out, progress)
    if failures:
        raise _failed(out, failures)
    return out


def _require_place(out: Path, plan: Plan, *, resume: bool) -> None:
    """Make sure that a plan can be run, or resumed, in a folder.

    Raises:
        OutputExistsError: It holds something else, or a benchmark that is not to be resumed.
        RunError: The benchmark there is of another plan.
    """
    if not is_benchmark(out):
        require_new(out, what="the benchmark")
        require_writable(out)
        return
    if not resume:
        raise OutputExistsError(
            f"{out}: holds a benchmark already; continue it with --resume, or choose another folder with --out"
        )
    if (there := read_benchmark(out).name) != plan.name:
        raise RunError(f"{out}: holds the benchmark '{there}', not '{plan.name}'; choose another folder with --out")


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """While inside, no other process works on the benchmark, which would train in the same folders.

    Raises:
        BenchmarkError: One does.
    """
    lock = FileLock(out / _SESSION)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BenchmarkError(
            f"{out}: another process works on this benchmark; wait until it has ended, or end it, and then continue "
            "with --resume"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _epochs_before(out: Path, plan: Plan) -> dict[str, int]:
    """What a session before has planned for the same budget, by the names of cells, not of those with fewer labels."""
    if not (out / PLAN).is_file() or load_plan(out / PLAN).budget != plan.budget:
        return {}
    found = {}
    for cell in read_benchmark(out).cells:
        if epochs := cell.cost.get("epochs"):
            found[cell.name.removesuffix(f"-{cell.settings.get(SLICES)}-slices")] = epochs
    return found


def _tell_of_left_out(out: Path, names: Set[str], progress: Progress) -> None:
    """A plan that has lost cells gives results without them."""
    before = read_benchmark(out).cells if is_benchmark(out) else ()
    if lost := [f"'{cell.label}'" for cell in before if cell.name not in names]:
        progress.warn(
            f"{out}: the plan has no more {', '.join(lost)}: results will be without, what was trained stays in {CELLS}"
        )


def _require_resumable(out: Path, plan: Plan, cells: Sequence[PlannedCell]) -> None:
    """Make sure, before anything is written, that all that is there can go on as the plan says.

    Raises:
        RunError: A study there is of another recipe or of other folds, or has trained longer.
    """
    longer = dict[str, int]()
    for one in cells:
        place = out / CELLS / one.cell.name
        if resumable_study(place, one.study.recipe, one.study.facts, resume=True) is None:
            continue
        for member in one.study.members:
            with suppress(RunError):  # of a damaged run, which its own job tells
                if (done := len(read_epochs(place / member.name))) > member.recipe.training.epochs:
                    longer[f"{one.cell.name}/{member.name}"] = done
    if longer:
        most = max(longer, key=longer.__getitem__)
        count = f"{len(longer)} training{' has' if len(longer) == 1 else 's have'}"
        raise RunError(
            f"{plan.place(('budget',))}: {count} done more epochs in {out} than the plan asks for; {most} has done "
            f"{longer[most]}: a benchmark that is resumed can have more epochs, not fewer; give {longer[most]} or "
            "more, or choose another folder with --out"
        )


def _facts(
    plan: Plan, cells: Sequence[PlannedCell], imported: Sequence[CellFacts], notes: Sequence[str]
) -> BenchmarkFacts:
    found = [
        CellFacts(one.cell.name, one.cell.label, one.cell.settings, one.cell.changes, cost=asdict(one.cost))
        for one in cells
    ]
    sha256 = hashlib.sha256(plan.model_dump_json(by_alias=True).encode()).hexdigest()
    ranked = plan.rank_by
    return BenchmarkFacts(plan.name, sha256, (*found, *imported), ranked.metric, ranked.class_name, tuple(notes))


def _open_study(out: Path, one: PlannedCell) -> Study:
    place, study = out / CELLS / one.cell.name, one.study
    return create_study(place, study.recipe, study.facts, study.members, resume=place.exists())


def _failure_facts(failure: JobFailure) -> dict[str, Any]:
    return {"job": failure.key, "error": failure.error, "attempts": failure.attempts, "traceback": failure.traceback}


def _failed(out: Path, failures: Sequence[JobFailure]) -> BenchmarkError:
    lines = "\n".join(f"{one.key}: {one.error}" for one in failures)
    count = f"{len(failures)} job{'' if len(failures) == 1 else 's'} failed"
    where = f"\nWhere they failed stands in {out / FAILURES}." if any(one.traceback for one in failures) else ""
    return BenchmarkError(f"{out / BENCHMARK}: {count}; --resume tries again what failed\n{lines}{where}")
