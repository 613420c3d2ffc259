"""Training samples of a forest: labelled voxels and their features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cristae.classical.features import FeaturePlan
from cristae.classical.pixels import read_around, smooth_all
from cristae.classical.threads import side_by_side
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.splits import Part, labelled_boxes
from cristae.preprocess.normalize import Normalizer

_BLOCK = {2: (1, 1024, 1024), 3: (16, 256, 256)}
"""Voxels (z, y, x) that are read at once."""
_TILE = {2: (1, 128, 128), 3: (8, 64, 64)}
"""Of a block, only tiles that hold samples are filtered."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Voxels to train on."""

    features: np.ndarray
    """float32 (N, F)."""
    classes: np.ndarray
    """uint8 (N,): ids of exclusive classes; 0 and 1 for a mask."""
    labelled: np.ndarray
    """int64 (K,): labelled voxels of each class that these were drawn from."""


@dataclass(frozen=True)
class _Block:
    """A labelled box of one part, small enough to be held in memory."""

    part: int
    box: Box


def draw_samples(
    parts: Sequence[Part],
    classes: Classes,
    plan: FeaturePlan,
    normalizers: Mapping[str, Normalizer],
    *,
    limit: int,
    seed: int,
    threads: int,
) -> tuple[Samples, ...]:
    """Labelled voxels with their features: at most `limit` of each class, from every part as many as it can give.

    Args:
        parts: Labelled regions; the image around them is seen too.
        classes: What the labels mean.
        plan: The features.
        normalizers: The mapping of grey values by volume name.
        limit: Voxels of each class, and of a mask's outside.
        seed: Where randomness starts.
        threads: Blocks that are filtered at the same time.

    Returns:
        One for exclusive classes; for overlapping ones as many as there are classes.
    """
    blocks = _blocks(parts, plan.ndim)
    counts = np.stack(list(side_by_side(lambda block: _counts(parts[block.part], block.box, classes), blocks, threads)))
    quotas = _quotas(counts, np.array([block.part for block in blocks]), limit, seed)

    def sample(number: int) -> list[tuple[np.ndarray, np.ndarray]]:
        block, quota = blocks[number], quotas[number]
        part = parts[block.part]
        if not quota.any():
            return [(np.empty((0, len(plan.names)), np.float32), np.empty(0, np.uint8))] * len(quota)
        drawn = list(_drawn(part, block.box, classes, quota, [seed, number]))
        seen = _features_at(part, block.box, plan, normalizers, np.concatenate([places for places, _ in drawn]))
        ends = np.cumsum([len(places) for places, _ in drawn])[:-1]
        return [(rows, ids) for rows, (_, ids) in zip(np.split(seen, ends), drawn, strict=True)]

    found = list(side_by_side(sample, range(len(blocks)), threads))
    return tuple(
        Samples(
            np.concatenate([one[s][0] for one in found]),
            np.concatenate([one[s][1] for one in found]),
            counts[:, s].sum(axis=0),
        )
        for s in range(counts.shape[1])
    )


def count_labelled(parts: Sequence[Part], classes: Classes, *, ndim: int, threads: int) -> np.ndarray:
    """(S, K) labelled voxels of each class: in one row for exclusive ones, or outside and inside of each mask."""
    blocks = _blocks(parts, ndim)
    counts = side_by_side(lambda block: _counts(parts[block.part], block.box, classes), blocks, threads)
    total: np.ndarray = np.stack(list(counts)).sum(axis=0)
    return total


def _blocks(parts: Sequence[Part], ndim: int) -> list[_Block]:
    return [
        _Block(number, block)
        for number, part in enumerate(parts)
        for box in labelled_boxes(part)
        for block in box.blocks(_BLOCK[ndim])
    ]


def structures(part: Part, box: Box, classes: Classes) -> np.ndarray:
    """Truth of a box, int16 (S, Z, Y, X), -1 where a voxel does not count: ids in one, or 0 and 1 for each mask."""
    truth = np.stack([label.read(box) for label in part.volume.labels]).astype(np.int16)
    if not classes.exclusive:
        truth = (truth != 0).astype(np.int16)
    if part.volume.valid is not None:
        truth[:, part.volume.valid.read(box) == 0] = -1
    return truth


def _counts(part: Part, box: Box, classes: Classes) -> np.ndarray:
    """(S, K) voxels of each class."""
    width = len(classes.names) if classes.exclusive else 2
    truth = structures(part, box, classes)
    return np.stack([np.bincount(one[one >= 0], minlength=width) for one in truth])


def _quotas(counts: np.ndarray, part_of_block: np.ndarray, limit: int, seed: int) -> np.ndarray:
    """(B, S, K) voxels to draw from each block, given how many there are."""
    quotas = np.zeros_like(counts)
    parts = np.unique(part_of_block)
    for structure in range(counts.shape[1]):
        for number in range(counts.shape[2]):
            rng = np.random.default_rng([seed, structure, number])
            there = counts[:, structure, number]
            by_part = np.array([there[part_of_block == part].sum() for part in parts])
            for part, share in zip(parts, _even(by_part, limit), strict=True):
                mine = part_of_block == part
                quotas[mine, structure, number] = _proportional(there[mine], int(share), rng)
    return quotas


def _even(there: np.ndarray, limit: int) -> np.ndarray:
    """Share out `limit`, to all alike as far as each has enough; what is left by some goes to the others."""
    shares = np.zeros_like(there)
    order = np.argsort(there, kind="stable")
    for place, part in enumerate(order):
        shares[part] = min(there[part], (limit - shares.sum()) // (len(order) - place))
    return shares


def _proportional(there: np.ndarray, total: int, rng: np.random.Generator) -> np.ndarray:
    """Share out `total` in proportion to what is there; a random few get one more than the rounded share."""
    if not total:
        return np.zeros_like(there)
    exact = there * (total / there.sum())
    shares: np.ndarray = np.floor(exact).astype(there.dtype)
    spare, room = total - int(shares.sum()), there > shares
    if spare > 0:
        fraction = np.where(room, exact - shares + 1e-9, 0)
        shares[rng.choice(len(there), spare, replace=False, p=fraction / fraction.sum())] += 1
    return shares


def _drawn(
    part: Part, box: Box, classes: Classes, quota: np.ndarray, seed: list[int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each structure the places (N, 3) in the block and the ids (N,) of random voxels."""
    for structure, truth in enumerate(structures(part, box, classes)):
        rng = np.random.default_rng([*seed, structure])
        flat, places, ids = truth.ravel(), [], []
        for number, count in enumerate(quota[structure]):
            if count:
                places.append(rng.choice(np.flatnonzero(flat == number), count, replace=False))
                ids.append(np.full(count, number, np.uint8))
        none = np.empty(0, np.int64)
        chosen = np.concatenate([none, *places])
        yield np.stack(np.unravel_index(chosen, truth.shape), axis=1), np.concatenate([none.astype(np.uint8), *ids])


def _features_at(
    part: Part, box: Box, plan: FeaturePlan, normalizers: Mapping[str, Normalizer], places: np.ndarray
) -> np.ndarray:
    """Features (N, F) at places (N, 3) of a block, filtering no more of it than is needed."""
    corner = places.min(axis=0)
    low, high = (corner + box.start).tolist(), (places.max(axis=0) + box.start + 1).tolist()
    inner = Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))
    grey = read_around(part.volume.image, inner, plan.reach, normalizers[part.volume.name])
    smoothed = smooth_all(grey, plan)
    seen = np.empty((len(places), len(plan.names)), np.float32)
    local = places - corner
    tile_of = local // np.array(_TILE[plan.ndim])
    for tile in Box.of_shape(inner.shape).blocks(_TILE[plan.ndim]):
        mine = (tile_of == np.array(tile.start) // np.array(_TILE[plan.ndim])).all(axis=1)
        if mine.any():
            z, y, x = (local[mine] - tile.start).T
            seen[mine] = plan.stack(grey, smoothed, tile)[:, z, y, x].T
    return seen
