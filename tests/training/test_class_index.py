"""The places that are remembered of a class are an even sample of all of them, over blocks and parts of any size."""

import numpy as np
import pytest
from scipy.stats import binomtest, chisquare

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.data.volume import Volume
from cristae.progress import Progress
from cristae.sampling import IndexedPatches, RandomPatches, RejectionPatches
from cristae.training import class_index
from cristae.training.cache import cache_parts
from cristae.training.cache_folder import open_cache
from cristae.training.cached_part import CachedPart
from cristae.training.class_index import INVALID, ClassIndex
from cristae.training.framing import Framing

BINARY = Classes(names=("background", "thing"))


def test_places_are_even_over_blocks_of_very_different_size() -> None:
    """Blocks of 90,000, 900 and 9 voxels, all of one class, of which 20,000 are remembered, are hit by their size."""
    index = ClassIndex(BINARY)
    widths = (300, 3, 1)
    start = 0
    for width, depth in zip(widths, (300, 300, 9), strict=True):
        block = Box((0, 0, start), (1, depth, start + width))
        index.add(np.ones((1, *block.shape), np.uint8), block)
        start += width
    places = index.places()[1]
    assert len(places) == 20_000
    assert len(np.unique(places, axis=0)) == 20_000
    hits = np.histogram(places[:, 2], [0, 300, 303, 304])[0]
    assert binomtest(int(hits[1]), 20_000, 900 / 90_909).pvalue > 0.001
    assert binomtest(int(hits[2]), 20_000, 9 / 90_909).pvalue > 0.001
    rows, columns = places[places[:, 2] < 300][:, 1], places[places[:, 2] < 300][:, 2]
    tiles = np.histogram2d(rows, columns, bins=10, range=[[0, 300], [0, 300]])[0]
    assert chisquare(tiles.ravel()).pvalue > 0.001
    order = np.histogram2d(np.arange(len(rows)) * 10 // len(rows), columns, bins=[10, 10])[0]
    assert chisquare(order.ravel()).pvalue > 0.001  # any first few of them are an even sample, too


def cached(arrays: list[np.ndarray]) -> tuple[CachedPart, ...]:
    parts = []
    for number, labels in enumerate(arrays):
        image = image_of_array(np.zeros(labels.shape, np.uint8))
        valid = image_of_array((labels != INVALID).astype(np.uint8))
        ids = image_of_array(np.where(labels == INVALID, 0, labels).astype(np.uint8))
        volume = Volume(name=f"v{number}", image=image, labels=(ids,), valid=valid)
        parts.append(Part(volume, Box.of_shape(labels.shape)))
    with open_cache() as cache:
        return cache_parts(parts, BINARY, cache, Framing(), size=(1, 16, 16), progress=Progress())


def test_draws_of_foreground_are_even_over_cached_parts_of_very_different_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """40,000 foreground voxels in one part and 400 in another, of which 200 each are remembered: 1 % come of it."""
    monkeypatch.setattr(class_index, "MAX_PLACES", 200)
    large, small = np.full((4, 100, 101), 1, np.uint8), np.zeros((1, 100, 103), np.uint8)
    small[0, :20, :20] = 1
    parts = [part.sample_part() for part in cached([large, small])]
    assert [len(part.class_voxels[1]) for part in parts] == [200, 200]
    assert [part.volume for part in parts] == ["v0", "v1"]
    wanted = 400 / 40_800
    random = RandomPatches(size=(16, 16), per_epoch=6000, foreground_share=1).plan(parts, 0)
    drawn = sum(random.place(0, index).part for index in range(6000))
    assert binomtest(drawn, 6000, wanted).pvalue > 0.001
    indexed = IndexedPatches(size=(16, 16), per_epoch=2000, uniform_share=0).plan(parts, 0)
    rounds = sum(indexed.place(0, index).part for index in range(2000))
    assert rounds / 2000 == pytest.approx(wanted, rel=0.6)  # the list has 1 or 2 of 202: it is rounded by chance


def test_the_middles_of_a_cached_part_are_counted_where_a_patch_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_index, "MAX_PLACES", 50)
    labels = np.random.default_rng(3).integers(0, 2, (2, 60, 70)).astype(np.uint8)
    labels[0, 20:40, 20:40] = INVALID
    (part,) = (part.sample_part() for part in cached([labels]))
    plan = RejectionPatches(size=(16, 20), per_epoch=10).plan([part], 0)
    inner = labels[:, 8:53, 10:61]
    (counts, voxels), *_ = plan.middles
    assert counts.tolist() == [int((inner == k).sum()) for k in (0, 1)]
    for k, places in enumerate(voxels):
        assert len(places) == 50
        assert (labels[tuple(places.T)] == k).all()
        assert (places >= [0, 8, 10]).all()
        assert (places < [2, 53, 61]).all()
