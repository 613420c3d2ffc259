"""Questions of a starter recipe are asked again until they are answered."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cristae.data.formats import write_image
from cristae.data.image import image_of_array
from cristae.errors import MissingFileError
from cristae.progress import Progress
from cristae.recipe.load import load_recipe
from cristae.recipe.proposal.options import ProposalOptions
from cristae.recipe.questions import question_lines, questions_in, warn_open_questions
from cristae.workflows.new_recipe import new_recipe
from cristae.workflows.recipes import check_recipe
from cristae.workflows.train import train

WORDS = st.lists(st.text("abcdefgh255`'?,(%)", min_size=1, max_size=12), min_size=1, max_size=60).map(" ".join)


class Warnings(Progress):
    """Progress that keeps what it should warn of."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def warn(self, message: str) -> None:
        self.said.append(message)


@given(question=WORDS, indent=st.sampled_from(["", "  ", "        "]), before=st.integers(0, 3))
def test_what_is_written_is_found_again(question: str, indent: str, before: int) -> None:
    lines = question_lines(question, indent)
    text = "\n".join(["name: tiny  # QUESTION: none"] * before + lines + [f"{indent}# a comment", f"{indent}seed: 1"])
    ((line, found),) = questions_in(text)
    assert line == before + 1
    assert found.startswith(question)
    assert found.endswith("Delete this once it is right.")
    assert max(map(len, lines)) <= 120


def test_two_questions_in_a_row_are_two() -> None:
    text = "\n".join(
        [*question_lines("one " * 40, "  "), *question_lines("two?", "  "), "  #   not part of it", "a: 1"]
    )
    assert [line for line, _ in questions_in(text)] == [1, 3]
    assert questions_in("# QUESTIONS: none\n#QUESTION: yes\n") == ((2, "yes"),)


def test_a_check_repeats_them_until_they_are_deleted(tmp_path: Path) -> None:
    voxels = np.ones((10, 64, 64), np.uint8)
    voxels[:, 10:20, 10:50] = 2
    write_image(image_of_array(np.random.default_rng(0).integers(0, 255, voxels.shape, np.uint8)), tmp_path / "a.tif")
    write_image(image_of_array(voxels), tmp_path / "b.tif")
    image, labels, options = str(tmp_path / "a.tif"), str(tmp_path / "b.tif"), ProposalOptions(measure=False)
    out = new_recipe(tmp_path / "new.yaml", image=image, labels=labels, options=options)
    place = next(number for number, line in enumerate(out.read_text().splitlines(), 1) if "QUESTION" in line)
    warnings = Warnings()
    check_recipe(out, progress=warnings)
    (said,) = warnings.said
    assert said.startswith(f"{out}:{place}: still open: value 0 does not occur; is 1, the commonest (90%), really")
    kept = [line for number, line in enumerate(out.read_text().splitlines(), 1) if number != place]
    out.write_text("\n".join(kept))
    warnings = Warnings()
    check_recipe(out, progress=warnings)
    assert warnings.said == []


@pytest.mark.parametrize("gone", [True, False])
def test_a_recipe_whose_file_is_gone_has_no_questions(tmp_path: Path, text: str, gone: bool) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"# QUESTION: is it?\n{text}")
    recipe = load_recipe(path)
    if gone:
        path.unlink()
    warnings = Warnings()
    warn_open_questions(recipe, warnings)
    assert warnings.said == ([] if gone else [f"{path}:1: still open: is it?"])


def test_training_repeats_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "a.yaml").write_text(f"# QUESTION: is it?\n{text}")
    monkeypatch.chdir(tmp_path)
    warnings = Warnings()
    with pytest.raises(MissingFileError, match=r"image\.tif"):
        train(load_recipe("a.yaml"), progress=warnings)
    assert warnings.said == ["a.yaml:1: still open: is it?"]
