"""Filtered copies of whole slices beside the cached image: what patches hold, when entries are found again, and what
normalisation and augmentation make of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cristae.augment import AugmentationConfig, ContrastJumps, Flip, Noise, Rotate
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import Image, image_of_array
from cristae.data.mirror import mirrored_positions
from cristae.data.splits import Part
from cristae.data.volume import Volume
from cristae.errors import RecipeError, VolumeError
from cristae.preprocess.grain import grain_filter
from cristae.preprocess.local_contrast import LocalContrast
from cristae.preprocess.normalize import Normalizer
from cristae.progress import Progress
from cristae.targets import TargetMaps
from cristae.training import filtered_channels
from cristae.training.cache import cache_parts
from cristae.training.cache_folder import list_cache, open_cache
from cristae.training.cached_part import CachedPart
from cristae.training.feed import collate
from cristae.training.filtered_channels import (
    require_filterable_slices,
    require_finite_slices,
    with_filtered_channels,
)
from cristae.training.framing import Framing
from cristae.training.normalized import normalized
from cristae.training.preparation import prepare_batch

CELL = Classes(names=("background", "cell"))
SHAPE = (6, 40, 50)
GREY = np.random.default_rng(2).integers(0, 12, SHAPE).astype(np.uint8) * 20
AREAS = (40, 5)
FLAT = Framing()
FORMS = {
    "slices": FLAT,
    "neighbouring slices": Framing(context=(1, 0, 0)),
    "slices with a margin": Framing(context=(0, 6, 7)),
    "volumes": Framing(flat=False, context=(1, 2, 3)),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRISTAE_CACHE", str(tmp_path))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each slice that was filtered."""
    real, counts = filtered_channels.filtered_planes, list[int]()

    def watched(grey: np.ndarray, areas_px: Sequence[int], threads: int) -> np.ndarray:
        counts.extend([1] * len(grey))
        return real(grey, areas_px, threads)

    monkeypatch.setattr(filtered_channels, "filtered_planes", watched)
    return counts


def volume_of(grey: np.ndarray = GREY, name: str = "v") -> Volume:
    labels = (np.random.default_rng(4).random(grey.shape) < 0.4).astype(np.uint8)
    return Volume(name, image_of_array(grey), labels=(image_of_array(labels),))


def parts_of(
    volume: Volume, boxes: Sequence[Box], framing: Framing = FLAT, areas: tuple[int, ...] = AREAS
) -> tuple[CachedPart, ...]:
    size = (1, 12, 12) if framing.flat else (3, 12, 12)
    with open_cache() as cache:
        parts = [Part(volume, box) for box in boxes]
        found = cache_parts(parts, CELL, cache, framing, size=size, progress=Progress())
        return with_filtered_channels(found, {volume.name: volume.image}, areas, cache, Progress())


def expected(grey: np.ndarray, seen: Box, areas: Sequence[int] = AREAS) -> np.ndarray:
    """(A, Z, Y, X): whole slices filtered, then mirrored beyond the volume and cut."""
    whole = np.stack([grain_filter(plane, areas) for plane in grey], axis=1)
    for axis in range(3):
        places = mirrored_positions(seen.start[axis], seen.stop[axis], grey.shape[axis])
        whole = whole.take(places, axis=axis + 1)
    return whole


@pytest.mark.parametrize(
    ("framing", "dtype"), list(zip(FORMS.values(), ("uint8", "int8", "uint16", "float32"), strict=True)), ids=FORMS
)
def test_patches_hold_their_part_of_whole_filtered_slices(framing: Framing, dtype: str) -> None:
    """Also around the region, beyond the border of the volume, and in the type of its image."""
    grey = (GREY // 2).astype(dtype)
    region = Box((2, 8, 9), (6, 40, 40))
    (part,) = parts_of(volume_of(grey), [region], framing)
    for start in ((0, 0, 0), (1, 10, 4), (1, 20, 19)):
        box = Box.of_shape((1, 12, 12) if framing.flat else (3, 12, 12)).shift(start)
        patch = part.read(box, framing)
        assert patch.filtered is not None
        assert patch.filtered.dtype == grey.dtype
        seen = box.shift(region.start).grow(framing.context)
        np.testing.assert_array_equal(patch.filtered, expected(grey, seen))


def test_parts_without_filters_have_no_copies() -> None:
    volume = volume_of()
    with open_cache() as cache:
        (part,) = cache_parts([Part(volume, Box.of_shape(SHAPE))], CELL, cache, FLAT, size=(1, 8, 8),
                              progress=Progress())  # fmt: skip
    patch = part.read(Box((0, 0, 0), (1, 8, 8)), FLAT)
    assert patch.filtered is None
    assert collate([patch]).filtered is None


def test_slices_are_filtered_once_for_all_regions_that_share_them(counted: list[int]) -> None:
    boxes = [Box((0, 0, 0), (3, 15, 15)), Box((1, 20, 20), (4, 35, 35)), Box((5, 0, 0), (6, 40, 50))]
    found = parts_of(volume_of(), boxes)
    assert len(counted) == 5
    for part, box in zip(found, boxes, strict=True):
        patch = part.read(Box((0, 2, 2), (1, 14, 14)), FLAT)
        seen = Box((0, 2, 2), (1, 14, 14)).shift(box.start)
        np.testing.assert_array_equal(patch.filtered, expected(GREY, seen))


def test_tiles_of_a_region_share_its_copies(counted: list[int]) -> None:
    slab = Box((1, 0, 0), (3, 40, 50))
    volume, tiles = volume_of(), [Box((1, 0, 0), (3, 20, 50)), Box((1, 20, 0), (3, 40, 50))]
    with open_cache() as cache:
        parts = [Part(volume, tile, slab) for tile in tiles]
        found = cache_parts(parts, CELL, cache, FLAT, size=(1, 12, 12), progress=Progress())
        found = with_filtered_channels(found, {"v": volume.image}, AREAS, cache, Progress())
    assert len(counted) == 2
    box = Box((1, 3, 30), (2, 15, 42))
    for part, tile in zip(found, tiles, strict=True):
        np.testing.assert_array_equal(part.read(box, FLAT).filtered, expected(GREY, box.shift(tile.start)))


def test_entries_are_found_again_by_slices_areas_and_place(counted: list[int]) -> None:
    region = Box((1, 4, 4), (3, 30, 30))
    parts_of(volume_of(), [region])
    assert len(counted) == 2
    parts_of(volume_of(name="the same under another name"), [region])
    assert len(counted) == 2
    outside = GREY.copy()
    outside[2, 39, 49] ^= 1  # a voxel of the slice far from the region decides what is filtered of it
    parts_of(volume_of(outside), [region])
    assert len(counted) == 4
    elsewhere = GREY.copy()
    elsewhere[5] ^= 1
    parts_of(volume_of(elsewhere), [region])
    assert len(counted) == 4
    parts_of(volume_of(), [region], areas=(40, 6))
    parts_of(volume_of(), [region], areas=(5, 40))
    parts_of(volume_of(), [Box((1, 4, 5), (3, 30, 30))])
    assert len(counted) == 10


class Known:
    """Stands for fingerprints of files that never change."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def of(self, volume: str) -> str:
        return self.fingerprint

    def unchanged(self, volume: str) -> bool:
        return True


def test_files_that_are_known_are_not_read_again(counted: list[int]) -> None:
    reads = list[Box]()

    def reading(box: Box) -> np.ndarray:
        reads.append(box)
        return GREY[box.slices]

    def image() -> Image:
        return replace(image_of_array(GREY), reader=reading)

    volume = replace(volume_of(), image=image())
    with open_cache() as cache:
        (part,) = cache_parts([Part(volume, Box.of_shape(SHAPE))], CELL, cache, FLAT, size=(1, 8, 8),
                              progress=Progress())  # fmt: skip
        reads.clear()
        for fingerprint, slices, times in (("a", 6, 6), ("a", 6, 6), ("b", 6, 12)):
            with_filtered_channels([part], {"v": image()}, AREAS, cache, Progress(),
                                   fingerprints=Known(fingerprint))  # type: ignore[arg-type] # fmt: skip
            assert (len(counted), len(reads)) == (slices, times)  # of files that are not known the slices are compared


def test_what_a_stopped_process_left_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    real, count = filtered_channels.write_block, [0]

    def fail(*given: object) -> None:
        count[0] += 1
        if count[0] == 4:
            raise RuntimeError("stopped")
        real(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(filtered_channels, "write_block", fail)
        with pytest.raises(RuntimeError, match="stopped"):
            parts_of(volume_of(), [Box.of_shape(SHAPE)])
    assert [entry.path.name for entry in list_cache() if entry.path.name.startswith("filtered")] == []
    (part,) = parts_of(volume_of(), [Box.of_shape(SHAPE)])
    whole = Box.of_shape((1, *SHAPE[1:])).shift((4, 0, 0))
    np.testing.assert_array_equal(part.read(whole, FLAT).filtered, expected(GREY, whole))


def test_values_that_are_none_are_found_wherever_in_a_slice_they_are() -> None:
    grey = GREY.astype(np.float32)
    grey[2, 39, 49] = np.inf
    volume = volume_of(grey)
    (fine,) = parts_of(volume, [Box((0, 0, 0), (2, 20, 20))])
    require_finite_slices([fine], {"v": volume.image})
    with pytest.raises(VolumeError, match="slice 2 holds NaN"):
        parts_of(volume, [Box((1, 0, 0), (3, 20, 20))])
    with open_cache() as cache:
        parts = [Part(volume, Box((1, 0, 0), (3, 20, 20)))]
        found = cache_parts(parts, CELL, cache, FLAT, size=(1, 8, 8), progress=Progress())
    with pytest.raises(VolumeError, match="slice 2 holds NaN"):
        require_finite_slices(found, {"v": volume.image})


def test_an_area_that_leaves_nothing_of_a_slice_is_refused() -> None:
    parts = [Part(volume_of(), Box.of_shape(SHAPE))]
    require_filterable_slices(parts, (1999, 1))
    with pytest.raises(RecipeError, match=r"input_channels\.1\.area_px: .* slices of 'v', 40 x 50 .* fewer than 2000"):
        require_filterable_slices(parts, (5, 2000))


# --- normalised and augmented


def prepared(
    steps: Sequence[AugmentationConfig], framing: Framing, normalizer: Normalizer, areas: tuple[int, ...] = AREAS
) -> torch.Tensor:
    """What a network is shown (B, C, *S)."""
    (part,) = parts_of(volume_of(), [Box((1, 2, 3), (6, 38, 44))], framing, areas)
    size = (1, 12, 12) if framing.flat else (3, 12, 12)
    patches = [part.read(Box.of_shape(size).shift(start), framing) for start in ((0, 0, 0), (1, 9, 5), (2, 20, 21))]
    batch = normalized(collate(patches), {"v": normalizer})
    generators = [np.random.default_rng([5, n]) for n in range(3)]
    found = prepare_batch(batch, steps, lambda target, valid: TargetMaps(target, None), generators)
    assert found.filtered is None
    return found.image


@pytest.mark.parametrize(
    "normalizer",
    [
        Normalizer(20.0, 200.0, invert=True, clip=(0.0, 1.0)),
        Normalizer(20.0, 200.0, slices=tuple((20.0 + z, 150.0 + 5 * z) for z in range(6))),
    ],
    ids=["inverted", "of each slice"],
)
@pytest.mark.parametrize("framing", FORMS.values(), ids=FORMS)
def test_a_network_is_shown_the_image_then_each_copy_by_the_mapping_of_the_image(
    framing: Framing, normalizer: Normalizer
) -> None:
    """All slices of the image come first, then all filtered with the first area, and so on; each slice is mapped by the
    range of its own slice."""
    found = prepared([], framing, normalizer)
    ranges = normalizer.slices or ((20.0, 200.0),) * 6
    low, high = (np.array(ends)[:, None, None] for ends in zip(*ranges, strict=True))
    for number, start in enumerate(((0, 0, 0), (1, 9, 5), (2, 20, 21))):
        size = (1, 12, 12) if framing.flat else (3, 12, 12)
        seen = Box.of_shape(size).shift(start).shift((1, 2, 3)).grow(framing.context)
        slices = mirrored_positions(seen.start[0], seen.stop[0], 6)
        shown = np.concatenate([expected(GREY, seen, (1,)), expected(GREY, seen)])
        scaled = (shown - low[slices]) / (high - low)[slices]
        scaled = (1 - scaled if normalizer.invert else scaled).clip(*normalizer.clip)
        channels = scaled.reshape(-1, *scaled.shape[2:]) if framing.flat else scaled
        np.testing.assert_allclose(found[number], channels, atol=1e-6)


def test_local_contrast_is_that_of_each_copy() -> None:
    """A copy is normalised as an image of its own, so copies of area 1 are the image."""
    normalizer = Normalizer(20.0, 200.0, contrast=LocalContrast(4, 0.05))
    found = prepared([], Framing(context=(0, 4, 4)), normalizer, (1, 40))
    assert torch.equal(found[:, 1], found[:, 0])
    assert not torch.equal(found[:, 2], found[:, 0])


@pytest.mark.parametrize("framing", FORMS.values(), ids=FORMS)
def test_a_copy_of_area_1_stays_the_image_and_noise_is_added_to_the_image_alone(framing: Framing) -> None:
    steps: list[AugmentationConfig] = [Flip(), Rotate(degrees=90, probability=1)]
    if framing.context[0]:
        steps.append(ContrastJumps(probability=1))
    found = prepared(steps, framing, Normalizer(20.0, 200.0), (1, 40))
    noisy = prepared([*steps, Noise(amount=1, probability=1)], framing, Normalizer(20.0, 200.0), (1, 40))
    own = found.shape[1] // 3
    assert torch.equal(found[:, own : 2 * own], found[:, :own])
    assert torch.equal(noisy[:, own:], found[:, own:])
    assert not torch.equal(noisy[:, :own], found[:, :own])
