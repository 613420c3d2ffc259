"""Staged parts give back exactly the voxels they were made from, and batches do not depend on threads or processes."""

from pathlib import Path

import numpy as np
import pytest

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.data.volume import Volume
from cristae.progress import Progress
from cristae.sampling import GridPatches, RandomPatches
from cristae.targets import NoWeighting, SampleForegroundWeighting
from cristae.training.feed import PatchFeed, Share
from cristae.training.staging import INVALID, StagedPart, on_working_grid, stage

BINARY = Classes(names=("background", "thing"))


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
    (part,) = stage([Part(volume, box)], BINARY, tmp_path, flat=True, progress=Progress())
    patch = part.read(Box((1, 10, 10), (2, 30, 40)), flat=True)
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
    (part,) = stage([Part(volume, Box.of_shape((3, 40, 40)))], BINARY, tmp_path, flat=True, progress=Progress())
    for k, places in enumerate(part.class_voxels):
        at = tuple(places.T)
        assert (labels[0][at] == k).all()
        assert (valid[at] == 1).all()
        assert len(np.unique(places, axis=0)) == part.class_counts[k]


def test_flat_staging_takes_labelled_slices_only(tmp_path: Path) -> None:
    volume, *_ = volume_of((12, 20, 20), labelled=(2, 3, 9))
    whole = Part(volume, Box.of_shape((12, 20, 20)))
    flat = stage([whole], BINARY, tmp_path / "flat", flat=True, progress=Progress())
    assert [(p.origin[0], p.shape[0]) for p in flat] == [(2, 2), (9, 1)]
    (thick,) = stage([whole], BINARY, tmp_path / "thick", flat=False, progress=Progress())
    assert thick.shape == (12, 20, 20)


def test_padding_is_mirrored_image_that_does_not_count(tmp_path: Path) -> None:
    volume, image, _, _ = volume_of((1, 10, 10))
    (part,) = stage([Part(volume, Box.of_shape((1, 10, 10)))], BINARY, tmp_path, flat=True, progress=Progress())
    patch = part.read(Box((0, -3, -3), (1, 13, 13)), flat=True)
    np.testing.assert_array_equal(patch.image[0], np.pad(image[0], 3, mode="symmetric"))
    assert not patch.valid[:3].any()
    assert not patch.valid[:, -3:].any()


def test_overlapping_masks_keep_a_channel_each(tmp_path: Path) -> None:
    classes = Classes(names=("a", "b", "c"), exclusive=False)
    volume, _, labels, valid = volume_of((2, 16, 16), n_labels=3)
    (part,) = stage([Part(volume, Box.of_shape((2, 16, 16)))], classes, tmp_path, flat=True, progress=Progress())
    patch = part.read(Box((0, 0, 0), (1, 16, 16)), flat=True)
    np.testing.assert_array_equal(patch.target, labels[:, 0] * valid[0])
    ok = valid == 1
    expected = [int((ok & ~labels.any(axis=0)).sum()), *(int((ok & (one == 1)).sum()) for one in labels)]
    assert part.class_counts.tolist() == expected


def test_a_staging_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    volume, *_ = volume_of((2, 16, 16))
    parts = [Part(volume, Box.of_shape((2, 16, 16)))]
    (first,) = stage(parts, BINARY, tmp_path, flat=True, progress=Progress())
    (tmp_path / "0000" / "part.json").unlink()
    (again,) = stage(parts, BINARY, tmp_path, flat=True, progress=Progress())
    assert again.sha256 == first.sha256
    assert StagedPart.open(tmp_path / "0000").shape == (2, 16, 16)


def test_working_grid_halves_a_region() -> None:
    volume, *_ = volume_of((4, 40, 40))
    part = on_working_grid(Part(volume, Box((1, 10, 11), (3, 30, 31))), (40.0, 20.0, 20.0), flat=True)
    assert part.volume.image.shape == (4, 20, 20)
    assert part.box == Box((1, 5, 6), (3, 15, 15))
    assert on_working_grid(part, None, flat=True) is part


def feed_of(folder: Path, *, threads: int = 1, batch_size: int = 4) -> PatchFeed:
    volume, *_ = volume_of((4, 40, 40))
    parts = stage([Part(volume, Box.of_shape((4, 40, 40)))], BINARY, folder, flat=True, progress=Progress())
    plan = RandomPatches(size=(16, 16), per_epoch=18).plan([p.sample_part() for p in parts], seed=3)
    weighting = SampleForegroundWeighting(cap=10)
    return PatchFeed(plan, parts, weighting.weights, batch_size=batch_size, flat=True, threads=threads)


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


def test_processes_share_each_global_batch(tmp_path: Path) -> None:
    feed = feed_of(tmp_path)
    feed.epoch = 2
    whole = [batch.boxes for _, batch in feed]
    shares = []
    for rank in range(2):
        feed.share = Share(rank, 2)
        shares.append([batch.boxes for _, batch in feed])
    for both, even, odd in zip(whole, *shares, strict=True):
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
    parts = stage([Part(volume, Box.of_shape((1, 32, 32)))], BINARY, tmp_path, flat=True, progress=Progress())
    plan = GridPatches(size=(16, 16), stride=(16, 16), positive_copies=4).plan([p.sample_part() for p in parts], 0)
    assert len(plan) == 7
    feed = PatchFeed(plan, parts, NoWeighting().weights, batch_size=7, flat=True)
    ((_, batch),) = list(feed)
    assert int((batch.target > 0).sum()) == 4
    assert batch.weight is None


def test_invalid_marks_are_not_a_class() -> None:
    assert len(BINARY.names) < INVALID
