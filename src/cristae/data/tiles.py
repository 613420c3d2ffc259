"""Tiles side by side, some of them held out: the split of EM-stellar, to compare with published scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.description import TileSplit
from cristae.data.splits import Part, labelled_boxes
from cristae.errors import VolumeError

_MAX_TILES = 20_000


def cut_tiles(splits: Mapping[str, tuple[Part, ...]], split: TileSplit) -> dict[str, tuple[Part, ...]]:
    """Cut what is labelled of the training parts into tiles and hand some of them to validation and testing.

    Args:
        splits: Parts by 'train', 'validate' and 'test'.
        split: Size and number of the tiles that are held out.

    Returns:
        The same with tiles in 'train' and 'validate', and in 'test' where that has a share; each in the order of
        volumes, slices, rows and columns.

    Raises:
        VolumeError: A tile does not fit, or the tiles are too few, or too many, to be shared out.
    """
    z, y, x = (1, *split.size) if len(split.size) == 2 else split.size
    boxes = [Part(part.volume, box) for part in splits["train"] for box in labelled_boxes(part)]
    _require_tiles(boxes, (z, y, x))
    tiles = [tile for part in boxes for tile in _tiles_of(part, (z, y, x))]
    counts = {name: int(share * len(tiles) + 1e-9) for name, share in _shares(split).items()}
    if 0 in counts.values() or sum(counts.values()) == len(tiles):
        shown = ", ".join(f"{count} to {name}" for name, count in counts.items())
        raise VolumeError(
            f"data.split.size: of {len(tiles)} tiles, {shown} and {len(tiles) - sum(counts.values())} to train on; "
            "each needs one at least, so choose smaller tiles or other shares"
        )
    order = (
        np.arange(len(tiles)) if split.choose == "first" else np.random.default_rng(split.seed).permutation(len(tiles))
    )
    found, first = dict(splits), 0
    for name, count in (*counts.items(), ("train", len(tiles) - sum(counts.values()))):
        found[name] = tuple(tiles[place] for place in sorted(order[first : first + count]))
        first += count
    return found


def held_out(split: TileSplit) -> tuple[str, ...]:
    """The splits that take tiles from the training regions."""
    return tuple(_shares(split))


def leak_of_tiles(split: TileSplit) -> str:
    """What a split into tiles means for its scores."""
    held = " and ".join(f"data.{name}" for name in held_out(split))
    return (
        f"data.split: {held} are tiles beside those of data.train (`leaky: true`), so scores on them flatter: compare "
        "them with published scores of such a split, and with nothing else"
    )


def _shares(split: TileSplit) -> dict[str, float]:
    return {"validate": split.validate_share} | ({"test": split.test_share} if split.test_share else {})


def _require_tiles(boxes: Sequence[Part], size: Triple) -> None:
    for part in boxes:
        if any(side > there for side, there in zip(size, part.box.shape, strict=True)):
            raise VolumeError(
                f"data.split.size: a tile of {_text(size)} voxels (z, y, x) does not fit into {part.box} of "
                f"'{part.volume.name}', {_text(part.box.shape)}; choose smaller tiles, or take the region out of "
                "data.train"
            )
    count = sum(prod(n // s for n, s in zip(part.box.shape, size, strict=True)) for part in boxes)
    if count > _MAX_TILES:
        raise VolumeError(
            f"data.split.size: tiles of {_text(size)} voxels (z, y, x) are {count} in data.train, more than "
            f"{_MAX_TILES}; choose larger tiles"
        )


def _tiles_of(part: Part, size: Triple) -> Iterator[Part]:
    axes = [range(a, b - s + 1, s) for a, b, s in zip(part.box.start, part.box.stop, size, strict=True)]
    for z, y, x in product(*axes):
        yield Part(part.volume, Box((z, y, x), (z + size[0], y + size[1], x + size[2])), slab=part.box)


def _text(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))
