"""Reading recipes: YAML text, what `--set` changes, and every problem at its line."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from cristae.config import Config
from cristae.data.formats.paths import why_unreadable
from cristae.errors import MissingFileError, RecipeError
from cristae.postprocessing import Step
from cristae.problems import Path as Location
from cristae.problems import explain
from cristae.recipe.document import MAX_BYTES, Document, read_document
from cristae.recipe.overrides import override
from cristae.recipe.recipe import Recipe
from cristae.recipe.renamed import old_names, with_new_names

Part = TypeVar("Part", bound=Config)
_ABSENT = {"recipe": "there is no such recipe; `cristae recipe new` makes one"}


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file.

    Args:
        path: The YAML file. Relative paths of its data start at its folder.
        overrides: Changes such as `training.epochs=5`; the value is YAML.

    Raises:
        MissingFileError: There is no such file.
        RecipeError: It is not a valid recipe; one line per problem.
    """
    path = Path(path)
    text = read_text(path)
    return parse_recipe(text, str(path), overrides).read_from(path)


def load_run_recipe(path: Path) -> Recipe:
    """Read the `recipe.yaml` of a run folder, which an earlier version may have written: old field names are accepted.

    Raises:
        MissingFileError: There is no such file.
        RecipeError: It is not a valid recipe; one line per problem.
    """
    document = with_new_names(read_document(read_text(path), str(path)))
    return parse_config(Recipe, document).written_at(document.places).read_from(path)


def parse_recipe(
    text: str, source: str = "recipe", overrides: Sequence[str] = (), places: Mapping[str, str] = {}
) -> Recipe:
    """Read a recipe from YAML text.

    Args:
        text: The whole recipe.
        source: What messages call it.
        overrides: Changes such as `training.epochs=5`.
        places: Where changes were written, by the change, if not after `--set`.

    Raises:
        RecipeError: It is not a valid recipe; one line per problem.
    """
    document = override(read_document(text, source), overrides, Recipe, places)
    problems = old_names(document)
    document = with_new_names(document)
    try:
        recipe = parse_config(Recipe, document)
    except RecipeError as error:
        raise RecipeError("\n".join([*problems, str(error)])) from None
    if problems:
        raise RecipeError("\n".join(problems))
    return recipe.written_at(document.places)


def load_steps(path: str | Path) -> tuple[Step, ...]:
    """Read a YAML file that is a list of steps of post-processing, as `predict.postprocess` of a recipe is.

    Raises:
        MissingFileError: There is no such file.
        RecipeError: It is no list of steps; one line per problem.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFileError(f"{path}: there is no such file; it is a list of steps of post-processing in YAML")
    document = read_document(read_text(path), str(path))
    if not isinstance(document.value, list):
        raise RecipeError(f"{path}:1: expected a list of steps, such as\n  - {{name: remove_small, min_size_vox: 100}}")
    places: dict[Location, str] = {("steps", *place): where for place, where in document.places.items()}
    return parse_config(_Steps, Document({"steps": document.value}, places)).steps


class _Steps(Config):
    steps: tuple[Step, ...]


def parse_config(model: type[Part], document: Document) -> Part:
    """Validate a document as `model`.

    Raises:
        RecipeError: One line `place: path: what is wrong` for each problem.
    """
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        raise RecipeError("\n".join(explain(error, model, document.place, document.former))) from None


def read_text(path: Path, *, what: str = "recipe") -> str:
    """The text of a file that a person wrote.

    Raises:
        MissingFileError: There is no such file, or it cannot be read.
        RecipeError: It is no text file.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise RecipeError(f"{path}: is a folder; a {what} is one YAML file, such as {path / f'{what}.yaml'}")
        if not stat.S_ISREG(mode):
            raise RecipeError(f"{path}: is a pipe or a device; a {what} is one YAML file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 4)
    except OSError as error:
        absent = isinstance(error, FileNotFoundError) and not path.is_symlink()
        why = _ABSENT.get(what, f"there is no such {what}") if absent else why_unreadable(path, error)
        raise MissingFileError(f"{path}: {why}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"{path}:{line}: is not UTF-8 text; save it as UTF-8") from None
