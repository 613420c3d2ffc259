"""`--set path=value`: the one way to change a recipe from outside its file."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from cristae.errors import RecipeError
from cristae.problems import TAGS, Path, tag_field
from cristae.recipe.document import Document, read_document


def override(document: Document, changes: Sequence[str], model: type[BaseModel]) -> Document:
    """Apply changes such as `training.epochs=5` or `model.widths=[8, 16]` in order.

    Args:
        document: The recipe as read.
        changes: `path=value`; list items are counted from 0, the value is YAML, missing fields are added.
        model: What the document describes; a part that the document leaves out is changed from its default.

    Raises:
        RecipeError: A change is not `path=value`, or its path leads nowhere.
    """
    if not changes:
        return document
    value, places, former = copy.deepcopy(document.value), dict(document.places), dict(document.former)
    for change in changes:
        place = f"--set {change}"
        key, separator, text = change.partition("=")
        path = tuple(int(part) if part.isdecimal() else part for part in key.strip().split("."))
        if not separator or "" in path:
            raise RecipeError(f"{place}: expected path=value, such as training.epochs=5")
        new = read_document(text, place).value if text.strip() else None
        before = _at(value, path)
        former = {part: name for part, name in former.items() if part[: len(path)] != path}
        if path[-1] in TAGS and isinstance(before, str) and before != new:
            former[path[:-1]] = before
        value = _put(value, path, 0, new, place, model)
        places = {known: where for known, where in places.items() if known[: len(path)] != path}
        places[path] = place
    return Document(value, places, former)


def _at(value: Any, path: Path) -> Any:
    """What stands at `path`; None where nothing does."""
    for key in path:
        value = value.get(str(key)) if isinstance(value, dict) else None
    return value


def _put(value: Any, path: Path, depth: int, new: Any, place: str, model: type[BaseModel]) -> Any:
    if depth == len(path):
        return new
    key = path[depth]
    if isinstance(value, list):
        if not isinstance(key, int) or key >= len(value):
            where = ".".join(str(part) for part in path[:depth])
            raise RecipeError(f"{place}: {where} is a list of {len(value)}; there is no item {key} (counted from 0)")
        value[key] = _put(value[key], path, depth + 1, new, place, model)
        return value
    if value is not None and not isinstance(value, dict):
        where = ".".join(str(part) for part in path[:depth])
        raise RecipeError(f"{place}: {where} is a single value and has no field '{key}'")
    mapping = _default_name(path[:depth], model) if value is None else value
    mapping[str(key)] = _put(mapping.get(str(key)), path, depth + 1, new, place, model)
    return mapping


def _default_name(path: Path, model: type[BaseModel]) -> dict[str, Any]:
    """The start of a part that was left out: its default's `name`, where parts are chosen by name."""
    default: Any = None
    for key in path:
        field = next((f for name, f in model.model_fields.items() if (f.alias or name) == key), None)
        default = None if field is None else field.default
        if not isinstance(default, BaseModel):
            return {}
        model = type(default)
    tag = tag_field(model)
    return {tag: getattr(default, tag)} if tag and default is not None else {}
