"""Correlations of many channels, held against numpy.corrcoef."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cristae.errors import ScoreError, StorageError
from cristae.evaluation.features import store as store_module
from cristae.evaluation.features import tiles
from cristae.evaluation.features.cover import greedy_cover
from cristae.evaluation.features.options import FeatureOptions
from cristae.evaluation.features.places import plan_places
from cristae.evaluation.features.store import FeatureStore
from cristae.evaluation.features.tile import BINS
from cristae.evaluation.features.tiles import ChannelCorrelations, bytes_needed, correlate_channels, count_tiles

BOUNDS = (0, 37, 38, 150)


def correlate(
    folder: Path, values: np.ndarray, bounds: Sequence[int], *, rows: int = 64, close: float = 0.95
) -> ChannelCorrelations:
    """Of features (places, N, P)."""
    places, channels, pixels = values.shape
    with FeatureStore(folder, channels=channels, pixels=pixels, places=places) as store:
        for place, some in enumerate(values):
            store.write(place, 0, some[: channels // 2].astype(np.float32))
            store.write(place, channels // 2, some[channels // 2 :].astype(np.float32))
        return correlate_channels(store, bounds, close=close, rows=rows)


def features(seed: int = 0, *, places: int = 2, channels: int = 150, pixels: int = 60) -> np.ndarray:
    """Channels that are correlated, of very different size and offset; 5 repeats 4, and 9 never varies."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(places, 6, pixels))
    mixed = np.einsum("ck,pkx->pcx", rng.normal(size=(channels, 6)), common)
    values = mixed + rng.normal(size=mixed.shape)
    values = values * 10 ** rng.uniform(-3, 3, (channels, 1)) + rng.normal(size=(channels, 1))
    values[:, 5] = 3 - 2 * values[:, 4]
    values[:, 9] = 0.1
    return values.astype(np.float32)


def reference(values: np.ndarray) -> np.ndarray:
    """(N, N) by numpy, NaN where a channel is constant."""
    with np.errstate(invalid="ignore"):
        found: np.ndarray = np.corrcoef(np.concatenate(list(values), axis=1).astype(np.float64))
    found[9], found[:, 9] = np.nan, np.nan
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> ChannelCorrelations:
    return correlate(tmp_path_factory.mktemp("store"), features(), BOUNDS)


def blocks_of(matrix: np.ndarray, a: int, b: int) -> np.ndarray:
    """The correlations of pairs of different channels of two blocks."""
    some = matrix[BOUNDS[a] : BOUNDS[a + 1], BOUNDS[b] : BOUNDS[b + 1]]
    flat = some[np.triu_indices(len(some), 1)] if a == b else some.ravel()
    return flat[~np.isnan(flat)]


def test_sums_and_counts_are_those_of_numpy(found: ChannelCorrelations) -> None:
    matrix = reference(features())
    assert found.largest_error < 1e-5
    for a in range(3):
        for b in range(3):
            values = blocks_of(matrix, a, b)
            assert found.pairs[a, b] == len(values)
            assert np.allclose(found.sums[a, b], [values.sum(), np.abs(values).sum()], atol=1e-5 * len(values) + 1e-9)
            expected = np.histogram(values, BINS, (-1, 1))[0]
            assert np.abs(found.histograms[a, b] - expected).sum() <= 4  # at the edge of a bin


def test_best_of_each_block_is_that_of_numpy(found: ChannelCorrelations) -> None:
    matrix = np.abs(reference(features()))
    np.fill_diagonal(matrix, np.nan)
    for block in range(3):
        some = matrix[:, BOUNDS[block] : BOUNDS[block + 1]]
        expected = np.where(np.isnan(some).all(1), np.nan, np.nan_to_num(some, nan=-1).max(1))
        assert np.allclose(found.best[:, block], expected, atol=1e-5, equal_nan=True)
    assert np.nanmax(found.best) <= 1


def test_constant_channels_are_left_out_of_everything(found: ChannelCorrelations) -> None:
    assert np.flatnonzero(~found.alive).tolist() == [9]
    assert np.isnan(found.best[9]).all()
    assert found.pairs[0, 0] == 36 * 35 / 2
    assert 9 not in [one.channel for one in found.kept[0]]
    assert np.isnan(found.picture[9]).all()


def test_a_channel_that_repeats_another_one_is_not_kept(found: ChannelCorrelations) -> None:
    assert {4: 2}.items() <= {one.channel: one.stands_for for one in found.kept[0]}.items()
    assert 5 not in [one.channel for one in found.kept[0]]
    assert np.isclose(found.best[5, 0], 1)
    assert sum(one.stands_for for one in found.kept[0]) == 36


def test_kept_channels_are_close_to_all_others(tmp_path: Path) -> None:
    values = features(3)
    found, matrix = correlate(tmp_path, values, BOUNDS, close=0.6), np.abs(reference(values))
    for block, kept in enumerate(found.kept):
        some = matrix[BOUNDS[block] : BOUNDS[block + 1], BOUNDS[block] : BOUNDS[block + 1]]
        alive = ~np.isnan(np.diag(some))
        assert (some[:, [one.channel for one in kept]].max(1)[alive] >= 0.6 - 1e-5).all()
        assert len(kept) < alive.sum() or alive.sum() == 1


def test_the_picture_is_the_map_in_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "PICTURE_CELLS", 15)
    found, matrix = correlate(tmp_path, features(), BOUNDS), np.abs(reference(features()))
    np.fill_diagonal(matrix, np.nan)
    assert found.cell_starts.tolist() == [0, 4, 5, 17]
    assert np.isclose(found.picture[0, 6], np.nanmean(matrix[:10, 48:58]), atol=1e-5)
    assert np.isclose(found.picture[6, 0], found.picture[0, 6])
    assert np.isclose(found.picture[3, 3], np.nanmean(matrix[30:37, 30:37]), atol=1e-5)
    assert np.isnan(found.picture[4, 4])  # a block of one channel


@given(seed=st.integers(0, 999), rows=st.sampled_from([8, 16, 40, 512]), places=st.integers(1, 3))
def test_neither_tiles_nor_places_nor_affine_changes_matter(seed: int, rows: int, places: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(1, 60, 36)).astype(np.float32)
    values[0, 1] = values[0, 0] + 0.05 * values[0, 2]
    factors = (2.0 ** rng.integers(-3, 4, 60) * rng.choice([-1, 1], 60))[:, None]
    changed = np.stack(np.split(values[0] * factors + factors, places, axis=1))
    folder = store_module.Path(store_module.tempfile.gettempdir())
    one = correlate(folder, values, (0, 25, 60), rows=512)
    other = correlate(folder, changed, (0, 25, 60), rows=rows)
    assert np.allclose(one.best, other.best, atol=1e-5)
    assert np.allclose(one.sums[..., 1], other.sums[..., 1], atol=1e-2)
    assert np.array_equal(one.histograms, one.histograms.transpose(1, 0, 2))
    assert one.kept == other.kept


def test_threads_change_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: ChannelCorrelations) -> None:
    monkeypatch.setattr(tiles, "usable_cores", lambda: 5)
    other = correlate(tmp_path, features(), BOUNDS)
    assert np.array_equal(other.sums, found.sums)
    assert np.array_equal(other.picture, found.picture, equal_nan=True)


def test_the_map_is_never_held(tmp_path: Path) -> None:
    """The most memory is that of tiles and of what is kept of channels, by far less than the map of all."""
    rng = np.random.default_rng(0)
    with FeatureStore(tmp_path, channels=3000, pixels=16, places=1) as store:
        store.write(0, 0, rng.normal(size=(3000, 16)).astype(np.float32))
        correlate_channels(store, (0, 100, 3000), close=0.95, rows=128)  # what is compiled stays
        tracemalloc.start()
        correlate_channels(store, (0, 1500, 3000), close=0.95, rows=128)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < bytes_needed(128, 16, (0, 1500, 3000)) + 2**20
    assert peak < 3000 * 3000 * 4 / 2


def test_tiles_are_counted(tmp_path: Path) -> None:
    steps = []
    with FeatureStore(tmp_path, channels=40, pixels=9, places=1) as store:
        store.write(0, 0, np.random.default_rng(0).normal(size=(40, 9)).astype(np.float32))
        correlate_channels(store, (0, 10, 40), close=0.95, rows=8, advance=lambda: steps.append(1))
    assert len(steps) == count_tiles((0, 10, 40), 8) == 6 * 7 / 2


@given(st.integers(1, 9), st.integers(0, 10**6))
def test_a_cover_holds_everything_and_is_nearly_the_smallest(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    close = rng.random((count, count)) < 0.3
    close |= close.T
    np.fill_diagonal(close, True)
    wanted = rng.random(count) < 0.8
    kept = greedy_cover(np.packbits(close, axis=1, bitorder="little"), wanted)
    chosen = [one.channel for one in kept]
    assert close[chosen].any(0)[wanted].all() if wanted.any() else not chosen
    assert sum(one.stands_for for one in kept) == wanted.sum()
    gains = [one.stands_for for one in kept]
    assert gains == sorted(gains, reverse=True)
    subsets = [[at for at in range(count) if number >> at & 1] for number in range(1 << count)]
    able = [some for some in subsets if wanted[some].all() and close[some].any(0)[wanted].all()]
    smallest = min((len(some) for some in able), default=0)
    assert smallest <= len(chosen) <= smallest * (1 + np.log(count))


def test_places_lie_in_the_middle() -> None:
    found = plan_places((9, 100, 80), [(64, 64), (8, 32, 90)], FeatureOptions(places=3), "cell")
    assert [str(one) for one in found] == ["1:2,34:66,8:72", "4:5,34:66,8:72", "7:8,34:66,8:72"]
    one = plan_places((1, 100, 80), [(64, 64)], FeatureOptions(window=(100, 20)), "cell")
    assert [str(box) for box in one] == ["0:1,0:100,30:50"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": "all"}, "features: expected convolutions or layers, got 'all'"),
        ({"size": 1}, "at least 2 cells"),
        ({"places": 0}, "at least one slice"),
        ({"window": (0, 5)}, "at least one pixel, got 0 x 5"),
        ({"close": 1.0}, "between 0 and 1, got 1"),
        ({"blocks": ()}, "name at least one"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(ScoreError, match=message):
        FeatureOptions(**options)  # type: ignore[arg-type]


def test_a_full_disk_is_said_before_anything_is_computed(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="features of 1000000000 channels take"):
        FeatureStore(tmp_path, channels=10**9, pixels=4096, places=9)
