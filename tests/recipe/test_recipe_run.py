"""Run folders: made once, resumed only by the same recipe, opened only when whole."""

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from cristae.errors import MissingFileError, OutputExistsError, RunError
from cristae.inference.locality import Locality
from cristae.preprocess import Percentiles
from cristae.preprocess.form import fit
from cristae.preprocess.histogram import IntensityHistogram, histogram_of
from cristae.recipe.anchor import anchored
from cristae.recipe.identity import run_id
from cristae.recipe.load import load_recipe, parse_recipe
from cristae.recipe.provenance import known_inputs, provenance, write_provenance
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import (
    Run,
    append_metrics,
    create_run,
    is_complete,
    open_run,
    open_unfinished_run,
    read_metrics,
    save_weights,
    write_summary,
)
from cristae.recipe.trained_model import TrainedModel, load_weights


@pytest.fixture
def recipe(text: str, tmp_path: Path) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return load_recipe(path)


def model_facts(recipe: Recipe, in_channels: int = 1) -> TrainedModel:
    import numpy as np

    from cristae.data.image import image_of_array

    grey: IntensityHistogram = histogram_of(image_of_array(np.arange(4096, dtype=np.uint16).reshape(1, 64, 64)))
    assert recipe.data.classes is not None
    return TrainedModel(in_channels, recipe.data.classes, fit(Percentiles(), grey), (40.0, 6.1, 6.1), (256, 256))


def trained(recipe: Recipe, folder: Path) -> tuple[Run, torch.nn.Module]:
    run = create_run(folder, recipe)
    torch.manual_seed(0)
    network = recipe.model.build(1, 1).to(memory_format=torch.channels_last)
    save_weights(run, network)
    write_summary(run, model_facts(recipe), {"status": "complete", "best": float("nan")})
    return run, network


def test_a_run_gives_back_what_was_put_in(recipe: Recipe, tmp_path: Path) -> None:
    run, network = trained(recipe, tmp_path / "run")
    opened = open_run(tmp_path / "run")
    assert opened.id == run.id
    assert opened.voxel_size_nm == (40.0, 6.1, 6.1)
    assert opened.classes == recipe.data.classes
    assert opened.normalizer == model_facts(recipe).normalizer
    assert opened.model.patch_size == (256, 256)
    assert opened.summary["best"] is None
    again = opened.build_network()
    assert not again.training
    saved, back = network.state_dict(), again.state_dict()
    assert list(saved) == list(back)
    assert all(torch.equal(saved[name], back[name]) for name in saved)


def test_the_written_recipe_is_complete_and_its_paths_hold_anywhere(recipe: Recipe, tmp_path: Path) -> None:
    create_run(tmp_path / "deep" / "run", recipe)
    written = load_recipe(tmp_path / "deep" / "run" / "recipe.yaml")
    volume = written.data.volumes[0]
    assert volume.image == (tmp_path / "image.tif").as_posix()
    assert volume.labels is not None
    assert volume.labels.path == (tmp_path / "labels/*.png").as_posix()  # type: ignore[union-attr]
    assert "seed: 0" in (tmp_path / "deep" / "run" / "recipe.yaml").read_text()


def test_anchoring_keeps_inner_paths_masks_and_sets(text: str) -> None:
    masks = "{kind: masks, masks: {mito: {path: m.h5:/mito}}}"
    recipe = parse_recipe(text, "r", ["data.volumes.0.image=a.h5:/raw", f"data.volumes.0.labels={masks}"])
    volume = anchored(recipe).data.volumes[0]
    assert volume.image.endswith("/a.h5:/raw")
    assert Path(volume.image).is_absolute()
    assert volume.labels.masks["mito"].path.endswith("/m.h5:/mito")  # type: ignore[union-attr]
    public = parse_recipe(text, "r", ["data.set=isbi2012"])
    assert anchored(public).data.volumes[0].image == "image.tif"


def test_the_id_follows_the_content(recipe: Recipe, tmp_path: Path) -> None:
    ids = [
        create_run(tmp_path / name, load_recipe(tmp_path / "recipe.yaml", changes)).id
        for name, changes in [("a", []), ("b", []), ("c", ["seed=1"]), ("d", ["training.epochs=9"])]
    ]
    assert ids[0] == ids[1] == ids[3]
    assert ids[0] != ids[2]
    assert ids[0].startswith("tiny-")


OLD = """\
name: old
data:
  classes: {names: [background, cell]}
  volumes: [{name: v, image: /v.tif, labels: {kind: ids, path: /l.tif}}]
  train: [{volume: v}]
  validate: [{volume: v}]
"""


@pytest.mark.skipif(sys.platform == "win32", reason="absolute paths there begin with a drive")
@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (
            "{loss: {name: seget}, training: {groups: [{match: bias, learning_rate_factor: 2}], ema_decay: 0.9}}",
            "old-7c56cd4e",
        ),
        ("{model: {name: random_forest, objects: {}}}", "old-92e17d66"),
        ("{loss: {name: seget}}", "old-4fdf9c72"),
    ],
)
def test_runs_of_earlier_versions_keep_their_ids(rest: str, expected: str) -> None:
    """Fields that were added later have no part in it while they have no effect."""
    content = {"model": {"name": "unet_bn"}} | yaml.safe_load(rest)
    assert run_id(parse_recipe(OLD + yaml.safe_dump(content), "old.yaml")) == expected


@pytest.mark.parametrize(
    "change", ["training.swa={from_epoch: 2}", "training.groups=[{match: bias, frozen_epochs: 1}]"]
)
def test_fields_that_were_added_count_where_they_have_an_effect(recipe: Recipe, tmp_path: Path, change: str) -> None:
    plain = ["training.groups=[{match: bias}]"] if "groups" in change else []
    ids = {run_id(load_recipe(tmp_path / "recipe.yaml", changes)) for changes in (plain, [change])}
    assert len(ids) == 2


def test_a_run_is_not_overwritten(recipe: Recipe, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    create_run(folder, recipe)
    before = (folder / "recipe.yaml").read_bytes()
    with pytest.raises(OutputExistsError, match="--resume"):
        create_run(folder, recipe)
    assert (folder / "recipe.yaml").read_bytes() == before
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.tex").write_text("x")
    with pytest.raises(OutputExistsError, match="choose another place"):
        create_run(other, recipe, resume=True)
    assert [path.name for path in other.iterdir()] == ["chapter.tex"]


@pytest.mark.parametrize("resume", [True, False])
def test_the_users_own_recipe_beside_the_data_is_no_run(recipe: Recipe, tmp_path: Path, resume: bool) -> None:
    mine = tmp_path / "recipe.yaml"
    before = mine.read_bytes()
    with pytest.raises(OutputExistsError, match="not of a run; choose another folder") as caught:
        create_run(tmp_path, recipe, resume=resume)
    assert "--resume" not in str(caught.value)
    with pytest.raises(RunError, match="not a run folder: it has a") as refused:
        open_run(tmp_path)
    assert "--resume" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]
    copied = tmp_path / "copied"
    copied.mkdir()
    content = (create_run(tmp_path / "run", recipe).path / "recipe.yaml").read_bytes()
    (copied / "recipe.yaml").write_bytes(content + b"# my own notes\n")
    with pytest.raises(OutputExistsError, match="not of a run"):
        create_run(copied, load_recipe(copied / "recipe.yaml"), resume=True)
    assert mine.read_bytes() == before


def test_a_run_killed_right_after_its_creation_resumes(recipe: Recipe, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = create_run(folder, recipe)
    summary = (folder / "summary.json").read_bytes()
    again = load_recipe(folder / "recipe.yaml")
    assert create_run(folder, again, resume=True).id == first.id
    assert (folder / "summary.json").read_bytes() == summary
    assert not is_complete(first, recipe.training.epochs)


def test_a_run_is_complete_with_its_epochs_and_its_weights(recipe: Recipe, tmp_path: Path) -> None:
    run, _ = trained(recipe, tmp_path / "run")
    write_summary(run, model_facts(recipe), {"status": "training", "epoch": 3})
    assert not is_complete(run, 3)
    write_summary(run, model_facts(recipe), {"status": "complete", "epochs": 3})
    assert is_complete(run, 3)
    assert not is_complete(run, 4)
    run.weights_path.unlink()
    assert not is_complete(run, 3)


def test_only_the_same_recipe_resumes_but_may_train_longer(recipe: Recipe, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = create_run(folder, recipe, resume=True)
    longer = load_recipe(tmp_path / "recipe.yaml", ["training.epochs=9"])
    assert create_run(folder, longer, resume=True).id == first.id
    assert load_recipe(folder / "recipe.yaml").training.epochs == 9
    other = load_recipe(tmp_path / "recipe.yaml", ["training.learning_rate=1e-2"])
    with pytest.raises(RunError, match=r"training\.learning_rate: 0\.0001 -> 0\.01"):
        create_run(folder, other, resume=True)


def test_what_is_missing_is_said(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such run folder"):
        open_run(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"not a run folder: it has no recipe\.yaml"):
        open_run(tmp_path / "empty")
    create_run(tmp_path / "begun", recipe)
    with pytest.raises(RunError, match=r"weights\.safetensors missing; finish it with .*--resume"):
        open_run(tmp_path / "begun")


def test_weights_of_another_network_or_channel_count_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    run, _ = trained(recipe, tmp_path / "run")
    write_summary(run, model_facts(recipe, in_channels=3), {})
    with pytest.raises(
        RunError, match=r"another network, or another number of channels: .* is \(4, 1, 3, 3\) float32 instead"
    ):
        run.build_network()
    write_summary(run, model_facts(recipe), {})
    save_weights(run, torch.nn.Conv2d(1, 1, 3))
    with pytest.raises(RunError, match=r"no .*and \d+ more"):
        run.build_network()


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_damaged_weights_are_refused(recipe: Recipe, tmp_path: Path, length: int) -> None:
    run, _ = trained(recipe, tmp_path / "run")
    content = run.weights_path.read_bytes()
    run.weights_path.write_bytes(content[:length])
    with pytest.raises(RunError, match="damaged"):
        run.build_network()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensor: tensor * float("nan"), r"damaged: .* holds NaN or infinity"),
        (lambda tensor: tensor + float("inf"), r"damaged: .* holds NaN or infinity"),
        (lambda tensor: tensor.to(torch.complex64), "complex64 instead of .* float32"),
        (lambda tensor: tensor.to(torch.int32), "int32 instead of .* float32"),
    ],
)
def test_weights_that_are_no_finite_numbers_of_the_right_kind_are_refused(
    recipe: Recipe, tmp_path: Path, change: Callable[[torch.Tensor], torch.Tensor], message: str
) -> None:
    run, network = trained(recipe, tmp_path / "run")
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    tensors["head.bias"] = change(tensors["head.bias"])
    save_file(tensors, run.weights_path)
    with pytest.raises(RunError, match=message):
        run.build_network()


def test_weights_that_may_not_be_read_are_not_called_damaged(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = trained(recipe, tmp_path / "run")
    real = Path.open

    def locked(path: Path, *args: Any, **options: Any) -> Any:
        if path == run.weights_path:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **options)

    network = recipe.model.build(1, 1)
    monkeypatch.setattr(Path, "open", locked)
    with pytest.raises(RunError, match=r"cannot be read: Permission denied"):
        load_weights(network, run.weights_path)


LOCALITY = {"local": True, "reason": "near", "reach": [0, 5, 5], "stride": [1, 2, 2], "ndim": 2}


@pytest.mark.parametrize(
    ("place", "value", "field"),
    [
        ("locality", LOCALITY | {"reach": [1, 2]}, r"locality\.reach"),
        ("locality", LOCALITY | {"reach": "abc"}, r"locality\.reach"),
        ("locality", LOCALITY | {"stride": [0, 0, 0]}, r"locality\.stride"),
        ("locality", LOCALITY | {"stride": [1, 1, 1]}, r"locality: must have .* stride \[1, 2, 2\]"),
        ("locality", 5, "locality"),
        ("model.voxel_size_nm", [-1, 0, 3], r"model\.voxel_size_nm\.0"),
        ("model.voxel_size_nm", [float("inf"), 5, 3], r"model\.voxel_size_nm\.0"),
        ("model.patch_size", [-3, 0], r"model\.patch_size\.0"),
        ("model.patch_size", [64], r"model\.patch_size"),
        ("model.in_channels", 0, r"model\.in_channels"),
        ("model.classes", {"names": ["a"]}, r"model\.classes"),
        ("model.normalizer.kind", "zebra", r"normalizer\.kind"),
        ("model.normalizer.quantiles", [1], r"normalizer\.quantiles"),
        ("model", 3, "model"),
        ("peak_memory_bytes", 3, "peak_memory_bytes"),
        ("best_epoch", "last", "best_epoch"),
    ],
)
def test_facts_changed_by_hand_are_refused_on_opening(
    recipe: Recipe, tmp_path: Path, place: str, value: object, field: str
) -> None:
    run, _ = trained(recipe, tmp_path / "run")
    write_summary(run, model_facts(recipe), {"status": "complete", "locality": LOCALITY})
    assert open_run(run.path).locality == Locality.from_dict(LOCALITY)
    content = json.loads((run.path / "summary.json").read_text())
    *parts, last = place.split(".")
    inner = content
    for part in parts:
        inner = inner[part]
    inner[last] = value
    (run.path / "summary.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=rf"summary\.json: .*{field}"):
        open_run(run.path)


@pytest.mark.parametrize(
    "content", ["[" * 200_000, "", "{", "[]", "{}", '{"model": {}}', '{"model": {"in_channels": "x"}}']
)
def test_a_damaged_summary_is_refused(recipe: Recipe, tmp_path: Path, content: str) -> None:
    run, _ = trained(recipe, tmp_path / "run")
    (run.path / "summary.json").write_text(content)
    with pytest.raises(RunError, match=r"summary\.json"):
        _ = run.model
    with pytest.raises(RunError, match=r"summary\.json"):
        open_run(run.path)


def test_equal_weights_give_equal_bytes(recipe: Recipe, tmp_path: Path) -> None:
    contents = {trained(recipe, tmp_path / name)[0].weights_path.read_bytes() for name in ("a", "b", "c")}
    assert len(contents) == 1


def test_metrics_of_a_killed_epoch_are_replaced(recipe: Recipe, tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", recipe)
    for epoch in (1, 2, 3):
        append_metrics(run, {"epoch": epoch, "train_loss": 1 / epoch, "val_miou": float("nan")})
    append_metrics(run, {"epoch": 2, "train_loss": 0.25, "val_miou": 0.5, "seconds": 3})
    assert read_metrics(run) == [
        {"epoch": "1", "train_loss": "1.0", "val_miou": "", "seconds": ""},
        {"epoch": "2", "train_loss": "0.25", "val_miou": "0.5", "seconds": "3"},
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"epoch,loss\nx,2\n",
        b"loss\n2\n",
        b"epoch,loss\n1\n",
        b"epoch,loss\n1,2,3\n",
        b"epoch,loss\n1,low\n",
        b"\xff\xfe",
    ],
)
def test_damaged_metrics_are_refused(recipe: Recipe, tmp_path: Path, content: bytes) -> None:
    run = create_run(tmp_path / "run", recipe)
    (run.path / "metrics.csv").write_bytes(content)
    with pytest.raises(RunError, match=r"metrics\.csv: is damaged: .*remove it"):
        read_metrics(run)
    with pytest.raises(RunError, match=r"metrics\.csv: is damaged"):
        append_metrics(run, {"epoch": 2, "loss": 1.0})
    assert (run.path / "metrics.csv").read_bytes() == content


def test_provenance_names_versions_seed_and_inputs(recipe: Recipe, tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", recipe)
    write_provenance(run, device="cpu", inputs={"cell": "ab12"})
    content = json.loads((run.path / "provenance.json").read_text())
    assert content["seed"] == 0
    assert content["inputs"] == {"cell": "ab12"}
    assert content["libraries"]["torch"] == version("torch")
    assert set(content["cristae"]) == {"version", "git_commit"}


def test_the_commit_is_that_of_the_package_not_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = provenance()["cristae"]["git_commit"]
    monkeypatch.chdir(tmp_path)
    assert provenance()["cristae"]["git_commit"] == here


def test_a_run_reads_its_summary_once(recipe: Recipe, tmp_path: Path) -> None:
    trained(recipe, tmp_path / "run")
    run, writer = open_run(tmp_path / "run"), open_run(tmp_path / "run")
    before = run.model
    write_summary(writer, model_facts(recipe, in_channels=3), {"status": "complete"})
    assert run.model is before
    assert writer.model.in_channels == open_run(tmp_path / "run").model.in_channels == 3


def test_an_unfinished_run_opens_as_such_only(recipe: Recipe, tmp_path: Path) -> None:
    made = create_run(tmp_path / "run", recipe)
    with pytest.raises(RunError, match="not complete"):
        open_run(made.path)
    run = open_unfinished_run(made.path)
    assert (run.path, run.id) == (made.path, made.id)
    with pytest.raises(MissingFileError):
        open_unfinished_run(tmp_path / "none")


def test_inputs_are_those_of_the_summary_then_of_provenance(recipe: Recipe, tmp_path: Path) -> None:
    run, _ = trained(recipe, tmp_path / "run")
    assert known_inputs(run.path, default={"a": "0"}) == {"a": "0"}
    write_provenance(run, device="cpu", inputs={"a": "1"})
    assert known_inputs(run.path, default={}) == {"a": "1"}
    write_summary(run, model_facts(recipe), {"status": "training", "inputs": {"a": "2"}})
    assert known_inputs(run.path, default={}) == {"a": "2"}


def test_fields_that_came_later_leave_ids_as_they_were() -> None:
    """The id is that of a version without `predict.test_time`; set to something, it counts."""
    recipe = parse_recipe(
        "name: tiny\ndata:\n  classes: {names: [background, mito]}\n"
        "  volumes: [{name: cell, image: /data/image.tif, labels: {kind: ids, path: /data/labels.tif}}]\n"
        "  train: [{volume: cell, slices: 0:1}]\nmodel: {name: unet_bn, widths: [2, 4]}\n"
    )
    assert run_id(recipe) == "tiny-a1d55d42"
    flips = recipe.model_copy(update={"predict": recipe.predict.model_copy(update={"test_time": "flips"})})
    assert run_id(flips) != run_id(recipe)
