"""An evaluation that was killed takes over its counts only where nothing has changed that they follow from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from training_data import write_discs

from cristae.data.formats import write_image
from cristae.data.image import image_of_array
from cristae.evaluation import blocks
from cristae.evaluation.scoring import counting, ledger
from cristae.progress import Progress
from cristae.recipe.load import load_recipe
from cristae.workflows.evaluate import evaluate


class Killed(BaseException):
    pass


class Heard(Progress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


def nothing(folder: Path) -> None:
    pass


def other_labels(folder: Path) -> None:
    for file in (folder / "labels").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(file))).save(file)


def other_mapping(folder: Path) -> None:
    path = folder / "recipe.yaml"
    path.write_text(path.read_text().replace("{0: background, 255: disc}", "{0: disc, 255: background}"))


@pytest.mark.parametrize(("change", "resumes"), [(nothing, True), (other_labels, False), (other_mapping, False)])
def test_labels_of_a_recipe_and_their_mapping_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], resumes: bool
) -> None:
    path = write_discs(tmp_path, epochs=1)
    guess = (np.random.default_rng(0).random((10, 61, 70)) > 0.7).astype(np.uint8)
    write_image(image_of_array(guess), tmp_path / "guess.tif")
    monkeypatch.setattr(blocks, "BLOCK_VOXELS", 6000)
    monkeypatch.setattr(ledger, "SAVE_EVERY_S", 0.0)
    count, done = counting._count, []

    def dying(*arguments: object) -> None:
        count(*arguments)  # type: ignore[arg-type]
        done.append(1)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(counting, "_count", dying)
        with pytest.raises(Killed):
            evaluate(tmp_path / "guess.tif", "stack", recipe=load_recipe(path), out=tmp_path / "cut.csv")
    assert done
    change(tmp_path)
    heard, recipe = Heard(), load_recipe(path)
    again = evaluate(tmp_path / "guess.tif", "stack", recipe=recipe, out=tmp_path / "cut.csv", progress=heard)
    assert any("resumes an earlier evaluation" in one for one in heard.said) is resumes
    assert repr(again) == repr(evaluate(tmp_path / "guess.tif", "stack", recipe=recipe))
