"""Steps one after the other: on disk as in memory, and continued after a kill without repeating what was finished."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from step_data import FOUR, SIZE_NM, label_maps, run_steps

from cristae.data.box import Box
from cristae.postprocessing import FillHoles, RemoveSmall, SplitTouching
from cristae.postprocessing.apply import apply_steps
from cristae.postprocessing.workplace import DiskStore, Workplace

STEPS = (FillHoles(classes=("mito",)), RemoveSmall(min_size_vox=5), SplitTouching(classes=("mito",), depth_nm=1))
BLOCKS = (16, 128, 128)


def labels() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 6, (5, 12, 12))
    found = np.where(coarse > 3, 0, coarse).repeat(4, 0).repeat(12, 1).repeat(12, 2).astype(np.uint8)
    found[rng.random(found.shape) < 0.01] = 0
    found[rng.random(found.shape) < 0.01] = 2
    return found


def bytes_in(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_on_disk_as_in_memory(tmp_path: Path) -> None:
    maps = label_maps(labels(), classes=FOUR)
    memory, disk = run_steps(maps, *STEPS), run_steps(maps, *STEPS, edges=BLOCKS, folder=tmp_path / "work")
    assert memory.changes == disk.changes
    assert sum(change.gained + change.lost for change in memory.changes) > 0
    np.testing.assert_array_equal(memory.maps.images[0].read(), disk.maps.images[0].read())
    np.testing.assert_array_equal(memory.instances["mito"].read(), disk.instances["mito"].read())


@pytest.mark.parametrize(("stops_at", "step"), [(22, 1), (40, 2)])
def test_a_killed_call_is_continued_with_the_same_bytes(tmp_path: Path, monkeypatch, stops_at: int, step: int) -> None:
    maps, write = label_maps(labels(), classes=FOUR), DiskStore.write
    writes: list[str] = []
    kills = [stops_at]

    def watched(store: DiskStore, box: Box, voxels: np.ndarray) -> None:
        writes.append(store._path.parent.name)
        if kills == [len(writes)]:
            kills.clear()
            raise KeyboardInterrupt
        write(store, box, voxels)

    monkeypatch.setattr(DiskStore, "write", watched)
    places = {name: Workplace(maps.shape, (16, 64, 64), tmp_path / name, SIZE_NM) for name in ("killed", "whole")}
    with pytest.raises(KeyboardInterrupt):
        apply_steps(maps, STEPS, places["killed"])
    assert int(writes[-1]) == step
    del writes[:]
    again = apply_steps(maps, STEPS, places["killed"])
    assert int(writes[0]) == step
    whole = apply_steps(maps, STEPS, places["whole"])
    assert again.changes == whole.changes
    assert bytes_in(tmp_path / "killed") == bytes_in(tmp_path / "whole")
    finished = len(writes)
    assert apply_steps(maps, STEPS, places["killed"]).changes == whole.changes
    assert len(writes) == finished


def test_what_was_made_from_something_else_is_not_used(tmp_path: Path) -> None:
    maps = label_maps(labels(), classes=FOUR)
    work = Workplace(maps.shape, BLOCKS, tmp_path / "work", maps.voxel_size_nm)
    first = apply_steps(maps, STEPS[:1], work, origin="a")
    other = label_maps(np.zeros_like(labels()), classes=FOUR)
    assert apply_steps(other, STEPS[:1], work, origin="b").changes != first.changes
    assert apply_steps(maps, STEPS[1:2], work, origin="b").changes[0].step == "remove_small"
    (work.folder / "state.json").write_text("{")
    assert apply_steps(maps, STEPS[:1], work, origin="b").changes == first.changes
