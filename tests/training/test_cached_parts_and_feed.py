"""Cached parts give back exactly the voxels they were made from, and batches do not depend on threads or processes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.data.volume import Volume
from cristae.models import NetworkConfig, UNetBNConfig
from cristae.models.hybrid_2d3d import Hybrid2D3DConfig
from cristae.models.unet_valid import UNetValidConfig
from cristae.progress import Progress
from cristae.sampling import GridPatches, RandomPatches, RejectionPatches
from cristae.training.cache import cache_parts
from cristae.training.cache_folder import open_cache
from cristae.training.cached_part import CachedPart
from cristae.training.class_index import INVALID
from cristae.training.feed import PatchFeed, Worker
from cristae.training.framing import Framing
from cristae.training.regions import on_working_grid

BINARY = Classes(names=("background", "thing"))
FLAT = Framing()
PATCH = (1, 16, 16)


def cached(
    parts: list[Part], classes: Classes, framing: Framing, *, size: Triple, progress: Progress
) -> tuple[CachedPart, ...]:
    with open_cache() as cache:
        return cache_parts(parts, classes, cache, framing, size=size, progress=progress)


def volume_of(
    shape: tuple[int, int, int], *, dtype: str = "uint8", n_labels: int = 1, labelled: tuple[int, ...] | None = None
) -> tuple[Volume, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    image = (rng.random(shape) * 200).astype(dtype)
    labels = rng.integers(0, 2, (n_labels, *shape)).astype(np.uint8)
    valid = (rng.random(shape) > 0.1).astype(np.uint8)
    if labelled is not None:
        valid[[z for z in range(shape[0]) if z not in labelled]] = 0
    size = (40.0, 10.0, 10.0)
    volume = Volume(
        name="v",
        image=image_of_array(image, voxel_size_nm=size),
        labels=tuple(image_of_array(one) for one in labels),
        valid=image_of_array(valid),
        voxel_size_nm=size,
        labelled_slices=labelled,
    )
    return volume, image, labels, valid


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "float32"])
def test_patches_hold_the_volumes_voxels(tmp_path: Path, dtype: str) -> None:
    volume, image, labels, valid = volume_of((4, 60, 50), dtype=dtype)
    box = Box((1, 5, 3), (4, 55, 50))
    (part,) = cached([Part(volume, box)], BINARY, FLAT, size=PATCH, progress=Progress())
    patch = part.read(Box((1, 10, 10), (2, 30, 40)), FLAT)
    where = (2, slice(15, 35), slice(13, 43))
    np.testing.assert_array_equal(patch.image[0], image[where])
    np.testing.assert_array_equal(patch.valid, valid[where] == 1)
    np.testing.assert_array_equal(patch.target, labels[0][where] * valid[where])
    assert patch.box == Box((2, 15, 13), (3, 35, 43))
    counts = [np.sum((labels[0] == k) & (valid == 1), where=_mask(image.shape, box)) for k in (0, 1)]
    assert part.class_counts.tolist() == counts
    assert not part.fully_valid


def _mask(shape: tuple[int, ...], box: Box) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[box.slices] = True
    return mask


def test_remembered_places_are_of_their_class(tmp_path: Path) -> None:
    volume, _, labels, valid = volume_of((3, 40, 40))
    (part,) = cached([Part(volume, Box.of_shape((3, 40, 40)))], BINARY, FLAT, size=PATCH, progress=Progress())
    for k, places in enumerate(part.class_voxels):
        at = tuple(places.T)
        assert (labels[0][at] == k).all()
        assert (valid[at] == 1).all()
        assert len(np.unique(places, axis=0)) == part.class_counts[k]


def test_flat_patches_need_labelled_slices_only(tmp_path: Path) -> None:
    volume, *_ = volume_of((12, 20, 20), labelled=(2, 3, 9))
    whole = Part(volume, Box.of_shape((12, 20, 20)))
    flat = cached([whole], BINARY, FLAT, size=PATCH, progress=Progress())
    assert [(p.origin[0], p.shape[0]) for p in flat] == [(2, 2), (9, 1)]
    (thick,) = cached([whole], BINARY, Framing(flat=False), size=PATCH, progress=Progress())
    assert thick.shape == (12, 20, 20)


def test_padding_is_mirrored_image_that_does_not_count(tmp_path: Path) -> None:
    volume, image, _, _ = volume_of((1, 10, 10))
    (part,) = cached([Part(volume, Box.of_shape((1, 10, 10)))], BINARY, FLAT, size=PATCH, progress=Progress())
    patch = part.read(Box((0, -3, -3), (1, 13, 13)), FLAT)
    np.testing.assert_array_equal(patch.image[0], np.pad(image[0], 3, mode="reflect"))
    assert not patch.valid[:3].any()
    assert not patch.valid[:, -3:].any()


def test_overlapping_masks_keep_a_channel_each(tmp_path: Path) -> None:
    classes = Classes(names=("a", "b", "c"), exclusive=False)
    volume, _, labels, valid = volume_of((2, 16, 16), n_labels=3)
    (part,) = cached([Part(volume, Box.of_shape((2, 16, 16)))], classes, FLAT, size=PATCH, progress=Progress())
    patch = part.read(Box((0, 0, 0), (1, 16, 16)), FLAT)
    np.testing.assert_array_equal(patch.target, labels[:, 0] * valid[0])
    ok = valid == 1
    expected = [int((ok & ~labels.any(axis=0)).sum()), *(int((ok & (one == 1)).sum()) for one in labels)]
    assert part.class_counts.tolist() == expected


def test_working_grid_halves_a_region() -> None:
    volume, *_ = volume_of((4, 40, 40))
    part = on_working_grid(Part(volume, Box((1, 10, 11), (3, 30, 31))), (40.0, 20.0, 20.0), flat=True)
    assert part.volume.image.shape == (4, 20, 20)
    assert part.box == Box((1, 5, 6), (3, 15, 15))
    assert on_working_grid(part, None, flat=True) is part


def feed_of(folder: Path, *, threads: int = 1, batch_size: int = 4) -> PatchFeed:
    volume, image, *_ = volume_of((4, 40, 40))
    volume = replace(volume, weight=image_of_array(1 + image.astype(np.float32)))
    parts = cached([Part(volume, Box.of_shape((4, 40, 40)))], BINARY, FLAT, size=PATCH, progress=Progress())
    plan = RandomPatches(size=(16, 16), per_epoch=18).plan([p.sample_part() for p in parts], seed=3)
    return PatchFeed(plan, parts, FLAT, batch_size=batch_size, threads=threads)


def test_batches_do_not_depend_on_threads(tmp_path: Path) -> None:
    one, many = feed_of(tmp_path, threads=1), feed_of(tmp_path, threads=4)
    assert len(one) == 4
    for (n, a), (m, b) in zip(one, many, strict=True):
        assert n == m
        assert a.boxes == b.boxes
        assert bool((a.image == b.image).all())
        assert a.weight is not None
        assert b.weight is not None
        assert bool((a.weight == b.weight).all())


def test_workers_divide_each_global_batch(tmp_path: Path) -> None:
    feed = feed_of(tmp_path)
    feed.epoch = 2
    whole = [batch.boxes for _, batch in feed]
    halves = []
    for rank in range(2):
        feed.worker = Worker(rank, 2)
        halves.append([batch.boxes for _, batch in feed])
    for both, even, odd in zip(whole, *halves, strict=True):
        assert both == (even[0], odd[0], even[1], odd[1])


def test_epochs_differ_and_leaving_early_stops_the_readers(tmp_path: Path) -> None:
    feed = feed_of(tmp_path)
    first = next(iter(feed))[1].boxes
    feed.epoch = 1
    iterator = iter(feed)
    assert next(iterator)[1].boxes != first
    iterator.close()


def test_grid_copies_find_every_positive_window(tmp_path: Path) -> None:
    labels = np.zeros((1, 32, 32), np.uint8)
    labels[0, 31, 31] = 1
    image = np.full((1, 32, 32), 7, np.uint8)
    volume = Volume("v", image_of_array(image), labels=(image_of_array(labels),))
    parts = cached([Part(volume, Box.of_shape((1, 32, 32)))], BINARY, FLAT, size=PATCH, progress=Progress())
    plan = GridPatches(size=(16, 16), stride=(16, 16), positive_copies=4).plan([p.sample_part() for p in parts], 0)
    assert len(plan) == 7
    feed = PatchFeed(plan, parts, FLAT, batch_size=7)
    ((_, batch),) = list(feed)
    assert int((batch.target > 0).sum()) == 4
    assert batch.weight is None


def test_invalid_marks_are_not_a_class() -> None:
    assert len(BINARY.names) < INVALID


def numbered(shape: tuple[int, int, int]) -> tuple[Volume, np.ndarray]:
    """A volume in which every voxel has a grey value of its own and a label that follows from it."""
    image = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    labels = (image % 2).astype(np.uint8)
    return Volume("v", image_of_array(image), labels=(image_of_array(labels),)), image


@pytest.mark.parametrize(
    ("framing", "box", "target"),
    [
        (Framing(flat=True, context=(1, 0, 0)), Box((2, 4, 4), (5, 20, 24)), (1, 8, 8)),
        (Framing(flat=True, context=(2, 3, 3)), Box((0, 0, 0), (9, 30, 30)), (1, 8, 8)),
        (Framing(flat=False, context=(2, 5, 4)), Box((2, 4, 4), (6, 20, 24)), (2, 6, 6)),
        (Framing(flat=False, context=(3, 12, 12)), Box((0, 0, 0), (9, 30, 30)), (4, 10, 10)),
        (Framing(flat=False), Box((3, 10, 10), (5, 16, 17)), (6, 12, 40)),
    ],
)
def test_the_image_around_a_patch_is_that_of_the_volume(
    tmp_path: Path, framing: Framing, box: Box, target: tuple[int, int, int]
) -> None:
    shape = (9, 30, 30)
    volume, image = numbered(shape)
    (part,) = cached([Part(volume, box)], BINARY, framing, size=target, progress=Progress())
    plan = RandomPatches(size=target[1:] if framing.flat else target, per_epoch=60).plan([part.sample_part()], seed=0)
    wide = np.pad(image, 50, mode="reflect")
    inside = np.zeros(wide.shape, bool)
    inside[box.shift((50, 50, 50)).slices] = True
    for index in range(len(plan)):
        patch = part.read(plan.place(0, index).box, framing)
        around = patch.box.grow(framing.context).shift((50, 50, 50)).slices
        centre = patch.box.shift((50, 50, 50)).slices
        expected, valid, ids = wide[around], inside[centre], wide[centre] % 2
        if framing.flat:
            np.testing.assert_array_equal(patch.image, expected)  # the slices are channels
            valid, ids = valid[0], ids[0]
        else:
            np.testing.assert_array_equal(patch.image, expected[None])
        np.testing.assert_array_equal(patch.valid, valid)
        np.testing.assert_array_equal(patch.target, np.where(valid, ids, 0))


def test_patches_that_reach_outside_their_part_along_z_show_the_volume() -> None:
    """Rejection takes any slice of a part as the middle of a patch, so half a patch of the slices around is cached."""
    volume, image = numbered((20, 14, 14))
    sampling, box = RejectionPatches(size=(8, 12, 12), per_epoch=80), Box((5, 0, 0), (15, 14, 14))
    with open_cache() as cache:
        (part,) = cache_parts(
            [Part(volume, box)],
            BINARY,
            cache,
            Framing(flat=False, context=(1, 0, 0)),
            size=(8, 12, 12),
            overhang=sampling.overhang,
            progress=Progress(),
        )
    plan, starts = sampling.plan([part.sample_part()], seed=0), set()
    for index in range(len(plan)):
        patch = part.read(plan.place(0, index).box, Framing(flat=False, context=(1, 0, 0)))
        starts.add(patch.box.start[0])
        np.testing.assert_array_equal(patch.image[0], image[patch.box.grow((1, 0, 0)).slices])
    assert (min(starts), max(starts)) == (1, 10)


def test_neighbours_of_a_labelled_slice_are_cached_and_do_not_count(tmp_path: Path) -> None:
    volume, image, _, valid = volume_of((12, 20, 20), labelled=(0, 4, 5, 11))
    framing = Framing(flat=True, context=(2, 0, 0))
    parts = cached([Part(volume, Box.of_shape((12, 20, 20)))], BINARY, framing, size=PATCH, progress=Progress())
    assert [(p.origin[0], p.shape[0], p.stack.box.start[0], p.stack.box.stop[0]) for p in parts] == [
        (0, 1, 0, 3),
        (4, 2, 2, 8),
        (11, 1, 9, 12),
    ]
    assert [int(p.class_counts.sum()) for p in parts] == [int(valid[z].sum()) for z in (slice(0, 1), slice(4, 6), 11)]
    first, last = (
        parts[0].read(Box((0, 0, 0), (1, 16, 16)), framing),
        parts[2].read(Box((0, 0, 0), (1, 16, 16)), framing),
    )
    np.testing.assert_array_equal(first.image, image[[2, 1, 0, 1, 2], :16, :16])
    np.testing.assert_array_equal(last.image, image[[9, 10, 11, 10, 9], :16, :16])


def test_a_volumes_own_weights_stay_with_the_target(tmp_path: Path) -> None:
    volume, image = numbered((6, 20, 20))
    volume = replace(volume, weight=image_of_array(image.astype(np.float32)))
    box, framing = Box((1, 2, 2), (5, 18, 18)), Framing(flat=False, context=(2, 3, 3))
    (part,) = cached([Part(volume, box)], BINARY, framing, size=(4, 8, 8), progress=Progress())
    patch = part.read(Box((0, -2, 10), (4, 6, 18)), framing)
    assert patch.weight is not None
    np.testing.assert_array_equal(patch.weight[:, 2:, :6], image[1:5, 2:8, 12:18])
    assert patch.weight[:, :2].sum() == patch.weight[:, :, 6:].sum() == 0


@pytest.mark.parametrize("network", [Hybrid2D3DConfig(), UNetBNConfig(slices=5), UNetValidConfig()])
def test_a_network_says_how_its_images_are_cut(network: NetworkConfig) -> None:
    framing = Framing.of(network)
    assert framing.flat == (network.ndim == 2)
    size = (1, *network.window) if framing.flat else network.window
    seen = tuple(n + 2 * around for n, around in zip(size, framing.context, strict=True))
    expected = network.input_size(network.window)
    assert seen == ((network.in_slices, *expected) if framing.flat else expected)
