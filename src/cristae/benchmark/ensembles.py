"""The best ensemble of all cells of a benchmark: found, scored on what it was not chosen by, and written to be used."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cristae.benchmark.ensemble_choice import ChoiceAt, ChosenCells, choose_cells, criterion_of
from cristae.benchmark.ensemble_members import EnsembleMembers, MemberFold, ensemble_members
from cristae.benchmark.score_tables import ScoreTable, score_rows, slice_rows
from cristae.errors import CristaeError
from cristae.evaluation.benchmarks.ensembles import GREEDY, SINGLE, TOP, Ensemble, ensemble_rows, ensemble_sentence
from cristae.evaluation.benchmarks.trials import Measure, fold_sizes, split_to_rank
from cristae.evaluation.ensembles.fused import fused
from cristae.evaluation.ensembles.left_out import Ranked
from cristae.evaluation.scoring.settings import FAMILIES, Family, ScoreOptions
from cristae.metrics.table import METRICS
from cristae.metrics.tally import SLICE_MEAN
from cristae.progress import Progress
from cristae.recipe.benchmark_folder import ENSEMBLE_OF, RESULTS, BenchmarkFacts
from cristae.recipe.benchmark_tables import JobRow, ScoreRow, Split, read_json, read_rows, write_table
from cristae.recipe.ensemble_file import open_ensemble, write_ensemble
from cristae.recipe.study import Study
from cristae.workflows.score_held_out import score_predicted

TABLE, SUMMARY = "ensembles", "summary"
_WORK = ".ensembles"
"""Folder of what is only needed while ensembles are found."""


def write_ensembles(path: Path, facts: BenchmarkFacts, studies: Mapping[str, Study], progress: Progress) -> None:
    """Find the best ensemble of cells: write the table `ensembles`, a sentence of the summary, and `ensemble.yaml`.

    Cells that another program predicted, that are not finished, or that cannot predict together with the best one are
    no members.

    Args:
        path: The benchmark folder, with its other tables.
        facts: What cells are ranked by.
        studies: Of all trained cells.
        progress: Where to show how far it is.
    """
    results, file = path / RESULTS, path / f"{ENSEMBLE_OF}.yaml"
    file.unlink(missing_ok=True)
    split = split_to_rank(read_rows(ScoreRow, results))
    measure = Measure(split, facts.class_name, facts.metric)
    try:
        members = ensemble_members(_ranked(results, measure, studies), progress)
        rows = [] if members is None else _found(members, measure, read_rows(JobRow, results), file, progress)
    except CristaeError as error:  # all else that was found is still told
        progress.warn(f"{path}: no ensemble was made: {error}")
        rows = []
    write_table(results, TABLE, rows)
    labels = {cell.name: cell.label for cell in facts.cells}
    said = [one for one in read_json(results / f"{SUMMARY}.json") if one["about"] != "ensemble"]
    place = max((place for place, one in enumerate(said, start=1) if one["about"] == "ranking"), default=0)
    own = [ensemble_sentence(row, labels) for row in rows if row["chosen"]]
    write_table(results, SUMMARY, [*said[:place], *own, *said[place:]])


def _ranked(results: Path, measure: Measure, studies: Mapping[str, Study]) -> dict[str, Study]:
    """The studies of cells that are ranked, the best first."""
    key = {"metric": measure.metric, "class": measure.class_name, "split": measure.split}
    rows = [row for row in read_json(results / "ranking.json") if all(row[name] == key[name] for name in key)]
    return {row["cell"]: studies[row["cell"]] for row in rows if row["cell"] in studies}


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A way to make an ensemble of what slices have chosen."""

    rule: str
    k: int = 1

    @property
    def name(self) -> str:
        return f"{self.rule}-{self.k}"

    def weights(self, ranked: Ranked) -> tuple[int, ...]:
        if self.rule == SINGLE:  # the first member, whatever slices say
            return tuple(int(place == 0) for place in range(len(ranked.order)))
        return ranked.weights if self.rule == GREEDY else ranked.top(self.k)

    def ensemble(self, members: EnsembleMembers, overall: Ranked) -> Ensemble:
        weights = self.weights(overall)
        taken = [place for place in sorted(overall.order, key=lambda place: -weights[place]) if weights[place]]
        return Ensemble(
            self.name, self.rule, tuple(members.cells[one] for one in taken), tuple(weights[one] for one in taken)
        )


def _found(
    members: EnsembleMembers, measure: Measure, jobs: Sequence[JobRow], file: Path, progress: Progress
) -> list[dict[str, Any]]:
    """The rows of the table; writes the ensemble file."""
    candidates = [_Candidate(SINGLE), *(_Candidate(TOP, k + 1) for k in range(len(members.cells))), _Candidate(GREEDY)]
    criterion = criterion_of(members.classes, measure.metric, measure.class_name)
    scores, slices = list[ScoreRow](), list[dict[str, Any]]()
    with _work_folder(file.with_name(_WORK)) as folder:
        with progress.task("Choosing ensembles", len(members.folds) + 1, unit="choices") as task:
            chosen = choose_cells(members, measure.split, criterion, folder, task.advance)
        with progress.task("Scoring ensembles", len(candidates) * len(members.folds), unit="folds") as task:
            for candidate in candidates:
                for table in _scored(candidate, members, chosen, measure, folder):
                    scores += score_rows(table)
                    slices += slice_rows(table)
                    task.advance()
    ensembles = [one.ensemble(members, chosen.overall) for one in candidates]
    sizes = fold_sizes(jobs, measure.split)
    rows = ensemble_rows(ensembles, measure, scores, slices, sizes, chosen.chosen_on)
    _write(file, members, chosen.overall.weights)
    return rows


@contextmanager
def _work_folder(folder: Path) -> Iterator[Path]:
    """An empty folder that is gone afterwards; what a kill has left is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _scored(
    candidate: _Candidate, members: EnsembleMembers, chosen: ChosenCells, measure: Measure, folder: Path
) -> Iterator[ScoreTable]:
    """A table of scores of each fold."""
    plain = measure.metric.removesuffix(SLICE_MEAN)
    of_voxels = plain in {"mIoU", "overall_accuracy", *(one.name for one in METRICS)}
    wanted: tuple[Family, ...] = ("overlap",) if of_voxels else FAMILIES
    for fold, at in zip(members.folds, chosen.at, strict=True):
        table = folder / f"{candidate.name}-{fold.number}.csv"
        predicted = list(_fused(candidate, members, fold, measure.split, at))
        score_predicted(members.classes, predicted, table, name=candidate.name, options=ScoreOptions(scores=wanted))
        yield ScoreTable(candidate.name, table, measure.split, fold.number)


def _fused(
    candidate: _Candidate, members: EnsembleMembers, fold: MemberFold, split: Split, at: ChoiceAt
) -> Iterator[Any]:
    """What an ensemble says of each part of a fold."""
    for place, part in enumerate(fold.parts[split]):
        own = [predictions[place] for predictions in fold.predictions[split]]
        weights = {z: candidate.weights(at(part, z)) for z in range(part.box.start[0], part.box.stop[0])}
        yield part, fused(own, weights.__getitem__, members.threshold)


def _write(file: Path, members: EnsembleMembers, weights: Sequence[int]) -> None:
    """The ensemble file: all runs of each chosen cell, which share its weight."""
    chosen = [
        (open_ensemble(study.ensemble_path).members, weight)
        for study, weight in zip(members.studies, weights, strict=True)
        if weight
    ]
    most = max(len(own) for own, _ in chosen)
    found = [(member, weight * most / len(own)) for own, weight in chosen for member in own]
    equal = len({weight for _, weight in found}) == 1
    write_ensemble(
        file,
        [member.run for member, _ in found],
        weights=None if equal else [weight for _, weight in found],
        fusion="average" if equal else "weighted",
        postprocess=found[0][0].postprocess,
        held_out=[[(one.image, one.box) for one in member.held_out] for member, _ in found],
    )
