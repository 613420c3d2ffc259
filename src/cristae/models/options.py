"""The fields of a network's config in words: what each takes, its default and its value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from cristae.models.form import NetworkConfig


@dataclass(frozen=True)
class ModelOption:
    """A field of a network's config."""

    name: str
    kind: str
    """What it takes, in words."""
    default: Any
    value: Any
    help: str


def config_options(config: NetworkConfig) -> tuple[ModelOption, ...]:
    """Every field of a network's config but its name."""
    return tuple(_options(config))


def _options(config: NetworkConfig) -> Iterator[ModelOption]:
    schema = type(config).model_json_schema()
    values = config.model_dump(mode="json")
    for name, field in type(config).model_fields.items():
        if name != "name":
            default: Any = None
            if not field.is_required():
                default = field.get_default(call_default_factory=True, validated_data={})
            yield ModelOption(
                name=name,
                kind=_kind(schema["properties"][name]),
                default=TypeAdapter(Any).dump_python(default, mode="json"),
                value=values[name],
                help=" ".join((field.description or "").split()),
            )


_WORDS = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text", "null": "null"}
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
    "multipleOf": "multiple of",
}


def _kind(schema: Mapping[str, Any]) -> str:
    """What a JSON Schema allows, in words."""
    if "enum" in schema:
        return ", ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"])
    if schema.get("type") == "array":
        return _list_kind(schema)
    if "$ref" in schema:
        return "mapping"
    return _WORDS.get(schema.get("type", ""), "mapping") + _bounds(schema)


def _list_kind(schema: Mapping[str, Any]) -> str:
    """A list in words, such as 'list of 5 whole numbers above 0'."""
    parts = schema.get("prefixItems")
    if parts and any(part != parts[0] for part in parts):
        return f"list of {', '.join(_kind(part) for part in parts)}"
    item = parts[0] if parts else schema.get("items", {})
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    count = f"{least} " if least == most else f"{least} to {most} " if most else f"at least {least} "
    return f"list of {count if least or most else ''}{_plural(item)}"


def _plural(schema: Mapping[str, Any]) -> str:
    """Several of what a JSON Schema allows."""
    if schema.get("type") == "array":
        return _list_kind(schema).replace("list", "lists", 1)
    if schema.get("type") in ("integer", "number"):
        return f"{_WORDS[schema['type']]}s{_bounds(schema).replace(', ', ' ', 1)}"
    return _kind(schema)


def _bounds(schema: Mapping[str, Any]) -> str:
    found = [f"{words} {schema[key]:g}" for key, words in _BOUNDS.items() if key in schema]
    return f", {', '.join(found)}" if found else ""
