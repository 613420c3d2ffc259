"""Affinities in training: ids travel, and what a patch learns are the affinities of its ids as they are then."""

from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cristae.augment import (
    AugmentationConfig,
    Batch,
    Elastic,
    Flip,
    Rotate,
    Rotate90,
    Shift,
    ShiftedSections,
    Zoom,
    required_margin,
)
from cristae.augment.geometric import move
from cristae.data.affinities import UNKNOWN_ID, Affinities, ObjectLabels
from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.data.volume import Volume
from cristae.progress import Progress
from cristae.sampling import Place, RandomPatches, SamplePart
from cristae.targets import NoWeighting
from cristae.training import cache as cache_module
from cristae.training.affinity_targets import with_affinities
from cristae.training.cache import CachedPart, cache_parts
from cristae.training.cache_folder import open_cache
from cristae.training.cached_ids import NarrowIds
from cristae.training.class_index import INVALID
from cristae.training.feed import PatchFeed
from cristae.training.framing import Framing
from cristae.training.held_out import Tiles
from cristae.training.preparation import prepare_batch

IN_PLANE = Affinities(((0, 0, 0), (0, -1, 0), (0, 0, 1), (0, 2, -3)))
IN_SPACE = Affinities(((0, 0, 0), (-1, 0, 0), (0, -1, 0), (2, 1, -3)))
TARGETS = partial(NoWeighting(), statistics={})


def blobs(shape: Sequence[int], seed: int = 3) -> np.ndarray:
    """Ids 0 to 3 in blocks of two or three voxels, so that partners are often in the same object."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 4, [-(-side // 2) for side in shape]).astype(np.uint64)
    for axis in range(3):
        coarse = coarse.repeat(2, axis=axis)
    return coarse[tuple(slice(0, side) for side in shape)]


def volume_of(ids: np.ndarray, known: np.ndarray, affinities: Affinities) -> Volume:
    """As `open_data` gives it, with grey values that number the voxels."""

    def read(box: Box) -> tuple[np.ndarray, np.ndarray]:
        return ids[box.slices], known[box.slices]

    objects = ObjectLabels(read, Box.of_shape(ids.shape), affinities)
    image = image_of_array(np.arange(ids.size, dtype=np.float32).reshape(ids.shape))
    whole = Box.of_shape(ids.shape)
    return Volume(
        "v",
        image,
        labels=tuple(image_of_array(reader(whole)) for reader in objects.readers()),
        valid=image_of_array(objects.valid(whole)),
        objects=objects,
    )


def classes_of(affinities: Affinities) -> Classes:
    return Classes(names=tuple(f"c{k}" for k in range(len(affinities.offsets))), exclusive=False)


def cached(volume: Volume, box: Box, framing: Framing, size: Triple, *, partners: bool = False) -> CachedPart:
    assert volume.objects is not None
    with open_cache() as cache:
        (part,) = cache_parts(
            [Part(volume, box)],
            classes_of(volume.objects.affinities),
            cache,
            framing,
            size=size,
            overhang=(2, 4, 4),
            partners=partners,
            progress=Progress(),
        )
    return part


def by_loops(ids: np.ndarray, known: np.ndarray, offsets: Sequence[Triple]) -> tuple[np.ndarray, np.ndarray]:
    """Masks (K, Z, Y, X) and where all partners are known, voxel by voxel; masks are 0 where one is not."""
    masks, valid = np.zeros((len(offsets), *ids.shape), bool), known.copy()
    for place in product(*map(range, ids.shape)):
        for k, offset in enumerate(offsets):
            there = tuple(a + b for a, b in zip(place, offset, strict=True))
            inside = all(0 <= p < n for p, n in zip(there, ids.shape, strict=True))
            valid[place] &= inside and bool(known[there])
            masks[(k, *place)] = inside and ids[place] == ids[there] != 0
    return masks & valid, valid


def test_by_hand() -> None:
    """A row of two objects that touch, the partner on the right, one voxel of frame; the last id is not known."""
    ids = torch.tensor([[[1, 1, 1, 2, 2, 0, 0, -1]]], dtype=torch.int32).expand(1, 3, 8)
    batch = Batch(torch.zeros(1, 1, 1, 6), ids, ids >= 0, None, (Box((0, 4, 9), (1, 7, 17)),), ("v",), frame=(1, 1))
    found = with_affinities(batch, Affinities(((0, 0, 0), (0, 0, 1))))
    assert found.target[0, :, 0].tolist() == [[1, 1, 1, 1, 0, 0], [1, 0, 1, 0, 0, 0]]
    assert found.valid[0, 0].tolist() == [True, True, True, True, True, False]
    assert found.boxes == (Box((0, 5, 10), (1, 6, 16)),)
    assert found.frame == ()


@pytest.mark.parametrize(
    ("framing", "affinities"),
    [
        (Framing(frame=IN_PLANE.frame), IN_PLANE),
        (Framing(flat=False, context=(1, 2, 2), frame=IN_SPACE.frame), IN_SPACE),
    ],
    ids=["flat", "thick"],
)
@pytest.mark.parametrize("partners", [False, True], ids=["trained", "validated"])
def test_an_unmoved_patch_has_the_masks_of_the_volume(
    tmp_path: Path, framing: Framing, affinities: Affinities, partners: bool
) -> None:
    """What is trained with has the masks of its region cut out, what is validated with has those of the volume. The
    image lies where it always does, mirrored beyond the volume."""
    rng = np.random.default_rng(8)
    ids = blobs((7, 22, 25))
    known = rng.random(ids.shape) < 0.97
    volume, box = volume_of(ids, known, affinities), Box((1, 3, 0), (7, 19, 25))
    size = (1, 8, 12) if framing.flat else (4, 8, 12)
    part = cached(volume, box, framing, size, partners=partners)
    if partners:
        masks = np.stack([one.read()[box.slices] for one in volume.labels])
        assert volume.valid is not None
        valid = volume.valid.read()[box.slices] != 0
    else:
        masks, valid = by_loops(ids[box.slices], known[box.slices], affinities.offsets)
    assert part.class_counts.tolist() == [
        int((valid & ~masks.any(axis=0)).sum()), *(int((mask.astype(bool) & valid).sum()) for mask in masks)
    ]  # fmt: skip
    inside = {k: {tuple(place) for place in found.tolist()} for k, found in enumerate(part.class_voxels) if k}
    assert inside == {k + 1: {tuple(p) for p in np.argwhere(mask * valid).tolist()} for k, mask in enumerate(masks)}
    (blocks,) = part.label_blocks()
    np.testing.assert_array_equal(blocks, np.where(valid, masks, INVALID))
    places = [(0, 0, 0), (2, 5, 7), (1, -3, 15), (2, 12, -4)]
    for start in places:
        place = Box(start, tuple(a + b for a, b in zip(start, size, strict=True)))  # type: ignore[arg-type]
        feed = PatchFeed(_Fixed(place), [part], framing, batch_size=1, threads=1)
        ((_, batch),) = list(feed)
        found = prepare_batch(batch, (), TARGETS, [np.random.default_rng(0)], affinities=affinities)
        there = place.intersect(Box.of_shape(box.shape))
        expected_valid, expected = np.zeros(size, bool), np.zeros((len(masks), *size), bool)
        here = there.relative_to(place.start).slices
        expected_valid[here] = valid[there.slices]
        expected[(slice(None), *here)] = masks[(slice(None), *there.slices)] & valid[there.slices]
        shape = found.valid.shape[1:]
        np.testing.assert_array_equal(found.valid[0], expected_valid.reshape(shape))
        np.testing.assert_array_equal(found.target[0], expected.reshape(-1, *shape))
        assert found.boxes == (place.shift(box.start),)
        alone = part.read(place, Framing(flat=framing.flat, context=framing.context))
        np.testing.assert_array_equal(found.image[0], alone.image)


class _Fixed:
    """A plan of one patch."""

    def __init__(self, box: Box) -> None:
        self._box = box

    def __len__(self) -> int:
        return 1

    def place(self, epoch: int, index: int) -> Place:
        return Place(0, self._box)


MOVES: dict[str, list[AugmentationConfig]] = {
    "flip": [Flip(axes=("y", "x"), probability=0.7)],
    "quarters": [Flip(), Rotate90()],
    "turn": [Rotate(degrees=180, probability=1)],
    "elastic and flip": [Elastic(amplitude_vox=9, spacing_vox=6, probability=0.8), Flip()],
    "all": [Zoom(probability=1), Shift(amount=0.2, probability=1), Rotate(degrees=30), Elastic(spacing_vox=8), Flip()],
}


@pytest.mark.parametrize(("name", "flat"), [*product(MOVES, (True, False)), ("sections", False)])
def test_affinities_of_a_moved_patch_are_those_of_its_moved_ids(name: str, flat: bool) -> None:
    """The image numbers its voxels and is moved to the nearest, so it tells where every id, that of a partner too,
    came from; the affinities are then those of loops over the ids there."""
    moves = MOVES.get(name, [ShiftedSections(amount_vox=4, probability=1)])
    if not flat and name == "flip":
        moves = [Flip(axes=("z", "y", "x"), probability=0.7)]
    affinities = IN_PLANE if flat else IN_SPACE
    frame = affinities.frame[1:] if flat else affinities.frame
    size = (12, 12) if flat else (4, 12, 12)
    framed = tuple(side + 2 * around for side, around in zip(size, frame, strict=True))
    margin = required_margin(moves, framed, "nearest")
    shape = [side + 2 * around for side, around in zip(framed, margin, strict=True)]
    ids = np.stack([blobs([1] * flat + shape, seed)[0 if flat else slice(None)] for seed in range(6)]).astype(np.int32)
    ids[np.random.default_rng(1).random(ids.shape) < 0.03] = UNKNOWN_ID
    numbers = torch.arange(ids[0].size, dtype=torch.float32).view(1, 1, *shape).expand(6, -1, *[-1] * len(shape))
    corner = Box((0, 0, 0), ([1] * flat + shape)[:3])  # type: ignore[arg-type]
    # The image is seen as far as the frame, so that it shows where partners come from.
    target = torch.from_numpy(ids)
    batch = Batch(
        numbers, target, target >= 0, None, (corner,) * 6, ("v",) * 6, margin, frame, volume_shapes=(corner.shape,) * 6
    )
    found = prepare_batch(batch, moves, TARGETS, generators(), "nearest", affinities)
    assert found.target.shape == (6, len(affinities.offsets), *size)
    changed = 0
    for sample in range(6):
        origin = found.image[sample, 0].long().numpy()
        changed += bool((origin != _middle(numbers[0, 0].numpy(), framed)).any())
        there = ids[sample].reshape(-1)[origin].reshape([1] * flat + list(framed))
        masks, valid = by_loops(there, there != UNKNOWN_ID, affinities.offsets)
        inner = tuple(slice(around, -around or None) for around in affinities.frame)
        np.testing.assert_array_equal(found.valid[sample].numpy().reshape(valid[inner].shape), valid[inner])
        np.testing.assert_array_equal(
            found.target[sample].numpy().reshape(masks[(slice(None), *inner)].shape), masks[(slice(None), *inner)]
        )
    assert changed >= 3, "most samples were moved"


@pytest.mark.parametrize(
    "moves", [[Rotate(degrees=180, probability=1)], [Flip(), Rotate90()]], ids=["turn", "quarters"]
)
def test_the_image_needs_no_frame(moves: list[AugmentationConfig]) -> None:
    """A padded network sees the output patch alone, which is smaller than the ids that are moved with it."""
    margin, frame = required_margin(moves, (12, 12), target_size=(18, 18)), (3, 3)
    assert margin == required_margin(moves, (18, 18))
    side = 18 + 2 * margin[0]
    ids = torch.from_numpy(blobs((6, side, side)).astype(np.int32))
    image = torch.rand(6, 1, side, side, generator=torch.Generator().manual_seed(0))
    boxes = (Box((0, 0, 0), (1, side, side)),) * 6
    wide = Batch(image, ids, ids >= 0, None, boxes, ("v",) * 6, margin, frame)
    narrow = Batch(image[..., 3:-3, 3:-3], ids, ids >= 0, None, boxes, ("v",) * 6, margin, frame)
    one, other = (prepare_batch(batch, moves, TARGETS, generators(), affinities=IN_PLANE) for batch in (wide, narrow))
    assert one.valid.all()
    assert one.target.shape == (6, 4, 12, 12)
    assert torch.equal(one.target, other.target)
    torch.testing.assert_close(one.image[..., 3:-3, 3:-3], other.image, atol=1e-4, rtol=0)


def _middle(array: np.ndarray, size: Sequence[int]) -> np.ndarray:
    return array[tuple(slice((n - m) // 2, (n + m) // 2) for n, m in zip(array.shape, size, strict=True))]


def generators() -> list[np.random.Generator]:
    return [np.random.default_rng([5, i]) for i in range(6)]


@pytest.mark.parametrize("turns", range(8))
def test_quarters_and_mirrors_permute_offsets(turns: int) -> None:
    """Affinities of turned ids are the turned affinities of the offset turned back: a law that needs no other code."""
    ids = torch.from_numpy(blobs((1, 14, 14), turns)[0].astype(np.int32))[None]

    def turned(plane: torch.Tensor) -> torch.Tensor:
        plane = plane.flip(-1) if turns >= 4 else plane
        return plane.rot90(turns % 4, (-2, -1))

    corner = torch.zeros(7, 7)
    corner[3 - 1, 3 + 2] = 1  # the offset (-1, 2), seen from the middle
    (y,), (x,) = torch.nonzero(turned(corner), as_tuple=True)

    def affinity(of: torch.Tensor, offset: Triple) -> torch.Tensor:
        box = Box((0, 0, 0), (1, 14, 14))
        batch = Batch(torch.zeros(1, 1, 10, 10), of, of >= 0, None, (box,), ("v",), frame=(2, 2))
        return with_affinities(batch, Affinities((offset,))).target[0, 0]

    assert torch.equal(affinity(turned(ids), (0, int(y) - 3, int(x) - 3)), turned(affinity(ids, (0, -1, 2))))


def test_what_lies_outside_of_what_was_read_is_no_partner() -> None:
    """Without the margin that a shift needs, ids of the border would stand for those beyond it."""
    ids = torch.ones(1, 14, 14, dtype=torch.int32)
    box = Box((0, 0, 0), (1, 14, 14))
    batch = Batch(torch.zeros(1, 1, 10, 10), ids, ids > 0, None, (box,), ("v",), frame=(2, 2))
    shift = Shift(amount=3, unit="voxels", probability=1)
    moved = move([shift], batch, [np.random.default_rng(3)])
    assert not moved.valid.all()
    assert torch.equal(moved.target == UNKNOWN_ID, ~moved.valid)


@given(
    ids=st.lists(
        st.sampled_from([0, 1, 2**30 - 1, 2**30, 2**30 + 1, 2**53, 2**53 + 1, 2**64 - 1]), min_size=6, max_size=6
    ),
    known=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_ids_of_any_width_are_numbered_exactly(ids: list[int], known: list[bool]) -> None:
    """Two voxels have the same number where they have the same id, whichever of them is read first; 0 stays 0."""
    array, there = np.array(ids, np.uint64).reshape(1, 1, 6), np.array(known).reshape(1, 1, 6)
    narrow = NarrowIds(volume_of(array, there, IN_PLANE).objects)  # type: ignore[arg-type]
    boxes = [Box((0, 0, x), (1, 1, x + 2)) for x in (2, 0, 4)]
    found = {x: n for box in boxes for x, n in enumerate(narrow.read(box)[0, 0].tolist(), start=box.start[2])}
    for a, b in product(range(6), range(6)):
        if known[a] and known[b]:
            assert (found[a] == found[b]) == (ids[a] == ids[b])
    assert all((found[x] == UNKNOWN_ID) != known[x] for x in range(6))
    assert all(found[x] == 0 for x in range(6) if known[x] and ids[x] == 0)
    assert all(found[x] >= 0 for x in range(6) if known[x])


def test_wide_ids_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects of CREMI have ids beyond 2^53; they are one object in all blocks that are cached one after the other."""
    ids = blobs((6, 20, 20))
    wide = np.where(ids == 0, 0, np.uint64(2**60) + ids).astype(np.uint64)
    known, box, size = np.ones(ids.shape, bool), Box.of_shape(ids.shape), (3, 8, 8)
    framing = Framing(flat=False, frame=IN_SPACE.frame)
    monkeypatch.setattr(cache_module, "_SLAB", {True: (4, 2048, 2048), False: (2, 7, 9)})
    narrow, of_wide = (cached(volume_of(one, known, IN_SPACE), box, framing, size) for one in (ids, wide))
    assert narrow.class_counts.tolist() == of_wide.class_counts.tolist()
    place = Box((0, 0, 0), ids.shape).grow((1, 2, 2))
    one, other = narrow.read(place, framing), of_wide.read(place, framing)
    assert one.target.dtype == other.target.dtype == np.dtype(np.int32)
    pairs = set(zip(one.target.reshape(-1).tolist(), other.target.reshape(-1).tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == 5
    assert pairs >= {(0, 0), (UNKNOWN_ID, UNKNOWN_ID)}


def test_blocks_of_the_cache_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts and places are those of the whole, though partners lie in other blocks."""
    ids, framing = blobs((6, 20, 20)), Framing(flat=False, frame=IN_SPACE.frame)
    known = np.random.default_rng(0).random(ids.shape) < 0.95
    found = []
    for number, slab in enumerate(((16, 1024, 1024), (2, 7, 9))):
        monkeypatch.setenv("CRISTAE_CACHE", str(tmp_path / str(number)))
        monkeypatch.setattr(cache_module, "_SLAB", {True: (4, 2048, 2048), False: slab})
        found.append(cached(volume_of(ids, known, IN_SPACE), Box.of_shape(ids.shape), framing, (3, 8, 8)))
    one, other = found
    assert one.class_counts.tolist() == other.class_counts.tolist()
    assert [set(map(tuple, v.tolist())) for v in one.class_voxels] == [
        set(map(tuple, v.tolist())) for v in other.class_voxels
    ]


def test_the_same_ids_with_other_offsets_are_other_entries(tmp_path: Path) -> None:
    ids = blobs((2, 16, 16))
    known, box = np.ones(ids.shape, bool), Box.of_shape(ids.shape)
    found = [
        cached(volume_of(ids, known, Affinities((offset,))), box, Framing(frame=(0, 1, 1)), (1, 8, 8))
        for offset in ((0, 0, 1), (0, 1, 0), (0, 0, 1))
    ]
    assert found[0].folder == found[2].folder != found[1].folder


def test_tiles_count_every_voxel_once_though_partners_lie_in_others() -> None:
    shape, size, frame = (1, 20, 25), (1, 8, 8), (0, 3, 3)
    part = SamplePart(shape, np.array([500, 0]), (np.zeros((0, 3)),) * 2, lambda box: True, lambda box: True)
    tiles, seen = Tiles([part], size, frame), np.zeros(shape, int)
    for index in range(len(tiles)):
        valid = torch.ones(8 + 6, 8 + 6, dtype=torch.bool)
        fresh = tiles.fresh(index, valid)[3:-3, 3:-3].numpy()
        seen[tiles.place(0, index).box.slices] += fresh
    assert (seen == 1).all()


def test_weights_of_the_volume_lose_the_frame(tmp_path: Path) -> None:
    ids, framing = blobs((2, 20, 20)), Framing(frame=IN_PLANE.frame)
    weight = np.random.default_rng(2).random(ids.shape).astype(np.float32)
    volume = volume_of(ids, np.ones(ids.shape, bool), IN_PLANE)
    volume = Volume(
        volume.name, volume.image, volume.labels, volume.valid, weight=image_of_array(weight), objects=volume.objects
    )
    part = cached(volume, Box.of_shape(ids.shape), framing, (1, 8, 8))
    plan = RandomPatches(size=(8, 8), per_epoch=6).plan([part.sample_part()], seed=2)
    ((_, batch),) = list(PatchFeed(plan, [part], framing, batch_size=6, threads=1))
    assert batch.target_size == batch.size == (8, 8)
    found = prepare_batch(batch, (), TARGETS, generators(), affinities=IN_PLANE)
    assert found.weight is not None
    for index, box in enumerate(found.boxes):
        np.testing.assert_array_equal(found.weight[index], weight[box.slices][0])
