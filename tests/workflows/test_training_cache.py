"""Runs share cached training data, never get that of changed files, and need nothing of it that was removed."""

import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from training_data import write_discs

from cristae.data import fingerprint
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.data.volume import Volume
from cristae.errors import RunError, StorageError
from cristae.progress import Progress
from cristae.recipe.load import load_recipe
from cristae.recipe.run import Run
from cristae.training import cache
from cristae.training.cache import cache_parts
from cristae.training.cache_folder import clear_cache, list_cache, open_cache
from cristae.training.cached_part import CachedPart
from cristae.training.framing import Framing
from cristae.workflows.train import train

BINARY = Classes(names=("background", "thing"))
FLAT = Framing()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRISTAE_CACHE", str(tmp_path / "cache"))


class Counts:
    """Blocks that were read to be cached, and blocks that were written."""

    read = written = 0


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    found = Counts()
    write, blocks = cache.write_block, cache._Layout.blocks

    def counted_write(*arguments: object) -> None:
        found.written += 1
        write(*arguments)  # type: ignore[arg-type]

    def counted_blocks(layout: cache._Layout) -> Iterator[object]:
        for block in blocks(layout):
            found.read += 1
            yield block

    monkeypatch.setattr(cache, "write_block", counted_write)
    monkeypatch.setattr(cache._Layout, "blocks", counted_blocks)
    return found


def trained(recipe: Path, out: Path, *changes: str, resume: bool = False) -> Run:
    return train(load_recipe(recipe, changes), out=out, resume=resume)


@pytest.mark.parametrize("recognised", [True, False], ids=["known files", "files in doubt"])
def test_another_seed_caches_nothing_again(
    tmp_path: Path, counts: Counts, monkeypatch: pytest.MonkeyPatch, recognised: bool
) -> None:
    monkeypatch.setattr(fingerprint, "_SETTLED_S", -1 if recognised else 1e9)
    recipe = write_discs(tmp_path / "data", epochs=1)
    trained(recipe, tmp_path / "one")
    assert (counts.read, counts.written) == (3, 3), "six slices, four at a time, and two to validate"
    trained(recipe, tmp_path / "two", "seed=5")
    assert counts.written == 3
    assert counts.read == (3 if recognised else 6), "files that are known are not even read"
    assert len(list_cache()) == 2


def test_folds_share_the_parts_that_they_have_in_common(
    tmp_path: Path, counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "_SETTLED_S", -1)
    recipe = write_discs(tmp_path / "data", epochs=1)
    for number, (train_slices, validate) in enumerate({"[0, 2, 3]": "8:10", "[2, 3, 8]": "5:7"}.items()):
        text = recipe.read_text().replace(
            "slices: 0:6" if not number else "slices: [0, 2, 3]", f"slices: {train_slices}"
        )
        recipe.write_text(text.replace("slices: 8:10", f"slices: {validate}"))
        trained(recipe, tmp_path / f"fold{number}")
    assert sorted(entry.shape[0] for entry in list_cache()) == [1, 1, 2, 2, 2]
    assert counts.written == 5


def test_a_changed_file_gives_another_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "_SETTLED_S", -1)
    recipe = write_discs(tmp_path / "data", epochs=1)
    before = trained(recipe, tmp_path / "one")
    mask = tmp_path / "data" / "labels" / "03.png"
    original = mask.read_bytes()
    Image.fromarray(255 - np.asarray(Image.open(mask))).save(mask)
    changed = trained(recipe, tmp_path / "two")
    assert changed.weights_path.read_bytes() != before.weights_path.read_bytes()
    mask.write_bytes(original)
    again = trained(recipe, tmp_path / "three")
    assert again.weights_path.read_bytes() == before.weights_path.read_bytes()
    assert len(list_cache()) == 3


@pytest.mark.slow
def test_a_run_resumes_after_the_cache_was_cleared(tmp_path: Path) -> None:
    recipe = write_discs(tmp_path / "data", epochs=2)
    schedule = "training.schedule={name: keras}"
    whole = trained(recipe, tmp_path / "whole", schedule)
    trained(recipe, tmp_path / "run", schedule, "training.epochs=1")
    assert clear_cache()
    resumed = trained(recipe, tmp_path / "run", schedule, resume=True)
    assert resumed.weights_path.read_bytes() == whole.weights_path.read_bytes()
    assert len(list_cache()) == 2


class Warned(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, message: str) -> None:
        self.lines.append(message)


def test_a_resumed_run_warns_when_its_data_has_changed(tmp_path: Path) -> None:
    recipe, warned = write_discs(tmp_path / "data", epochs=1), Warned()
    trained(recipe, tmp_path / "run")
    longer = load_recipe(recipe, ["training.epochs=2"])
    train(longer, out=tmp_path / "run", resume=True, progress=warned)
    assert warned.lines == []
    mask = tmp_path / "data" / "labels" / "03.png"
    Image.fromarray(255 - np.asarray(Image.open(mask))).save(mask)
    train(load_recipe(recipe, ["training.epochs=3"]), out=tmp_path / "run", resume=True, progress=warned)
    (line,) = warned.lines
    assert "the training data has changed since this run began" in line


def volume(shape: tuple[int, int, int] = (4, 30, 30)) -> Volume:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, shape, dtype=np.uint8)
    image = rng.integers(0, 255, shape, dtype=np.uint8)
    return Volume("v", image_of_array(image), labels=(image_of_array(labels),))


def cached(given: Volume, box: Box | None = None, framing: Framing = FLAT) -> CachedPart:
    with open_cache() as folder:
        part = Part(given, box or Box.of_shape(given.image.shape))
        (found,) = cache_parts([part], BINARY, folder, framing, size=(1, 16, 16), progress=Progress())
    return found


def test_equal_voxels_under_another_name_and_place_are_one_entry() -> None:
    first = volume()
    shifted = np.pad(first.image.read(), ((2, 0), (0, 0), (0, 0)), constant_values=9)
    labels = np.pad(first.labels[0].read(), ((2, 0), (0, 0), (0, 0)))
    second = Volume("w", image_of_array(shifted), labels=(image_of_array(labels),))
    one, two = cached(first), cached(second, Box((2, 0, 0), (6, 30, 30)))
    assert one.folder == two.folder
    assert (one.volume, one.origin, two.volume, two.origin) == ("v", (0, 0, 0), "w", (2, 0, 0))
    patches = [part.read(Box((1, 3, 4), (2, 19, 20)), Framing()) for part in (one, two)]
    np.testing.assert_array_equal(patches[0].image, patches[1].image)
    assert (patches[0].box.start, patches[1].box.start) == ((1, 3, 4), (3, 3, 4))


def test_each_voxel_of_image_labels_valid_and_weight_counts() -> None:
    given = volume()
    ones = image_of_array(np.ones(given.image.shape, np.uint8))
    weight = image_of_array(np.ones(given.image.shape, np.float32))
    folders = [cached(given).folder, cached(replace(given, weight=weight)).folder]
    for field in ("image", "labels", "valid", "weight"):
        base = replace(given, valid=ones, weight=weight)
        old = base.labels[0] if field == "labels" else getattr(base, field)
        voxels = old.read().copy()
        voxels[2, 11, 7] = 1 - voxels[2, 11, 7] if voxels[2, 11, 7] in (0, 1) else 0
        new = image_of_array(voxels)
        folders.append(cached(replace(base, **{field: (new,) if field == "labels" else new})).folder)
    folders += [
        cached(given, framing=Framing(flat=False)).folder,
        cached(given, framing=Framing(context=(0, 1, 1))).folder,
    ]
    # The whole image is stored in any case, so context around it changes nothing.
    assert len(set(folders)) == len(folders) - 1
    assert folders[0] == folders[-1]


def test_two_that_make_an_entry_at_once_both_have_it() -> None:
    given, barrier = volume(), threading.Barrier(2)
    read = given.image.reader

    def waits(box: Box) -> np.ndarray:
        if box.start[0] == 0:
            barrier.wait(30)
        return read(box)

    slow = replace(given, image=replace(given.image, reader=waits))
    found: list[CachedPart] = []
    threads = [threading.Thread(target=lambda: found.append(cached(slow))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0].folder == found[1].folder
    patches = [part.read(Box((0, 0, 0), (1, 16, 16)), Framing()) for part in found]
    np.testing.assert_array_equal(patches[0].image, patches[1].image)
    assert len(list_cache()) == 1


def test_an_entry_that_was_removed_by_hand_is_missed_at_once() -> None:
    part = cached(volume())
    assert clear_cache()
    with pytest.raises(RunError, match="removed while in use; resume"):
        part.read(Box((0, 0, 0), (1, 16, 16)), Framing())


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of file sizes")
def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StorageError, match="cannot write"):
            cached(volume((2, 512, 512)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file() and file.name != "lock"]
