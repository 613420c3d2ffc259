"""Plans on what training caches: regions of validation, volumes of different voxel sizes, readers that race."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from scipy.stats import binomtest, chisquare

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.data.volume import Volume
from cristae.progress import Progress
from cristae.sampling import (
    GridPatches,
    IndexedPatches,
    IndexedPlan,
    JitteredPatches,
    RandomPatches,
    RejectionPatches,
    Sampling,
)
from cristae.training import class_index
from cristae.training.cache import cache_parts
from cristae.training.cache_folder import open_cache
from cristae.training.cached_part import CachedPart
from cristae.training.feed import PatchFeed
from cristae.training.framing import Framing
from cristae.training.regions import on_working_grid

OVERLAPPING = Classes(names=("er", "mito"), exclusive=False)
SIZE = (16, 16)
SAMPLERS: list[Sampling] = [
    GridPatches(size=SIZE, stride=(8, 8), positive_copies=2),
    IndexedPatches(size=SIZE, per_epoch=12),
    JitteredPatches(size=SIZE, spacing=(8, 8)),
    RandomPatches(size=SIZE, per_epoch=12, volumes="evenly"),
    RandomPatches(size=SIZE, per_epoch=12, class_frequencies={"mito": 1, "none": 2}),
    RejectionPatches(size=SIZE, per_epoch=12, accept={"none": 0.25}),
]


def volume_of(name: str, masks: list[np.ndarray], voxel_nm: float = 10) -> Volume:
    size = (40.0, voxel_nm, voxel_nm)
    image = image_of_array(np.zeros(masks[0].shape, np.uint8), voxel_size_nm=size)
    labels = tuple(image_of_array(mask.astype(np.uint8), voxel_size_nm=size) for mask in masks)
    return Volume(name=name, image=image, labels=labels, voxel_size_nm=size)


def cached(parts: list[Part], classes: Classes) -> tuple[CachedPart, ...]:
    with open_cache() as cache:
        return cache_parts(parts, classes, cache, Framing(), size=(1, *SIZE), progress=Progress())


@pytest.mark.parametrize("sampling", SAMPLERS, ids=lambda sampling: sampling.name)
def test_plans_work_on_regions_of_validation_and_overlapping_classes(sampling: Sampling) -> None:
    """One slice between others, smaller than a training region and with one class of two nearly missing."""
    rng = np.random.default_rng(0)
    er, mito = rng.random((5, 40, 50)) < 0.3, np.zeros((5, 40, 50), bool)
    mito[3, 20, 20] = True
    volume = volume_of("v", [er, mito])
    parts = cached([Part(volume, Box((3, 0, 0), (4, 30, 30)))], OVERLAPPING)
    plan = sampling.plan([part.sample_part() for part in parts], seed=1)
    feed = PatchFeed(plan, parts, Framing(), batch_size=4, threads=2)
    batches = [batch for _, batch in feed]
    assert batches
    assert all(bool(batch.valid.flatten(1).any(dim=1).all()) for batch in batches)
    assert all(box.start[0] == 3 for batch in batches for box in batch.boxes)


@pytest.mark.parametrize("listed", [20_000, 2], ids=["all places are listed", "places are a sample"])
def test_a_voxel_of_two_classes_is_kept_once(monkeypatch: pytest.MonkeyPatch, listed: int) -> None:
    """A row of - er er er+mito mito - - - - er, where patches of three never have the ends in their middle.

    With 1 for both classes and 1/4 for none, 4 + 4 / 4 voxels are kept of 8 that are tried: 1/5 falls on each of the
    four, 1/20 on each of the rest. With 1/2 for er the third counts as mito: 1 of er, 2 of mito, 1 of none.
    """
    monkeypatch.setattr(class_index, "MAX_PLACES", listed)
    er, mito = np.zeros((1, 10, 10), bool), np.zeros((1, 10, 10), bool)
    er[0, 4, [1, 2, 3, 9]] = mito[0, 4, [3, 4]] = True
    part = cached([Part(volume_of("v", [er, mito]), Box((0, 4, 0), (1, 5, 10)))], OVERLAPPING)[0].sample_part()
    assert part.class_counts.tolist() == [5, 4, 2]
    plan = RejectionPatches(size=(1, 3), per_epoch=4000).plan([part], 0)
    assert plan.weights.tolist() == [[1, 3, 1]]
    drawn = np.bincount([plan.place(0, index).box.start[2] + 1 for index in range(4000)], minlength=9)
    if listed > 2:
        assert chisquare(drawn[1:], 4000 * np.array([1, 1, 1, 1, 0.25, 0.25, 0.25, 0.25]) / 5).pvalue > 0.001
    assert drawn[4] == pytest.approx(800, abs=120)  # the one that is mito alone, of however many are listed
    halves = RejectionPatches(size=(1, 3), per_epoch=1, accept={"none": 0.25, "er": 0.5}).plan([part], 0)
    assert halves.weights.tolist() == [[1, 1, 2]]


def test_volumes_count_by_their_voxels_on_the_working_grid() -> None:
    """The same tissue at 10 nm and at 20 nm is as much of it, once both are at 20 nm."""
    binary = Classes(names=("background", "er"))
    fine = volume_of("fine", [np.ones((2, 80, 80))], 10)
    coarse = volume_of("coarse", [np.ones((2, 40, 40))], 20)
    parts = [
        on_working_grid(Part(volume, Box.of_shape(volume.image.shape)), (40.0, 20.0, 20.0), flat=True)
        for volume in (fine, coarse)
    ]
    plan = RandomPatches(size=SIZE, per_epoch=2000).plan([one.sample_part() for one in cached(parts, binary)], 0)
    found = Counter(plan.place(0, index).part for index in range(2000))
    assert binomtest(found[0], 2000, 0.5).pvalue > 0.001


def test_the_turn_of_a_voxel_does_not_depend_on_threads_that_ask_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight threads ask a fresh plan for its third epoch and wait for each other: it is that of one asked in order."""
    labels = np.random.default_rng(0).integers(0, 3, (2, 30, 30)).astype(np.uint8)
    parts = cached([Part(volume_of("v", [labels]), Box.of_shape(labels.shape))], Classes(names=("resin", "er", "mito")))
    config, sample = IndexedPatches(size=(4, 4), per_epoch=8), [part.sample_part() for part in parts]
    calm = config.plan(sample, 5)
    expected = [[calm.place(epoch, index) for index in range(8)] for epoch in range(3)][2]
    draw = IndexedPlan._draw_classes

    def slowly(plan: IndexedPlan, epoch: int) -> np.ndarray:
        time.sleep(0.002)
        return draw(plan, epoch)

    monkeypatch.setattr(IndexedPlan, "_draw_classes", slowly)
    for _ in range(5):
        plan = config.plan(sample, 5)
        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(partial(plan.place, 2), range(8))) == expected
