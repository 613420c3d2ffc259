"""Stacks that were taken apart are put together, and everything can be brought back voxel for voxel."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from typer.testing import CliRunner

from cristae.cli.main import app
from cristae.data.box import Box
from cristae.data.formats import open_image, write_image
from cristae.data.image import Image, image_of_array
from cristae.data.moved_sections import SectionTransforms, canvas_of, read_transforms
from cristae.errors import FormatError, MissingFileError, OutputExistsError, VolumeError
from cristae.workflows.align import align

SIZE = (40.0, 5.0, 4.0)


def smooth_stack(seed: int = 0, count: int = 14, side: int = 130) -> np.ndarray:
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.normal(size=(count, side, side)), (8, 3, 3))
    return (128 + 35 * fields / fields.std()).clip(1, 255).astype(np.uint8)


def taken_apart(volume: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Windows of a larger stack, so that no content is wrapped around."""
    rim = int(abs(shifts).max())
    side = volume.shape[1] - 2 * rim
    planes = zip(volume, shifts.tolist(), strict=True)
    return np.stack([plane[rim - y : rim - y + side, rim - x : rim - x + side] for plane, (y, x) in planes])


def transforms(shifts: np.ndarray, shape: tuple[int, int, int], outside: float = 0) -> SectionTransforms:
    pairs = tuple((int(y), int(x)) for y, x in shifts - shifts.min(axis=0))
    return SectionTransforms(shape=shape, aligned_shape=canvas_of(shape, pairs), shifts_vox=pairs, outside=outside)


voxels = hnp.arrays(
    st.sampled_from([np.uint8, np.int16, np.float32]), hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)
)


@given(volume=voxels, data=st.data())
@settings(max_examples=30, deadline=None)
def test_undo_brings_back_every_voxel(volume: np.ndarray, data: st.DataObject) -> None:
    shifts = data.draw(hnp.arrays(np.int64, (len(volume), 2), elements=st.integers(-9, 9)))
    shape = (volume.shape[0], volume.shape[1], volume.shape[2])
    known, image = transforms(shifts, shape, outside=3), image_of_array(volume)
    moved = known.apply(image)
    np.testing.assert_array_equal(known.undo(moved).read(), volume)
    whole = moved.read()
    assert whole.shape == moved.shape == known.aligned_shape
    for z, (y, x) in enumerate(known.shifts_vox):  # by hand: each section lies at its place, all else is outside
        expected = np.full(moved.shape[1:], 3, volume.dtype)
        expected[y : y + shape[1], x : x + shape[2]] = volume[z]
        np.testing.assert_array_equal(whole[z], expected)
    starts = [data.draw(st.integers(0, side - 1)) for side in moved.shape]
    stops = [data.draw(st.integers(low + 1, side)) for low, side in zip(starts, moved.shape, strict=True)]
    box = Box(tuple(starts), tuple(stops))
    np.testing.assert_array_equal(moved.read(box), whole[box.slices])


def write(path: Path, volume: np.ndarray) -> Path:
    write_image(image_of_array(volume, voxel_size_nm=SIZE), path)
    return path


def test_a_jump_and_a_displaced_section_are_put_right_and_labels_go_along(tmp_path: Path) -> None:
    shifts = np.zeros((14, 2), int)
    shifts[5:] = (6, -4)
    shifts[9] = (1, 5)
    truth = smooth_stack()
    source = write(tmp_path / "s.tif", taken_apart(truth, shifts))
    labels = write(tmp_path / "l.tif", (open_image(source).read() > 140).astype(np.uint8))
    found = align(source, tmp_path / "a.zarr", labels={labels: tmp_path / "al.tif"})
    assert found.uncertain == ()
    placed = np.array(found.shifts_vox)
    np.testing.assert_array_equal(placed - placed[0], -shifts)
    image, moved = open_image(tmp_path / "a.zarr"), open_image(tmp_path / "al.tif")
    inside = image.read() != 0
    np.testing.assert_array_equal(moved.read()[inside], image.read()[inside] > 140)
    back = align(tmp_path / "al.tif", tmp_path / "b.tif", undo=tmp_path / "a.zarr.transforms.json")
    assert back == found
    np.testing.assert_array_equal(open_image(tmp_path / "b.tif").read(), open_image(labels).read())
    again = align(labels, tmp_path / "c.tif", apply=tmp_path / "a.zarr.transforms.json")
    np.testing.assert_array_equal(open_image(tmp_path / "c.tif").read(), moved.read())
    assert again.voxel_size_nm == SIZE == image.voxel_size_nm


def test_an_aligned_stack_lies_on_itself_whatever_its_padding(tmp_path: Path) -> None:
    """The window fades before the borders of moved sections, which are no structure."""
    shifts = np.zeros((14, 2), int)
    shifts[7:] = (12, -9)
    source = write(tmp_path / "s.tif", taken_apart(smooth_stack(3), shifts))
    assert align(source, tmp_path / "a.tif").aligned_shape == (14, 106 + 12, 106 + 9)
    assert set(align(tmp_path / "a.tif", tmp_path / "b.tif").shifts_vox) == {(0, 0)}


def test_where_the_canvas_lies_in_space(tmp_path: Path) -> None:
    known = transforms(np.array([(0, 0), (2, 3), (2, 3)]), (3, 5, 5))
    image = image_of_array(np.ones((3, 5, 5), np.uint8), voxel_size_nm=SIZE)
    assert known.apply(image).origin_nm == (0.0, -2 * 5.0, -3 * 4.0), "most sections stay where they were"
    assert known.undo(known.apply(image)).origin_nm == (0.0, 0.0, 0.0)


def test_oblique_structure_stays_oblique_unless_it_is_asked_for(tmp_path: Path) -> None:
    shifts = np.stack([np.arange(14), -np.arange(14)], axis=1)
    source = write(tmp_path / "s.tif", taken_apart(smooth_stack(1), shifts))
    assert set(align(source, tmp_path / "a.tif").shifts_vox) == {(0, 0)}
    straight = np.array(align(source, tmp_path / "b.tif", detrend=False).shifts_vox)
    assert abs(straight - straight[0] + shifts).max() <= 1, "a tenth of a voxel at each step adds up"


def test_a_section_that_shows_nothing_lies_between_its_neighbours(tmp_path: Path) -> None:
    shifts = np.zeros((14, 2), int)
    shifts[7:] = (0, 8)
    volume = taken_apart(smooth_stack(2), shifts)
    volume[6] = 0
    found = align(write(tmp_path / "s.tif", volume), tmp_path / "a.tif")
    assert found.uncertain == (6, 7)
    placed = np.array(found.shifts_vox)
    np.testing.assert_array_equal(np.delete(placed, 6, 0) - placed[0], -np.delete(shifts, 6, 0))


def test_unrelated_sections_are_refused(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 255, (6, 80, 80)).astype(np.uint8)
    with pytest.raises(VolumeError, match="unlike each other"):
        align(write(tmp_path / "s.tif", volume), tmp_path / "a.tif")
    with pytest.raises(VolumeError, match="at least 3"):
        align(write(tmp_path / "t.tif", volume[:2]), tmp_path / "a.tif")
    assert not (tmp_path / "a.tif").exists()


def test_shapes_and_values_that_do_not_match(tmp_path: Path) -> None:
    known = transforms(np.array([(0, 0), (2, 3), (2, 3)]), (3, 5, 5), outside=300)
    with pytest.raises(VolumeError, match=r"has shape \(3, 5, 6\).* that has \(3, 5, 5\) before"):
        known.apply(image_of_array(np.ones((3, 5, 6), np.uint8)))
    with pytest.raises(VolumeError, match=r"that has \(3, 7, 8\) after"):
        known.undo(image_of_array(np.ones((3, 5, 5), np.uint8)))
    with pytest.raises(VolumeError, match="cannot hold the value outside, 300"):
        known.apply(image_of_array(np.ones((3, 5, 5), np.uint8)))
    assert known.apply(image_of_array(np.ones((3, 5, 5), np.uint16))).read(Box((0, 6, 7), (1, 7, 8)))[0, 0, 0] == 300
    source, other = write(tmp_path / "s.tif", smooth_stack()), write(tmp_path / "l.tif", smooth_stack()[:, 1:])
    with pytest.raises(VolumeError, match="only images of the same shape"):
        align(source, tmp_path / "a.tif", labels={other: tmp_path / "al.tif"})


def test_nothing_is_overwritten_and_damaged_transforms_are_named(tmp_path: Path) -> None:
    source = write(tmp_path / "s.tif", smooth_stack())
    for name in ("a.tif", "al.tif", "a.tif.transforms.json"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(OutputExistsError, match=name):
            align(source, tmp_path / "a.tif", labels={source: tmp_path / "al.tif"})
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    with pytest.raises(MissingFileError):
        align(source, tmp_path / "a.tif", undo=tmp_path / "none.json")
    align(source, tmp_path / "a.tif")
    path = tmp_path / "a.tif.transforms.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "shifts_vox": content["shifts_vox"][1:]}))
    with pytest.raises(FormatError, match="13 shifts for 14 sections"):
        read_transforms(path)
    with pytest.raises(VolumeError, match="exclude each other"):
        align(source, tmp_path / "b.tif", undo=path, apply=path)
    with pytest.raises(VolumeError, match="belong to the finding"):
        align(source, tmp_path / "b.tif", undo=path, outside=1)


def test_colours_are_moved_but_not_aligned(tmp_path: Path) -> None:
    image = image_of_array(np.arange(36, dtype=np.uint8).reshape(3, 2, 2, 3))
    colored = Image(image.path, "array", image.shape, image.dtype, image.reader, colors=3)
    known = transforms(np.array([(0, 0), (1, 0), (0, 2)]), (3, 2, 2))
    np.testing.assert_array_equal(known.undo(known.apply(colored)).read(), colored.read())


def test_the_command(tmp_path: Path) -> None:
    source = write(tmp_path / "s.tif", smooth_stack())
    run, out = CliRunner(), tmp_path / "a.tif"
    done = run.invoke(app, ["align", str(source), str(out), "--labels", f"{source}={tmp_path / 'l.tif'}"])
    assert (done.exit_code, done.stdout.strip()) == (0, str(out))
    np.testing.assert_array_equal(open_image(tmp_path / "l.tif").read(), open_image(out).read())
    undo = ["align", str(out), str(tmp_path / "b.tif"), "--undo", f"{out}.transforms.json"]
    assert run.invoke(app, undo).exit_code == 0
    np.testing.assert_array_equal(open_image(tmp_path / "b.tif").read(), open_image(source).read())
    assert run.invoke(app, ["align", str(source), str(tmp_path / "c.tif"), "--labels", "l.tif"]).exit_code == 2
