"""On the eight public sets nothing is called wrong; in sabotaged copies of them every fault is found and mended."""

import json
import os
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cristae.cli.main import app
from cristae.data.description import DataConfig, MaskLabels, VolumeConfig
from cristae.data.finding import Finding
from cristae.data.formats import open_image, open_images, write_image
from cristae.data.image import image_of_array
from cristae.data.label_findings import label_findings
from cristae.data.open import open_data, resolve_data
from cristae.data.repairs import Copies
from cristae.data.section_findings import section_findings
from cristae.data.turned import Turn, turned
from cristae.workflows.doctor import doctor

pytestmark = [pytest.mark.data, pytest.mark.slow]

CLEAN = [
    ("axondeepseg-sem", "three-class"),
    ("cdeep3m-mito", "mitochondria"),
    ("drosophila-vnc", "five-class"),
    ("drosophila-vnc", "membrane"),
    ("drosophila-vnc", "mitochondria"),
    ("drosophila-vnc", "nine-class"),
    ("drosophila-vnc", "synapse"),
    ("emnet-cardiac", "mitochondria"),
    ("flyem-medulla-fibsem", "boundary"),
    ("flyem-medulla-fibsem", "neurons"),
    ("isbi2012", "membrane"),
    ("isbi2012", "organelles"),
    ("platelet-em", "seven-class"),
]
TURNS = {
    "upside down": Turn(mirrored=(False, True, False)),
    "left for right": Turn(mirrored=(False, False, True)),
    "turned by 180 degrees": Turn(mirrored=(False, True, True)),
    "transposed": Turn((0, 2, 1)),
    "turned by 90 degrees": Turn((0, 2, 1), (False, True, False)),
    "moved by 4": Turn(shift=(0, 4, 0)),
    "moved by -3 and 5": Turn(shift=(0, -3, 5)),
    "moved by 17 and -30": Turn(shift=(0, 17, -30)),
    "a slice up": Turn(shift=(1, 0, 0)),
    "a slice down": Turn(shift=(-1, 0, 0)),
    "a slice up and 6": Turn(shift=(1, 6, 0)),
    "backwards": Turn(mirrored=(True, False, False)),
}
STACKS = [
    ("cdeep3m-mito", "mitochondria"),
    ("drosophila-vnc", "five-class"),
    ("drosophila-vnc", "mitochondria"),
    ("flyem-medulla-fibsem", "boundary"),
    ("isbi2012", "membrane"),
]
FLAT = [("platelet-em", "seven-class")]
UNKNOWN = {("cdeep3m-mito", "a slice down")}
"""What is called unknown so far, though a person would see it."""


@pytest.fixture(autouse=True)
def needs_data() -> None:
    if not os.environ.get("CRISTAE_DATA"):
        pytest.skip("CRISTAE_DATA does not name a folder with the public data sets")


def wrong(found: Iterator[Finding]) -> list[Finding]:
    return [one for one in found if one.severity in ("error", "warning")]


def of_labels(data: DataConfig, folder: Path, place: Path) -> list[Finding]:
    return wrong(label_findings(open_data(data, folder), Copies(data, folder, place)))


def described(set_name: str, task: str) -> tuple[DataConfig, VolumeConfig, Path]:
    """The set with paths that hold anywhere, its first volume, and its folder."""
    data, folder = resolve_data(DataConfig(set=set_name, task=task), Path())
    volume = data.volumes[0]
    data = data.model_copy(update={"set": None, "task": None})
    return data, volume.model_copy(update={"image": str(folder / volume.image)}), folder


def with_volume(data: DataConfig, volume: VolumeConfig) -> DataConfig:
    return data.model_copy(update={"volumes": (volume, *data.volumes[1:])})


def sabotaged(set_name: str, task: str, turn: Turn, place: Path) -> tuple[DataConfig, Path]:
    """A copy of a set whose label file is turned, and where its paths start."""
    data, volume, folder = described(set_name, task)
    labels = volume.labels
    assert labels is not None
    if isinstance(labels, MaskLabels):
        masks = {}
        for number, (name, mask) in enumerate(labels.masks.items()):
            write_image(turned(open_image(folder / mask.source), turn), place / f"bad-{number}.tif")
            masks[name] = mask.model_copy(update={"path": str(place / f"bad-{number}.tif")})
        changed = labels.model_copy(update={"masks": masks})
    else:
        write_image(turned(open_image(folder / labels.source), turn), place / "bad.tif")
        changed = labels.model_copy(update={"path": str(place / "bad.tif")})
    return with_volume(data, volume.model_copy(update={"labels": changed})), place


def mended(data: DataConfig, finding: Finding) -> DataConfig:
    """The data after what a finding says to do."""
    for line in finding.fix.splitlines():
        if line.startswith("cristae "):
            assert CliRunner().invoke(app, shlex.split(line)[1:]).exit_code == 0, line
        else:
            path, _, value = line.partition(": ")
            assert path == "data.volumes.0.labels"
            volume = data.volumes[0].model_dump() | {"labels": json.loads(value)}
            data = with_volume(data, VolumeConfig.model_validate(volume))
    return data


@pytest.mark.parametrize(("set_name", "task"), CLEAN)
def test_no_false_alarm_on_clean_sets(set_name: str, task: str, tmp_path: Path) -> None:
    """All that a doctor says, but for splits of the sets that touch, which recipes choose otherwise."""
    recipe = tmp_path / "recipe.yaml"
    working = ", voxel_size_nm: [100, 200, 200]" if set_name == "axondeepseg-sem" else ""  # its images differ in it
    recipe.write_text(
        f"name: clean\ndata: {{set: {set_name}, task: {task}{working}}}\nmodel: {{name: unet_bn, widths: [4, 8]}}\n"
        "loss: {name: cross_entropy_dice}\nsampling: {name: random, size: [64, 64], per_epoch: 8}\n"
        "training: {epochs: 2, batch_size: 2}\ndevice: cpu\n"
    )
    found = doctor(recipe)
    assert not found.meaningless
    assert {one.what for one in wrong(iter(found.findings))} <= {"class absent from a split", "splits touch"}
    assert found.forecast is not None


@pytest.mark.parametrize("name", TURNS)
@pytest.mark.parametrize(("set_name", "task"), STACKS + FLAT)
def test_turned_labels_are_named_and_mended(set_name: str, task: str, name: str, tmp_path: Path) -> None:
    turn = TURNS[name]
    data, folder = sabotaged(set_name, task, Turn(), tmp_path / "right")
    shape = open_data(data, folder).volumes[0].image.shape
    if turn.of(shape) != shape or (shape[0] == 1 and (turn.mirrored[0] or turn.shift[0])):
        pytest.skip("this set cannot be turned so")
    bad, folder = sabotaged(set_name, task, turn, tmp_path)
    if (set_name, name) in UNKNOWN:
        assert not of_labels(bad, folder, tmp_path), "found now: take it off the list"
        return
    (one,) = of_labels(bad, folder, tmp_path)
    assert one.what in {"labels mirrored", "labels transposed", "labels turned", "labels shifted"}
    good = mended(bad, one)
    mask, right = (open_data(one, folder).volumes[0].labels[0] for one in (good, data))
    if turn.shift == (0, 0, 0):  # otherwise what came in from outside differs, and annotators' habits are not known
        np.testing.assert_array_equal(mask.read(), right.read())
    assert not of_labels(good, folder, tmp_path)


@pytest.mark.parametrize(("set_name", "task"), [("emnet-cardiac", "mitochondria"), ("axondeepseg-sem", "three-class")])
@pytest.mark.parametrize("name", ["upside down", "moved by 17 and -30"])
def test_labels_of_unrelated_images(set_name: str, task: str, name: str, tmp_path: Path) -> None:
    data, volume, folder = described(set_name, task)
    if isinstance(volume.labels, MaskLabels) or volume.labels is None:
        pytest.skip("masks")
    for image in open_images(folder / volume.labels.source):
        write_image(turned(image, TURNS[name]), tmp_path / "bad" / f"{image.path.stem}.tif")
    changed = volume.labels.model_copy(update={"path": str(tmp_path / "bad")})
    bad = with_volume(data, volume.model_copy(update={"labels": changed}))
    found = of_labels(bad, folder, tmp_path)
    assert found
    assert {one.what for one in found} <= {"labels mirrored", "labels shifted"}
    assert any(one.severity == "error" for one in found)


@pytest.mark.parametrize("fault", ["constant", "black with noise", "repeated", "negative"])
@pytest.mark.parametrize(("set_name", "task"), [("cdeep3m-mito", "mitochondria"), ("isbi2012", "membrane")])
def test_bad_sections(set_name: str, task: str, fault: str, tmp_path: Path) -> None:
    data, volume, folder = described(set_name, task)
    image = open_image(volume.image)
    grey = image.read().copy()
    z = 7
    grey[z] = {
        "constant": np.zeros_like(grey[z]),
        "black with noise": np.random.default_rng(0).integers(0, 3, grey[z].shape).astype(grey.dtype),
        "repeated": grey[z - 1],
        "negative": 255 - grey[z],
    }[fault]
    slices = tuple(range(len(grey)))
    assert volume.labels is not None
    write_image(replace(image_of_array(grey), voxel_size_nm=image.voxel_size_nm), tmp_path / "bad.tif")
    labels = volume.labels.model_copy(update={"slices": slices})
    bad = volume.model_copy(update={"image": str(tmp_path / "bad.tif"), "labels": labels})
    (one,) = wrong(section_findings(open_data(with_volume(data, bad), folder)))
    assert str(z) in one.text
    named = {
        "constant": "constant sections",
        "black with noise": "missing sections",
        "repeated": "repeated sections",
        "negative": "inverted sections",
    }
    assert one.what == named[fault]
