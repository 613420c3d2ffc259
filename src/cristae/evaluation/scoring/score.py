"""From evaluations to tables of scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cristae.data.files import require_new_file, write_together
from cristae.errors import ScoreError, VolumeError
from cristae.evaluation.comparison import Comparison
from cristae.evaluation.scoring.counting import Counting, count_all
from cristae.evaluation.scoring.evaluation import Evaluation
from cristae.evaluation.scoring.gathering import Elsewhere
from cristae.evaluation.scoring.intervals import check_slabs, with_intervals
from cristae.evaluation.scoring.ledger import Ledger, key_of
from cristae.evaluation.scoring.objects import IdCounting, ObjectCounting
from cristae.evaluation.scoring.slice_table import COLUMNS as SLICE_COLUMNS
from cristae.evaluation.scoring.slice_table import slice_rows
from cristae.evaluation.scoring.slices import SliceCounting
from cristae.evaluation.scoring.surfaces import SurfaceCounting
from cristae.evaluation.scoring.voxels import VoxelCounting
from cristae.metrics.score import Score, csv_of, score_paths, scores_csv, scores_json
from cristae.metrics.tally import ALL
from cristae.metrics.uncertainty.units import NEIGHBOURS_WARNING
from cristae.progress import Progress

CURVE_COLUMNS = ("run", "volume", "class", "metric", "threshold", "value", "n", "rule")


@dataclass(frozen=True)
class Outputs:
    """The files of one evaluation."""

    scores: Path
    document: Path
    slices: Path
    curves: Path
    progress: Path
    """What was counted so far; only there while an evaluation runs, or after it was killed."""

    @property
    def tables(self) -> tuple[Path, ...]:
        """What an evaluation leaves when it has ended."""
        return self.scores, self.document, self.slices, self.curves

    @classmethod
    def at(cls, out: str | Path) -> Outputs:
        """All names from the one that was given.

        Raises:
            ScoreError: It ends in neither .csv nor .json.
        """
        table, document = score_paths(Path(out))
        beside = [table.with_name(f"{table.stem}.{kind}.csv") for kind in ("slices", "curves")]
        return cls(table, document, beside[0], beside[1], table.with_name(f".{table.stem}.progress.npz"))


def require_new_scores(out: str | Path | None) -> None:
    """Make sure that no scores are overwritten, before anything is counted.

    Raises:
        OutputExistsError: There are some.
        ScoreError: The name ends in neither .csv nor .json.
    """
    if out is not None:
        for path in Outputs.at(out).tables:
            require_new_file(path, what="the scores")


def score(
    evaluations: Sequence[Evaluation],
    out: str | Path | None,
    progress: Progress,
    *,
    labelling: Mapping[str, Any] | None = None,
    elsewhere: Elsewhere | None = None,
) -> tuple[Score, ...]:
    """Count everything, make the rows, and write them where asked for.

    Args:
        evaluations: The runs, in the order of their rows.
        out: A name that ends in .csv or .json; None writes nothing.
        progress: Where to show how far it is.
        labelling: How label values were mapped to classes; an evaluation that did so otherwise is not resumed.
        elsewhere: Counts what it can in other processes; None counts all here.

    Raises:
        ScoreError: An image holds something that is not a class id or a score, or nothing at all counts.
        OutputExistsError: There are scores at `out` already.
    """
    for one in evaluations:
        check_slabs(one.scoring.options.unit, one.comparisons)
    files = None if out is None else Outputs.at(out)
    ledger = Ledger.at(files.progress if files else None, _key(evaluations, labelling) if files else "")
    if ledger.done:
        progress.say(f"{ledger.path}: resumes an earlier evaluation of the same files")
    if unsized := [c.volume for one in evaluations for c in one.comparisons if _lacks_size(one, c)]:
        progress.say(
            f"{', '.join(dict.fromkeys(unsized))}: no surface distances, because no file has the voxel size; "
            "give it with --voxel-size-nm Z Y X"
        )
    if any(one.scoring.options.unit == "slice" for one in evaluations):
        progress.warn(NEIGHBOURS_WARNING)
    scores: list[Score] = []
    slices: list[dict[str, object]] = []
    curves: list[Score] = []
    if elsewhere is not None:
        with _forgetting(ledger):
            elsewhere(countings_of(evaluations), ledger)
    for number, one in enumerate(evaluations):
        if len(evaluations) > 1:
            progress.say(f"Scoring {one.scoring.run}")
        with _forgetting(ledger):
            countings = _count(one, number, ledger, progress)
        scores += _rows(one, countings)
        curves += _curves(one, countings)
        slices += [row for group in countings for row in slice_rows(one.scoring, group)]
    if not scores:
        raise ScoreError(
            "none of the families asked for can be scored: `ranking` needs probability maps, `surfaces` a voxel size"
        )
    if files is not None:
        _write(files, scores, slices, curves)
        ledger.remove()
    return tuple(scores)


def countings_of(evaluations: Sequence[Evaluation]) -> dict[str, Counting]:
    """All that is to be counted, by the names in the ledger."""
    found: dict[str, Counting] = {}
    for number, one in enumerate(evaluations):
        found |= _named([_countings(one, comparison) for comparison in one.comparisons], number)
    return found


@contextmanager
def _forgetting(ledger: Ledger) -> Iterator[None]:
    """Where the input must change first, counts of it are no use."""
    try:
        yield
    except (ScoreError, VolumeError):
        ledger.remove()
        raise


def _named(countings: Sequence[Sequence[Counting]], number: int) -> dict[str, Counting]:
    """The countings of each volume by the number of their evaluation and volume."""
    return {
        f"{number}:{place}:{type(counting).__name__}": counting
        for place, group in enumerate(countings)
        for counting in group
    }


def _count(one: Evaluation, number: int, ledger: Ledger, progress: Progress) -> list[list[Counting]]:
    """What was counted of each volume."""
    countings = [_countings(one, comparison) for comparison in one.comparisons]
    named = _named(countings, number)
    count_all(named, ledger, progress)
    tallies = [counting.tally for counting in named.values() if isinstance(counting, VoxelCounting)]
    if tallies and not any(table.total for tally in tallies for table in tally.pooled):
        raise ScoreError(f"no voxel of {one.names} counts: check the mask, and whether the compared slices have labels")
    return countings


def _lacks_size(one: Evaluation, comparison: Comparison) -> bool:
    return one.scoring.wants("surfaces") and not one.scoring.options.objects and comparison.voxel_size_nm is None


def _countings(one: Evaluation, comparison: Comparison) -> list[Counting]:
    """What has to be counted of one volume for the families that are asked for."""
    scoring = one.scoring
    if one.scoring.options.objects:
        return [IdCounting(comparison, scoring)]
    found: list[Counting] = [VoxelCounting(comparison, scoring)]
    if scoring.wants("partition", "detection", "instances", "centrelines"):
        found.append(SliceCounting(comparison, scoring))
    if comparison.shape[0] > 1 and not scoring.options.slices_apart and scoring.wants("partition", "instances"):
        found.append(ObjectCounting(comparison, scoring))
    if scoring.wants("surfaces") and comparison.voxel_size_nm is not None:
        found.append(SurfaceCounting(comparison, scoring))
    return found


def _rows(one: Evaluation, countings: list[list[Counting]]) -> Iterator[Score]:
    """Rows of each volume, then of all together where there are several."""
    groups = [(c.volume, [found]) for c, found in zip(one.comparisons, countings, strict=True)]
    if len(groups) > 1:
        groups.append((ALL, countings))
    for volume, members in groups:
        rows = [row for family in _families(members) for row in type(family[0]).rows(volume, family)]
        yield from with_intervals(rows, volume, members, one.scoring)


def _curves(one: Evaluation, countings: list[list[Counting]]) -> Iterator[Score]:
    volume = one.comparisons[0].volume if len(countings) == 1 else ALL
    every = [counting for group in countings for counting in group]
    yield from VoxelCounting.curves(volume, [one for one in every if isinstance(one, VoxelCounting)])
    yield from SliceCounting.curves(volume, [one for one in every if isinstance(one, SliceCounting)])


def _families(members: list[list[Counting]]) -> list[list[Counting]]:
    """The same kind of counts of several volumes."""
    kinds = dict.fromkeys(type(counting) for group in members for counting in group)
    return [[counting for group in members for counting in group if type(counting) is kind] for kind in kinds]


def _write(files: Outputs, scores: list[Score], slices: list[dict[str, object]], curves: list[Score]) -> None:
    contents = {files.scores: scores_csv(scores), files.document: scores_json(scores)}
    if slices:
        contents[files.slices] = csv_of(slices, SLICE_COLUMNS)
    if curves:
        contents[files.curves] = csv_of([row.as_row() for row in curves], CURVE_COLUMNS)
    for path in contents:
        require_new_file(path, what="the scores")
    write_together({path: text.encode() for path, text in contents.items()})


def _key(evaluations: Sequence[Evaluation], labelling: Mapping[str, Any] | None) -> str:
    images = [image for one in evaluations for c in one.comparisons for image in (*c.images, *c.valid)]
    settings = [
        {
            "scoring": repr(one.scoring),
            "volumes": [(c.volume, c.shape, c.first_slice, c.voxel_size_nm) for c in one.comparisons],
        }
        for one in evaluations
    ]
    paths = dict.fromkeys(path for image in images for path in (image.path, *image.sources))
    return key_of(paths, {"evaluations": settings, "labelling": labelling})
