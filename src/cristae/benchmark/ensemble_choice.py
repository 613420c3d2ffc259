"""The ensembles of cells that slices choose, each to be scored on slices that it was not chosen by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from cristae.benchmark.ensemble_members import EnsembleMembers, MemberFold
from cristae.data.address import Place
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.files import storage_errors
from cristae.data.splits import Part, files_of
from cristae.evaluation.benchmarks.ensembles import ChosenOn
from cristae.evaluation.ensembles.annotated import AnnotatedVoxels
from cristae.evaluation.ensembles.left_out import Ranked, rank_members, spread, stretches
from cristae.evaluation.ensembles.member_maps import MemberMaps, open_maps
from cristae.inference.prediction import Prediction
from cristae.metrics.ensembling.criterion import CountScore, class_score_of, score_of
from cristae.metrics.table import METRICS
from cristae.metrics.tally import ALL, SLICE_MEAN
from cristae.recipe.benchmark_tables import Split

_MOST_KEPT_VOX = 1 << 26
"""Voxels that maps are kept of; of more, every n-th slice is taken."""
_MOST_VOX = 1 << 19
"""Voxels that members are chosen by; of more, every n-th of each slice is taken."""
ChoiceAt = Callable[[Part, int], Ranked]
"""What the ensembles of a slice of a part were chosen as, without that slice."""


@dataclass(frozen=True, eq=False)
class ChosenCells:
    """Ensembles of cells."""

    overall: Ranked
    """By all validation regions: to predict with."""
    at: tuple[ChoiceAt, ...]
    """Of each fold: to be scored."""
    chosen_on: ChosenOn
    """By what the scored ones were chosen."""


@dataclass(frozen=True, eq=False)
class _Unit:
    """A slice that members are chosen by."""

    fold: int
    """Its place among the folds."""
    pieces: tuple[Part, ...]


def choose_cells(
    members: EnsembleMembers,
    split: Split,
    criterion: CountScore,
    folder: Path,
    advance: Callable[[], None] = lambda: None,
) -> ChosenCells:
    """Choose ensembles by the validation regions of all folds, none by what it is to be scored on.

    To be scored on a fold, an ensemble is chosen by the validation regions of other folds, or by all that keep apart
    from its test regions. Without folds and test regions the slices are cut into stretches, and that of a stretch is
    chosen by the others.

    Args:
        members: What can be chosen.
        split: Of what ensembles will be scored on.
        criterion: What is made best.
        folder: An empty one, for what the members say: 8-bit maps of the slices that they are chosen by.
        advance: Called after each choice.

    Raises:
        ScoreError: The score is undefined for every choice.
        StorageError: There is no room.
    """
    units, maps = _pooled(members, folder)
    groups = [_overlapping(units, fold.parts[split]) for fold in members.folds]
    chosen_on: ChosenOn = "validation regions" if split == "test" else "other folds"
    alone = split == "validation" and len(groups) == 1 and len(units) > 1
    if alone:
        groups, chosen_on = [set(one) for one in stretches(len(units))], "other slices"
    if any(len(group) == len(units) for group in groups):
        groups, chosen_on = [set() for _ in groups], "same slices"
    *ranked, overall = rank_members(maps, [*groups, ()], criterion, advance=advance)
    if not alone:
        return ChosenCells(overall, tuple(_everywhere(one) for one in ranked), chosen_on)
    return ChosenCells(overall, (_by_slice(members.folds[0], units, groups, ranked),), chosen_on)


def criterion_of(classes: Classes, metric: str, class_name: str) -> CountScore:
    """What members are chosen by: the score that cells are ranked by where voxel counts give it, else F1."""
    if metric in ("mIoU", "overall_accuracy"):
        return score_of(classes, "miou" if metric == "mIoU" else "accuracy")
    plain = metric.removesuffix(SLICE_MEAN)
    own = class_name if class_name in classes.foreground else ALL
    return class_score_of(classes, plain if plain in {one.name for one in METRICS} else "F1", own)


def _pooled(members: EnsembleMembers, folder: Path) -> tuple[list[_Unit], MemberMaps]:
    """The slices that members are chosen by, of all folds, and what members say of them."""
    planes = [(number, plane) for number, fold in enumerate(members.folds) for plane in _planes(fold)]
    kept = [planes[place] for place in spread(len(planes), sum(one.box.size for _, one in planes), _MOST_KEPT_VOX)]
    folds = [
        AnnotatedVoxels(tuple(plane for own, plane in kept if own == number), members.classes)
        for number in range(len(members.folds))
    ]
    ends = np.cumsum([0, *(one.voxels for one in folds)])
    with storage_errors(folder):
        files = [folder / f"{place}.npy" for place in range(len(members.cells))]
        for place, file in enumerate(files):
            found = np.lib.format.open_memmap(file, "w+", np.uint8, (members.classes.n_logits, int(ends[-1])))
            for fold, voxels, start, stop in zip(members.folds, folds, ends[:-1], ends[1:], strict=True):
                own = [_covering(fold, place, slab.volume.name, slab.box) for slab in voxels.slabs]
                voxels.fill(found[:, start:stop], own)
            found.flush()
    units = [
        _Unit(number, tuple(Part(*piece) for piece in pieces))
        for number, voxels in enumerate(folds)
        for pieces in voxels.places
    ]
    starts = np.concatenate([*(one.units[:-1] + start for one, start in zip(folds, ends[:-1], strict=True)), ends[-1:]])
    truth = np.concatenate([one.truth() for one in folds], axis=1)
    maps = open_maps(members.classes, members.threshold, truth, files, starts)
    return units, maps.thinned(_MOST_VOX)


def _planes(fold: MemberFold) -> Iterator[Part]:
    """What a fold validates, slice by slice."""
    for part in fold.parts["validation"]:
        start, stop = part.box.start, part.box.stop
        for z in range(start[0], stop[0]):
            yield Part(part.volume, Box((z, *start[1:]), (z + 1, *stop[1:])))


def _covering(fold: MemberFold, cell: int, volume: str, box: Box) -> Prediction:
    pairs = zip(fold.parts["validation"], fold.predictions["validation"][cell], strict=True)
    return next(found for part, found in pairs if part.volume.name == volume and part.box.contains(box))


def _overlapping(units: Sequence[_Unit], scored: Sequence[Part]) -> set[int]:
    """Which slices have voxels that are scored."""
    files, boxes = cache(files_of), dict[tuple[Place, ...], list[Box]]()
    for part in scored:
        boxes.setdefault(files(part.volume), []).append(part.box)
    return {
        place
        for place, unit in enumerate(units)
        for piece in unit.pieces
        if any(piece.box.intersect(box).size for box in boxes.get(files(piece.volume), ()))
    }


def _everywhere(ranked: Ranked) -> ChoiceAt:
    return lambda _part, _z: ranked


def _by_slice(
    fold: MemberFold, units: Sequence[_Unit], groups: Sequence[set[int]], ranked: Sequence[Ranked]
) -> ChoiceAt:
    """The choice of each slice; one that was left out of the choosing goes with the last before it."""
    group_of = {unit: place for place, group in enumerate(groups) for unit in group}
    known = {
        (one.volume.name, one.box.start[0]): group_of[place] for place, unit in enumerate(units) for one in unit.pieces
    }
    found, last = {}, 0
    for plane in _planes(fold):
        key = plane.volume.name, plane.box.start[0]
        last = known.get(key, last)
        found[key] = ranked[last]
    return lambda part, z: found[part.volume.name, z]
