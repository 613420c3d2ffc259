"""Ensemble files in prediction: against the members' own probability maps, for members of every kind."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from prediction_runs import MITO, cell, make_run, one_pass, textured
from test_predict import KEEP, Killed, Listening, assert_same, stop_after
from typer.testing import CliRunner

import cristae
from cristae.cli.main import app
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.formats import open_image
from cristae.errors import OutputExistsError, RunError
from cristae.inference.config import PredictOptions
from cristae.inference.prediction import open_prediction
from cristae.inference.predictor import Predictor
from cristae.inference.request import PredictionRequest
from cristae.preprocess.normalize import Normalizer
from cristae.progress import Progress
from cristae.recipe.ensemble_file import open_ensemble, write_ensemble
from cristae.recipe.matching import member_of
from cristae.recipe.network import locality_of
from cristae.recipe.run import Run, save_weights, write_summary
from cristae.workflows.predict import finish_prediction, plan_prediction, predict
from cristae.workflows.predict_parts import begin_prediction, predict_part

BLOCKS = "block_vox: [3, 24, 32]"
SHAPE = (5, 45, 61)
DISAGREE = PredictOptions(probabilities=True, disagreement=True)
THREE = Classes(names=("background", "mito", "granule"))


def make_members(folder: Path, classes: Classes = MITO) -> list[Run]:
    """2D, 2.5D and 3D networks, exact and in windows, each with a normalisation of its own."""
    kinds = {
        "flat": ("{name: unet_bn, widths: [4, 8]}", (32, 32), BLOCKS),
        "neighbours": ("{name: unet_bn, widths: [4, 8], slices: 3}", (16, 32), f"{BLOCKS}, windows: gaussian"),
        "solid": ("{name: unet_3d, base: 2, shape: thick}", (8, 32, 32), BLOCKS),
    }
    runs = [
        make_run(
            folder / name,
            model=model,
            patch_size=size,
            predict=predict,
            seed=number,
            classes=classes,
            normalizer=Normalizer(20.0 + 10 * number, 235.0 - 5 * number, invert=number == 1),
        )
        for number, (name, (model, size, predict)) in enumerate(kinds.items())
    ]
    network = runs[2].build_network()
    *_, weight, bias = network.parameters()
    weight.data.sub_(weight.data.mean()).mul_(600)
    bias.data.copy_(torch.linspace(-0.3, 0.4, len(bias)))  # where no feature is on, the classes still differ
    save_weights(runs[2], network)
    for run in runs:  # as trained runs do, they know how far they see
        locality = locality_of(run.build_network(), run.recipe).to_dict()
        write_summary(run, run.model, {"status": "complete", "locality": locality})
    return runs


def map_of(run: Run, grey: np.ndarray, **how: object) -> np.ndarray:
    """A run's own probability map (K, Z, Y, X), all at once."""
    image = cell(grey).image
    predictor = Predictor([replace(member_of(run, image, run.normalizer, Progress()), **how)])
    with predictor.predicting():
        return predictor.probabilities(image, Box.of_shape(image.shape)).numpy()


def copies_of(run: Run, grey: np.ndarray) -> np.ndarray:
    """The maps (4, K, Z, Y, X) of the four in-plane mirrorings of a volume, each slice by a single forward pass."""
    ways: list[tuple[int, ...]] = [(), (1,), (2,), (1, 2)]
    found = [one_pass(run, np.flip(grey, axes).copy()).numpy() for axes in ways]
    back = [np.flip(one, [axis + 1 for axis in axes]) for one, axes in zip(found, ways, strict=True)]
    return np.stack(back)


def kept(prediction: cristae.Prediction) -> np.ndarray:
    return np.stack([image.read() for image in prediction.probabilities])


def assert_maps(prediction: cristae.Prediction, expected: np.ndarray) -> None:
    """What is stored is the map in 8 bits, to 1e-4 of the probability."""
    assert expected.std() > 1e-3
    assert np.abs(kept(prediction) - 255 * expected).max() < 0.5 + 255e-4


@pytest.fixture(scope="module")
def grey() -> np.ndarray:
    return textured(SHAPE)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return make_members(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def maps(members: list[Run], grey: np.ndarray) -> list[np.ndarray]:
    found = [map_of(run, grey) for run in members]
    np.testing.assert_allclose(found[0], one_pass(members[0], grey).numpy(), atol=1e-5)
    return found


def test_average_of_mixed_members(tmp_path: Path, members: list[Run], maps: list[np.ndarray], grey: np.ndarray) -> None:
    """2D, 2.5D and 3D in one pass, each with its own normalisation and windows."""
    file = write_ensemble(tmp_path / "all.yaml", members)
    found = predict([file], cell(grey), out=tmp_path / "out.zarr", options=KEEP)
    assert_maps(found, np.mean(maps, 0))
    rules = [run["windows"] and run["windows"]["rule"] for run in found.attributes["runs"]]
    assert rules == [None, "gaussian", None]
    assert found.attributes["blocks"] == 8


def test_majority_and_weights_stand_in_the_file(
    tmp_path: Path, members: list[Run], maps: list[np.ndarray], grey: np.ndarray
) -> None:
    """Votes are those of the members' own labels; weights imply the weighted rule."""
    vote = write_ensemble(tmp_path / "vote.yaml", members, fusion="majority")
    found = predict([vote], cell(grey), out=tmp_path / "vote.zarr")
    votes = (np.stack(maps) > 0.5).sum(0)[0]
    sure = (np.abs(np.stack(maps) - 0.5) > 1e-5).all(0)[0]
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(found.labels[0].read()[sure], (votes >= 2)[sure])
    assert found.attributes["settings"]["fusion"] == {"name": "majority"}
    weigh = write_ensemble(tmp_path / "weigh.yaml", members, weights=[1, 2, 5])
    found = predict([weigh], cell(grey), out=tmp_path / "weigh.zarr", options=KEEP)
    assert_maps(found, np.average(maps, axis=0, weights=[1, 2, 5]))
    assert found.attributes["settings"]["fusion"] == {"name": "weighted", "weights": [1.0, 2.0, 5.0]}


def test_each_kind_of_member_by_itself_and_softmax(tmp_path: Path, grey: np.ndarray) -> None:
    members = make_members(tmp_path, THREE)
    expected = [map_of(run, grey) for run in members]
    for run, one in zip(members, expected, strict=True):
        assert_maps(predict([run], cell(grey), out=tmp_path / f"{run.path.name}.zarr", options=KEEP), one)
    file = write_ensemble(tmp_path / "all.yaml", members, fusion="majority")
    found = predict([file], cell(grey), out=tmp_path / "out.zarr", options=KEEP)
    votes = np.mean([np.eye(3)[one.argmax(0)].transpose(3, 0, 1, 2) for one in expected], axis=0)
    ordered = np.sort(np.stack(expected), axis=1)
    sure = (ordered[:, -1] - ordered[:, -2] > 1e-4).all(0)
    assert sure.mean() > 0.9
    assert np.abs(kept(found) - 255 * votes)[:, sure].max() < 0.501


def test_test_time_augmentation_of_recipe_and_file(
    tmp_path: Path, members: list[Run], maps: list[np.ndarray], grey: np.ndarray
) -> None:
    """The file's holds for all members, the recipe's for its own run; the manifest says which."""
    turned = make_run(tmp_path / "turned", predict=f"{BLOCKS}, test_time: flips")
    flipped = copies_of(turned, grey).mean(0)
    found = predict([turned, members[2]], cell(grey), out=tmp_path / "one.zarr", options=KEEP)
    assert_maps(found, (flipped + maps[2]) / 2)
    assert [run.get("test_time") for run in found.attributes["runs"]] == ["flips", None]
    file = write_ensemble(tmp_path / "all.yaml", [turned, *members], test_time="flips_z")
    found = predict([file], cell(grey), out=tmp_path / "all.zarr", options=KEEP, box="1:4,7:30,3:27")
    each = [map_of(run, grey, test_time="flips_z") for run in (turned, *members)]
    assert np.abs(np.mean(each, 0) - (flipped + np.sum(maps, 0)) / 4).max() > 1e-3
    assert_maps(found, np.mean(each, 0)[(slice(None), *found.box.slices)])


def entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(p) + (1 - p) * np.log(1 - p))


def test_disagreement_is_kept_beside_the_labels(
    tmp_path: Path, members: list[Run], maps: list[np.ndarray], grey: np.ndarray
) -> None:
    """Entropy of the mean less the mean entropy, over log 2 (Smith and Gal 2018), in 8 bits."""
    file = write_ensemble(tmp_path / "all.yaml", members)
    found = predict([file], cell(grey), out=tmp_path / "out.zarr", options=DISAGREE)
    each = np.stack(maps).astype(np.float64)[:, 0]
    expected = (entropy(each.mean(0)) - entropy(each).mean(0)) / np.log(2)
    assert expected.max() > 0.02
    assert found.disagreement is not None
    assert found.disagreement.voxel_size_nm == found.voxel_size_nm
    assert np.abs(found.disagreement.read() - 255 * expected).max() < 0.53
    again = open_image(f"{tmp_path / 'out.zarr'}:/disagreement")
    np.testing.assert_array_equal(again.read(), found.disagreement.read())
    about = json.loads((tmp_path / "out.zarr/disagreement/zarr.json").read_text())["attributes"]
    assert about["cristae"]["scale"] == pytest.approx(1 / 255)
    assert "mutual information" in about["cristae"]["meaning"]
    assert len(about["ome"]["multiscales"][0]["datasets"]) >= 1
    shown = {one.path.split(":/")[-1]: one for one in cristae.inspect(tmp_path / "out.zarr")}
    assert shown["disagreement"].shape == SHAPE
    assert "mutual information" in shown["disagreement"].details["content"]
    plain = predict([file], cell(grey), out=tmp_path / "plain.zarr", options=KEEP)
    assert plain.disagreement is None
    np.testing.assert_array_equal(kept(plain), kept(found))


def test_nothing_is_disagreed_about_outside_a_mask(tmp_path: Path, members: list[Run], grey: np.ndarray) -> None:
    inside = np.zeros(SHAPE, np.uint8)
    inside[:2, :20, :30] = 1
    cristae.write_image(cell(inside).image, tmp_path / "mask.tif")
    how = {"options": PredictOptions(disagreement=True), "box": "0:5,0:24,0:61"}
    whole = predict(members[:2], cell(grey), out=tmp_path / "whole.zarr", **how)
    found = predict(members[:2], cell(grey), out=tmp_path / "out.zarr", mask=tmp_path / "mask.tif", **how)
    expected = whole.disagreement.read() * inside[:, :24]
    assert expected.any()
    np.testing.assert_array_equal(found.disagreement.read(), expected)


def test_variants_of_a_single_member_disagree(tmp_path: Path, grey: np.ndarray) -> None:
    run = make_run(tmp_path / "run", predict=f"{BLOCKS}, test_time: flips")
    found = predict([run], cell(grey), out=tmp_path / "out.zarr", options=DISAGREE)
    each = copies_of(run, grey)[:, 0].astype(np.float64)
    expected = (entropy(each.mean(0)) - entropy(each).mean(0)) / np.log(2)
    assert expected.max() > 0.01
    assert np.abs(found.disagreement.read() - 255 * expected).max() < 0.53
    alone = make_run(tmp_path / "alone")
    what = r"disagreement: there is only one run for each class, .*predict\.test_time: flips"
    with pytest.raises(RunError, match=what):
        predict([alone], cell(grey), out=tmp_path / "none.zarr", options=DISAGREE)
    assert not (tmp_path / "none.zarr").exists()


def test_a_killed_prediction_continues_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: list[Run], grey: np.ndarray
) -> None:
    file = write_ensemble(tmp_path / "all.yaml", members, test_time="flips")
    how = {"options": DISAGREE, "box": "0:4,0:32,0:48"}
    predict([file], cell(grey), out=tmp_path / "whole.zarr", **how)
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        with pytest.raises(Killed):
            predict([file], cell(grey), out=tmp_path / "out.zarr", **how)
    with pytest.raises(RunError, match="not finished"):
        open_prediction(tmp_path / "out.zarr")
    predict([file], cell(grey), out=tmp_path / "out.zarr", **how)
    assert_same(tmp_path / "whole.zarr", tmp_path / "out.zarr")


def test_other_settings_are_not_mixed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: list[Run], grey: np.ndarray
) -> None:
    file = write_ensemble(tmp_path / "all.yaml", members)
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(Killed):
            predict([file], cell(grey), out=tmp_path / "out.zarr")
    other = write_ensemble(tmp_path / "turned.yaml", members, test_time="flips")
    with pytest.raises(OutputExistsError, match=r"runs\.0\.test_time: None before, flips now"):
        predict([other], cell(grey), out=tmp_path / "out.zarr")
    with pytest.raises(OutputExistsError, match=r"settings\.disagreement: False before, True now"):
        predict([file], cell(grey), out=tmp_path / "out.zarr", options=PredictOptions(disagreement=True))


def test_damage_to_the_map_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: list[Run], grey: np.ndarray
) -> None:
    file = write_ensemble(tmp_path / "all.yaml", members)
    how = {"options": DISAGREE, "box": "0:4,0:32,0:48"}
    predict([file], cell(grey), out=tmp_path / "whole.zarr", **how)
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        with pytest.raises(Killed):
            predict([file], cell(grey), out=tmp_path / "out.zarr", **how)
    shard = next(path for path in sorted((tmp_path / "out.zarr/disagreement/0/c").rglob("*")) if path.is_file())
    shard.unlink()
    progress = Listening()
    predict([file], cell(grey), out=tmp_path / "out.zarr", **how, progress=progress)
    assert any("1 finished blocks are damaged" in line for line in progress.warned)
    assert_same(tmp_path / "whole.zarr", tmp_path / "out.zarr")


def test_any_process_carries_a_part_out(tmp_path: Path, members: list[Run], grey: np.ndarray) -> None:
    """What the file says travels in the request."""
    cristae.write_image(cell(grey).image, tmp_path / "cell.tif")
    held = [[("cell.tif", "0:2,:,:")], [("cell.tif", "2:4,:,:")], []]
    file = write_ensemble(tmp_path / "all.yaml", members, test_time="flips", weights=[3, 1, 1], held_out=held)
    what, how = ([f"{file}:out-of-fold"], tmp_path / "cell.tif"), {"options": KEEP, "box": "1:5,0:32,0:48"}
    whole = predict(*what, out=tmp_path / "whole.zarr", **how)
    planned = plan_prediction(*what, out=tmp_path / "out.zarr", **how)
    begin_prediction(planned.request)
    for rank in range(2):
        request = PredictionRequest.from_json(planned.request.to_json())
        predict_part(request, blocks=range(rank, request.block_count, 2))
    found = finish_prediction(planned.request)
    assert_same(whole.path, found.path)
    assert [run.get("held_out") for run in found.attributes["runs"]] == [["0:2,0:45,0:61"], ["2:4,0:45,0:61"], None]


def test_the_command_takes_an_ensemble_and_several(tmp_path: Path, members: list[Run], grey: np.ndarray) -> None:
    """A folder that holds an ensemble.yaml, beside an ordinary run."""
    cristae.write_image(cell(grey).image, tmp_path / "cell.tif")
    write_ensemble(tmp_path / "study" / "ensemble.yaml", members[:2])
    arguments = ["--run", str(tmp_path / "study"), "--run", str(members[2].path), "--disagreement"]
    command = ["predict", str(tmp_path / "cell.tif"), "--out", str(tmp_path / "out.zarr"), *arguments]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert [run["run"] for run in open_prediction(tmp_path / "out.zarr").attributes["runs"]] == [r.id for r in members]
    asked = ["--run", f"{tmp_path / 'study'}:out-of-fold"]
    result = CliRunner().invoke(app, [*command[:3], str(tmp_path / "b.zarr"), *asked])
    assert result.exit_code == 2
    assert "no member says what it has held out" in result.output


def test_rules_that_do_not_agree(tmp_path: Path, members: list[Run], grey: np.ndarray) -> None:
    """An ensemble file's rule and a further run's; weights for some of the members."""
    vote = write_ensemble(tmp_path / "vote.yaml", members[:2], fusion="majority")
    what = r"solid: cannot be fused with \S+flat by one rule: average .* majority .*vote\.yaml"
    with pytest.raises(RunError, match=what):
        predict([vote, members[2]], cell(grey), out=tmp_path / "out.zarr")
    weigh = write_ensemble(tmp_path / "weigh.yaml", members[:2], weights=[1, 2])
    with pytest.raises(RunError, match=r"solid: has no weight, but \S+weigh\.yaml gives its members weights"):
        predict([weigh, members[2]], cell(grey), out=tmp_path / "out.zarr")
    again = write_ensemble(tmp_path / "third.yaml", members[2:], weights=[4])
    ensembles = [open_ensemble(weigh), open_ensemble(again)]
    assert [run.id for run in ensembles[0].runs] == [run.id for run in members[:2]]
    found = predict(ensembles, cell(grey), out=tmp_path / "out.zarr", box="0:1,0:16,0:24")
    assert found.attributes["settings"]["fusion"]["weights"] == [1, 2, 4]


def test_changed_weights_are_refused_by_name(tmp_path: Path, grey: np.ndarray) -> None:
    runs = [make_run(tmp_path / "study" / f"fold-{n}", seed=n) for n in (1, 2)]
    file = write_ensemble(tmp_path / "study" / "ensemble.yaml", runs)
    weights = runs[1].path / "weights.safetensors"
    weights.write_bytes((runs[0].path / "weights.safetensors").read_bytes())
    with pytest.raises(RunError, match=r"ensemble\.yaml:4: members\.1\.run: the weights of \S+fold-2 .*SHA-256"):
        predict([file], cell(grey), out=tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()


def test_quarter_turns_of_oblong_pixels_are_warned_of(tmp_path: Path, grey: np.ndarray) -> None:
    size = (40.0, 10.0, 20.0)
    run, said = make_run(tmp_path / "run", voxel_size_nm=size, predict=f"{BLOCKS}, test_time: dihedral"), Listening()
    volume = cell(grey, voxel_size_nm=size)
    predict([run], volume, out=tmp_path / "out.zarr", box="0:1,0:16,0:24", progress=said)
    assert any("quarter turns" in line and "not square" in line for line in said.warned)


def test_the_page_shows_the_members(tmp_path: Path, members: list[Run], grey: np.ndarray) -> None:
    """Their rule, weights and test-time augmentation, and a panel of the disagreement."""
    runs = [members[0], members[1]]
    file = write_ensemble(tmp_path / "all.yaml", runs, weights=[1, 2.5], test_time="flips")
    predict([file], cell(grey), out=tmp_path / "out.zarr", options=PredictOptions(disagreement=True))
    page = cristae.write_report(tmp_path / "out.zarr").read_text()
    for run in runs:
        assert f"<td>{run.id}</td>" in page
    for text in ("weighted", "2.5", "gaussian", "Test-time augmentation", "flips", "<h3>Disagreement</h3>"):
        assert text in page
    assert page.count("<h3>Disagreement</h3>") == 5
    predict([members[0]], cell(grey), out=tmp_path / "one.zarr")
    page = cristae.write_report(tmp_path / "one.zarr").read_text()
    assert "<h3>Disagreement</h3>" not in page
    assert "Fusion" not in page
