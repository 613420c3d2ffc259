"""Recipes as YAML text, as JSON Schema, and the difference between two of them."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cristae.problems import Path, dotted, tag_field
from cristae.recipe.document import CORE_RESOLVERS
from cristae.recipe.recipe import Recipe

_WIDTH = 118


def recipe_to_yaml(recipe: Recipe, *, defaults: bool = True, comments: bool = False) -> str:
    """A recipe as YAML that reads back as an equal recipe.

    Args:
        recipe: What to write.
        defaults: Write every field; otherwise only those that differ from their default.
        comments: Put each field's help above it.
    """
    return config_to_yaml(recipe, defaults=defaults, comments=comments)


def config_to_yaml(config: BaseModel, *, defaults: bool = True, comments: bool = False) -> str:
    """Any part of a recipe as YAML; see `recipe_to_yaml`."""
    return "\n".join(_mapping_lines(_Fields(config, defaults, comments))) + "\n"


def scalar_to_yaml(value: str | int | float | bool | None) -> str:
    """One value as it may stand anywhere in a YAML file, quoted where needed."""
    return _scalar(value, flow=True)


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of recipes, for editors that complete and check YAML."""
    schema = Recipe.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Cristae recipe"}


@dataclass(frozen=True)
class Difference:
    """One field in which two recipes differ; None stands for 'not there' as well as for an empty value."""

    path: str
    a: Any
    b: Any

    def __str__(self) -> str:
        return f"{self.path}: {_scalar(self.a)} -> {_scalar(self.b)}"


def diff_recipes(a: Recipe, b: Recipe) -> list[Difference]:
    """The fields in which two recipes differ, defaults included, in the order of the recipe's fields.

    A field that one of them does not have and that is empty in the other is none: its part's name, or what stands below
    it, differs too.
    """
    left, right = (dict(_leaves(plain(recipe), ())) for recipe in (a, b))
    paths = [*left, *(path for path in right if path not in left)]
    return [
        Difference(dotted(path), left.get(path), right.get(path))
        for path in paths
        if left.get(path) != right.get(path)
        and not ((path in left) != (path in right) and left.get(path, right.get(path)) in (None, [], {}))
    ]


def flat(recipe: Recipe) -> dict[str, str]:
    """Every value of a recipe as text, by its path, such as 'training.epochs'."""
    return {dotted(path): str(value) for path, value in _leaves(plain(recipe), ())}


def plain(config: BaseModel) -> dict[str, Any]:
    """A config as plain dicts, lists and scalars, named as in YAML."""
    return config.model_dump(mode="json", by_alias=True)


@dataclass(frozen=True)
class _Fields:
    """The fields of one config that are to be written, the `name` that parts are chosen by first."""

    config: BaseModel
    defaults: bool
    comments: bool

    def __iter__(self) -> Iterator[tuple[str, Any, str | None]]:
        tag = tag_field(type(self.config))
        for name, field in sorted(type(self.config).model_fields.items(), key=lambda item: item[0] != tag):
            value = getattr(self.config, name)
            if self.defaults or name == tag or value != _default(field):
                yield field.alias or name, value, field.description if self.comments else None

    def of(self, config: BaseModel) -> _Fields:
        return _Fields(config, self.defaults, self.comments)


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True, validated_data={}) if not field.is_required() else ...


def _mapping_lines(fields: _Fields) -> list[str]:
    lines: list[str] = []
    for key, value, comment in fields:
        if comment:
            lines += textwrap.wrap(" ".join(comment.split()), _WIDTH - 2, initial_indent="# ", subsequent_indent="# ")
        lines += _entry_lines(_scalar(key), value, fields)
    return lines or ["{}"]


def _entry_lines(key: str, value: Any, fields: _Fields) -> list[str]:
    body = _value_lines(value, fields)
    if isinstance(body, str):
        return [f"{key}: {body}"]
    return [f"{key}:", *(f"  {line}" for line in body)]


def _value_lines(value: Any, fields: _Fields) -> str | list[str]:
    """One line of text to put after the key, or the lines of a block below it."""
    if isinstance(value, BaseModel):
        body = _mapping_lines(fields.of(value))
        return body[0] if body == ["{}"] else body
    if isinstance(value, dict) and value:
        lines: list[str] = []
        for key, item in value.items():
            lines += _entry_lines(_scalar(str(key), key=True), item, fields)
        return lines
    if isinstance(value, tuple | list) and any(isinstance(item, BaseModel | dict | tuple | list) for item in value):
        return _item_lines(value, fields)
    if isinstance(value, tuple | list):
        return f"[{', '.join(_scalar(item, flow=True) for item in value)}]"
    return _scalar(value)


def _item_lines(items: tuple[Any, ...] | list[Any], fields: _Fields) -> list[str]:
    lines: list[str] = []
    for item in items:
        body = _value_lines(item, fields)
        if isinstance(body, str):
            lines.append(f"- {body}")
            continue
        first = next(i for i, line in enumerate(body) if not line.lstrip().startswith("#"))
        lines += body[:first]  # comments of the first field stand above its '-'
        lines += [f"{'- ' if i == first else '  '}{line}" for i, line in enumerate(body) if i >= first]
    return lines


class _Dumper(yaml.SafeDumper):
    """Quotes exactly where reading would otherwise take text for something else."""

    yaml_implicit_resolvers = CORE_RESOLVERS


def _scalar(value: Any, *, flow: bool = False, key: bool = False) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool | int):
        return json.dumps(value)
    if isinstance(value, float):
        return repr(value)
    if not isinstance(value, str):
        return "[]" if value == () else json.dumps(value)
    if not value.isprintable():
        return _escaped(value)
    dumped = yaml.dump([value], Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=10**9)
    text = dumped.strip()[1:-1]
    if (key or not flow) and text.startswith(("'", '"')) and yaml_plain(value, key=key):
        return value
    return text


def _escaped(text: str) -> str:
    """Double-quoted, with everything that is not plain ASCII written as a number."""
    letters = (
        f"\\u{ord(letter):04x}" if letter < " " else json.dumps(letter)[1:-1] if letter <= "\uffff"
        else f"\\U{ord(letter):08X}"
        for letter in text
    )  # fmt: skip
    return f'"{"".join(letters)}"'


def yaml_plain(text: str, *, key: bool = False) -> bool:
    """Whether text reads back as itself without quotes, as a value (or a key) on its own line."""
    from cristae.errors import RecipeError
    from cristae.recipe.document import read_document

    written = f"{text}: 0" if key else f"a: {text}"
    try:
        value = read_document(written, "").value
    except RecipeError:
        return False
    return bool(value == ({text: 0} if key else {"a": text}))


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for i, item in enumerate(value):
            yield from _leaves(item, (*path, i))
    else:
        yield path, value
