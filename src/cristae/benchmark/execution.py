"""The jobs of a benchmark are run: those of all cells to their end, or with halving those of the best."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cristae.benchmark.fair import PlannedCell
from cristae.benchmark.halving import Standing, Stopped, behind, best_until, epoch_at, mean_known, rungs, write_stopped
from cristae.benchmark.job import is_scored, run_first_epochs, run_job
from cristae.benchmark.plan import Halving
from cristae.classical.config import RandomForestConfig
from cristae.cluster.jobs import Done, Job, JobFailure
from cristae.cluster.options import ClusterOptions
from cristae.cluster.run import run_jobs
from cristae.evaluation.scoring.settings import ScoreOptions
from cristae.progress import Progress
from cristae.recipe.folder import read_epochs
from cristae.recipe.study import Study
from cristae.recipe.study_members import Member
from cristae.workflows.train_study import Result, begin_member, complete_member, finish_study, has_results, is_finished


@dataclass(frozen=True, eq=False)
class _Training:
    """One training of a cell, and where it is kept."""

    of: PlannedCell
    member: Member
    study: Path

    @property
    def key(self) -> str:
        return f"{self.of.cell.name}/{self.member.name}"

    @property
    def folder(self) -> Path:
        return self.study / self.member.name

    def job(self, function: Callable[..., Any], *arguments: Any) -> Job:
        folds = {fold["fold"]: sum(fold["train_vox"].values()) for fold in self.of.study.facts.get("folds", ())}
        cost = (self.of.cost.conv_gflop or 0.01) * (self.of.cost.epochs or 1)
        cost += 1e-15 * folds.get(self.member.fold or 0, 0)
        lock = self.study / f".{self.member.name.replace('/', '-')}.lock"
        return Job(self.key, function, (self.study.absolute(), self.member, *arguments), cost, lock)


class Execution:
    """Runs what is not finished of a benchmark.

    Args:
        studies: Of all cells, by name; kept up to date.
        options: Where jobs are carried out.
        progress: Where to show how far they are.
    """

    def __init__(self, studies: dict[str, Study], options: ClusterOptions, progress: Progress) -> None:
        self._studies, self._options, self._progress = studies, options, progress

    def run(self, cells: Sequence[PlannedCell], halving: Halving | None, out: Path) -> tuple[JobFailure, ...]:
        """Run the jobs of all cells, or with halving of those that are not stopped, and note in `out` which were.

        Returns:
            The jobs that failed.
        """
        stopped, failures = list[Stopped](), list[JobFailure]()
        if halving is not None:
            for share in rungs(halving):
                failed = self._train_until(share, cells)
                now = behind([self._standing(one, share) for one in cells if _has_epochs(one)], halving.factor)
                for one in now:
                    self._progress.say(f"Halving stops {one.cell} {one}")
                stopped += now
                names = {one.cell for one in now}
                failures += [one for one in failed if one.key.split("/")[0] in names]  # others are tried again
                cells = [one for one in cells if one.cell.name not in names]
        write_stopped(out, stopped)
        return (*failures, *self._finish_all(cells))

    def _train_until(self, share: float, cells: Sequence[PlannedCell]) -> tuple[JobFailure, ...]:
        """Train the first epochs of what has not got so far."""
        todo = []
        for training in self._unfinished(filter(_has_epochs, cells)):
            until = epoch_at(share, training.member.recipe.training.epochs)
            if len(read_epochs(training.folder)) < until:
                todo.append((training, training.job(run_first_epochs, until)))
        return self._run_jobs(todo, lambda *_: None, f"Until {100 * share:.3g} % of the epochs")

    def _standing(self, one: PlannedCell, share: float) -> Standing:
        epochs = one.cell.recipe.training.epochs
        epoch = epoch_at(share, epochs)
        place = self._studies[one.cell.name].path
        value = mean_known([best_until(place / member.name, epoch) for member in one.study.members])
        return Standing(one.cell.name, epoch, epochs, value, finished=not list(self._unfinished([one])))

    def _finish_all(self, cells: Sequence[PlannedCell]) -> tuple[JobFailure, ...]:
        """Run all jobs; the study of a cell is finished when its last job is."""
        trainings = {training.key: training for training in self._unfinished(cells)}

        def done(key: str, result: Result) -> None:
            training = trainings[key]
            name = training.of.cell.name
            self._studies[name] = complete_member(self._studies[name], training.member.name, result)
            self._finish(training.of)

        todo = [
            (training, training.job(run_job, self._studies[training.of.cell.name].nested, ScoreOptions()))
            for training in trainings.values()
        ]
        failures = self._run_jobs(todo, done, "Jobs")
        for one in cells:  # a session that was killed between a last job and its study left this open
            self._finish(one)
        return failures

    def _unfinished(self, cells: Iterable[PlannedCell]) -> Iterator[_Training]:
        for one in cells:
            study = self._studies[one.cell.name]
            for member in one.study.members:
                training = _Training(one, member, study.path)
                if not (is_finished(study, member) and is_scored(training.folder)):
                    yield training

    def _run_jobs(self, todo: Sequence[tuple[_Training, Job]], done: Done, title: str) -> tuple[JobFailure, ...]:
        trainings = {training.key: training for training, _ in todo}

        def started(key: str) -> None:
            name = trainings[key].of.cell.name
            self._studies[name] = begin_member(self._studies[name], trainings[key].member.name)

        failures = run_jobs(
            [job for _, job in todo],
            self._options,
            on_done=done,
            on_start=started,
            progress=self._progress,
            title=title,
        )
        # Studies tell which member failed; the key of a job says so, too.
        return tuple(
            replace(one, error=one.error.removeprefix(f"{trainings[one.key].member.name}: ")) for one in failures
        )

    def _finish(self, one: PlannedCell) -> None:
        study = self._studies[one.cell.name]
        if study.complete and not has_results(study):
            finish_study(study, one.study.members, self._progress)


def _has_epochs(one: PlannedCell) -> bool:
    """A random forest is trained at once."""
    return not isinstance(one.cell.recipe.model, RandomForestConfig)
