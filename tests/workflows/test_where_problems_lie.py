"""Problems that are found with the data, told at the line of the setting that makes them."""

from pathlib import Path

import numpy as np
import pytest
from training_data import write_discs

from cristae.data.formats import write_image
from cristae.data.image import image_of_array
from cristae.errors import CristaeError, LabelError, MissingFileError, RunError, VolumeError
from cristae.recipe.load import load_recipe
from cristae.workflows.recipes import check_recipe
from cristae.workflows.train import train

PAIRS = """\
name: pairs
data:
  classes: {names: [disc, left], exclusive: false}
  voxel_size_nm: SIZE
  volumes:
VOLUMES
  train: [TRAIN]
  validate: [{volume: wide, slices: 3:4}]
model: {name: unet_bn, widths: [4, 8, 16]}
loss: {name: cross_entropy_dice}
sampling: {name: random, size: [32, 32], per_epoch: 24}
training: {epochs: 1, batch_size: 8}
device: cpu
"""
VOLUME = """\
    - name: NAME
      image: NAME.tif
      labels:
        kind: instances
        path: NAME-ids.tif
        to: affinities
        offsets: OFFSETS"""


def line_of(path: Path, text: str) -> str:
    lines = path.read_text().splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if text in line]
    return f"{path}:{number}: "


def write_pairs(folder: Path, offsets: str, *, size: str = "null", train: str = "{volume: NAME, slices: 0:3}") -> Path:
    """A volume of 64 and one of 160 columns, whose classes are the objects and an affinity."""
    rng = np.random.default_rng(0)
    for name, width in (("small", 64), ("wide", 160)):
        ids = np.arange(1, 257, dtype=np.uint16).reshape(4, 64, 1).repeat(width, axis=2)  # an object in each row
        grey = rng.integers(0, 255, ids.shape).astype(np.uint8)
        write_image(image_of_array(grey, voxel_size_nm=(50.0, 10.0, 10.0)), folder / f"{name}.tif")
        write_image(image_of_array(ids, voxel_size_nm=(50.0, 10.0, 10.0)), folder / f"{name}-ids.tif")
    volumes = "\n".join(VOLUME.replace("NAME", name).replace("OFFSETS", offsets) for name in ("small", "wide"))
    regions = ", ".join(train.replace("NAME", name) for name in ("small", "wide"))
    path = folder / "pairs.yaml"
    path.write_text(PAIRS.replace("SIZE", size).replace("VOLUMES", volumes).replace("TRAIN", regions))
    return path


@pytest.mark.parametrize("offsets", ["{disc: [0, 0, 0], left: [0, 0, -100]}", "{disc: [0, 0, 32], left: [0, 0, -32]}"])
def test_partners_that_a_region_lacks_are_refused_though_another_has_them(tmp_path: Path, offsets: str) -> None:
    """All of a voxel's partners must be there: two that are 64 voxels apart never are, in 64."""
    path = write_pairs(tmp_path, offsets)
    lines = path.read_text().splitlines()
    first = 1 + next(number for number, line in enumerate(lines) if "offsets" in line)
    with pytest.raises(LabelError, match=r"in 'small' would count, .* along x, but there are 64") as told:
        check_recipe(path)
    assert str(told.value).startswith(f"{path}:{first}: ")


def test_partners_that_every_region_has_are_not(tmp_path: Path) -> None:
    assert check_recipe(write_pairs(tmp_path, "{disc: [0, 0, 31], left: [0, 0, -32]}"))


def test_affinities_on_another_grid_quote_what_is_written(tmp_path: Path) -> None:
    path = write_pairs(tmp_path, "{disc: [0, 0, 0], left: [0, 0, -1]}", size="[40, 20, 20]")
    with pytest.raises(LabelError, match=r"is 40 x 20 x 20 nm .* its voxels of 50 x 10 x 10 nm") as told:
        check_recipe(path)
    assert str(told.value).startswith(line_of(path, "voxel_size_nm"))


@pytest.mark.parametrize("way", ["check", "train"])
def test_a_set_that_does_not_exist_is_told_at_its_line(tmp_path: Path, way: str) -> None:
    path = write_discs(tmp_path, epochs=1)
    path.write_text(path.read_text().replace("data:\n", "data:\n  set: isbi2021\n"))
    with pytest.raises(VolumeError, match="there is no public set 'isbi2021'") as told:
        check_recipe(path) if way == "check" else train(load_recipe(path), out=tmp_path / "run")
    assert str(told.value).startswith(f"{line_of(path, 'set: isbi2021')}data.set: ")


def test_too_few_tiles_are_told_at_their_size(tmp_path: Path) -> None:
    path = write_discs(tmp_path, epochs=1)
    split = "  split:\n    name: tiles\n    leaky: true\n    size: [61, 70]\n"
    text = "".join(line for line in path.read_text().splitlines(keepends=True) if "validate:" not in line)
    path.write_text(text.replace("model:", f"{split}model:"))
    with pytest.raises(VolumeError, match="choose smaller tiles") as told:
        check_recipe(path)
    assert str(told.value).startswith(line_of(path, "size: [61, 70]"))


def test_resuming_without_the_data_that_a_run_began_with_says_so(tmp_path: Path) -> None:
    """The recipe's own file names data that are not there; the run began with `--set`."""
    path, place = write_discs(tmp_path, epochs=1), tmp_path / "run"
    (tmp_path / "image").rename(tmp_path / "moved")
    moved = "data.volumes.0.image=moved"
    train(load_recipe(path, (moved,)), out=place)
    with pytest.raises(RunError, match=r"holds a run of another recipe; .* repeat the --set") as told:
        train(load_recipe(path), out=place, resume=True)
    assert f"cristae train {place / 'recipe.yaml'} --out {place} --resume" in str(told.value)
    assert "data.volumes.0.image" in str(told.value)
    assert train(load_recipe(place / "recipe.yaml"), out=place, resume=True).path == place
    (tmp_path / "moved").rename(tmp_path / "gone")
    with pytest.raises(MissingFileError, match="moved: does not exist"):
        train(load_recipe(path, (moved,)), out=place, resume=True)
    with pytest.raises(CristaeError, match="image: does not exist"):
        train(load_recipe(path), out=tmp_path / "new", resume=True)
