"""`path=value`: the one way to change a recipe from outside its file, by `--set` or by a plan."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from cristae.errors import RecipeError
from cristae.problems import TAGS, Path, dotted, is_list, tag_field
from cristae.recipe.document import Document, read_document
from cristae.recipe.places import Change, Places

_PUBLIC = " (a public set, `data.set`, fills in what is left out)"


def override(
    document: Document, changes: Sequence[str], model: type[BaseModel], places: Mapping[str, str] = {}
) -> Document:
    """Apply changes such as `training.epochs=5` or `model.widths=[8, 16]` in order.

    Args:
        document: The recipe as read.
        changes: `path=value`; list items are counted from 0, the value is YAML, missing fields are added.
        model: What the document describes; a part that the document leaves out is changed from its default.
        places: Where changes were written, by the change; the others are told as `--set` and the change.

    Raises:
        RecipeError: A change is not `path=value`, or its path leads nowhere.
    """
    if not changes:
        return document
    value, written, former = copy.deepcopy(document.value), dict(document.places), dict(document.former)
    for change in changes:
        place = Change(places.get(change, f"--set {change}"))
        key, separator, text = change.partition("=")
        path = tuple(int(part) if part.isdecimal() else part for part in key.strip().split("."))
        if not separator or "" in path:
            raise RecipeError(f"{place}: expected path=value, such as training.epochs=5")
        new = _value(text, place)
        _require_lists(value, path, place, model)
        before = _at(value, path)
        former = {part: name for part, name in former.items() if part[: len(path)] != path}
        renamed = len(path) > 1 and path[-1] in TAGS and isinstance(before, str) and before != new
        if renamed:
            former[path[:-1]] = before
        value = _put(value, path, 0, new, place, model)
        written = _changed(written, path, place)
        if renamed:  # what the part lacks now, it lacks because of its name; its other fields stay where they were
            part, around = path[:-1], Places(written)
            written |= {(*part, key): written[around.closest((*part, key))] for key in _at(value, part)} | {part: place}
    return Document(value, written, former)


def _changed(places: Mapping[Path, str], path: Path, place: str) -> dict[Path, str]:
    """The places after a value was written at `path`, with parts around it that the file leaves out."""
    kept = {known: where for known, where in places.items() if known[: len(path)] != path}
    around = {path[:depth]: place for depth in range(1, len(path))}
    return around | kept | {path: place}


def _value(text: str, place: str) -> Any:
    try:
        return read_document(text, place).value if text.strip() else None
    except RecipeError as error:
        raise RecipeError(str(error).replace(f"{place}:1: ", f"{place}: ", 1)) from None


def _require_lists(value: Any, path: Path, place: str, model: type[BaseModel]) -> None:
    """Make sure that no item is changed of a list that the file leaves out."""
    for depth, key in enumerate(path):
        if not value and isinstance(key, int) and is_list(path[:depth], model):
            where = dotted(path[:depth])
            raise RecipeError(
                f"{place}: the recipe does not list {where}, so there is no item {key} to change"
                f"{_PUBLIC if path[0] == 'data' else ''}; give the whole list: --set '{where}=[...]'"
            )
        value = _at(value, (key,))


def _at(value: Any, path: Path) -> Any:
    """What stands at `path`; None where nothing does."""
    for key in path:
        if isinstance(value, list):
            value = value[key] if isinstance(key, int) and key < len(value) else None
        else:
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
