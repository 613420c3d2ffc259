"""Tiles of a region are cached as one, and each is what it would be if it were cached by itself."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.description import TileSplit
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.data.tiles import cut_tiles
from cristae.data.volume import Volume
from cristae.progress import Progress
from cristae.targets import EdgeDiffusion
from cristae.training.cache import cache_parts
from cristae.training.cache_folder import list_cache, open_cache
from cristae.training.cached_part import CachedPart
from cristae.training.framing import Framing
from cristae.training.regions import on_working_grid
from cristae.training.weight_field import with_weight_fields

CELL = Classes(names=("background", "cell", "mito"))
MASKS = Classes(names=("er", "mito"), exclusive=False)
SIZE = (1, 16, 16)
FLAT = Framing()


def volume_of(classes: Classes, *, weighed: bool = False, seed: int = 3) -> Volume:
    """4 x 70 x 90 voxels; a corner and some voxels do not count."""
    rng, shape = np.random.default_rng(seed), (4, 70, 90)
    labels = rng.integers(0, 3, (1, *shape)) if classes.exclusive else rng.integers(0, 2, (2, *shape))
    valid = rng.random(shape) > 0.01
    valid[:, :32, :32] = False
    weight = image_of_array(rng.random(shape).astype(np.float32)) if weighed else None
    return Volume(
        name="v", image=image_of_array(rng.integers(0, 255, shape).astype(np.uint8)),
        labels=tuple(image_of_array(one.astype(np.uint8)) for one in labels),
        valid=image_of_array(valid.astype(np.uint8)), weight=weight, voxel_size_nm=(40.0, 10.0, 10.0),
    )  # fmt: skip


def tiles_of(volume: Volume, size: tuple[int, ...]) -> tuple[Part, ...]:
    splits = {"train": (Part(volume, Box((0, 2, 3), (4, 68, 90))),), "validate": (), "test": ()}
    return cut_tiles(splits, TileSplit(size=size, leaky=True))["train"]


def cached(parts: tuple[Part, ...], classes: Classes, framing: Framing = FLAT) -> tuple[CachedPart, ...]:
    with open_cache() as cache:
        return cache_parts(parts, classes, cache, framing, size=SIZE, progress=Progress())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("classes", "size", "framing"),
    [
        (CELL, (20, 30), Framing(context=(1, 5, 4))),
        (CELL, (9, 9), Framing()),
        (MASKS, (20, 30), Framing()),
        (MASKS, (2, 20, 30), Framing(flat=False, context=(1, 3, 2))),
    ],
    ids=["ids", "smaller than a patch", "masks", "thick"],
)
def test_a_tile_is_what_it_would_be_by_itself(classes, size, framing):
    """Voxels and weights of patches, also where they reach outside; counts and places of classes; what counts."""
    tiles = tiles_of(volume_of(classes, weighed=True), size)
    windows, alone = (
        cached(parts, classes, framing) for parts in (tiles, tuple(replace(tile, slab=None) for tile in tiles))
    )
    assert len({part.folder for part in windows}) == 1
    assert len({part.folder for part in alone}) == len(tiles)
    for one, other in zip(windows, alone, strict=True):
        assert (one.box, one.fully_valid) == (other.box, other.fully_valid)
        np.testing.assert_array_equal(one.class_counts, other.class_counts)
        for found, expected in zip(one.class_voxels, other.class_voxels, strict=True):
            np.testing.assert_array_equal(found, expected)
        places = [(0, side - 16) if side >= 16 else (-((16 - side) // 2),) for side in one.shape[1:]]
        for y, x in product(*places):
            box = Box((0, y, x), (1, y + 16, x + 16))
            patch, expected = one.read(box, framing), other.read(box, framing)
            for field in ("image", "target", "valid", "weight"):
                np.testing.assert_array_equal(getattr(patch, field), getattr(expected, field))
            assert (patch.box, patch.volume, patch.volume_shape) == (expected.box, "v", expected.volume_shape)
        samples = [part.sample_part() for part in (one, other)]
        for box in Box.of_shape(one.shape).blocks((1, 8, 5)):
            assert samples[0].holds_valid(box) == samples[1].holds_valid(box)
            assert samples[0].holds_foreground(box) == samples[1].holds_foreground(box)


def test_all_tiles_take_one_region_and_one_count_of_the_cache():
    """Also those of another split, whose tiles lie between; and all is found again."""
    volume, before = volume_of(CELL, seed=9), len(list_cache())
    splits = {"train": (Part(volume, Box.of_shape((4, 70, 90))),), "validate": (), "test": ()}
    splits = cut_tiles(splits, TileSplit(size=(7, 9), leaky=True))
    assert [len(splits[name]) for name in ("train", "validate")] == [340, 60]
    train, held_out = cached(splits["train"], CELL), cached(splits["validate"], CELL)
    assert len({part.folder for part in (*train, *held_out)}) == 1
    assert len(list_cache()) == before + 3  # the region, and what is counted of the tiles of each split
    again = cached(splits["train"], CELL)
    assert [part.content.facts(CELL, None) for part in again] == [part.content.facts(CELL, None) for part in train]
    assert len(list_cache()) == before + 3


def test_the_content_of_a_tile_is_that_of_its_voxels():
    """A grey value that changes in one tile changes the hash of this tile alone."""
    volume = volume_of(CELL)
    image = volume.image.read(Box.of_shape((4, 70, 90))).copy()
    image[0, 2, 3] ^= 1
    parts = [tiles_of(one, (20, 30)) for one in (volume, replace(volume, image=image_of_array(image)))]
    before, after = ([part.sha256 for part in cached(some, CELL)] for some in parts)
    changed = [place for place, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
    assert [parts[0][place].box.start for place in changed] == [(0, 2, 3)]


def test_weights_of_slices_are_those_of_each_tile():
    """What lies in another tile, which may be held out, changes nothing."""
    tiles = tiles_of(volume_of(CELL), (20, 30))
    config = EdgeDiffusion(cell="cell", steps=4)
    found = []
    for parts in (tiles, tuple(replace(tile, slab=None) for tile in tiles)):
        with open_cache() as cache:
            some = cache_parts(parts, CELL, cache, Framing(), size=SIZE, progress=Progress())
            found.append(with_weight_fields(some, config.field(CELL), config.prepare(some), cache, Progress()))
    (windows, statistics), (alone, expected) = found
    assert statistics == expected
    assert len({part.field.entry for part in windows}) == 1
    for one, other in zip(windows, alone, strict=True):
        box = Box.of_shape(one.shape)
        patch = one.read(box, Framing())
        assert patch.weight.max() > 0 or not patch.valid.any()
        np.testing.assert_array_equal(patch.weight, other.read(box, Framing()).weight)


def test_tiles_stay_tiles_on_another_grid():
    tiles = tuple(on_working_grid(tile, (40.0, 20.0, 20.0), flat=True) for tile in tiles_of(volume_of(CELL), (20, 30)))
    assert tiles[0].box.shape == (1, 10, 14)  # columns 3 to 32 hold whole voxels 2 to 15 of the other grid
    windows = cached(tiles, CELL)
    assert len({part.folder for part in windows}) == 1
    alone = cached(tuple(replace(tile, slab=None) for tile in tiles), CELL)
    for one, other in zip(windows, alone, strict=True):
        box = Box.of_shape(one.shape)
        np.testing.assert_array_equal(one.read(box, Framing()).image, other.read(box, Framing()).image)


def test_the_smallest_tile_on_another_grid_decides_how_much_image_is_around() -> None:
    """Tiles of 32 voxels become 21 and 20 of another size; a patch of 21 reaches a voxel beyond the last of them."""
    rng = np.random.default_rng(0)
    grey, labels = (image_of_array(rng.integers(0, top, (2, 65, 65)).astype(np.uint8)) for top in (255, 2))
    volume = Volume("v", grey, labels=(labels,), voxel_size_nm=(40.0, 10.0, 10.0))
    splits = {"train": (Part(volume, Box((0, 0, 0), (2, 64, 64))),), "validate": (), "test": ()}
    tiles = cut_tiles(splits, TileSplit(size=(32, 32), leaky=True))["train"]
    tiles = tuple(on_working_grid(tile, (40.0, 15.0, 15.0), flat=True) for tile in tiles)
    assert {tile.box.shape[1:] for tile in tiles} == {(21, 21), (21, 20), (20, 21), (20, 20)}
    found = []
    with open_cache() as cache:
        for parts in (tiles, tuple(replace(tile, slab=None) for tile in tiles)):
            some = cache_parts(parts, CELL, cache, FLAT, size=(1, 21, 21), progress=Progress())
            found.append([part.read(Box((0, 0, 0), (1, 21, 21)), FLAT) for part in some])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.target, other.target)
