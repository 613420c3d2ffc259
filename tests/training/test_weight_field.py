"""Weights of whole slices: streamed, shared, found again, and carried with the labels."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cristae.augment import Flip
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.data.volume import Volume
from cristae.progress import Progress
from cristae.targets import INVALID, EdgeDiffusion, EdgePreserving, TargetConfig
from cristae.targets.edges import EdgeWeighting
from cristae.training import weight_field
from cristae.training.cache import cache_parts
from cristae.training.cache_folder import list_cache, open_cache
from cristae.training.cached_part import CachedPart
from cristae.training.feed import collate
from cristae.training.framing import Framing
from cristae.training.preparation import prepare_batch
from cristae.training.weight_field import with_weight_fields

CELL = Classes(names=("background", "cell", "mito"))
WHOLE = Box((0, 0, 0), (6, 50, 70))
FLAT = Framing()
CONFIGS = pytest.mark.parametrize("config", [EdgePreserving(cell="cell"), EdgeDiffusion(cell="cell", steps=5)])


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRISTAE_CACHE", str(tmp_path))


def volume_of(labelled: tuple[int, ...] | None = None, *, weighted: bool = False, seed: int = 1) -> Volume:
    """Blocks of three classes; a tenth of the voxels is not valid, and some slices are not labelled."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 3, (6, 10, 14)).astype(np.uint8)
    labels = blocks.repeat(5, axis=1).repeat(5, axis=2)
    valid = (rng.random(labels.shape) < 0.9).astype(np.uint8)
    if labelled is not None:
        valid[[z for z in range(6) if z not in labelled]] = 0
    weight = rng.random(labels.shape).astype(np.float32)
    return Volume(
        "v",
        image_of_array(rng.integers(0, 200, labels.shape, dtype=np.uint8)),
        labels=(image_of_array(labels),),
        valid=image_of_array(valid),
        weight=image_of_array(weight) if weighted else None,
        labelled_slices=labelled,
    )


def labels_of(volume: Volume, box: Box = WHOLE) -> np.ndarray:
    """Ids with INVALID where nothing counts."""
    assert volume.valid is not None
    return np.where(volume.valid.read(box) == 1, volume.labels[0].read(box), INVALID).astype(np.uint8)


def weighed(
    config: TargetConfig, *volumes: Volume, box: Box = WHOLE, framing: Framing = FLAT
) -> tuple[tuple[CachedPart, ...], dict]:
    with open_cache() as cache:
        parts = [Part(volume, box) for volume in volumes]
        cached = cache_parts(parts, CELL, cache, framing, size=(1, 16, 16), progress=Progress())
        field = config.field(CELL)
        assert field is not None
        parts_, statistics = with_weight_fields(cached, field, config.prepare(cached), cache, Progress())
    return parts_, dict(statistics)


def of_whole_volume(config: EdgeWeighting, labels: np.ndarray) -> np.ndarray:
    """The same with the whole volume in memory."""
    field = config.field(CELL)
    counts = [int((labels == k).sum()) for k in range(3)]
    peaks = np.max([field.peaks(plane) for plane in labels], axis=0).tolist()
    return np.stack([field.weights(plane, {"class_counts": counts, "peaks": peaks}) for plane in labels])


@CONFIGS
@pytest.mark.parametrize("framing", [Framing(), Framing(flat=False)], ids=["flat", "thick"])
def test_streaming_equals_the_whole_volume(config, framing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_field, "_SHARD", (1, 32, 64))
    monkeypatch.setattr(weight_field, "_CHUNK", (1, 16, 16))
    monkeypatch.setattr(weight_field, "_THREADS", 3)
    volume = volume_of()
    box = Box((1, 5, 3), (5, 49, 70))
    (part,), _ = weighed(config, volume, box=box, framing=framing)
    expected = of_whole_volume(config, labels_of(volume, box))
    if framing.flat:
        for z in range(4):
            patch = part.read(Box((z, 0, 0), (z + 1, 44, 67)), framing)
            np.testing.assert_array_equal(patch.weight, expected[z])
    else:
        patch = part.read(Box((0, 0, 0), (4, 44, 67)), framing)
        np.testing.assert_array_equal(patch.weight, expected)


def test_outside_its_part_a_patch_weighs_nothing() -> None:
    box, config = Box((0, 5, 3), (6, 49, 60)), EdgePreserving(cell="cell")
    (part,), _ = weighed(config, volume_of(), box=box, framing=Framing().grown((5, 5)))
    patch = part.read(Box((0, -2, -3), (1, 46, 60)), Framing())
    expected = np.zeros((48, 63), np.float32)
    expected[2:46, 3:60] = of_whole_volume(config, labels_of(volume_of(), box))[0]
    np.testing.assert_array_equal(patch.weight, expected)
    assert not patch.valid[:2].any()


@CONFIGS
def test_labels_on_some_slices_only_are_those_slices(config) -> None:
    """Flat parts, one for each run of labelled slices, and one thick part have the weights of the same slices."""
    volume = volume_of((1, 2, 5))
    expected = of_whole_volume(config, labels_of(volume)[[1, 2, 5]])
    flat, found = weighed(config, volume)
    assert [part.origin[0] for part in flat] == [1, 5]
    whole = Box((0, 0, 0), (1, 50, 70))
    planes = [part.read(whole.shift((z, 0, 0)), Framing()).weight for part in flat for z in range(part.shape[0])]
    np.testing.assert_array_equal(np.stack(planes), expected)
    (thick,), of_thick = weighed(config, volume, framing=Framing(flat=False))
    patch = thick.read(WHOLE, Framing(flat=False))
    np.testing.assert_array_equal(patch.weight[[1, 2, 5]], expected)
    assert (patch.weight[[0, 3, 4]] == 0).all()
    assert found == of_thick
    assert json.loads(json.dumps(found)) == found


def test_statistics_are_those_of_all_parts() -> None:
    config = EdgeDiffusion(cell="cell", steps=5)
    one, two = volume_of(), replace(volume_of(seed=2), name="w")
    parts, statistics = weighed(config, one, two)
    expected = of_whole_volume(config, np.concatenate([labels_of(one), labels_of(two)]))
    found = [part.read(Box((5, 0, 0), (6, 50, 70)), Framing()).weight for part in parts]
    np.testing.assert_array_equal(found[0], expected[5])
    np.testing.assert_array_equal(found[1], expected[11])
    assert len(statistics["peaks"]) == 4


def test_a_field_is_found_again_and_belongs_to_its_settings_and_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    volume, config = volume_of(), EdgeDiffusion(cell="cell", steps=5)
    (first,), statistics = weighed(config, volume)

    def refuse(*_: object) -> None:
        raise AssertionError("a slice is read again")

    with monkeypatch.context() as patch:
        patch.setattr(CachedPart, "label_slice", refuse)
        (again,), found = weighed(config, volume_of())
        further = EdgeDiffusion(cell="cell", steps=5, further=({"name": "boundaries"},))
        (other_channels,), _ = weighed(further, volume_of())
        (listed,), _ = weighed(EdgeDiffusion(cell="cell", organelles=("mito",), steps=5), volume_of())
    assert len({one.field.entry for one in (first, again, other_channels, listed)}) == 1
    assert statistics == found
    others = [
        weighed(EdgeDiffusion(cell="cell", steps=6), volume)[0][0],
        weighed(EdgeDiffusion(cell="cell", steps=5, boundary="nearest"), volume)[0][0],
        weighed(EdgePreserving(cell="cell"), volume)[0][0],
        weighed(EdgePreserving(cell="mito"), volume)[0][0],
        weighed(config, volume, volume_of(seed=2))[0][0],
    ]
    assert len({one.field.entry for one in (first, *others)}) == 6
    assert len({first.folder, *(other.folder for other in others)}) == 1
    assert {entry.path for entry in list_cache()} >= {first.folder, first.field.entry}


def test_what_was_interrupted_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    config, volume = EdgePreserving(cell="cell"), volume_of()
    slices = CachedPart.label_slice

    def interrupted(part: CachedPart, z: int) -> np.ndarray:
        if z == 3:
            raise KeyboardInterrupt
        return slices(part, z)

    with monkeypatch.context() as patch:
        patch.setattr(CachedPart, "label_slice", interrupted)
        with pytest.raises(KeyboardInterrupt):
            weighed(config, volume)
    (entry,) = list_cache()
    assert not entry.path.name.startswith("weights-")
    folder = entry.path.parent.parent
    assert not list((folder / "sessions").iterdir())
    (part,), _ = weighed(config, volume)
    found = part.read(Box((4, 0, 0), (5, 50, 70)), Framing()).weight
    np.testing.assert_array_equal(found, of_whole_volume(config, labels_of(volume))[4])


def test_what_a_killed_process_left_is_not_taken_for_a_field(tmp_path: Path) -> None:
    code = (
        "import os, test_weight_field as t\nslices = t.CachedPart.label_slice\n"
        "t.CachedPart.label_slice = lambda part, z: os._exit(9) if z == 4 else slices(part, z)\n"
        "t.weight_field._THREADS = 1\nt.weighed(t.EdgePreserving(cell='cell'), t.volume_of())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=False, capture_output=True)
    assert done.returncode == 9, done.stderr.decode()
    (entry,) = list_cache()
    sessions = entry.path.parent.parent / "sessions"
    assert [one.name for one in sessions.glob("*/*/field")] == ["field"]
    (part,), _ = weighed(EdgePreserving(cell="cell"), volume_of())
    assert part.folder == entry.path
    assert not list(sessions.iterdir())
    found = part.read(Box((5, 0, 0), (6, 50, 70)), Framing()).weight
    np.testing.assert_array_equal(found, of_whole_volume(EdgePreserving(cell="cell"), labels_of(volume_of()))[5])


@CONFIGS
def test_weights_turn_with_the_labels_and_multiply_the_volumes_own(config) -> None:
    volume = volume_of(weighted=True)
    (part,), statistics = weighed(config, volume)
    box = Box((2, 8, 16), (3, 40, 48))
    batch = collate([part.read(box, Framing())] * 2)
    targets = config.bind(statistics, CELL, None)
    generators = [np.random.default_rng(seed) for seed in range(2)]
    found = prepare_batch(batch, [Flip(axes=("y", "x"), probability=1)], targets, generators)
    labels = labels_of(volume)
    assert volume.weight is not None
    expected = (of_whole_volume(config, labels) * volume.weight.read(WHOLE))[box.slices][0]
    for sample in range(2):
        np.testing.assert_array_equal(found.weight[sample].flip(0, 1), torch.from_numpy(expected))
        ids = np.where(labels[box.slices][0] == INVALID, 0, labels[box.slices][0])
        np.testing.assert_array_equal(found.target[sample].flip(0, 1), torch.from_numpy(ids))
