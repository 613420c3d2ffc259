"""Fields of recipes that had another name in earlier versions.

A recipe that a person writes is refused with the new name at its line; the `recipe.yaml` of a run folder, which nobody
should have to edit, is read as if it had the new names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from cristae.problems import Path, dotted
from cristae.recipe.document import Document

FIELDS: Mapping[str, str] = {
    "loss.head_weights": "auxiliary_weights",
    "model.heads": "outputs",
    "training.schedule.warmup_updates": "warmup",
}
"""The old path of a field, with `*` for any item of a list, to the field's new name in the same place."""


def old_names(document: Document) -> list[str]:
    """One line `place: path: what it is now` for each field with an old name."""
    return [
        f"{document.place(path)}: {dotted(path)}: `{path[-1]}` is now `{new}`" for path, new in _found(document.value)
    ]


def with_new_names(document: Document) -> Document:
    """The same document with new names in place of old ones; a new name that is there already stays as it is."""
    value, places = document.value, dict(document.places)
    for path, new in _found(document.value):
        value = _renamed(value, path, new)
        places[(*path[:-1], new)] = document.place(path)
    return replace(document, value=value, places=places)


def _found(value: Any) -> Iterator[tuple[Path, str]]:
    """The path of each field with an old name, and its new one."""
    for old, new in FIELDS.items():
        for path in _matches(value, old.split(".")):
            yield path, new


def _matches(value: Any, pattern: list[str]) -> Iterator[Path]:
    """Paths in `value` that exist and fit a pattern."""
    if not pattern:
        yield ()
        return
    key, *rest = pattern
    inner: list[tuple[str | int, Any]] = []
    if key == "*" and isinstance(value, list):
        inner = list(enumerate(value))
    elif isinstance(value, dict) and key in value:
        inner = [(key, value[key])]
    for step, item in inner:
        yield from ((step, *path) for path in _matches(item, rest))


def _renamed(value: Any, path: Path, new: str) -> Any:
    step, *rest = path
    if isinstance(value, list):
        return [_renamed(item, tuple(rest), new) if i == step else item for i, item in enumerate(value)]
    if rest:
        return {key: _renamed(item, tuple(rest), new) if key == step else item for key, item in value.items()}
    return {new if key == step else key: item for key, item in value.items() if key != step or new not in value}
