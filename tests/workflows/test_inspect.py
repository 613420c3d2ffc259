"""What `inspect` reports about files."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image as PillowImage
from prediction_files import write_prediction
from scipy import ndimage
from typer.testing import CliRunner

from cristae.cli.main import app
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.formats import write_image
from cristae.data.formats.ome_zarr import ZarrSpec, create_multiscale
from cristae.data.image import image_of_array
from cristae.errors import FormatError, MissingFileError
from cristae.workflows.inspect import inspect

RNG = np.random.default_rng(29)
GREY = RNG.integers(1, 250, (4, 30, 40)).astype(np.uint8)


def only(path: Path | str):  # type: ignore[no-untyped-def]
    (found,) = inspect(path)
    return found


def test_a_sound_volume(tmp_path: Path) -> None:
    write_image(image_of_array(GREY, voxel_size_nm=(40.0, 4.6, 4.6)), tmp_path / "a.zarr")
    found = only(tmp_path / "a.zarr")
    assert found.problems == ()
    assert (found.shape, found.voxel_size_nm, found.dtype) == ((4, 30, 40), (40.0, 4.6, 4.6), "uint8")
    assert found.percentiles["50"] == np.percentile(GREY, 50, method="inverted_cdf")
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["voxel_size_nm"] == [40.0, 4.6, 4.6]


def test_problems_are_named_with_cures(tmp_path: Path) -> None:
    stack = GREY.astype(np.float32)
    stack[1] = 0
    stack[2] = 5
    stack[3, 0, 0] = np.nan
    write_image(image_of_array(stack), tmp_path / "a.tif")
    problems = " | ".join(only(tmp_path / "a.tif").problems)
    empty, constant = "1 empty slice (all 0): number 1, counted", "1 constant slice: number 2, counted from 0"
    for words in ("voxel size is unknown", "1 voxels are NaN", empty, constant):
        assert words in problems


def test_empty_slices_are_called_by_their_files(tmp_path: Path) -> None:
    for z in range(12):
        PillowImage.fromarray(GREY[0] * (z in (3, 5, 11))).save(tmp_path / f"s{z:03}.png")
    (problem,) = (problem for problem in only(tmp_path).problems if "empty" in problem)
    assert problem == "9 empty slices (all 0): numbers 0-2, 4, 6-10, counted from 0"
    for z in (0, 1, 2, 6, 7, 8, 9, 10):
        PillowImage.fromarray(GREY[0]).save(tmp_path / f"s{z:03}.png")
    (problem,) = (problem for problem in only(tmp_path).problems if "empty" in problem)
    assert problem == "1 empty slice (all 0): s004"


@pytest.mark.parametrize(
    ("value", "cure"),
    [(0, "`inside: nonzero` in a recipe's `valid:`"), (255, "`inside: 0-254`"), (9, "a mask as `valid:`")],
)
def test_padding_is_hinted_at_with_what_leaves_it_out(tmp_path: Path, value: int, cure: str) -> None:
    stack = GREY.copy()
    stack[:, :, :10] = value
    write_image(image_of_array(stack), tmp_path / "a.tif")
    (problem,) = (problem for problem in only(tmp_path / "a.tif").problems if "padding" in problem)
    assert problem.startswith(f"25% of the voxels are {value} in areas along the border, which looks like padding")
    assert cure in problem
    assert "--mask" in problem


def test_empty_slices_and_labels_are_no_padding(tmp_path: Path) -> None:
    stack = GREY.copy()
    stack[1] = 0
    write_image(image_of_array(stack), tmp_path / "a.tif")
    ids = np.arange(200, dtype=np.uint16).reshape(10, 20).repeat(3, axis=0).repeat(2, axis=1)[None].repeat(4, axis=0)
    ids[:, :10] = 0
    write_image(image_of_array(ids), tmp_path / "ids.tif")
    for name in ("a.tif", "ids.tif"):
        assert not any("padding" in problem for problem in only(tmp_path / name).problems)


def test_masks_of_0_and_255(tmp_path: Path) -> None:
    for z in (1, 2, 3, 5):
        PillowImage.fromarray(((GREY[0] > 100) * 255).astype(np.uint8)).save(tmp_path / f"m{z:03}.png")
    found = only(tmp_path)
    assert [(v.value, v.voxels) for v in found.values] == [
        (0, 4 * int((GREY[0] <= 100).sum())),
        (255, 4 * int((GREY[0] > 100).sum())),
    ]
    assert any("looks like a mask" in problem for problem in found.problems)
    assert any("jump from 3 to 5" in problem for problem in found.problems)


def test_a_prediction_with_channels_and_labels(tmp_path: Path) -> None:
    root = tmp_path / "p.zarr"
    spec = ZarrSpec((2, 8, 8), np.dtype("uint8"), (1, 8, 8), (2, 8, 8), (40.0, 4.0, 4.0), channels=2)
    create_multiscale(root, spec, name="p").write(Box.of_shape(spec.shape), np.full((2, 2, 8, 8), 9, np.uint8))
    labels = ZarrSpec((2, 8, 8), np.dtype("uint8"), (1, 8, 8), (2, 8, 8), (40.0, 4.0, 4.0))
    ids = np.zeros((2, 8, 8), np.uint8)
    ids[0, :2] = 1
    classes = [(0, "background", "#000000"), (1, "mitochondria", "#e6194b")]
    create_multiscale(root / "labels" / "segmentation", labels, name="s", classes=classes).write(
        Box.of_shape(ids.shape), ids
    )
    first, second, label = inspect(root)
    assert (first.path, second.path) == (f"{root}::channel=0", f"{root}::channel=1")
    assert label.path == f"{root}:/labels/segmentation"
    assert [(v.value, v.name, v.color, v.share) for v in label.values] == [
        (0, "background", "#000000", 0.875),
        (1, "mitochondria", "#e6194b", 0.125),
    ]
    assert "every voxel has the value 9" in first.problems


def test_an_unfinished_prediction_says_so(tmp_path: Path) -> None:
    classes = Classes(names=("background", "mito"))
    for status, expected in (("running", 1), ("complete", 0)):
        root = write_prediction(tmp_path / f"{status}.zarr", GREY[None] % 2, classes, status=status)
        for found in (*inspect(root), only(root / "labels/segmentation"), only(f"{root}:/labels/segmentation")):
            assert sum("prediction is not finished" in problem for problem in found.problems) == expected


def test_the_image_of_a_prediction_is_called_a_preview(tmp_path: Path) -> None:
    classes, ids = Classes(names=("background", "mito")), GREY[None] % 2
    preview, label = inspect(write_prediction(tmp_path / "p.zarr", ids, classes))
    assert "preview of the input, each voxel the mean of 2 x 2" in preview.details["content"]
    kept, _ = inspect(write_prediction(tmp_path / "q.zarr", ids, classes, probabilities=ids * 255))
    write_image(image_of_array(GREY), tmp_path / "a.zarr")
    assert all("content" not in found.details for found in (label, kept, only(tmp_path / "a.zarr")))


def test_every_array_of_an_hdf5_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"], file["truth/ids"] = GREY, GREY % 3
    assert [(i.path.split(":/")[-1], len(i.values)) for i in inspect(tmp_path / "a.h5")] == [
        ("raw", 0),
        ("truth/ids", 3),
    ]


def test_unrelated_images_one_by_one(tmp_path: Path) -> None:
    PillowImage.fromarray(GREY[0]).save(tmp_path / "a.png")
    PillowImage.fromarray(GREY[1, :20]).save(tmp_path / "b.png")
    found = inspect(tmp_path)
    assert [i.shape for i in found] == [(1, 30, 40), (1, 20, 40)]
    assert all("kind: images" in i.problems[0] for i in found)


def test_colours_are_listed(tmp_path: Path) -> None:
    rgba = np.zeros((4, 5, 4), np.uint8)
    rgba[0] = (1, 171, 254, 255)
    PillowImage.fromarray(rgba).save(tmp_path / "a.png")
    assert [(v.value, v.voxels) for v in only(tmp_path / "a.png").values] == [("#00000000", 15), ("#01abfeff", 5)]


def test_errors_are_those_of_the_files(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        inspect(tmp_path / "none.tif")
    (tmp_path / "a.tif").write_bytes(b"")
    with pytest.raises(FormatError, match="0 bytes"):
        inspect([tmp_path / "a.tif"])


@pytest.mark.parametrize("as_json", [True, False])
def test_inspecting_goes_on_after_a_file_that_cannot_be_read(tmp_path: Path, as_json: bool) -> None:
    write_image(image_of_array(GREY), tmp_path / "a.tif")
    write_image(image_of_array(GREY), tmp_path / "b.mrc")
    (tmp_path / "bad.tif").write_bytes(b"no TIFF at all")
    paths = [str(tmp_path / name) for name in ("a.tif", "gone.tif", "bad.tif", "b.mrc")]
    result = CliRunner().invoke(app, ["inspect", *paths, *(["--json"] if as_json else [])])
    assert result.exit_code == 2
    assert "MissingFileError" in result.stderr
    assert "FormatError" in result.stderr
    shown = [one["path"] for one in json.loads(result.stdout)] if as_json else result.stdout.split()
    assert {paths[0], paths[3]} <= set(shown)
    assert not {paths[1], paths[2]} & set(shown)


def test_one_file_that_cannot_be_read_prints_nothing(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["inspect", str(tmp_path / "gone.tif"), "--json"])
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_slip_of_the_unit_is_a_problem(tmp_path: Path) -> None:
    write_image(image_of_array(GREY, voxel_size_nm=(0.05, 0.004, 0.004)), tmp_path / "a.zarr")
    (problem,) = only(tmp_path / "a.zarr").problems
    assert "slip of the unit" in problem
    assert "if um was meant where nm is said, it is 50 x 4 x 4 nm" in problem
    assert "--voxel-size-nm" in problem


def test_bad_sections_and_the_drift_are_listed(tmp_path: Path) -> None:
    field = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(12, 110, 110)), (4, 3, 3))
    grey = (128 + 40 * field / field.std()).clip(1, 255).astype(np.uint8)
    stack = np.stack([plane[8 - (z >= 7) * 6 : 98, 5:95][:90] for z, plane in enumerate(grey)])
    stack[3] = 0
    write_image(image_of_array(stack), tmp_path / "a.tif")
    found = only(tmp_path / "a.tif")
    assert [(one.slice, one.kind) for one in found.sections] == [(3, "missing")]
    assert found.drift is not None
    assert (found.drift.steps, found.drift.certain) == (11, 9)
    largest = found.drift.largest[0]
    assert (largest.slice, round(largest.y), round(largest.x)) == (7, 6, 0)
    shown = CliRunner().invoke(app, ["inspect", str(tmp_path / "a.tif")]).stdout
    assert "sections:     3 missing (every voxel is 0)" in shown
    assert "to slice 7, " in shown
    assert "2 of 11 steps not certain" in shown
    plain = json.loads(CliRunner().invoke(app, ["inspect", str(tmp_path / "a.tif"), "--json"]).stdout)[0]
    assert plain["sections"] == [{"slice": 3, "kind": "missing", "text": "every voxel is 0"}]
    assert plain["drift"]["reach_vox"][0] == pytest.approx(6, abs=1)


def test_a_drift_that_is_not_certain_is_not_told(tmp_path: Path) -> None:
    write_image(
        image_of_array(np.random.default_rng(0).integers(0, 255, (9, 60, 60)).astype(np.uint8)), tmp_path / "a.tif"
    )
    shown = CliRunner().invoke(app, ["inspect", str(tmp_path / "a.tif")]).stdout
    assert "drift:        not certain: " in shown
    ids = np.random.default_rng(0).integers(0, 3, (9, 60, 60)).astype(np.uint8)
    write_image(image_of_array(ids), tmp_path / "ids.tif")
    assert (only(tmp_path / "ids.tif").sections, only(tmp_path / "ids.tif").drift) == ((), None)
