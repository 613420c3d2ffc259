"""Each fault is found, named, and mended by what is printed; what is right is said to be right."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from typer.testing import CliRunner

import cristae
from cristae.cli.main import app
from cristae.data.finding import Finding
from cristae.workflows.doctor import Diagnosis, doctor

RECIPE = """\
name: blobs
data:
  classes: {names: [background, blob]}
  volumes:
    - name: stack
      image: image
      labels: {kind: values, path: labels, values: {0: background, 255: blob}}
      voxel_size_nm: [50, 10, 10]
  train: [{volume: stack, slices: 0:6}]
  validate: [{volume: stack, slices: 7:10}]
model: {name: unet_bn, widths: [4, 8]}
loss: {name: cross_entropy_dice}
sampling: {name: random, size: [32, 32], per_epoch: 8}
training: {epochs: 2, batch_size: 4}
device: cpu
"""


def write(folder: Path, kind: str, voxels: np.ndarray) -> None:
    shutil.rmtree(folder / kind, ignore_errors=True)
    (folder / kind).mkdir(parents=True)
    for z, plane in enumerate(voxels):
        Image.fromarray(plane).save(folder / kind / f"{z:02d}.png")


def slices_of(folder: Path, kind: str) -> np.ndarray:
    return np.stack([np.asarray(Image.open(file)) for file in sorted((folder / kind).iterdir())])


def blobs(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bright blobs under noise that change a little from slice to slice, and masks of 0 and 255."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(10, 96, 96)), (1.2, 4, 4))
    labels = field > np.quantile(field, 0.75)
    grey = 80 + 60 * ndimage.gaussian_filter(labels.astype(float), (0, 1, 1)) + rng.normal(0, 15, labels.shape)
    return grey.clip(0, 255).astype(np.uint8), (labels * 255).astype(np.uint8)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    grey, labels = blobs()
    write(tmp_path, "image", grey)
    write(tmp_path, "labels", labels)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "recipe.yaml"


def wrong(found: Diagnosis) -> list[Finding]:
    return [one for one in found.findings if one.severity in ("error", "warning")]


def mend(finding: Finding) -> list[str]:
    """Run the commands of a finding; its other lines are what the recipe then says."""
    lines = finding.fix.splitlines()
    for command in lines:
        if command.startswith("cristae "):
            assert CliRunner().invoke(app, shlex.split(command)[1:]).exit_code == 0, command
    return [line.replace(": ", "=", 1) for line in lines if line.startswith("data.")]


def relabel(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda folder: write(folder, "labels", change(slices_of(folder, "labels")))


def regrey(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda folder: write(folder, "image", change(slices_of(folder, "image")))


def constant(grey: np.ndarray) -> np.ndarray:
    return np.where(np.arange(10)[:, None, None] == 3, 0, grey).astype(np.uint8)


def undrawn(labels: np.ndarray) -> np.ndarray:
    return np.where(np.arange(10)[:, None, None] == 2, 0, labels).astype(np.uint8)


def negative(grey: np.ndarray) -> np.ndarray:
    return np.where(np.arange(10)[:, None, None] == 4, 255 - grey, grey).astype(np.uint8)


FAULTS = {
    "mirrored": (relabel(lambda a: a[:, ::-1]), (), "labels mirrored", "mirrored along y"),
    "turned by 180 degrees": (relabel(lambda a: a[:, ::-1, ::-1]), (), "labels mirrored", "along y and x"),
    "transposed": (relabel(lambda a: a.swapaxes(1, 2)), (), "labels transposed", "y and x exchanged"),
    "turned": (relabel(lambda a: np.rot90(a, axes=(1, 2))), (), "labels turned", "mirrored along"),
    "backwards": (relabel(lambda a: a[::-1]), (), "labels mirrored", "mirrored along z"),
    "moved": (relabel(lambda a: np.roll(a, (5, -7), (1, 2))), (), "labels shifted", r"\+5 voxels along y and -7"),
    "a slice off": (relabel(lambda a: np.roll(a, 1, 0)), (), "labels shifted", "1 slice too high"),
    "constant section": (regrey(constant), (), "constant sections", "slices 3 of 'stack' hold nothing"),
    "repeated section": (regrey(lambda a: a[[0, 1, 2, 3, 4, 4, 6, 7, 8, 9]]), (), "repeated sections", "5 is slice 4"),
    "negative section": (regrey(negative), (), "inverted sections", "slices 4 of 'stack' look like negatives"),
    "slice not drawn": (relabel(undrawn), (), "labels missing", "slices 2 of 'stack' have no labels"),
    "overlap": (lambda _: None, ("data.validate=[{volume: stack, slices: '5:10'}]",), "splits overlap", "slice 5"),
    "all the same": (lambda _: None, ("data.validate=[{volume: stack, slices: '2:5'}]",), "splits overlap", "share"),
    "touch": (lambda _: None, ("data.validate=[{volume: stack, slices: '6:10'}]",), "splits touch", "touch in 'stack'"),
}  # fmt: skip


OFTEN = ("mirrored", "moved", "constant section", "overlap")
"""Faults that are tried every day; the others belong to the slow suite."""


@pytest.mark.parametrize(
    "name", [name if name in OFTEN else pytest.param(name, marks=pytest.mark.slow) for name in FAULTS]
)
def test_a_fault_is_named_and_mended_by_what_is_printed(recipe: Path, name: str) -> None:
    change, overrides, what, text = FAULTS[name]
    change(recipe.parent)
    found = doctor(recipe, overrides)
    (one,) = wrong(found)
    assert one.what == what
    assert re.search(text, one.text), one.text
    serious = what in ("labels mirrored", "labels transposed", "labels turned", "labels shifted", "splits overlap")
    assert found.meaningless == serious
    again = doctor(recipe, [*overrides, *mend(one)])
    left = [] if name == "a slice off" else wrong(again)
    assert not left, left
    assert not again.meaningless
    assert again.forecast is not None


REFUSED = {
    "mask of 0 and 255": ("data.volumes.0.labels={kind: ids, path: labels}", "0/255 mask", "values: .0: background"),
    "value outside the classes": (
        "data.volumes.0.labels.values={0: background}", "values outside the classes", "Map them",
    ),
    "class that is nowhere": ("data.classes.names=[background, blob, ring]", "class absent from a split", "add"),
    "patch larger than the volume": ("sampling.size=[128, 128]", "patch larger than the volume", "smaller sampling"),
    "um for nm": ("data.volumes.0.voxel_size_nm=[0.05, 0.01, 0.01]", "unit slip", "voxel_size_nm"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_check_says_has_a_name_and_a_cure(recipe: Path, name: str) -> None:
    override, what, cure = REFUSED[name]
    found = [one for one in wrong(doctor(recipe, [override])) if one.what == what]
    assert found
    assert re.search(cure, found[0].fix), found[0].fix


def test_nothing_found_is_said(recipe: Path) -> None:
    found = doctor(recipe)
    assert {one.severity for one in found.findings} == {"fine"}
    assert [one.what for one in found.findings] == [
        "recipe check",
        "sections",
        "labels on the image",
        "runtimes",
        "time and memory",
    ]
    assert "predictions on the CPU can be computed by torch" in found.findings[-2].text
    assert found.forecast is not None
    assert 0 < found.forecast.seconds < 120
    assert 2**26 < found.forecast.peak_bytes < found.forecast.total_bytes
    assert found.forecast.finite
    assert not (recipe.parent / "runs").exists()


@pytest.mark.slow
def test_two_volumes_of_opposite_contrast(recipe: Path) -> None:
    grey, labels = blobs(1)
    write(recipe.parent, "image2", 255 - grey)
    write(recipe.parent, "labels2", labels)
    entry = "{name: other, image: %s, labels: {kind: values, path: labels2, values: {0: background, 255: blob}}, "
    first = "{name: stack, image: image, labels: {kind: values, path: labels, values: {0: background, 255: blob}}, "
    size = "voxel_size_nm: [50, 10, 10]}"
    overrides = [
        f"data.volumes=[{first}{size}, {entry % 'image2'}{size}]",
        "data.validate=[{volume: other, slices: '0:4'}]",
    ]
    found = doctor(recipe, overrides)
    assert [(one.what, one.where, one.severity) for one in wrong(found)][-1:] == [
        ("inverted contrast", "other", "error")
    ]
    again = doctor(recipe, [*overrides, *mend(wrong(found)[-1])])
    assert not again.meaningless
    assert [one.text for one in again.findings if one.what == "contrast"] == [
        "labelled structures look alike in 2 volumes"
    ]


@pytest.mark.slow
def test_one_mask_of_several_is_mirrored(recipe: Path) -> None:
    grey, labels = blobs(2)
    second = ndimage.gaussian_filter(np.random.default_rng(9).normal(size=labels.shape), (0.7, 4, 4))
    other = ((second > np.quantile(second, 0.85)) & (labels == 0)).astype(np.uint8) * 255
    write(recipe.parent, "image", (grey - 0.25 * other).clip(0, 255).astype(np.uint8))
    write(recipe.parent, "labels", labels)
    write(recipe.parent, "other", other[:, :, ::-1])
    overrides = [
        "data.classes={names: [blob, hole], exclusive: false}",
        "data.volumes.0.labels={kind: masks, masks: {blob: {path: labels}, hole: {path: other}}}",
    ]
    found = doctor(recipe, overrides)
    (one,) = wrong(found)
    assert one.what == "labels mirrored"
    assert "the labels of the mask 'hole' of 'stack' are mirrored along x" in one.text
    assert not wrong(doctor(recipe, [*overrides, *mend(one)]))


def test_a_held_out_copy_of_a_training_volume(recipe: Path) -> None:
    shutil.copytree(recipe.parent / "image", recipe.parent / "copy")
    entry = (
        "{name: %s, image: %s, labels: {kind: values, path: labels, values: {0: background, 255: blob}}, "
        "voxel_size_nm: [50, 10, 10]}"
    )
    overrides = [
        f"data.volumes=[{entry % ('stack', 'image')}, {entry % ('again', 'copy')}]",
        "data.train=[{volume: stack}]",
        "data.validate=[{volume: again}]",
    ]
    found = doctor(recipe, overrides)
    assert [one.what for one in wrong(found)] == ["splits overlap"]
    assert found.meaningless
    overrides[-1] = "data.validate=[{volume: again, slices: '7:10'}]"
    (one,) = wrong(doctor(recipe, overrides))
    assert one.fix == 'data.train: [{volume: "stack", slices: "0:7"}]'
    assert not wrong(doctor(recipe, [*overrides, *mend(one)]))


SPLITS = {
    "train": ("2:4", "7:8", "8:9"),
    "validate": ("0:6", "9:10", "7:8"),
    "test": ("0:6", "7:8", "9:10"),
}
"""Training, validation and test slices, of which one split lacks the class in slices 1, 4, 7 and 8."""


@pytest.mark.parametrize("split", SPLITS)
def test_a_class_that_a_split_lacks(recipe: Path, split: str) -> None:
    labels = slices_of(recipe.parent, "labels")
    labels[[1, 4, 7, 8], 40:48, 40:48] = 128
    write(recipe.parent, "labels", labels)
    overrides = [
        "data.classes.names=[background, blob, ring]",
        "data.volumes.0.labels.values={0: background, 128: ring, 255: blob}",
        *(
            f"data.{name}=[{{volume: stack, slices: '{slices}'}}]"
            for name, slices in zip(("train", "validate", "test"), SPLITS[split], strict=True)
        ),
    ]
    (one, *others) = [one for one in wrong(doctor(recipe, overrides)) if one.what == "class absent from a split"]
    again = wrong(doctor(recipe, [*overrides, *mend(one)]))
    assert [left.what for left in again if left.what == "class absent from a split"] == [left.what for left in others]


def test_the_command_prints_what_to_do_and_ends_with_2(recipe: Path) -> None:
    relabel(lambda a: a[:, ::-1])(recipe.parent)
    result = CliRunner().invoke(app, ["doctor", str(recipe)])
    assert result.exit_code == 2
    assert "error: labels mirrored: the labels of 'stack' are mirrored along y" in result.stdout
    assert (
        f"    cristae convert {recipe.parent / 'labels'} {recipe.parent / 'stack-labels.tif'} --flip y" in result.stdout
    )
    assert result.stdout.endswith("blobs: 1 error; training would be meaningless\n")
    result = CliRunner().invoke(app, ["doctor", str(recipe), "--json"])
    assert result.exit_code == 2
    content = json.loads(result.stdout)
    assert content["meaningless"] is True
    assert {"severity", "what", "where", "text", "fix"} == set(content["findings"][0])
    assert content["forecast"]["epochs"] == 2


def test_a_good_recipe_ends_with_0(recipe: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", str(recipe), "--set", "training.epochs=3"])
    assert result.exit_code == 0
    assert "about 1 s for 3 epochs" in result.stdout or "for 3 epochs" in result.stdout
    assert result.stdout.endswith("blobs: nothing wrong found; training can begin\n")


def test_a_forest_and_data_that_are_not_there(recipe: Path) -> None:
    found = doctor(recipe, ["model={name: random_forest, trees: 2, max_samples_per_class: 50}"])
    assert not wrong(found)
    assert found.findings[-1].text == "not measured: a random forest learns in minutes"
    shutil.rmtree(recipe.parent / "image")
    shutil.rmtree(recipe.parent / "labels")
    found = cristae.doctor(recipe, ["data.available_from=the microscope"])
    assert not found.meaningless
    assert "only its data are missing" in found.findings[0].text
