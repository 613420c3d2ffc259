"""The whole way on synthetic data: a volume, training, a prediction of another volume, scores, a page."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from cristae.data.files import write_text
from cristae.data.formats import write_image
from cristae.data.open import open_volume
from cristae.data.synthetic import PLATELET_CLASSES, SyntheticConfig, synthetic_volume
from cristae.data.volume import Volume
from cristae.errors import OutputExistsError
from cristae.inference.prediction import Prediction
from cristae.metrics.score import Score
from cristae.progress import Progress
from cristae.recipe.load import load_recipe
from cristae.recipe.run import Run
from cristae.workflows.evaluate import evaluate
from cristae.workflows.predict import predict
from cristae.workflows.train import train

TRAINING = SyntheticConfig(shape=(24, 512, 512), seed=1)
NEW = SyntheticConfig(shape=(6, 512, 512), seed=2)


@dataclass(frozen=True)
class Demo:
    """What the demo leaves behind."""

    folder: Path
    run: Run
    prediction: Prediction
    scores: tuple[Score, ...]

    @property
    def page(self) -> Path:
        """The report of the run."""
        return self.run.path / "report.html"

    def __str__(self) -> str:
        return "\n".join(
            [
                "The same by hand:",
                f"  cristae train {self.folder / 'recipe.yaml'} --out {self.run.path}",
                f"  cristae predict {self.folder / 'new.zarr'} --run {self.run.path} --out {self.prediction.path}",
                f"  cristae evaluate --truth {self.folder / 'new-labels.tif'} --prediction {self.prediction.path}"
                f" --recipe {self.folder / 'recipe.yaml'}",
                f"  cristae report {self.run.path}",
                "",
                f"IoU on the new volume, mean over classes {_value(self.scores, 'mIoU', 'foreground'):.3f}:",
                *(f"  {name:20} {_value(self.scores, 'Jaccard', name):.3f}" for name in PLATELET_CLASSES.foreground),
                "",
                f"The page: {self.page.absolute()}",
            ]
        )


def demo(out: str | Path = "cristae-demo", *, progress: Progress = Progress()) -> Demo:
    """Make a synthetic volume with labels, train on it, predict a second one, score it.

    Args:
        out: Where to put everything. A demo that was interrupted there resumes.
        progress: Where to show progress.

    Raises:
        OutputExistsError: The folder holds something that is not a demo.
    """
    out = Path(out)
    recipe_path = _begin(out)
    progress.say("1/4  Making two synthetic volumes with labels")
    _keep(synthetic_volume(TRAINING), out, "training", progress)
    _keep(synthetic_volume(NEW), out, "new", progress)
    progress.say("2/4  Training a small U-Net on the first")
    run = train(load_recipe(recipe_path), out=out / "run", resume=(out / "run").exists(), progress=progress)
    progress.say("3/4  Predicting the second")
    prediction = predict([run], open_volume(out / "new.zarr"), out=out / "prediction.zarr", progress=progress)
    progress.say("4/4  Scoring it against its labels")
    truth = open_volume(out / "new.zarr", labels=out / "new-labels.tif", classes=PLATELET_CLASSES)
    scores = evaluate({run.id: prediction}, truth, classes=PLATELET_CLASSES, progress=progress)
    return Demo(out, run, prediction, scores)


def recipe_text() -> str:
    """The recipe of the demo."""
    return resources.files("cristae.workflows").joinpath("demo.yaml").read_text(encoding="utf-8")


def _begin(out: Path) -> Path:
    """Write the recipe, or recognise a demo that was begun."""
    path = out / "recipe.yaml"
    if out.exists() and not out.is_dir():
        raise OutputExistsError(f"{out}: is a file; choose another folder with --out")
    begun = path.is_file() and path.read_text(encoding="utf-8") == recipe_text()
    if not begun and out.is_dir() and any(out.iterdir()):
        raise OutputExistsError(
            f"{out}: holds something that this demo did not make; choose another folder with --out, or remove it"
        )
    write_text(path, recipe_text())
    return path


def _keep(volume: Volume, out: Path, name: str, progress: Progress) -> None:
    """Write image and labels, unless an earlier run of the demo has."""
    for image, path in ((volume.image, out / f"{name}.zarr"), (volume.labels[0], out / f"{name}-labels.tif")):
        if not path.exists():
            write_image(image, path, progress=progress)


def _value(scores: tuple[Score, ...], metric: str, class_name: str) -> float:
    """The score of a class ('all' for means), pooled over voxels."""
    return next(s.value for s in scores if (s.metric, s.class_name) == (metric, class_name) and "pooled" in s.rule)
