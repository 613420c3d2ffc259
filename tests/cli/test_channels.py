"""`::channel=1` behind the path of a volume, in every verb that takes one."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import yaml
from typer.testing import CliRunner

from cristae.cli.main import app
from cristae.data.box import Box
from cristae.data.formats.ome_zarr import ZarrSpec, create_multiscale

NEW = ("recipe", "new", "--no-measure", "--out", "OUT.yaml")
SHAPE = (4, 40, 48)
SIZE = (40.0, 10.0, 10.0)
VOXELS = ("--voxel-size-nm", *map(str, SIZE))
RECIPE = """\
name: blobs
data:
  classes: {names: [background, mito]}
  volumes:
    - {name: v, image: grey.tif, labels: {kind: ids, path: ids.tif}, voxel_size_nm: [40, 10, 10]}
  train: [{volume: v, slices: "0:2"}]
  validate: [{volume: v, slices: "3:4"}]
model: {name: unet_bn, widths: [4, 8]}
loss: {name: cross_entropy_dice}
sampling: {name: random, size: [32, 32], per_epoch: 8}
training: {epochs: 1, batch_size: 8}
device: cpu
"""
FILES = {"HDF5": "two.h5", "HDF5 array": "two.h5:/volumes/data", "OME-Zarr": "two.zarr", "TIFF colours": "two.tif"}
"""Channel 0 is grey values, channel 1 labels of 0 and 1."""
STATED = {"OME-Zarr": SIZE}


@dataclass(frozen=True)
class Row:
    """A command with the file in one place, and whether labels or grey values are looked for there."""

    verb: str
    arguments: tuple[str, ...]
    """FILE is the path with its options; VOXELS the voxel size, unless the file says it."""
    channel: int = 1


ROWS = (
    Row("inspect", ("inspect", "FILE")),
    Row("inspect --json", ("inspect", "--json", "FILE"), 0),
    Row("convert", ("convert", "FILE", "OUT.mrc", "VOXELS")),
    Row("predict", ("predict", "FILE", "--run", "run", "--out", "OUT.zarr", "VOXELS"), 0),
    Row("predict --mask", ("predict", "grey.tif", "--run", "run", "--mask", "FILE", "--out", "OUT.zarr", *VOXELS)),
    Row(
        "evaluate --truth",
        ("evaluate", "--truth", "FILE", "--prediction", "ids.tif", "--recipe", "r.yaml", "--out", "OUT.csv"),
    ),
    Row(
        "evaluate --prediction",
        ("evaluate", "--truth", "v", "--prediction", "FILE", "--recipe", "r.yaml", "--out", "OUT.csv"),
    ),
    Row(
        "evaluate --binarize",
        ("evaluate", "--truth", "ids.tif", "--prediction", "FILE", "--binarize", "0.5", "--out", "OUT.csv"),
    ),
    Row(
        "evaluate --mask",
        ("evaluate", "--truth", "v", "--prediction", "ids.tif", "--mask", "FILE", "--recipe", "r.yaml"),
    ),
    Row(
        "evaluate --objects",
        ("evaluate", "--objects", "--truth", "FILE", "--prediction", "FILE", "--out", "OUT.csv", "VOXELS"),
    ),
    Row("analyze", ("analyze", "FILE", "--recipe", "r.yaml", "--out", "OUT", "VOXELS")),
    Row("analyze --binarize", ("analyze", "FILE", "--binarize", "0.5", "--out", "OUT", "VOXELS")),
    Row("analyze --cell", ("analyze", "ids.tif", "--recipe", "r.yaml", "--cell", "FILE", "--out", "OUT", *VOXELS)),
    Row("agree", ("agree", "a=FILE", "b=ids.tif", "--recipe", "r.yaml", "--out", "OUT.csv")),
    Row("agree --mask", ("agree", "a=ids.tif", "b=ids.tif", "--mask", "FILE", "--recipe", "r.yaml")),
    Row(
        "recipe new --image",
        (*NEW, "--image", "FILE", "--labels", "ids.tif"),
        0,
    ),
    Row(
        "recipe new --labels",
        (*NEW, "--image", "grey.tif", "--labels", "FILE"),
    ),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files, a recipe and a trained run."""
    folder = tmp_path_factory.mktemp("channels")
    rng = np.random.default_rng(0)
    ids = np.zeros(SHAPE, np.uint8)
    ids[:, 8:24, 10:30] = 1
    grey = (60 + 120 * ids + rng.integers(0, 40, SHAPE)).astype(np.uint8)
    both = np.stack([grey, ids])
    tifffile.imwrite(folder / "grey.tif", grey, photometric="minisblack")
    tifffile.imwrite(folder / "ids.tif", ids, photometric="minisblack")
    tifffile.imwrite(folder / "two.tif", np.stack([grey, ids, ids], -1), photometric="rgb")
    with h5py.File(folder / "two.h5", "w") as file:
        data = file.create_dataset("volumes/data", data=both)
        data.attrs["axistags"] = json.dumps({"axes": [{"key": key} for key in "czyx"]})
    spec = ZarrSpec(SHAPE, np.dtype("uint8"), (1, 40, 48), (4, 40, 48), SIZE, channels=2)
    create_multiscale(folder / "two.zarr", spec, name="two").write(Box.of_shape(SHAPE), both)
    (folder / "r.yaml").write_text(RECIPE)
    result = CliRunner().invoke(app, ["train", str(folder / "r.yaml"), "--out", str(folder / "run")])
    assert result.exit_code == 0, result.stderr
    return folder


def command(row: Row, form: str, options: str, out: str) -> list[str]:
    found = [part.replace("FILE", FILES[form] + options).replace("OUT", out) for part in row.arguments]
    if "VOXELS" in found:
        place = found.index("VOXELS")
        found[place : place + 1] = () if form in STATED else VOXELS
    return found


@pytest.mark.parametrize("form", FILES)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.verb)
def test_the_right_channel_is_read_and_no_other_guessed(
    row: Row, form: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    out = str(tmp_path / "out")
    right = CliRunner().invoke(app, command(row, form, f"::channel={row.channel}", out))
    assert right.exit_code == 0, right.stderr or right.exception
    check_names(tmp_path)

    wrong = CliRunner().invoke(app, command(row, form, "::channel=7", f"{out}2"))
    assert wrong.exit_code == 2, wrong.stderr or wrong.exception
    assert "has no channel 7; its channels are 0" in wrong.stderr

    none = CliRunner().invoke(app, command(row, form, "", f"{out}3"))
    if form == "TIFF colours":
        assert none.exit_code in (0, 2), none.exception
        return
    if row.verb.startswith("inspect"):
        assert none.exit_code == 0, none.stderr
        assert "::channel=0" in none.stdout
        assert "::channel=1" in none.stdout
        return
    assert none.exit_code == 2, none.stderr or none.exception
    if row.verb in ("evaluate --prediction", "analyze", "agree"):  # two channels could be the maps of both classes
        assert "add up to" in none.stderr
    else:
        assert "ChannelError" in none.stderr
        assert "::channel=0 to ::channel=1" in none.stderr


def check_names(folder: Path) -> None:
    """Names of files, runs and volumes hold no options."""
    assert not [path.name for path in folder.rglob("*") if "channel=" in path.name]
    for table in folder.glob("out*.csv"):
        for row in csv.DictReader(table.open()):
            assert not any("::" in row[name] for name in ("run", "volume", "class") if name in row), row
    for recipe in folder.glob("out*.yaml"):
        for volume in yaml.safe_load(recipe.read_text())["data"]["volumes"]:
            assert "channel" not in volume["name"]
    for page in folder.rglob("*.html"):
        assert "::channel" not in page.read_text().split("</title>")[0]


@pytest.mark.parametrize("form", ["HDF5 array", "OME-Zarr"])
def test_a_recipe_names_channels_in_paths_or_in_fields(form: str, folder: Path, tmp_path: Path) -> None:
    path = folder / FILES[form]
    forms: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "path": ({"image": f"{path}::channel=0"}, {"path": f"{path}::channel=1"}),
        "field": ({"image": str(path), "channel": 0}, {"path": str(path), "channel": 1}),
        "none": ({"image": str(path)}, {"path": str(path)}),
        "wrong": ({"image": str(path), "channel": 0}, {"path": str(path), "channel": 7}),
    }
    for name, (image, labels) in forms.items():
        recipe = yaml.safe_load(RECIPE)
        mask = {"path": labels["path"], **({"channel": labels["channel"]} if "channel" in labels else {})}
        recipe["data"]["volumes"] = [
            {"name": "v", **image, "labels": {"kind": "ids", **labels}, "valid": mask, "voxel_size_nm": list(SIZE)}
        ]
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
        result = CliRunner().invoke(app, ["recipe", "check", str(tmp_path / f"{name}.yaml")])
        words = {"none": "::channel=0 to ::channel=1", "wrong": "has no channel 7"}.get(name)
        assert result.exit_code == (0 if words is None else 2), result.stderr or result.exception
        assert words is None or words in result.stderr


def test_the_channel_of_a_recipe_is_not_that_of_a_path(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = yaml.safe_load(RECIPE)
    volume = recipe["data"]["volumes"][0]
    volume["labels"] = {"kind": "ids", "path": str(folder / "two.zarr"), "channel": 1}
    volume["image"] = str(folder / "grey.tif")
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    monkeypatch.chdir(folder)
    evaluate = ["evaluate", "--recipe", str(tmp_path / "r.yaml"), "--prediction", "ids.tif", "--truth"]
    for truth in ("v", str(folder / "two.zarr"), str(folder / "two.zarr::channel=1"), "grey.tif"):
        result = CliRunner().invoke(app, [*evaluate, truth])
        assert result.exit_code == 0, result.stderr or result.exception
    wrong = CliRunner().invoke(app, [*evaluate, str(folder / "two.zarr::channel=0")])
    assert wrong.exit_code == 2, wrong.stderr or wrong.exception


def test_options_behind_a_prediction_are_refused_or_choose_a_map(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for name, options in (("kept", ["--probabilities"]), ("plain", [])):
        made = ["predict", "grey.tif", "--run", "run", "--out", str(tmp_path / f"{name}.zarr"), *VOXELS, *options]
        assert CliRunner().invoke(app, made).exit_code == 0
    evaluate = ["evaluate", "--truth", "ids.tif", "--prediction"]
    kept, plain = str(tmp_path / "kept.zarr::channel=0"), str(tmp_path / "plain.zarr::channel=0")
    assert CliRunner().invoke(app, [*evaluate, kept, "--binarize", "0.5"]).exit_code == 0
    for path, options in ((plain, ["--binarize", "0.5"]), (kept, ["--recipe", "r.yaml"]), (plain, [])):
        result = CliRunner().invoke(app, [*evaluate, path, *options])
        assert result.exit_code == 2, result.exception
        assert "is a prediction" in result.stderr


def test_a_folder_of_slices_takes_a_channel_too(folder: Path, tmp_path: Path) -> None:
    from PIL import Image

    ids = tifffile.imread(folder / "ids.tif")
    for z, plane in enumerate(ids):
        (tmp_path / "truth").mkdir(exist_ok=True)
        colors = np.stack([np.zeros_like(plane), 255 * plane, np.zeros_like(plane)], -1)
        Image.fromarray(colors).save(tmp_path / "truth" / f"{z:03d}.png")
    arguments = ["--truth", str(folder / "ids.tif"), "--prediction", f"{tmp_path / 'truth'}::channel=1"]
    result = CliRunner().invoke(app, ["evaluate", *arguments, "--binarize", "0.5", "--json"])
    assert result.exit_code == 0, result.stderr or result.exception
    rows = json.loads(result.stdout)
    assert {row["run"] for row in rows} == {"truth"}
    assert next(row["value"] for row in rows if row["metric"] == "F1") == 1.0
