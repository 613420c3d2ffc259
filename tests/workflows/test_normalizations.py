"""Runs of every normalisation, from the recipe to a prediction in blocks."""

import re
from pathlib import Path

import numpy as np
import pytest
import zarr
from everyday import everyday
from PIL import Image as Picture
from prediction_runs import cell, make_run, one_pass, textured
from training_data import write_discs

from cristae.data.classes import Classes
from cristae.data.formats import write_image
from cristae.data.formats.ome_zarr import write_attributes
from cristae.data.image import image_of_array
from cristae.data.open import open_volume
from cristae.data.volume import Volume
from cristae.errors import ChannelError, RecipeError, RunError
from cristae.inference.config import PredictOptions
from cristae.inference.request import PredictionRequest
from cristae.preprocess import HistogramMatching, Percentiles
from cristae.preprocess.fitting import Greys, fit_training
from cristae.preprocess.form import fit
from cristae.preprocess.histogram import IntensityHistogram, histogram_of
from cristae.progress import Progress
from cristae.recipe.load import load_recipe
from cristae.recipe.run import Run, open_run
from cristae.workflows import recipes
from cristae.workflows.inspect import inspect
from cristae.workflows.inspect_weights import inspect_weights
from cristae.workflows.predict import finish_prediction, plan_prediction, predict
from cristae.workflows.predict_parts import begin_prediction, predict_part
from cristae.workflows.recipes import check_recipe
from cristae.workflows.report import report
from cristae.workflows.train import train

KEEP = PredictOptions(probabilities=True)
AGAIN = PredictOptions(probabilities=True, normalize="volume")
KINDS = {
    "z_score": "{name: z_score}",
    "min_max": "{name: min_max, scope: volume}",
    "fixed_range": "{name: fixed_range, low: 0, high: 255}",
    "matching": "{name: histogram_matching}",
    "local": "{name: local, reach_vox: 9}",
    "slices": "{name: percentiles, scope: slice}",
    "patches": "{name: min_max, scope: patch}",
}


SILENT = Progress()


class Said(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warned: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)

    def warn(self, message: str) -> None:
        self.warned.append(message)


WINDOWS = "Predictions will be made in windows of 32 x 32 voxels"


def trained(folder: Path, normalize: str, *changes: str, said: Progress = SILENT) -> Run:
    recipe = write_discs(folder / "data", epochs=1)
    options = (f"normalize={normalize}", "sampling.per_epoch=8", "predict.block_vox=[2, 24, 32]", *changes)
    assert check_recipe(recipe, options)
    return train(load_recipe(recipe, options), out=folder / "run", progress=said)


def stack(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Picture.open(file)) for file in sorted((folder / "data" / "image").iterdir())])


def volume_of(grey: np.ndarray) -> Volume:
    return Volume("new", image_of_array(grey, voxel_size_nm=(50.0, 10.0, 10.0)), voxel_size_nm=(50.0, 10.0, 10.0))


@pytest.mark.parametrize("kind", everyday(KINDS.keys(), "local", "patches"))
def test_a_run_of_every_normalisation_predicts_in_blocks(tmp_path: Path, kind: str) -> None:
    """Training and checking accept it, and a box is that part of the whole prediction in blocks."""
    run = trained(tmp_path, KINDS[kind])
    again = open_run(run.path)
    assert again.normalizer == run.normalizer
    found = predict([again], open_volume(tmp_path / "data" / "image"), out=tmp_path / "out.zarr",
                    voxel_size_nm=(50.0, 10.0, 10.0), options=KEEP)  # fmt: skip
    windows = found.attributes["runs"][0]["windows"]
    assert (windows is not None) == (kind == "patches")
    assert found.attributes["settings"]["normalize"] == "run"
    whole = predict([again], open_volume(tmp_path / "data" / "image"), out=tmp_path / "box.zarr",
                    voxel_size_nm=(50.0, 10.0, 10.0), options=KEEP, box="3:4,5:50,7:60")  # fmt: skip
    part = found.probabilities[0].read(whole.box).astype(int)
    assert np.abs(whole.probabilities[0].read() - part).max() <= 1
    assert part.std() > 0


@pytest.mark.parametrize("kind", everyday(["matching", "slices", "patches", "local"], "matching"))
def test_normalisations_of_the_volume_forgive_another_microscope(tmp_path: Path, kind: str) -> None:
    run = trained(tmp_path, KINDS[kind].replace("local", "local, scope: volume"))
    grey = stack(tmp_path)
    other = (grey.astype(np.uint16) * 100 + 9000).astype(np.uint16)
    said = Said()
    expected = predict([run], volume_of(grey), out=tmp_path / "same.zarr", options=KEEP)
    found = predict([run], volume_of(other), out=tmp_path / "other.zarr", options=KEEP, progress=said)
    assert not said.warned
    gap = expected.probabilities[0].read().astype(int) - found.probabilities[0].read()
    assert np.abs(gap).max() <= 2


def test_patches_by_themselves_are_predicted_in_windows_and_said_so(tmp_path: Path) -> None:
    said, starting = Said(), Said()
    run = trained(tmp_path, KINDS["patches"], said=starting)
    found = [line for line in starting.lines if "in windows" in line]
    assert len(found) == 1, "once, at the start"
    assert found[0].startswith(f"{WINDOWS}, joined by the rule 'gaussian', not exactly: ")
    assert found[0].endswith(run.locality.reason if run.locality else "")
    assert run.locality is not None
    assert not run.locality.local
    assert "scales each patch by its own grey values" in run.locality.reason
    predict([run], volume_of(stack(tmp_path)), out=tmp_path / "out.zarr", progress=said)
    assert any("windows of 32 x 32" in line and "scales each patch" in line for line in said.lines)
    recipe, checking = tmp_path / "data" / "recipe.yaml", Said()
    check_recipe(recipe, (f"normalize={KINDS['patches']}",), progress=checking)
    assert sum(WINDOWS in line for line in checking.lines) == 1
    check_recipe(recipe, (f"normalize={KINDS['slices']}",), progress=checking)
    assert sum("windows" in line for line in checking.lines) == 1, "what is exact is not spoken of"
    with pytest.raises(RunError, match=r"cannot be applied exactly, because normalize \(min_max, scope: patch\)"):
        train(load_recipe(recipe, (f"normalize={KINDS['patches']}", "predict.windows=exact")), out=tmp_path / "no")


def test_the_range_is_found_again_on_a_new_volume(tmp_path: Path) -> None:
    run, grey = make_run(tmp_path / "run"), textured()
    dark = cell((grey // 8).astype(np.uint8))
    said = Said()
    predict([run], dark, out=tmp_path / "far.zarr", progress=said)
    assert any("--normalize volume" in line for line in said.warned)
    said = Said()
    found = predict([run], dark, out=tmp_path / "again.zarr", options=AGAIN, progress=said)
    assert not said.warned
    own = fit(Percentiles(scope="volume"), histogram_of(dark.image))
    assert found.attributes["settings"]["normalize"] == "volume"
    assert found.attributes["runs"][0]["normalizer"] == own.to_dict()
    expected = one_pass(run, dark.image.read(), own)[0].numpy()
    assert np.abs(found.probabilities[0].read() - 255 * expected).max() < 0.51


def test_an_unknown_word_for_the_statistics_is_refused() -> None:
    with pytest.raises(RunError, match="normalize: expected run or volume, got 'vol'"):
        PredictOptions(normalize="vol")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("normalize", "options", "words"),
    [
        ("{name: percentiles}", KEEP, "percentiles, scope: training; grey value 20 becomes 0 and 235 becomes 1"),
        ("{name: percentiles}", AGAIN, r"percentiles, scope: volume; grey value \d+ becomes 0 and \d+ becomes 1"),
        ("{name: percentiles, invert: true}", AGAIN, r"scope: volume; grey value 2\d\d becomes 0 and \d+ becomes 1"),
        ("{name: z_score, scope: slice}", KEEP, "z_score, scope: slice$"),
        ("{name: local, reach_vox: 9}", AGAIN, "^local, scope: volume$"),
        ("{name: fixed_range, low: 20, high: 235}", KEEP, "fixed_range; grey value 20 becomes 0 and 235 becomes 1"),
    ],
)
def test_a_prediction_says_how_it_was_normalised(
    tmp_path: Path, normalize: str, options: PredictOptions, words: str
) -> None:
    """In its attributes, on its page and where it is inspected."""
    run = make_run(tmp_path / "run", normalize=normalize)
    found = predict([run], cell(), out=tmp_path / "out.zarr", options=options)
    config = run.recipe.normalize if options is KEEP else run.recipe.normalize.at_scope_volume()
    assert config is not None
    assert found.attributes["runs"][0]["normalize"] == config.model_dump(mode="json")
    assert re.search(words, "; ".join(found.normalizations))
    page = report(found.path, out=tmp_path / "page.html").read_text()
    assert found.normalizations[0] in page
    for image in inspect(found.path):
        assert image.details["normalised"] == found.normalizations[0]


def test_what_is_not_known_of_older_predictions_is_not_said_and_they_are_continued(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    found = predict([run], cell(), out=tmp_path / "out.zarr")
    runs = [{name: value for name, value in one.items() if name != "normalize"} for one in found.attributes["runs"]]
    write_attributes(found.path, {"runs": runs})
    again = predict([run], cell(), out=tmp_path / "out.zarr")
    assert again.normalizations == ()
    assert all("normalised" not in image.details for image in inspect(found.path))
    assert "Normalisation" not in report(found.path, out=tmp_path / "page.html").read_text()


def test_probabilities_are_called_by_their_classes(tmp_path: Path) -> None:
    classes = Classes(names=("background", "mito", "vesicle"))
    run = make_run(tmp_path / "run", classes=classes)
    found = predict([run], cell(), out=tmp_path / "out.zarr", options=KEEP)
    images = inspect(found.path)
    assert [image.details.get("channel") for image in images] == ["0 'background'", "1 'mito'", "2 'vesicle'", None]
    group = zarr.open_group(found.path, mode="r")
    listed = [(one["label"], one["color"]) for one in group.attrs["ome"]["omero"]["channels"]]
    assert listed == [(name, classes.color_of(name)[1:].upper()) for name in classes.names]
    with pytest.raises(ChannelError, match="0 'background', 1 'mito', 2 'vesicle'"):
        open_volume(found.path)


def test_classes_that_are_called_like_colours_are_no_colour_image(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", classes=Classes(names=("red", "green", "blue")))
    found = predict([run], cell(), out=tmp_path / "out.zarr", options=KEEP)
    assert [image.colors for image in inspect(found.path)] == [1, 1, 1, 1]
    assert len(found.probabilities) == 3


def test_another_gamma_is_warned_of_with_and_without_a_new_range(tmp_path: Path) -> None:
    """It is no new range, so that finding one again does not help; the warning names what does."""
    run, grey = make_run(tmp_path / "run"), textured()
    gamma = cell((255 * (grey / 255.0) ** 2).round().astype(np.uint8))
    for name, options in (("as it is", KEEP), ("again", AGAIN)):
        said = Said()
        predict([run], gamma, out=tmp_path / f"{name}.zarr", options=options, progress=said)
        (line,) = said.warned
        assert "median grey" in line
        assert "normalize: {name: histogram_matching}" in line
        assert "--normalize volume" not in line
        assert ("even within its own range" in line) == (options is AGAIN)


def test_dark_and_bright_exchanged_stays_a_warning_whatever_is_found_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grey = (40 + rng.exponential(30, (3, 60, 70))).clip(0, 255).astype(np.uint8)
    training = fit(Percentiles(), histogram_of(image_of_array(grey)))
    run = make_run(tmp_path / "run", normalizer=training)
    said = Said()
    predict([run], cell(grey), out=tmp_path / "same.zarr", options=AGAIN, progress=said)
    assert not said.warned
    predict([run], cell(255 - grey), out=tmp_path / "negative.zarr", options=AGAIN, progress=said)
    assert any("dark and bright seem to be exchanged" in line and "invert" in line for line in said.warned)


@pytest.mark.parametrize("kind", ["patches", "slices", "matching", "fixed_range"])
def test_finding_a_range_again_that_is_not_used_is_refused(tmp_path: Path, kind: str) -> None:
    run = make_run(tmp_path / "run", normalize=KINDS[kind])
    with pytest.raises(RunError, match=r"--normalize volume has no effect.*leave the option out"):
        predict([run], cell(), out=tmp_path / "out.zarr", options=AGAIN)


@pytest.mark.parametrize("kind", ["matching", "slices", "local"])
def test_other_processes_are_told_how_to_normalise(tmp_path: Path, kind: str) -> None:
    run, path = make_run(tmp_path / "run", normalize=KINDS[kind]), tmp_path / "cell.tif"
    if kind == "matching":
        grey = IntensityHistogram.of(textured(seed=3))
        run = make_run(tmp_path / "matched", normalize=KINDS[kind],
                       normalizer=fit_training(HistogramMatching(), Greys(grey)))  # fmt: skip
    write_image(image_of_array(textured(), voxel_size_nm=(40.0, 10.0, 10.0)), path)
    planned = plan_prediction([run], path, out=tmp_path / "parts.zarr", options=KEEP)
    assert PredictionRequest.from_json(planned.request.to_json()) == planned.request
    begin_prediction(planned.request)
    for rank in range(2):
        request = PredictionRequest.from_json(planned.request.to_json())
        predict_part(request, blocks=range(rank, request.block_count, 2))
    parts = finish_prediction(planned.request)
    alone = predict([run], path, out=tmp_path / "alone.zarr", options=KEEP)
    assert np.array_equal(parts.probabilities[0].read(), alone.probabilities[0].read())


@pytest.mark.parametrize("kind", everyday(["local", "patches", "slices"], "patches"))
def test_what_a_network_is_shown_is_drawn(tmp_path: Path, kind: str) -> None:
    recipe = load_recipe(write_discs(tmp_path, epochs=1), (f"normalize={KINDS[kind]}",))
    found = inspect_weights(recipe, out=tmp_path / "shown", patches=8)
    assert found.patches == 8
    assert (tmp_path / "shown" / "slice.png").is_file()


@pytest.mark.parametrize("kind", KINDS)
def test_a_check_of_large_data_looks_at_a_part(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = write_discs(tmp_path, epochs=1)
    monkeypatch.setattr(recipes, "_READ_VOX", 2 * 61 * 70)
    monkeypatch.setattr("cristae.training.regions._SLAB", (1, 1024, 1024))
    said = Said()
    assert check_recipe(recipe, (f"normalize={KINDS[kind]}",), progress=said)
    assert any("was read in part" in line for line in said.warned)


@pytest.mark.parametrize("kind", ["z_score", "slices", "local", "matching"])
def test_a_forest_takes_what_does_not_need_patches(tmp_path: Path, kind: str) -> None:
    forest = "model={name: random_forest, trees: 3, max_samples_per_class: 200}"
    run = trained(tmp_path, KINDS[kind], forest, "predict.block_vox=[2, 24, 32]")
    image = volume_of(stack(tmp_path))
    found = predict([run], image, out=tmp_path / "out.zarr", options=KEEP)
    box = predict([run], image, out=tmp_path / "box.zarr", options=KEEP, box="3:4,5:50,7:60")
    part = found.probabilities[0].read(box.box).astype(int)
    assert np.abs(box.probabilities[0].read() - part).max() <= 1


def test_a_forest_sees_no_patches(tmp_path: Path) -> None:
    recipe = write_discs(tmp_path)
    options = ("model={name: random_forest}", f"normalize={KINDS['patches']}")
    with pytest.raises(RecipeError, match=r"normalize\.scope: patch is for networks"):
        train(load_recipe(recipe, options), out=tmp_path / "run")
