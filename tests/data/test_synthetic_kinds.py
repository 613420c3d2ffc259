"""Synthetic tomograms and FIB-SEM volumes: laws of all kinds of tissue, then what each shows."""

import hashlib
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

from cristae.data.box import Box
from cristae.data.synthetic import (
    FIBSEM_CLASSES,
    TOMOGRAM_CLASSES,
    FibSemConfig,
    SyntheticConfig,
    TissueConfig,
    TomogramConfig,
    synthetic_volume,
)
from cristae.data.synthetic.cells import cell_at, cells_near, contents_of
from cristae.data.volume import Volume

PLACE = Box((150, 600, 1100), (174, 680, 1220))
"""Where the tomograms of seed 3 show a centriole, granules, a membrane."""
SMALL: dict[str, tuple[TissueConfig, Box]] = {
    "tomogram": (TomogramConfig(shape=(400, 1200, 2000), seed=3), PLACE),
    "fibsem": (FibSemConfig(shape=(400, 1200, 1300), seed=1), Box((100, 200, 200), (120, 290, 310))),
}
KINDS = sorted(SMALL)


@pytest.fixture(scope="module")
def wholes() -> dict[str, tuple[Volume, np.ndarray, np.ndarray]]:
    found = {}
    for name, (config, box) in SMALL.items():
        volume = synthetic_volume(config)
        found[name] = volume, volume.image.read(box), volume.labels[0].read(box)
    return found


Wholes = dict[str, tuple[Volume, np.ndarray, np.ndarray]]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_box_is_that_part_of_the_whole(kind: str, wholes: Wholes, data: st.DataObject) -> None:
    volume, grey, labels = wholes[kind]
    whole = SMALL[kind][1]
    start = [data.draw(st.integers(a, b - 1)) for a, b in zip(whole.start, whole.stop, strict=True)]
    stop = [data.draw(st.integers(a + 1, min(b, a + 30))) for a, b in zip(start, whole.stop, strict=True)]
    box = Box(tuple(start), tuple(stop))  # type: ignore[arg-type]
    inner = box.relative_to(whole.start).slices
    assert np.array_equal(volume.image.read(box), grey[inner])
    assert np.array_equal(volume.labels[0].read(box), labels[inner])


@pytest.mark.parametrize("kind", KINDS)
def test_tiles_do_not_show(kind: str, wholes: Wholes, monkeypatch: pytest.MonkeyPatch) -> None:
    config, box = SMALL[kind]
    monkeypatch.setattr(type(config), "tile", (17, 61, 37))
    volume, grey, labels = wholes[kind]
    assert np.array_equal(volume.image.read(box), grey)
    assert np.array_equal(volume.labels[0].read(box), labels)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_threads_read_the_same(kind: str, wholes: Wholes) -> None:
    config, whole = SMALL[kind]
    cell_at.cache_clear()
    contents_of.cache_clear()
    volume = synthetic_volume(config)
    boxes = list(whole.blocks((24, 50, 60)))
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(volume.image.read, boxes))
    grey = wholes[kind][1]
    assert all(np.array_equal(p, grey[b.relative_to(whole.start).slices]) for p, b in zip(parts, boxes, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_larger_volume_holds_the_smaller_one(kind: str, wholes: Wholes) -> None:
    config, box = SMALL[kind]
    larger = synthetic_volume(config.model_copy(update={"shape": (90_000, 90_000, 90_000)}))
    assert np.array_equal(larger.image.read(box), wholes[kind][1])
    assert np.array_equal(larger.labels[0].read(box), wholes[kind][2])
    far = Box((89_990, 89_960, 89_960), (90_000, 90_000, 90_000))
    assert larger.image.read(far).std() > 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_finer_voxels_show_the_same_tissue(kind: str) -> None:
    config = SMALL[kind][0]
    coarse, fine = (
        synthetic_volume(
            config.model_copy(update={"shape": (20, n * 60, n * 60), "voxel_size_nm": (30.0, 30.0 / n, 30.0 / n)})
        )
        for n in (1, 3)
    )
    assert np.array_equal(fine.labels[0].read()[:, 1::3, 1::3], coarse.labels[0].read())


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_differ(kind: str) -> None:
    config = SMALL[kind][0].model_copy(update={"shape": (6, 64, 64)})
    other = config.model_copy(update={"seed": config.seed + 1})
    first, second = (synthetic_volume(one).image.read() for one in (config, other))
    assert not np.array_equal(first, second)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_memory_follows_the_tile_and_not_the_box(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = SMALL[kind][0]
    volume = synthetic_volume(config)
    monkeypatch.setattr(type(config), "tile", (8, 16, 40))
    monkeypatch.setattr("cristae.data.synthetic._THREADS", 1)  # how many tiles overlap in time is chance

    def peak(tiles: int) -> int:
        tracemalloc.start()
        volume.image.read(Box((0, 0, 0), (8, 16, tiles * 40)))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most - tiles * 8 * 16 * 40

    peak(24)  # fills the cache of cells, whose size is limited
    once = peak(8)
    assert peak(24) < 1.3 * once


@pytest.mark.parametrize("kind", ["platelet", *KINDS])
def test_no_cell_is_overlooked(kind: str) -> None:
    """Those that reach a box, among all of a much wider part of the lattice."""
    config = SyntheticConfig(seed=8) if kind == "platelet" else SMALL[kind][0]
    rng = np.random.default_rng(0)
    steps = [(z, y, x) for z, y, x in product(range(-5, 6), repeat=3)]
    for _ in range(20):
        low = rng.uniform(-2000, 2000, 3)
        high = low + rng.uniform(0, 900, 3)
        cells = [cell_at(config.tissue, step) for step in steps]
        reaching = {
            step
            for step, cell in zip(steps, cells, strict=True)
            if (cell.centre + cell.extent > low).all() and (cell.centre - cell.extent < high).all()
        }
        assert reaching == set(cells_near(config.tissue, low, high))


DIGESTS = {
    "fibsem": ["7c2fad037510a421", "6fe09f5b442b9fdc"],
    "tomogram": ["764c8322f02bc3cc", "648c69e6acdd5d1c"],
}
"""Also measured with all optional instruction sets of NumPy turned off, and compiled loops for a generic processor."""


@pytest.mark.parametrize(("kind", "digests"), DIGESTS.items())
def test_the_voxels_are_the_same_on_every_machine(kind: str, digests: list[str], wholes: Wholes) -> None:
    _, *arrays = wholes[kind]
    assert [hashlib.sha256(array.tobytes()).hexdigest()[:16] for array in arrays] == digests


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (TomogramConfig, {"tilt_deg": 91}),
        (TomogramConfig, {"tilt_deg": 10}),
        (TomogramConfig, {"microtubule_share": 0.1}),
        (TomogramConfig, {"shape": (0, 5, 5)}),
        (FibSemConfig, {"stripes": -1}),
        (FibSemConfig, {"voxel_size_nm": (0, 8, 8)}),
    ],
)
def test_nonsense_is_refused(kind: type[TissueConfig], wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        kind.model_validate(wrong)


# The tomogram.


def tomogram(shape: tuple[int, int, int], **fields: object) -> Volume:
    return synthetic_volume(TomogramConfig.model_validate({"shape": shape, "seed": 3, **fields}))


def shares(volume: Volume, count: int) -> np.ndarray:
    labels = volume.labels[0].read()
    return np.bincount(labels.ravel(), minlength=count) / labels.size


@pytest.mark.slow
@pytest.mark.parametrize("share", [pytest.param(0.001, marks=pytest.mark.slow), 0.002])
def test_the_rarest_structure_has_the_share_that_was_asked_for(share: float) -> None:
    """B/F of microtubules is 508.7 on average in the paper's patches: 1 voxel in 500."""
    volume = tomogram((48, 150, 150), voxel_size_nm=(36, 36, 36), microtubule_share=share)
    found = shares(volume, 6)
    assert found[TOMOGRAM_CLASSES.id_of("microtubules")] == pytest.approx(share, rel=0.2)
    if share == 0.002:
        assert found.min() == found[2]
    assert all(0.001 < one < 0.06 for one in found[1:])


def test_structures_of_the_tomogram_lie_where_they_belong(wholes: Wholes) -> None:
    volume = tomogram((24, 300, 300), voxel_size_nm=(9, 9, 9))
    labels = volume.labels[0].read()
    assert set(np.unique(labels)) == set(range(6))
    for name in ("microtubules", "centriole", "granules", "golgi"):
        around = ndimage.binary_dilation(labels == TOMOGRAM_CLASSES.id_of(name), np.ones((3, 3, 3)))
        assert not (around & (labels == TOMOGRAM_CLASSES.id_of("synapse"))).any(), name
    assert TOMOGRAM_CLASSES.names == ("background", "synapse", "microtubules", "centriole", "granules", "golgi")


def test_a_microtubule_is_25_nm_wide() -> None:
    """The greatest distance of a voxel within to a voxel without is its radius."""
    volume = tomogram((60, 150, 150), voxel_size_nm=(3, 3, 3), microtubule_share=0.003)
    tubes = volume.labels[0].read() == 2
    inside = ndimage.distance_transform_edt(tubes) * 3
    centre = inside[inside == ndimage.maximum_filter(inside, 9)]
    assert np.median(centre[centre > 6]) == pytest.approx(12.5, abs=2)


def test_what_no_tilt_has_seen_is_missing() -> None:
    """Power within the measured wedge against power beyond it, at frequencies that the smear resolves."""
    crop = Box((0, 0, 0), (64, 64, 64))
    for tilt in (60.0, 70.0):
        grey = tomogram((64, 64, 64), tilt_deg=tilt).image.read(crop).astype(float)
        window = np.hanning(64)
        grey = (grey - grey.mean()) * window[:, None, None] * window[:, None] * window
        power = (np.abs(np.fft.fftn(grey)) ** 2).sum(1)
        k = np.abs(np.fft.fftfreq(64))
        angle, radius = np.degrees(np.arctan2(k[:, None], k)), np.hypot(k[:, None], k)
        ring = (radius > 0.1) & (radius < 0.4)
        seen, missing = (power[ring & part].mean() for part in (angle < tilt - 8, angle > tilt + 8))
        assert missing < 0.06 * seen, tilt


def test_the_noise_of_a_tomogram_is_as_strong_as_asked_and_hides_the_signal() -> None:
    still = tomogram((16, 200, 200), noise=0).image.read().astype(float) / 255
    for noise in (0.05, 0.10):
        noisy = tomogram((16, 200, 200), noise=noise).image.read().astype(float) / 255
        assert (noisy - still).std() == pytest.approx(noise, rel=0.06)
    assert still.var() / 0.10**2 < 1.0, "signal-to-noise ratio"


# The FIB-SEM volume.


def fibsem(shape: tuple[int, int, int], **fields: object) -> Volume:
    return synthetic_volume(FibSemConfig.model_validate({"shape": shape, "seed": 1, **fields}))


@pytest.mark.slow
def test_shares_are_those_of_the_papers_stacks() -> None:
    """FS-1 and FS-2: mitochondria 5.14 and 5.27 %, membrane 0.32 and 1.36 %, reticulum 2.53 and 2.76 %."""
    found = 100 * shares(fibsem((50, 100, 100), voxel_size_nm=(200, 200, 200)), 4)
    assert 4.5 < found[1] < 6
    assert 0.3 < found[2] < 1.6
    assert 2.2 < found[3] < 3.2
    assert FIBSEM_CLASSES.names == ("background", "mitochondrion", "cell membrane", "endoplasmic reticulum")


def test_the_membrane_is_a_thin_line_beside_resin() -> None:
    volume = fibsem((400, 1000, 1000))
    labels = volume.labels[0].read(Box((100, 50, 350), (116, 300, 512)))
    membrane = labels == 2
    assert membrane.any()
    assert ndimage.distance_transform_edt(membrane).max() <= 2.3, "16 nm are two voxels"


def test_dark_is_electron_dense_in_the_fibsem_volume(wholes: Wholes) -> None:
    volume = fibsem((20, 300, 400), noise=0, stripes=0, charging=0)
    grey, labels = volume.image.read(), volume.labels[0].read()
    means = [grey[labels == i].mean() for i in range(4)]
    assert means[1] < means[3] < means[0]
    assert means[2] < means[0] - 15


def test_curtains_run_along_y() -> None:
    shape = (4, 200, 200)
    change = fibsem(shape, noise=0, stripes=0.2).image.read() - 1.0 * fibsem(shape, noise=0, stripes=0).image.read()
    assert change[0].mean(0).std() > 4 * change[0].mean(1).std()


def test_noise_grows_with_the_signal() -> None:
    shape = (8, 300, 400)
    quiet, loud = (fibsem(shape, noise=n, stripes=0, charging=0).image.read() * 1.0 for n in (0, 0.08))
    for level in (60, 130, 170):
        here = np.abs(quiet - level) < 12
        assert here.sum() > 300
        expected = 0.08 * 255 * np.sqrt(2 * level / 255)
        assert (loud - quiet)[here].std() == pytest.approx(expected, rel=0.08), level
