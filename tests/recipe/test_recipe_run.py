"""Run folders: made once, resumed only by the same recipe, opened only when whole."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from cristae.errors import MissingFileError, OutputExistsError, RunError
from cristae.preprocess.histogram import Histogram, histogram_of
from cristae.preprocess.normalize import NormalizeConfig, fit
from cristae.recipe.anchor import anchored
from cristae.recipe.load import load_recipe, parse_recipe
from cristae.recipe.provenance import provenance, write_provenance
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import (
    Run,
    TrainedModel,
    append_metrics,
    create_run,
    open_run,
    read_metrics,
    save_weights,
    write_summary,
)


@pytest.fixture
def recipe(text: str, tmp_path: Path) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return load_recipe(path)


def model_facts(recipe: Recipe, in_channels: int = 1) -> TrainedModel:
    import numpy as np

    from cristae.data.image import image_of_array

    grey: Histogram = histogram_of(image_of_array(np.arange(4096, dtype=np.uint16).reshape(1, 64, 64)))
    assert recipe.data.classes is not None
    return TrainedModel(in_channels, recipe.data.classes, fit(NormalizeConfig(), grey), (40.0, 6.1, 6.1), (256, 256))


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
    with pytest.raises(RunError, match=r"weights\.safetensors and summary\.json missing; finish it with .*--resume"):
        open_run(tmp_path / "begun")


def test_weights_of_another_network_or_channel_count_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    run, _ = trained(recipe, tmp_path / "run")
    write_summary(run, model_facts(recipe, in_channels=3), {})
    with pytest.raises(RunError, match=r"another network, or another number of channels: .* is \(4, 1, 3, 3\) instead"):
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


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"model": {}}', '{"model": {"in_channels": "x"}}'])
def test_a_damaged_summary_is_refused(recipe: Recipe, tmp_path: Path, content: str) -> None:
    run, _ = trained(recipe, tmp_path / "run")
    (run.path / "summary.json").write_text(content)
    with pytest.raises(RunError, match=r"summary\.json"):
        _ = run.model


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
