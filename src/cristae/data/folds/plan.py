"""The folds of a cross-validation: what each one trains on, what it validates, and the gap between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from itertools import groupby

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.description import Region, VolumeConfig
from cristae.data.folds.assignment import cut_blocks, deal
from cristae.data.folds.config import By, FoldsConfig
from cristae.data.folds.fold import Fold, Folds
from cristae.data.folds.pool import Pool
from cristae.data.folds.units import Unit, choose_by, name_in_recipe, sample_of, shown, units_of
from cristae.data.names import stem_of
from cristae.data.splits import Part, check_apart, files_of
from cristae.errors import VolumeError
from cristae.progress import Progress

_FEWEST_NESTED = 3
"""One part is tested, one validated, and at least one trained on."""


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
    fold validates or tests, along all axes at once, in the same files. Where the guard is the reach of the receptive
    field, no training voxel is seen by the network when it predicts a validation voxel, nor the other way round. The
    guard lies between validation and test voxels of nested folds, too: the validation gives way, so that all that is
    labelled is tested once.

    Args:
        config: As the recipe says.
        splits: Opened parts by 'train', 'validate' and 'test', which keep apart.
        volumes: The volumes as the recipe describes them, by name.
        classes: What labels mean.
        guard_vox: By volume of the recipe, the gap (z, y, x) in voxels of its files.
        progress: Where reading is shown.

    Raises:
        VolumeError: There are fewer units than folds, or too few for nested ones, or a fold has nothing to train on or
            to validate, or lacks a class there.
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
    pool = Pool(parts, units, classes, guard_vox, {part.volume.name: files_of(part.volume) for part in parts})
    where = _assign(config, pool, count)
    wanted = sorted(config.only) if config.only else range(1, count + 1)
    made = Folds(pool, where, count)
    folds = tuple(
        made.nested(number, stratify=config.stratify) if config.nested else made.fold(number) for number in wanted
    )
    for fold in folds:
        _require_voxels(fold, pool)
    warnings = (*_missing_classes(folds, pool), *_parted_samples(by, folds, volumes))
    return FoldPlan(by, why, folds, count, guard_vox, warnings)


def _count(config: FoldsConfig, by: By, units: Sequence[Unit]) -> int:
    fewest = _FEWEST_NESTED if config.nested else 2
    count = max(fewest, min(config.at_most, len(units)) if config.count == "auto" else config.count)
    if len(units) >= count:
        return count
    fewer = f"give count: {len(units)} or less, or choose" if len(units) >= fewest else "choose"
    nested = "nested " if config.nested else ""
    single = " or leave `nested` out" if config.nested and len(units) == 2 else ""
    raise VolumeError(
        f"folds.count: {count} {nested}folds cannot be made of {len(units)}, which is how many "
        f"{'planes' if by == 'boxes' else by} data.train and data.validate hold ({shown([u.name for u in units])}); "
        f"{fewer} another `by`{single}"
    )


def _assign(config: FoldsConfig, pool: Pool, count: int) -> tuple[int, ...]:
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


def _require_voxels(fold: Fold, pool: Pool) -> None:
    """Make sure that a fold has voxels to score and validate, and to train on of every class that the pool has."""
    tested = fold.tested
    held_out, verb = (fold.units, "validate") if tested is None else (tested.units, "test")
    if not fold.scored_counts.any():
        raise VolumeError(
            f"folds: fold {fold.number} has nothing to {verb}: no voxel of {shown(held_out)} counts, being masked "
            "out or unlabelled; take fewer folds, or leave the fold out with `only`"
        )
    guards = ", ".join(str(list(vox)) for vox in dict.fromkeys(pool.guard_of(part) for part in pool.parts))
    cure = "take fewer folds or a smaller guard_vox, or state `guard_vox: [0, 0, 0]` and say so with the scores"
    if tested is not None and not fold.validate_counts.any():
        raise VolumeError(
            f"folds: fold {fold.number} has nothing left to validate: all of another part lies within guard_vox "
            f"{guards} (z, y, x) of what it tests ({shown(held_out)}), or does not count; {cure}"
        )
    elsewhere = fold.validate_counts + fold.gap_counts
    held = f"validated ({shown(fold.units)})"
    if tested is not None:
        elsewhere, held = elsewhere + tested.counts, f"tested ({shown(held_out)}), {held}"
    if not fold.train_counts.any():
        raise VolumeError(
            f"folds: fold {fold.number} has nothing left to train on: all that is labelled is {held} or lies within "
            f"guard_vox {guards} (z, y, x) of it; {cure}"
        )
    missing = [(name, int(elsewhere[entry])) for name, entry in pool.foreground if not fold.train_counts[entry]]
    lost = [f"all {count:,} voxels of {name}" for name, count in missing if count]
    if lost:
        raise VolumeError(
            f"folds: fold {fold.number} cannot learn every class: {' and '.join(lost)} are {held} or lie within "
            f"guard_vox {guards} (z, y, x) of it; {cure}, or leave the fold out with `only`"
        )


def _missing_classes(folds: Sequence[Fold], pool: Pool) -> Iterator[str]:
    for name, entry in pool.foreground:
        having = sum(1 for unit in pool.units if unit.counts[entry])
        if not having:
            continue
        there = f"{name}, which {having} of {len(pool.units)} units hold"
        if without := [str(fold.number) for fold in folds if not fold.scored_counts[entry]]:
            verb = "test" if folds[0].tested else "validate"
            yield f"folds: fold {', '.join(without)} cannot {verb} {there}; its mean over the folds is of the others"
        unchosen = [str(fold.number) for fold in folds if fold.tested and not fold.validate_counts[entry]]
        if unchosen:
            yield (
                f"folds: fold {', '.join(unchosen)} cannot validate {there}; its epoch is chosen by the other classes"
            )


def _parted_samples(by: By, folds: Sequence[Fold], volumes: Mapping[str, VolumeConfig]) -> Iterator[str]:
    """Where whole volumes or images are scored by networks that were trained, or chosen, on others of the same
    sample."""
    for fold in folds if by in ("volumes", "images") else ():
        known = fold.train if fold.tested is None else (*fold.train, *fold.validate)
        seen, scored = ({sample_of(part.volume.name, volumes) for part in parts} for parts in (known, fold.scored))
        if both := sorted({name for name in seen & scored if name is not None}):
            verb, others = ("validates", "trained on") if fold.tested is None else ("tests", "trained or chosen on")
            yield (
                f"folds: fold {fold.number} {verb} {by} of {shown(both)}, of which it is also {others} others; "
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
