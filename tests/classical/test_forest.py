"""Learning, applying, keeping: the forest as a whole."""

from pathlib import Path

import numpy as np
import pytest
from forest_data import DISC, IDENTITY, discs, normalizers_of, part_of, quick, volume_of
from safetensors.numpy import load_file, save_file

from cristae import compiled
from cristae.classical import threads
from cristae.classical.config import RandomForestConfig
from cristae.classical.fit import train_forest
from cristae.classical.forest import Forest
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.errors import LabelError, RunError, VoxelSizeError

MASKS = Classes(names=("disc", "left"), exclusive=False)
THREE = Classes(names=("background", "disc", "hole"))


def learn(config: RandomForestConfig, classes: Classes = DISC, *, shape=(3, 70, 80), seed: int = 0) -> Forest:
    volume = labelled(classes, shape=shape)
    return train_forest(config, [part_of(volume)], classes, normalizers_of(volume), seed=seed)


def labelled(classes: Classes, *, shape=(3, 70, 80), seed: int = 0):
    grey, ids = discs(shape, seed=seed)
    if classes == THREE:
        grey[ids == 1] -= 2 * (np.indices(shape)[2][ids == 1] > shape[2] // 2)
        ids = ids + (ids == 1) * (np.indices(shape)[2] > shape[2] // 2).astype(np.uint8)
        return volume_of(grey, ids.astype(np.uint8))
    if classes == MASKS:
        left = (np.indices(shape)[2] < 30).astype(np.uint8)
        return volume_of(grey - 3 * left, ids, left)
    return volume_of(grey, ids)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize(
    "options", [{}, {"ndim": 3}, {"objects": {}}, {"ndim": 3, "objects": {}}, {"balance": "even"}], ids=str
)
def test_it_learns_from_three_slices(options: dict[str, object]) -> None:
    forest = learn(quick(**options))
    grey, ids = discs((3, 90, 70), seed=9)
    found = forest.probabilities(grey)
    assert found.dtype == np.float32
    assert found.shape == (1, *grey.shape)
    assert 0 <= found.min() < found.max() <= 1
    assert overlap(found[0] > 0.5, ids == 1) > 0.85


@pytest.mark.parametrize("objects", [None, {}], ids=["pixels", "objects"])
def test_several_classes(objects: object) -> None:
    three = learn(quick(objects=objects), THREE)
    volume = labelled(THREE, seed=5)
    grey, ids = volume.image.read(), volume.labels[0].read()
    found = three.probabilities(grey)
    assert np.allclose(found.sum(axis=0), 1, atol=1e-5)
    for number in (1, 2):
        assert overlap(found.argmax(axis=0) == number, ids == number) > 0.8
    masks = learn(quick(objects=objects), MASKS)
    volume = labelled(MASKS, seed=5)
    found = masks.probabilities(volume.image.read())
    assert found.shape[0] == 2
    for channel, label in zip(found, volume.labels, strict=True):
        assert overlap(channel > 0.5, label.read() == 1) > 0.8


@pytest.mark.parametrize(
    ("options", "classes"),
    [({}, DISC), ({"ndim": 3}, THREE), ({"objects": {"skeleton": True}}, THREE), ({"ndim": 3, "objects": {}}, MASKS)],
    ids=["2D", "3D", "objects and skeletons", "objects of masks in 3D"],
)
def test_blocks_with_their_reach_give_the_bits_of_the_whole(options: dict[str, object], classes: Classes) -> None:
    forest = learn(quick(**options), classes)
    grey = labelled(classes, shape=(5, 61, 53), seed=3).image.read()
    expected = forest.probabilities(grey)
    shape = Box.of_shape(grey.shape)
    for block in shape.blocks((2, 25, 27)):
        seen = block.grow(forest.reach).intersect(shape)
        found = forest.probabilities(grey[seen.slices], block.relative_to(seen.start))
        assert np.array_equal(found, expected[(slice(None), *block.slices)])


def test_large_images_are_computed_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces and threads change nothing."""
    from cristae.classical import pixels

    forest = learn(quick())
    grey, _ = discs((2, 130, 150))
    expected = forest.probabilities(grey)
    monkeypatch.setattr(pixels, "_BLOCK", {2: (1, 50, 60)})
    monkeypatch.setattr(pixels, "_TILE", {2: (1, 16, 24)})
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert np.array_equal(forest.probabilities(grey), expected)


def test_the_seed_alone_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    def arrays(seed: int) -> dict[str, np.ndarray]:
        return learn(quick(objects={}), seed=seed).pixels[0].to_arrays("t")

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    one = arrays(0)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    again, other = arrays(0), arrays(1)
    assert all(np.array_equal(one[name], again[name]) for name in one)
    assert any(not np.array_equal(one[name], other[name]) for name in one)


def test_objects_are_learned_from_slices_that_the_first_stage_has_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three folds and the whole: four forests, of which three leave slices out; one labelled slice is halved."""
    from cristae.classical import fit

    seen: list[list[str]] = []
    draw = fit.draw_samples

    def watch(parts, *args, **kwargs):
        seen.append([str(part.box) for part in parts])
        return draw(parts, *args, **kwargs)

    monkeypatch.setattr(fit, "draw_samples", watch)
    learn(quick(objects={}), shape=(4, 60, 60))
    slices = [f"{z}:{z + 1},0:60,0:60" for z in range(4)]
    assert [sorted(parts) for parts in seen] == [
        ["0:4,0:60,0:60"],
        [slices[1], slices[2]],
        [slices[0], slices[2], slices[3]],
        [slices[0], slices[1], slices[3]],
    ]
    seen.clear()
    learn(quick(objects={}), shape=(1, 60, 60))
    assert seen[1:] == [["0:1,30:60,0:60"], ["0:1,0:30,0:60"]]


def test_the_second_stage_rejects_what_looks_alike_voxel_by_voxel() -> None:
    """Long bars and small squares of one grey: only squares are wanted, and they differ in shape only."""
    rng = np.random.default_rng(0)

    def scene() -> tuple[np.ndarray, np.ndarray]:
        grey, ids = rng.normal(0, 0.1, (4, 120, 120)), np.zeros((4, 120, 120), np.uint8)
        for z in range(4):
            for row in range(8, 110, 16):
                column = int(rng.integers(0, 60))
                grey[z, row : row + 8, column : column + 8] += 1
                ids[z, row : row + 8, column : column + 8] = 1
                grey[z, row : row + 8, column + 20 : column + 55] += 1
        return grey.astype(np.float32), ids

    grey, ids = scene()
    volume = volume_of(grey, ids)
    first, second = (
        train_forest(quick(objects=objects), [part_of(volume)], DISC, normalizers_of(volume))
        for objects in (None, {"threshold": 0.2})
    )
    grey, ids = scene()
    assert overlap(second.probabilities(grey)[0] > 0.5, ids == 1) > 0.9
    assert overlap(first.probabilities(grey)[0] > 0.5, ids == 1) < 0.8


def test_what_is_no_object_is_background_for_certain() -> None:
    forest = learn(quick(objects={"smallest_vox": 30}))
    grey, _ = discs((1, 60, 60), seed=4)
    found = forest.probabilities(grey)[0, 0]
    assert (found == 0).mean() > 0.3
    nothing = forest.probabilities(np.zeros((1, 60, 60), np.float32))
    assert not (nothing > 0.5).any()


@pytest.mark.parametrize(
    ("classes", "options"),
    [
        (DISC, {"features": "weka", "features_per_split": 2, "objects": {"skeleton": True}}),
        (THREE, {"objects": {}}),
        (MASKS, {"objects": {}}),
    ],
    ids=["one, as Weka", "exclusive", "overlapping"],
)
def test_what_is_saved_is_what_is_loaded(tmp_path: Path, classes: Classes, options: dict[str, object]) -> None:
    forest = learn(quick(**options), classes)
    path = tmp_path / "weights.safetensors"
    forest.save(path)
    again = Forest.load(path)
    assert (again.config, again.classes, again.voxel_size_nm) == (forest.config, classes, forest.voxel_size_nm)
    grey = labelled(classes, seed=2).image.read()
    assert np.array_equal(again.probabilities(grey), forest.probabilities(grey))
    first = path.read_bytes()
    again.save(path)
    assert path.read_bytes() == first


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(RunError, match="there is no forest"):
        Forest.load(path)
    learn(quick()).save(path)
    content, arrays = path.read_bytes(), load_file(path)
    path.write_bytes(content[:-100])
    with pytest.raises(RunError, match="is damaged"):
        Forest.load(path)
    save_file(arrays, path)
    with pytest.raises(RunError, match="holds no random forest"):
        Forest.load(path)
    arrays["pixels.0.child"][0] = -5
    from safetensors import safe_open

    path.write_bytes(content)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    save_file(arrays, path, metadata=metadata)
    with pytest.raises(RunError, match="no proper children"):
        Forest.load(path)


def test_a_missing_class_is_told() -> None:
    grey, ids = discs((1, 40, 40))
    volume = volume_of(grey, 0 * ids)
    with pytest.raises(LabelError, match="no labelled voxel of disc"):
        train_forest(quick(), [part_of(volume)], DISC, {"stack": IDENTITY})
    volume = volume_of(grey, ids, np.ones_like(ids))
    with pytest.raises(LabelError, match="no labelled voxel of outside"):
        train_forest(quick(), [part_of(volume)], MASKS, {"stack": IDENTITY})


def test_no_object_to_learn_from_is_told() -> None:
    with pytest.raises(LabelError, match=r"lower model\.objects\.threshold or smallest_vox"):
        learn(quick(objects={"smallest_vox": 10_000}))


def test_3d_needs_the_voxel_size_and_2d_does_not() -> None:
    grey, ids = discs((3, 40, 40))
    volume = volume_of(grey, ids, size=None)
    with pytest.raises(VoxelSizeError, match="3D filters need it"):
        train_forest(quick(ndim=3), [part_of(volume)], DISC, normalizers_of(volume))
    assert train_forest(quick(), [part_of(volume)], DISC, normalizers_of(volume)).voxel_size_nm is None


def test_threads_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert compiled.usable_cores() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "4,2")
    assert compiled.usable_cores() >= 1
    monkeypatch.setenv("OMP_NUM_THREADS", "0")
    assert compiled.usable_cores() >= 1
    assert list(threads.side_by_side(lambda n: n * n, range(50), 3)) == [n * n for n in range(50)]
