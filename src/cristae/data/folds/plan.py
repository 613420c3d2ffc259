"""The folds of a cross-validation: what each one trains on, what it validates, and the gap between."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import escape
from itertools import groupby
from pathlib import Path

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.description import Region, VolumeConfig
from cristae.data.folds.assignment import cut_blocks, deal
from cristae.data.folds.config import By, FoldsConfig
from cristae.data.folds.units import Piece, Unit, choose_by, counts_of, name_in_recipe, sample_of, shown, units_of
from cristae.data.names import stem_of
from cristae.data.slice_ranges import ranges_text
from cristae.data.splits import Part, check_apart, files_of, labelled_boxes
from cristae.errors import VolumeError
from cristae.progress import Progress

_AUTO = 5
"""The most folds that `count: auto` makes."""


@dataclass(frozen=True, eq=False)
class Fold:
    """One split of the pool. All that counts in its training lies farther from what it validates than the guard."""

    number: int
    """From 1."""
    train: tuple[Part, ...]
    validate: tuple[Part, ...]
    train_counts: np.ndarray
    """(256,) voxels of each class id that are trained on."""
    validate_counts: np.ndarray
    """(256,) voxels of each class id that are validated."""
    gap_counts: np.ndarray
    """(256,) voxels of each class id that are neither, because they lie in the gap."""
    units: tuple[str, ...]
    """What is validated, in words."""


@dataclass(frozen=True, eq=False)
class FoldPlan:
    """All folds of a cross-validation."""

    by: By
    why: str
    """Why these units stay together."""
    folds: tuple[Fold, ...]
    """Those that are trained, in order."""
    count: int
    """How many there are, also of those that are not trained."""
    guard_vox: Mapping[str, Triple]
    """By volume of the recipe, the gap (z, y, x) in voxels of its files."""
    warnings: tuple[str, ...]


def plan_folds(
    config: FoldsConfig,
    splits: Mapping[str, Sequence[Part]],
    volumes: Mapping[str, VolumeConfig],
    classes: Classes,
    guard_vox: Mapping[str, Triple],
    progress: Progress = Progress(),
) -> FoldPlan:
    """Cut the pool, which is what 'train' and 'validate' name together, into folds.

    What is guaranteed: no voxel whose label counts in the training of a fold lies within the guard of a voxel that the
    fold validates, along all axes at once, in the same files. Where the guard is the reach of the receptive field, no
    training voxel is seen by the network when it predicts a validation voxel, nor the other way round.

    Args:
        config: As the recipe says.
        splits: Opened parts by 'train', 'validate' and 'test', which keep apart.
        volumes: The volumes as the recipe describes them, by name.
        classes: What labels mean.
        guard_vox: By volume of the recipe, the gap (z, y, x) in voxels of its files.
        progress: Where reading is shown.

    Raises:
        VolumeError: There are fewer units than folds, or a fold has nothing to train on, or lacks a class there.
    """
    parts = (*splits.get("train", ()), *splits.get("validate", ()))
    check_apart({"train": parts, "test": splits.get("test", ())})
    by, why = choose_by(config, parts, volumes)
    if by != "slices" and config.order in ("blocked", "interleaved"):
        raise VolumeError(f"folds.order: {config.order} is for slices, but {by} stay together; leave it out")
    units = units_of(by, config, parts, volumes, classes, progress)
    count = _count(config, by, units)
    if config.only and max(config.only) > count:
        raise VolumeError(f"folds.only: names fold {max(config.only)}, but there are {count}")
    pool = _Pool(parts, units, classes, guard_vox, {part.volume.name: files_of(part.volume) for part in parts})
    where = _assign(config, pool, count)
    wanted = sorted(config.only) if config.only else range(1, count + 1)
    folds = tuple(_fold(number, pool, where) for number in wanted)
    for fold in folds:
        _require_voxels(fold, pool)
    warnings = (*_missing_classes(folds, pool), *_parted_samples(by, folds, volumes))
    return FoldPlan(by, why, folds, count, guard_vox, warnings)


@dataclass(frozen=True, eq=False)
class _Pool:
    """What is cut into folds."""

    parts: tuple[Part, ...]
    units: tuple[Unit, ...]
    classes: Classes
    guard_vox: Mapping[str, Triple]
    files: Mapping[str, tuple[Path, ...]]
    """By the name of an opened volume, what tells whether two are the same."""

    def guard_of(self, part: Part) -> Triple:
        """The gap (z, y, x) around a part, in voxels of its file."""
        return self.guard_vox[name_in_recipe(part)]

    @property
    def foreground(self) -> tuple[tuple[str, int], ...]:
        """Name and place in the counts of each foreground class."""
        return tuple(zip(self.classes.foreground, self.classes.foreground_ids, strict=True))


def _count(config: FoldsConfig, by: By, units: Sequence[Unit]) -> int:
    count = min(_AUTO, len(units)) if config.count == "auto" else config.count
    if len(units) >= max(2, count):
        return count
    fewer = f"give count: {len(units)} or less, or choose" if len(units) > 1 else "choose"
    raise VolumeError(
        f"folds.count: {max(2, count)} folds cannot be made of {len(units)}, which is how many "
        f"{'planes' if by == 'boxes' else by} data.train and data.validate hold ({shown([u.name for u in units])}); "
        f"{fewer} another `by`"
    )


def _assign(config: FoldsConfig, pool: _Pool, count: int) -> tuple[int, ...]:
    """The fold of each unit, from 0."""
    units = pool.units
    counts = np.stack([unit.counts for unit in units])
    known = counts[:, list(pool.classes.foreground_ids)] if config.stratify else counts[:, :0]
    seed = config.seed if config.order == "shuffled" else None
    if seed is not None or not units[0].row:
        return deal(known, counts.sum(axis=1).tolist(), count, seed=seed)
    rows = [list(row) for _, row in groupby(range(len(units)), lambda number: units[number].row)]
    if config.order == "interleaved":
        return tuple(number % count for number in range(len(units)))
    found: list[int] = []
    load = [0] * count
    for row in rows:
        first, own = units[row[0]], known[row]
        blocks = cut_blocks(
            own,
            [units[number].place for number in row],
            min(count, len(row)),
            guard=pool.guard_of(first.pieces[0].part)[first.axis],
            elsewhere=known.sum(axis=0) - own.sum(axis=0),
            stratify=config.stratify,
        )
        # As many blocks as folds go to the folds in order; fewer, to those that have least so far.
        free = sorted(sorted(range(count), key=lambda fold: (load[fold], fold))[: max(blocks) + 1])
        for block in blocks:
            found.append(free[block])
            load[free[block]] += 1
    return tuple(found)


def _fold(number: int, pool: _Pool, where: Sequence[int]) -> Fold:
    held = [unit for unit, fold in zip(pool.units, where, strict=True) if fold == number - 1]
    validate = _joined(pool.units, where, number - 1)
    train = tuple(Part(part.volume, box) for part in pool.parts for box in _kept(part, validate, pool))
    everything, validated = (np.sum([unit.counts for unit in some], axis=0) for some in (pool.units, held))
    trained = _trained_counts(pool, train)
    return Fold(number, train, validate, trained, validated, everything - validated - trained, _words(held))


def _joined(units: Sequence[Unit], where: Sequence[int], fold: int) -> tuple[Part, ...]:
    """The pieces of a fold; those that follow each other become one box, with what is not labelled between them."""
    found: list[Part] = []
    for (row, other), some in groupby(range(len(units)), lambda number: (units[number].row, where[number])):
        if other != fold:
            continue
        pieces = [piece for number in some for piece in units[number].pieces]
        if not row:
            found += [piece.part for piece in pieces]
            continue
        for region in dict.fromkeys(piece.region for piece in pieces):
            parts = [piece.part for piece in pieces if piece.region == region]
            found.append(replace(parts[0], box=Box.around([part.box for part in parts])))
    return tuple(found)


def _kept(part: Part, validate: Sequence[Part], pool: _Pool) -> list[Box]:
    """What a fold trains on of a region: all that is labelled, without what lies near its validation parts."""
    files = pool.files[part.volume.name]
    near = [held.box.grow(pool.guard_of(held)) for held in validate if pool.files[held.volume.name] == files]
    return [box for box in part.box.without(*near) if labelled_boxes(Part(part.volume, box))]


def _trained_counts(pool: _Pool, train: Sequence[Part]) -> np.ndarray:
    """(256,) voxels of each class id in the training parts; only pieces that are cut are read again."""
    pieces: dict[str, list[Piece]] = defaultdict(list)
    for piece in (piece for unit in pool.units for piece in unit.pieces):
        pieces[piece.part.volume.name].append(piece)
    total, cut = np.zeros(256, np.int64), list[Part]()
    for part in train:
        for piece in pieces[part.volume.name]:
            common = part.box.intersect(piece.part.box)
            if common == piece.part.box:
                total += piece.counts
            elif common.size:
                cut.append(replace(part, box=common))
    for part in _merged(cut):
        total += counts_of(part, exclusive=pool.classes.exclusive)
    return total


def _merged(parts: Sequence[Part]) -> list[Part]:
    """Parts of which each but the first continues the one before, as planes of a block do, as one: formats that decode
    whole slices would decode them for every plane."""
    found: list[Part] = []
    for part in parts:
        last = found[-1] if found else None
        if last is not None and last.volume is part.volume:
            around = Box.around([last.box, part.box])
            if around.size == last.box.size + part.box.size:
                found[-1] = replace(last, box=around)
                continue
        found.append(part)
    return found


def _words(held: Sequence[Unit]) -> tuple[str, ...]:
    """What a fold validates: names, or ranges of slices for each row."""
    found = []
    for row, some in groupby(held, lambda unit: unit.row):
        members = list(some)
        if not row:
            found += [unit.name for unit in members]
            continue
        name, axis, _ = members[0].name.rsplit(" ", 2)
        found.append(f"{name} {axis} {ranges_text(unit.place for unit in members)}")
    return tuple(dict.fromkeys(found))  # regions side by side may be cut alike


def _require_voxels(fold: Fold, pool: _Pool) -> None:
    """Make sure that a fold has voxels to validate, and to train on of every class that the pool has."""
    if not fold.validate_counts.sum():
        raise VolumeError(
            f"folds: fold {fold.number} has nothing to validate: no voxel of {shown(fold.units)} counts, being masked "
            "out or unlabelled; take fewer folds, or leave the fold out with `only`"
        )
    guards = ", ".join(str(list(vox)) for vox in dict.fromkeys(pool.guard_of(part) for part in pool.parts))
    cure = "take fewer folds or a smaller guard_vox, or state `guard_vox: [0, 0, 0]` and say so with the scores"
    if not fold.train_counts.sum():
        raise VolumeError(
            f"folds: fold {fold.number} has nothing left to train on: all that is labelled is validated "
            f"({shown(fold.units)}) or lies within guard_vox {guards} (z, y, x) of it; {cure}"
        )
    elsewhere = fold.validate_counts + fold.gap_counts
    missing = [(name, int(elsewhere[entry])) for name, entry in pool.foreground if not fold.train_counts[entry]]
    lost = [f"all {count:,} voxels of {name}" for name, count in missing if count]
    if lost:
        raise VolumeError(
            f"folds: fold {fold.number} cannot learn every class: {' and '.join(lost)} are validated "
            f"({shown(fold.units)}) or lie within guard_vox {guards} (z, y, x) of it; {cure}, or leave the fold out "
            "with `only`"
        )


def _missing_classes(folds: Sequence[Fold], pool: _Pool) -> Iterator[str]:
    for name, entry in pool.foreground:
        without = [str(fold.number) for fold in folds if not fold.validate_counts[entry]]
        having = sum(1 for unit in pool.units if unit.counts[entry])
        if without and having:
            yield (
                f"folds: fold {', '.join(without)} cannot validate {name}, which {having} of {len(pool.units)} units "
                "hold; its mean over the folds is of the others"
            )


def _parted_samples(by: By, folds: Sequence[Fold], volumes: Mapping[str, VolumeConfig]) -> Iterator[str]:
    """Where whole volumes or images are validated by networks that were trained on others of the same sample."""
    for fold in folds if by in ("volumes", "images") else ():
        trained, validated = ({sample_of(part, volumes) for part in parts} for parts in (fold.train, fold.validate))
        if both := sorted({name for name in trained & validated if name is not None}):
            yield (
                f"folds: fold {fold.number} validates {by} of {shown(both)}, of which it is also trained on others; "
                "`by: samples` keeps samples together"
            )


def regions_of(parts: Sequence[Part], volumes: Mapping[str, VolumeConfig]) -> tuple[Region, ...]:
    """The parts as a recipe names them, in their order; images of one volume become one region."""
    found: list[Region] = []
    for name, some in groupby(parts, name_in_recipe):
        members = list(some)
        if volumes[name].kind == "images":
            stems = [escape(stem_of(part.volume.image.path.name)) for part in members]
            found.append(Region(volume=name, images=tuple(dict.fromkeys(stems))))
        else:
            found += [_region(name, part) for part in members]
    return tuple(found)


def _region(name: str, part: Part) -> Region:
    whole, box = Box.of_shape(part.volume.image.shape), part.box
    if box == whole:
        return Region(volume=name)
    if (box.start[1:], box.stop[1:]) == (whole.start[1:], whole.stop[1:]):
        return Region(volume=name, slices=f"{box.start[0]}:{box.stop[0]}")
    return Region(volume=name, box=str(box))
