"""What the page says of objects that touch is run: two updates of training, prediction, scores, sizes."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

import cristae
from cristae.cli.main import app
from cristae.errors import LabelError
from cristae.evaluation.scoring.settings import ScoreOptions
from cristae.inference.prediction import open_prediction
from cristae.metrics.score import Score, read_scores
from cristae.recipe.load import load_recipe
from cristae.recipe.recipe import Recipe
from cristae.workflows.evaluate import evaluate
from cristae.workflows.recipes import check_recipe

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "describe-labels.md"
QUICK = (
    "model.widths=[4, 8]",
    "training.epochs=1",
    "training.batch_size=4",
    "sampling.per_epoch=8",
    "sampling.size=[32, 32]",
)
LABELS = "data.volumes.0.labels"
ALONE = (
    "data.classes.names=[background, mitochondrion]",
    f"{LABELS}={{kind: instances, path: mito-ids.tif, to: foreground, class_name: mitochondrion}}",
)
WHOLE = {"mitochondrion": ("mitochondrion", "contact")}


def section(language: str) -> str:
    text = PAGE.read_text(encoding="utf-8").partition("## Objects that touch")[2].partition("\n## ")[0]
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return str(block)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's recipe, and twelve slices of two rods that touch along their length, and one alone."""
    ids = np.zeros((12, 48, 56), np.uint16)
    ids[:, 8:20, 4:50], ids[:, 20:32, 4:50], ids[:, 38:44, 4:50] = 5, 300, 41
    grey = np.where(ids > 0, 160, 60) + np.random.default_rng(0).normal(0, 10, ids.shape)
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("mito-ids.tif", ids)
    cristae.write_image(cristae.image_of_array(grey.astype(np.uint8), voxel_size_nm=(40, 8, 8)), Path("stack.tif"))
    Path("mito.yaml").write_text(section("yaml"))
    return Path("mito.yaml")


def of_truth(recipe: Recipe, **options: object) -> dict[tuple[str, str], Score]:
    """The scores of the truth against itself, by class and metric."""
    scores = evaluate("stack", "stack", recipe=recipe, options=ScoreOptions(**options))  # type: ignore[arg-type]
    return {(row.class_name, row.metric): row for row in scores}


def test_what_the_page_shows_runs(recipe: Path) -> None:
    cuts = [word for change in QUICK for word in ("--set", change)]
    lines = section("sh").splitlines()
    for line in lines:
        verb, *arguments = shlex.split(line)
        assert verb == "cristae"
        done = CliRunner().invoke(app, arguments + (cuts if arguments[0] == "train" else []))
        assert done.exit_code == 0, f"{line}\n{done.output}\n{done.exception!r}"
    assert [shlex.split(line)[1] for line in lines] == ["train", "predict", "evaluate", "evaluate", "analyze"]
    prediction = open_prediction(Path("stack.zarr"))
    assert prediction.classes.names == ("background", "mitochondrion", "contact")
    assert int(prediction.labels[0].read().max()) <= 2
    assert {row.class_name for row in read_scores(Path("whole.csv"))} >= {"mitochondrion"}
    assert "contact" not in {row.class_name for row in read_scores(Path("whole.csv"))}
    assert Path("sizes", "objects.csv").is_file()


def test_the_objects_of_the_truth_are_those_of_its_ids(recipe: Path) -> None:
    """In slices two rods that touch are two; merged into one class, or read as foreground, they are one."""
    apart = of_truth(load_recipe(recipe), scores=("instances", "overlap"))
    assert (apart["mitochondrion", "PQ"].value, apart["mitochondrion", "PQ"].n) == (1, 12 * 3)
    joined = of_truth(load_recipe(recipe), scores=("instances", "overlap"), merge=WHOLE)
    alone = of_truth(load_recipe(recipe, ALONE), scores=("instances", "overlap"))
    assert joined["mitochondrion", "PQ"].n == 12 * 2
    assert {key: (row.value, row.n) for key, row in joined.items()} == {
        key: (row.value, row.n) for key, row in alone.items()
    }


@pytest.mark.parametrize(("width", "count"), [("32", 2), ("40", 3)])
def test_objects_are_measured_apart(recipe: Path, width: str, count: int) -> None:
    """One rod lies below the other, which it meets from section to section only: that takes the section thickness."""
    ids = tifffile.imread("mito-ids.tif")
    ids[:, 8:20] = 0
    ids[6:, 20:32][ids[6:, 20:32] > 0] = 5
    tifffile.imwrite("mito-ids.tif", ids)
    found = cristae.analyze("stack", recipe=load_recipe(recipe, (f"{LABELS}.width_nm={width}",)))
    assert [one.class_name for one in found.objects].count("mitochondrion") == count


def test_where_nothing_touches_there_is_no_boundary_to_learn(recipe: Path) -> None:
    ids = tifffile.imread("mito-ids.tif")
    ids[:, 19:21] = 0
    tifffile.imwrite("mito-ids.tif", ids)
    with pytest.raises(LabelError, match="no voxel of contact in the training regions"):
        check_recipe(recipe, QUICK)
    assert check_recipe(recipe, (*QUICK, f"{LABELS}.between=all"))
