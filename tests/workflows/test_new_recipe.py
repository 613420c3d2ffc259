"""What `recipe new` proposes for labels of all kinds passes `recipe check` and trains; and its minutes hold."""

import os
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import cristae
from cristae.cli.main import app
from cristae.data.classes import Classes
from cristae.data.description import DataConfig, IdLabels, MaskLabels, Region, VolumeConfig
from cristae.data.image import VoxelSize
from cristae.data.open import open_data
from cristae.errors import LabelError, OutputExistsError, RecipeError
from cristae.progress import Progress
from cristae.recipe.load import load_recipe
from cristae.recipe.proposal.facts import Machine, Measured
from cristae.recipe.proposal.looking import look_at_data
from cristae.recipe.proposal.options import ProposalOptions
from cristae.recipe.recipe import Recipe
from cristae.training.forecast import Forecast
from cristae.workflows.new_recipe import new_recipe
from cristae.workflows.recipes import check_recipe
from cristae.workflows.train import train

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "propose-a-recipe.md"
SHAPE = (12, 64, 64)
UNMEASURED = ProposalOptions(measure=False)
SHORT = ("training.epochs=1", "training.batch_size=2", "sampling.per_epoch=4")


class Warnings(Progress):
    """Keeps what it is warned of."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def warn(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack of columns that go through all slices, with labels of every kind."""
    folder = tmp_path_factory.mktemp("data")
    ids = np.zeros(SHAPE, np.uint32)
    ids[:, 4:20, 4:60], ids[:, 20:36, 4:60], ids[:, 44:58, 8:28], ids[:, 44:58, 40:60] = 3, 7, 70_500, 70_900
    rng = np.random.default_rng(0)
    grey = np.where(ids > 0, 150, 60) + np.linspace(0, 40, 64) + rng.normal(0, 8, SHAPE)
    one, two = ((ids == 3) | (ids == 7)).astype(np.uint8), (ids >= 70_000).astype(np.uint8)
    files = {
        "grey": grey.clip(0, 255).astype(np.uint8),
        "ids": one + 2 * two,
        "mask": 255 * one,
        "objects": ids,
        "one": one,
        "two": 255 * two,
        "wide": (ids > 0).astype(np.uint8),
    }
    for name, voxels in files.items():
        cristae.write_image(cristae.image_of_array(voxels), folder / f"{name}.tif")
    colors = np.array([[0, 0, 0], [0, 40, 255], [255, 0, 0]], np.uint8)[one + 2 * two]
    for name in ("greys", "colors", "images", "drawn"):
        (folder / name).mkdir()
    for z in range(6):
        Image.fromarray(files["grey"][z]).save(folder / "greys" / f"{z}.png")
        Image.fromarray(colors[z]).save(folder / "colors" / f"{z}.png")
        Image.fromarray(files["grey"][z, : 60 - z]).save(folder / "images" / f"i{z}.png")
        Image.fromarray(files["mask"][z, : 60 - z]).save(folder / "drawn" / f"i{z}.png")
    return folder


Source = Callable[[Path], dict[str, object]]


def files(image: str, labels: str) -> Source:
    return lambda data: {"image": str(data / image), "labels": str(data / labels), "options": UNMEASURED}


def masks(**names: str) -> Source:
    def found(data: Path) -> dict[str, object]:
        options = replace(UNMEASURED, masks={name: str(data / path) for name, path in names.items()})
        return {"image": str(data / "grey.tif"), "options": options}

    return found


@pytest.mark.parametrize(
    ("source", "classes", "exclusive"),
    [
        (files("grey.tif", "ids.tif"), ("background", "class-1", "class-2"), True),
        (files("grey.tif", "objects.tif"), ("background", "object", "contact"), True),
        (files("greys", "colors"), ("background", "class-0028ff", "class-ff0000"), True),
        (files("images", "drawn"), ("background", "foreground"), True),
        (masks(mito="one.tif", er="two.tif"), ("background", "mito", "er"), True),
        (masks(mito="one.tif", cell="wide.tif"), ("mito", "cell"), False),
    ],
    ids=["ids", "objects", "colours", "images", "masks", "overlapping"],
)
def test_labels_of_all_kinds_give_a_recipe_that_is_checked_and_trains(
    data: Path, tmp_path: Path, source: Source, classes: tuple[str, ...], exclusive: bool
) -> None:
    out = new_recipe(tmp_path / "new.yaml", **source(data))  # type: ignore[arg-type]
    recipe = check_recipe(out)
    assert recipe.data.classes is not None
    assert (recipe.data.classes.names, recipe.data.classes.exclusive) == (classes, exclusive)
    run = train(load_recipe(out, [*SHORT, "model.widths=[4, 8]"]), out=tmp_path / "run")
    assert run.weights_path.is_file()


def test_cubes_and_hours_give_a_3d_network_that_trains(tmp_path: Path) -> None:
    labels = np.zeros((30, 48, 48), np.uint8)
    labels[:, 8:24, 8:40], labels[10:20, 30:40, 10:40] = 1, 1
    grey = (80 + 100 * labels + np.linspace(0, 60, 48)).astype(np.uint8)
    cristae.write_image(cristae.image_of_array(grey, voxel_size_nm=(8, 8, 8)), tmp_path / "grey.tif")
    cristae.write_image(cristae.image_of_array(labels), tmp_path / "ids.tif")
    files, options = {"image": str(tmp_path / "grey.tif"), "labels": str(tmp_path / "ids.tif")}, UNMEASURED
    out = new_recipe(tmp_path / "a.yaml", **files, options=replace(options, minutes=240))
    recipe = check_recipe(out)
    assert (recipe.network.ndim, recipe.sampling.size) == (3, (16, 48, 48))
    run = train(load_recipe(out, [*SHORT, "model.base=2"]), out=tmp_path / "run")
    assert run.weights_path.is_file()
    assert load_recipe(new_recipe(tmp_path / "b.yaml", **files, options=options)).network.ndim == 2


@pytest.fixture(scope="module")
def measured(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Forecast]]:
    """A recipe whose training was measured, and what was measured."""
    import cristae.workflows.new_recipe as workflow

    taken: list[Forecast] = []
    forecast = workflow.forecast

    def kept(*args: object, **options: object) -> Forecast:
        taken.append(forecast(*args, **options))  # type: ignore[arg-type]
        return taken[-1]

    out = tmp_path_factory.mktemp("measured") / "cells.yaml"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workflow, "forecast", kept)
        new_recipe(
            out,
            image=str(data / "grey.tif"),
            labels=str(data / "mask.tif"),
            options=ProposalOptions(minutes=2, voxel_size_nm=(30, 10, 10)),
        )
    return out, taken


@pytest.mark.slow
def test_measured_steps_and_validations_fit_into_the_minutes(measured: tuple[Path, list[Forecast]]) -> None:
    out, taken = measured
    recipe = check_recipe(out)
    last, training = taken[-1], recipe.training
    steps = recipe.sampling.per_epoch // training.batch_size  # type: ignore[union-attr]
    judged = last.validation_seconds
    if training.validation.name == "patches":
        judged = training.validation.batches * last.seconds_per_batch
    total = training.epochs * (steps * last.seconds_per_batch + judged) + last.validation_seconds
    assert steps >= 10
    assert total <= 2 * 60


def test_comments_say_what_was_measured(measured: tuple[Path, list[Forecast]]) -> None:
    text = measured[0].read_text()
    flat = " ".join(text.replace("\n#", "").split())
    for fact in (
        "one step of ",
        "2 minutes are",
        "foreground has 44 % of the labelled training voxels",
        "correlate by ",
    ):
        assert fact in flat
    assert max(map(len, text.splitlines())) <= 120
    assert len(text.splitlines()) <= 80, "a screen or two"


def test_columns_of_a_stack_are_seen_with_their_neighbours(measured: tuple[Path, list[Forecast]]) -> None:
    recipe = load_recipe(measured[0])
    assert recipe.network.in_slices == 3
    assert recipe.data.volumes[0].voxel_size_nm == (30, 10, 10)
    assert recipe.sampling.size == (64, 64)


def test_minutes_that_are_not_enough_are_refused_with_what_would_be(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cristae.workflows.new_recipe._measure", lambda *args: Measured(0.5, 2.0, 0))
    out = tmp_path / "new.yaml"
    arguments = ["recipe", "new", "--image", str(data / "grey.tif"), "--labels", str(data / "mask.tif")]
    result = CliRunner().invoke(app, [*arguments, "--minutes", "0.1", "--out", str(out)])
    assert result.exit_code == 2
    assert "--minutes 0.1 is not enough for one epoch: 10 steps of 0.5 s and a validation of 2 s" in result.stderr
    assert "give --minutes 0.2 or more" in result.stderr, "(12 x 0.5 s + 2 s) / 0.95 are 0.14 minutes"
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "either an image"),
        ({"image": "a", "set_name": "b"}, "either an image"),
        ({"image": "a", "options": ProposalOptions(task="b")}, "--task chooses a labelling"),
        ({"image": "a", "labels": "b", "options": ProposalOptions(masks={"c": "d"})}, "not both"),
        ({"set_name": "isbi2012", "labels": "b"}, "a public data set brings its own"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, arguments: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        new_recipe(tmp_path / "new.yaml", **arguments)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_masks_of_one_of_several_images_split_it(data: Path, tmp_path: Path) -> None:
    """Two images have a mask of the one class, and one of these has both."""
    options = replace(UNMEASURED, masks={"mito": str(tmp_path / "mito"), "er": str(tmp_path / "er")})
    for folder, names in (("mito", ("i1", "i2")), ("er", ("i2",))):
        (tmp_path / folder).mkdir()
        for name in names:
            shutil.copy(data / "drawn" / f"{name}.png", tmp_path / folder)
    out = new_recipe(tmp_path / "new.yaml", image=str(data / "images"), options=options)
    assert "only this one has labels" in out.read_text()
    assert check_recipe(out).data.volumes[0].kind == "volume"


def test_minutes_without_measuring_are_warned_of(data: Path, tmp_path: Path) -> None:
    heard = Warnings()
    files = {"image": str(data / "grey.tif"), "labels": str(data / "ids.tif")}
    new_recipe(tmp_path / "a.yaml", **files, options=UNMEASURED, progress=heard)
    assert not any("--no-measure" in one for one in heard.said)
    new_recipe(tmp_path / "b.yaml", **files, options=replace(UNMEASURED, minutes=2), progress=heard)
    assert any("--minutes 2 cannot decide the length" in one for one in heard.said)


def test_masks_are_refused_where_they_are_none(data: Path, tmp_path: Path) -> None:
    def propose(**names: str) -> Path:
        options = replace(UNMEASURED, masks={name: str(data / path) for name, path in names.items()})
        return new_recipe(tmp_path / "new.yaml", image=str(data / "grey.tif"), options=options)

    with pytest.raises(LabelError, match="holds 2 values beside the background"):
        propose(mito="ids.tif")
    with pytest.raises(LabelError, match="the background is what lies in no mask"):
        propose(background="one.tif")
    result = CliRunner().invoke(app, ["recipe", "new", "--image", "a.tif", "--mask", "mito"])
    assert result.exit_code == 2
    assert "CLASS=PATH" in result.stderr


def test_a_recipe_that_is_there_stays(data: Path, tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text("mine")
    with pytest.raises(OutputExistsError):
        new_recipe(tmp_path / "new.yaml", image=str(data / "grey.tif"), labels=str(data / "mask.tif"))
    assert (tmp_path / "new.yaml").read_text() == "mine"


def test_where_no_training_can_begin_the_recipe_is_written_and_says_so(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without labels; with labels of another voxel size, which the recipe can mend; with an untrained class."""

    def refuse(*args: object) -> None:
        raise LabelError("no voxel of mito in the training regions")

    monkeypatch.setattr("cristae.workflows.new_recipe.check_loaded", refuse)
    image, labels = str(data / "grey.tif"), str(data / "mask.tif")
    for name, where, said in (
        ("none", {}, "the length of the training is not measured: there are no labels yet"),
        ("other", {"labels": other_size(tmp_path)}, "the data cannot be opened as they are, so that usual settings"),
        ("class", {"labels": labels}, "the length of the training is not measured, because it cannot begin yet"),
    ):
        warnings, options = Warnings(), ProposalOptions(voxel_size_nm=(30, 10, 10))
        out = new_recipe(tmp_path / f"{name}.yaml", image=image, **where, options=options, progress=warnings)
        assert warnings.said[-1].startswith(said)
        assert "# not measured" in out.read_text()
        assert load_recipe(out).training.epochs == 30


def other_size(folder: Path) -> str:
    """Labels whose file says another voxel size than the image has."""
    path = folder / "other.tif"
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[:, :30] = 255
    cristae.write_image(cristae.image_of_array(voxels, voxel_size_nm=(30, 20, 20)), path)
    return str(path)


def test_ids_of_each_slice_are_not_told_apart_by_contact(tmp_path: Path) -> None:
    """Every voxel would have another object in the next slice, and nothing would be interior."""
    one = np.arange(1, 17, dtype=np.uint16).reshape(4, 4).repeat(16, 0).repeat(16, 1)
    stack = np.stack([one + 16 * z for z in range(8)])
    stack[:, :16] = 0
    cristae.write_image(cristae.image_of_array(stack), tmp_path / "ids.tif")
    grey = np.random.default_rng(0).integers(0, 255, stack.shape, np.uint8)
    cristae.write_image(cristae.image_of_array(grey), tmp_path / "grey.tif")
    out = new_recipe(
        tmp_path / "a.yaml", image=str(tmp_path / "grey.tif"), labels=str(tmp_path / "ids.tif"), options=UNMEASURED
    )
    assert "to: foreground" in out.read_text()
    assert "Each slice has ids of its own" in out.read_text()


def volume_of(folder: Path, grey: np.ndarray, labels: np.ndarray, size: VoxelSize = (30, 10, 10)) -> DataConfig:
    """A volume of class ids, of which all slices but the last train."""
    cristae.write_image(cristae.image_of_array(grey, voxel_size_nm=size), folder / "g.tif")
    cristae.write_image(cristae.image_of_array(labels, voxel_size_nm=size), folder / "l.tif")
    return DataConfig(
        classes=Classes(names=("background", "a", "b")),
        volumes=(VolumeConfig(name="v", image="g.tif", labels=IdLabels(path="l.tif")),),
        train=(Region(volume="v", slices=f"0:{len(grey) - 1}"),),
        validate=(Region(volume="v", slices=f"{len(grey) - 1}:{len(grey)}"),),
    )


def test_facts_of_known_shapes(tmp_path: Path) -> None:
    """A disc of radius 12 through half of the slices, and lines two voxels wide through all."""
    y, x = np.mgrid[:64, :96]
    labels = np.zeros((9, 64, 96), np.uint8)
    labels[:4, (y - 30) ** 2 + (x - 30) ** 2 <= 144] = 1
    labels[:, 4:60, 80:82] = 2
    rng = np.random.default_rng(0)
    grey = np.broadcast_to(rng.integers(0, 200, (64, 96), np.uint8), labels.shape).copy()
    grey[4:] += 20
    facts = look_at_data(open_data(volume_of(tmp_path, grey, labels), tmp_path))
    disc, line = facts.classes
    area = int((labels[0] == 1).sum())
    assert (facts.stacked, facts.slices, facts.consecutive, facts.sides) == (True, 8, 8, (64, 96))
    assert disc.share == pytest.approx(4 * area / (8 * 64 * 96))
    assert disc.size_vox == pytest.approx(24, abs=0.7)
    assert disc.width_vox == pytest.approx(12, rel=0.08), "2 A / P of a disc is its radius"
    assert disc.depth_slices == pytest.approx(8), "4 slices with one end inside the region: twice as many on average"
    assert line.width_vox == pytest.approx(2 * 4 / np.pi, rel=0.1), "along an axis steps are no longer than the line"
    assert line.depth_slices is None, "it ends nowhere"
    assert facts.likeness == pytest.approx(1, abs=1e-3)
    assert facts.drift == pytest.approx(10 / grey[0].std(), rel=1e-3)
    assert facts.anisotropy == pytest.approx(3)
    assert facts.validate_vox == 64 * 96
    assert facts.complete


def test_lengths_are_those_of_the_working_grid(tmp_path: Path) -> None:
    labels = np.zeros((3, 64, 64), np.uint8)
    labels[:, 10:30, 10:30], labels[:, 40:50, 40:50] = 1, 2
    config = volume_of(tmp_path, np.random.default_rng(0).integers(0, 255, labels.shape, np.uint8), labels)
    fine = look_at_data(open_data(config, tmp_path))
    coarse = look_at_data(open_data(config.model_copy(update={"voxel_size_nm": (30.0, 20.0, 20.0)}), tmp_path))
    assert coarse.sides == (32, 32)
    assert coarse.classes[0].share == fine.classes[0].share
    for a, b in zip(fine.classes, coarse.classes, strict=True):
        assert a.size_vox is not None
        assert a.width_vox is not None
        assert (b.size_vox, b.width_vox) == pytest.approx((a.size_vox / 2, a.width_vox / 2))


def test_a_small_region_does_not_make_all_patches_small(tmp_path: Path) -> None:
    """A region of 20 x 64 has a twentieth of the labels, then a quarter."""
    labels = np.zeros((20, 64, 64), np.uint8)
    config = volume_of(tmp_path, np.random.default_rng(0).integers(0, 255, labels.shape, np.uint8), labels)

    def sides(slices: str, box: str) -> tuple[int, int]:
        train = (Region(volume="v", slices=slices), Region(volume="v", box=box))
        return look_at_data(open_data(config.model_copy(update={"train": train}), tmp_path)).sides

    assert sides("0:10", "11:12,0:20,:") == (64, 64)
    assert sides("0:1", "11:12,0:20,:") == (20, 64)


def test_overlapping_masks_count_each_for_itself(data: Path, tmp_path: Path) -> None:
    labels = MaskLabels.model_validate({"masks": {"one": {"path": "one.tif"}, "wide": {"path": "wide.tif"}}})
    config = DataConfig(
        classes=Classes(names=("one", "wide"), exclusive=False),
        volumes=(VolumeConfig(name="v", image="grey.tif", labels=labels),),
        train=(Region(volume="v", slices="0:8"),),
        validate=(Region(volume="v", slices="9:12"),),
    )
    one, wide = look_at_data(open_data(config, data)).classes
    assert one.share == pytest.approx(2 * 16 * 56 / 64**2)
    assert wide.share == pytest.approx((2 * 16 * 56 + 2 * 14 * 20) / 64**2)


@pytest.mark.data
@pytest.mark.parametrize("task", ["membrane", "organelles"])
def test_a_set_is_proposed_for_by_its_data(tmp_path: Path, task: str) -> None:
    if not os.environ.get("CRISTAE_DATA"):
        pytest.skip("CRISTAE_DATA does not name a folder with the public data sets")
    out = new_recipe(tmp_path / "new.yaml", set_name="isbi2012", options=replace(UNMEASURED, task=task))
    said = {"membrane": "patches fall anywhere", "organelles": ", the rarest class, has "}[task]
    assert said in " ".join(out.read_text().replace("\n#", "").split())
    assert check_recipe(out).data.task == task


def test_a_working_grid_is_written_where_it_is_asked_for(data: Path, tmp_path: Path) -> None:
    options = replace(UNMEASURED, voxel_size_nm=(30, 10, 10), working_voxel_size_nm=(30, 20, 20))
    image, labels = str(data / "grey.tif"), str(data / "mask.tif")
    recipe = check_recipe(new_recipe(tmp_path / "a.yaml", image=image, labels=labels, options=options))
    assert recipe.data.voxel_size_nm == (30, 20, 20)
    assert recipe.sampling.size == (32, 32)


def test_a_machine_says_what_it_is() -> None:
    assert Machine("cpu", 1, 0).text == "1 core"
    assert Machine("cuda", 1, 0).text == "a GPU (cuda)"


def test_the_recipe_is_the_same_when_nothing_is_measured(data: Path, tmp_path: Path) -> None:
    def again(name: str) -> Recipe:
        image, labels = str(data / "grey.tif"), str(data / "ids.tif")
        return load_recipe(new_recipe(tmp_path / name, image=image, labels=labels, options=UNMEASURED))

    assert again("a.yaml").model_dump() == again("b.yaml").model_dump()


def test_the_recipe_may_be_the_first_file_of_a_new_folder(data: Path, tmp_path: Path) -> None:
    """Paths of data beside that folder lead through it: the same is proposed as in one that exists."""
    (tmp_path / "old").mkdir()
    said, found = Warnings(), {}
    for folder in ("old", "new"):
        out = tmp_path / folder / "mito.yaml"
        source = {"image": str(data / "grey.tif"), "labels": str(data / "ids.tif")}
        new_recipe(out, **source, options=UNMEASURED, progress=said)
        found[folder] = out.read_text()
    assert not [one for one in said.said if "cannot be opened" in one]
    assert found["new"] == found["old"]


def test_the_page_about_proposals_runs(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands and its Python; training is cut short, and measuring takes no time."""
    monkeypatch.setattr("cristae.workflows.new_recipe._measure", lambda *args: Measured(0.5, 2.0, 0))
    monkeypatch.chdir(tmp_path)
    for name, source in (("stack", "grey"), ("mito", "one")):
        shutil.copy(data / f"{source}.tif", f"{name}.tif")
    text = PAGE.read_text(encoding="utf-8")
    (shell,), (code,) = (
        re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL) for kind in ("sh", "python")
    )
    new, check, fit = (shlex.split(line)[1:] for line in shell.splitlines())
    changes = (*SHORT, "model.widths=[4, 8]", "training.validation={name: whole}")
    for arguments in (new, check, [*fit, *(word for change in changes for word in ("--set", change))]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    assert len(list(tmp_path.glob("runs/*/weights.safetensors"))) == 1
    exec(code, {})
    recipe = check_recipe("from-python.yaml")
    assert recipe.data.classes is not None
    assert recipe.data.classes.names == ("background", "mito")
