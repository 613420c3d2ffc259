"""The cells of a benchmark that can predict together, and what each says of the regions that all of them held out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cristae.data.classes import Classes
from cristae.data.open import open_data
from cristae.data.splits import Part
from cristae.errors import CristaeError, RunError
from cristae.evaluation.ensembles.fused import fused
from cristae.inference.prediction import Prediction, open_prediction
from cristae.progress import Progress
from cristae.recipe.benchmark_folder import HELD_OUT
from cristae.recipe.benchmark_tables import SPLITS, Split
from cristae.recipe.ensemble_file import MemberRun
from cristae.recipe.matching import common_settings, sized_image, working_sizes
from cristae.recipe.run import Run, open_run
from cristae.recipe.study import Study
from cristae.workflows.score_held_out import held_out_parts, held_out_path


@dataclass(frozen=True, eq=False)
class MemberFold:
    """One fold, or all there is where there are none."""

    number: int | None
    parts: Mapping[Split, tuple[Part, ...]]
    """What is held out: ranges of labelled slices, the same for all cells."""
    predictions: Mapping[Split, tuple[tuple[Prediction, ...], ...]]
    """Of each cell one for each part; of several trainings that differ in their seeds the mean."""


@dataclass(frozen=True, eq=False)
class EnsembleMembers:
    """Cells that can predict together."""

    cells: tuple[str, ...]
    """Names; the first ranks best."""
    studies: tuple[Study, ...]
    classes: Classes
    threshold: float
    folds: tuple[MemberFold, ...]


def ensemble_members(studies: Mapping[str, Study], progress: Progress) -> EnsembleMembers | None:
    """The cells that can predict together with the first, as far as all their trainings are finished.

    Args:
        studies: Of cells, the best first.
        progress: Takes a line about each cell that cannot be a member.

    Returns:
        None where there are not at least two.
    """
    complete = {name: one for name, one in studies.items() if one.complete and one.ensemble_path.is_file()}
    if len(complete) < 2:
        return None
    best = next(iter(complete))
    first = _by_fold(complete[best])
    recipes = {fold: runs[0].recipe for fold, runs in first.items()}
    parts = {fold: held_out_parts(open_data(recipe.data, recipe.folder)) for fold, recipe in recipes.items()}
    threshold = next(iter(recipes.values())).predict.threshold
    found: dict[str, dict[int | None, Mapping[Split, tuple[Prediction, ...]]]] = {}
    for name, study in complete.items():
        try:
            runs = _by_fold(study)
            _require_alike(first, runs, parts)
            found[name] = {
                fold: {split: tuple(_predicted(runs[fold], split, parts[fold], threshold)) for split in SPLITS}
                for fold in first
            }
        except CristaeError as error:
            progress.say(f"{name}: is no member of ensembles with {best}: {error}")
    if best not in found or len(found) < 2:
        return None
    folds = tuple(
        MemberFold(fold, parts[fold], {split: tuple(own[fold][split] for own in found.values()) for split in SPLITS})
        for fold in first
    )
    classes = first[next(iter(first))][0].classes
    return EnsembleMembers(tuple(found), tuple(complete[name] for name in found), classes, threshold, folds)


def _by_fold(study: Study) -> dict[int | None, list[Run]]:
    found: dict[int | None, list[Run]] = {}
    for member in study.members:
        found.setdefault(member.fold, []).append(open_run(study.path / member.run))
    return found


def _require_alike(
    first: Mapping[int | None, Sequence[Run]],
    runs: Mapping[int | None, Sequence[Run]],
    parts: Mapping[int | None, Mapping[Split, Sequence[Part]]],
) -> None:
    """Refuse runs of other folds or data, and runs that cannot predict together with the first.

    Raises:
        CristaeError: They are such.
    """
    if set(first) != set(runs):
        raise RunError("it has other folds")
    (fold, one), other = next(iter(first.items())), next(iter(runs.values()))
    if _data_of(one[0]) != _data_of(other[0]):
        raise RunError("it has other images, labels or classes")
    pair = [one[0], other[0]]
    common_settings([MemberRun(run, weight=1.0) for run in pair])
    regions = [part for own in parts[fold].values() for part in own]
    working_sizes(pair, sized_image(regions[0].volume, None), stated=False, progress=Progress())


def _data_of(run: Run) -> object:
    """What scores are of."""
    volumes = [(one.name, one.image, one.labels, one.valid) for one in run.recipe.data.volumes]
    return run.classes.scheme, sorted(map(repr, volumes))


def _predicted(
    runs: Sequence[Run], split: Split, parts: Mapping[Split, Sequence[Part]], threshold: float
) -> Iterator[Prediction]:
    """What runs that differ in their seeds alone say of each part together."""
    weights = [1] * len(runs)
    for part in parts[split]:
        opened = [open_prediction(held_out_path(run.path / HELD_OUT, split, part)) for run in runs]
        for one in opened:
            if one.box != part.box:
                raise RunError(f"{one.path}: is of the box {one.box}, not {part.box}")
        yield opened[0] if len(opened) == 1 else fused(opened, lambda _: weights, threshold)
