"""Ensemble files: what they say, at which line what is wrong, and what is written."""

import hashlib
from pathlib import Path

import pytest
import yaml

from cristae.errors import CristaeError, MissingFileError, OutputExistsError, RecipeError, RunError
from cristae.recipe.ensemble_file import flat_members, open_ensemble, write_ensemble
from cristae.recipe.load import parse_recipe
from cristae.recipe.run import Run, create_run, save_weights, write_summary
from cristae.recipe.trained_model import TrainedModel

RECIPE = """\
name: tiny
data:
  classes: {names: [background, mito]}
  volumes: [{name: cell, image: image.tif, labels: {kind: ids, path: labels.tif}}]
  train: [{volume: cell, slices: 0:1}]
model: {name: unet_bn, widths: [2, 4]}
training: {criteria: [miou, f1]}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two runs, of which one keeps weights of a further criterion."""
    from cristae.data.classes import Classes
    from cristae.preprocess.normalize import Normalizer

    folder = tmp_path_factory.mktemp("study")
    for name in ("fold-1", "fold-2"):
        recipe = parse_recipe(RECIPE)
        run = create_run(folder / name, recipe)
        network = recipe.network.build(1, 1)
        save_weights(run, network)
        save_weights(run.by("f1"), network)
        model = TrainedModel(1, Classes(names=("background", "mito")), Normalizer(0.0, 255.0), None, (32, 32))
        write_summary(run, model, {"status": "complete"})
    return folder


def write(study: Path, text: str, name: str = "own.yaml") -> Path:
    (study / name).write_text(text)
    return study / name


def test_the_smallest_file(study: Path) -> None:
    """Only runs: the rest is as their recipes say."""
    ensemble = open_ensemble(write(study, "members:\n  - run: fold-1\n  - run: fold-2:f1\n"))
    assert [run.path for run in ensemble.runs] == [study / "fold-1", study / "fold-2"]
    assert [run.weights_path.name for run in ensemble.runs] == ["weights.safetensors", "weights.f1.safetensors"]
    assert {(one.weight, one.fusion, one.test_time, one.held_out) for one in ensemble.members} == {
        (None, None, None, ())
    }
    assert not ensemble.out_of_fold


def test_what_is_written_reads_back(study: Path, tmp_path: Path) -> None:
    """Runs below the folder are named relative to it, others by their whole path; weights are told by SHA-256."""
    path = study / "ensemble.yaml"
    held = [[("em.tif", "0:4,0:9,0:9"), ("/data/b.h5:/raw", "1:2,:,:")], []]
    assert write_ensemble(path, [study / "fold-1", f"{study / 'fold-2'}:f1"], weights=[1, 2.5], held_out=held) == path
    written = yaml.safe_load(path.read_text())
    digest = hashlib.sha256((study / "fold-1" / "weights.safetensors").read_bytes()).hexdigest()
    assert written["members"][0]["run"] == "fold-1"
    assert written["members"][0]["sha256"] == digest
    assert written["members"][1]["run"] == "fold-2:f1"
    assert "fusion" not in written
    ensemble = open_ensemble(study)
    assert [member.weight for member in ensemble.members] == [1, 2.5]
    assert [(one.image, one.box) for one in ensemble.members[0].held_out] == [
        (str(study / "em.tif"), "0:4,0:9,0:9"),
        ("/data/b.h5:/raw", "1:2,:,:"),
    ]
    assert open_ensemble(f"{study}:out-of-fold").out_of_fold
    assert open_ensemble(f"{path}:out-of-fold").members[1].out_of_fold
    with pytest.raises(OutputExistsError, match=r"ensemble\.yaml: exists already"):
        write_ensemble(path, [study / "fold-1"])
    elsewhere = write_ensemble(tmp_path / "there.yaml", ensemble.runs, fusion="majority", test_time="flips")
    again = open_ensemble(elsewhere)
    assert [run.path for run in again.runs] == [run.path for run in ensemble.runs]
    assert {(member.fusion, member.test_time) for member in again.members} == {("majority", "flips")}
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("members: []\n", r"own\.yaml:1: members: must have at least 1 items"),
        ("fusion: average\n", r"own\.yaml:1: members: is required"),
        ("members:\n  - run: fold-1\n    weigth: 2\n", r"own\.yaml:3: members\.0\.weigth: unknown field; did"),
        ("members:\n  - run: fold-1\n    sha256: abc\n", r"own\.yaml:3: members\.0\.sha256: 'abc' is not in"),
        ("members:\n  - run: fold-1\n    weight: 0\n", r"own\.yaml:3: members\.0\.weight: must be greater than"),
        ("members:\n  - {run: fold-1, weight: 2}\n  - run: fold-2\n", r"members\.1: weight: is missing; all"),
        ("members:\n  - run: fold-1\nfusion: weighted\n", r"own\.yaml:3: fusion: weighted needs a `weight:` for each"),
        ("members:\n  - {run: fold-1, weight: 2}\nfusion: majority\n", r"own\.yaml:3: fusion: majority takes no"),
        ("members:\n  - run: fold-1\nfusion: median\n", r"own\.yaml:3: fusion: must be 'average', 'majority'"),
        ("members:\n  - run: fold-1\ntest_time: flip\n", r"own\.yaml:3: test_time: must be 'none', 'flips'"),
        ("members:\n  - run: fold-1\n    held_out: [{image: a.tif, box: all}]\n", r"yaml:3: .*held_out\.0\.box: 'all'"),
        ("members: &a\n  - run: fold-1\n", r"own\.yaml:1: anchors"),
        ("", r"own\.yaml:1: is empty"),
    ],
)  # fmt: skip
def test_problems_are_told_at_their_line(study: Path, text: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        open_ensemble(write(study, text))


@pytest.mark.parametrize(
    ("run", "error", "said"),
    [
        ("fold-3", MissingFileError, r"own\.yaml:2: members\.0\.run: \S+fold-3: there is no such run folder"),
        ("fold-1:dice", RunError, r"own\.yaml:2: members\.0\.run: .*keeps no weights of the criterion 'dice'"),
        (".", RunError, r"own\.yaml:2: members\.0\.run: "),
        ("other.yaml", RunError, r"own\.yaml:2: members\.0\.run: 'other\.yaml' is an ensemble; name its runs"),
    ],
)  # fmt: skip
def test_members_that_cannot_be_opened_are_named(study: Path, run: str, error: type[CristaeError], said: str) -> None:
    write(study, "members:\n  - run: fold-1\n", "other.yaml")
    with pytest.raises(error, match=said):
        open_ensemble(write(study, f"members:\n  - run: {run}\n"))


def test_weights_must_be_those_that_are_listed(study: Path) -> None:
    """Refused by name, with the file of weights."""
    file = write(study, f"members:\n  - run: fold-1\n    sha256: '{64 * '0'}'\n")
    what = r"own\.yaml:2: members\.0\.run: the weights of \S+fold-1 \(weights\.safetensors\)"
    with pytest.raises(RunError, match=what):
        open_ensemble(file)


def test_what_stands_behind_an_ensemble(study: Path, tmp_path: Path) -> None:
    file = write(study, "members:\n  - run: fold-1\n")
    with pytest.raises(RunError, match=r"'f1' is unknown; behind an ensemble there may stand :out-of-fold"):
        open_ensemble(f"{file}:f1")
    with pytest.raises(RunError, match=r"no member says what it has held out"):
        open_ensemble(f"{file}:out-of-fold")
    with pytest.raises(MissingFileError, match="none"):
        open_ensemble(tmp_path / "none")
    with pytest.raises(MissingFileError, match=r"ensemble\.yaml"):
        open_ensemble(tmp_path)
    for path in (tmp_path / "none.yaml", f"{tmp_path}:out-of-fold", f"{study / 'fold-1'}:out-of-fold"):
        with pytest.raises(MissingFileError, match=r"\.yaml: there is no such ensemble file"):
            flat_members([path])


def test_what_cannot_be_written(study: Path, tmp_path: Path) -> None:
    runs: list[Run | str | Path] = [study / "fold-1", study / "fold-2"]
    with pytest.raises(RecipeError, match=r"weights: there are 1 for 2 runs"):
        write_ensemble(tmp_path / "a.yaml", runs, weights=[1])
    with pytest.raises(RecipeError, match=r"a\.yaml: fusion: average takes no weights"):
        write_ensemble(tmp_path / "a.yaml", runs, weights=[1, 2], fusion="average")
    with pytest.raises(RecipeError, match=r"is YAML; call it a\.yaml"):
        write_ensemble(tmp_path / "a.txt", runs)
    assert not list(tmp_path.iterdir())
