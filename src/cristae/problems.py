"""What is wrong with what people write, said in its own words: `file:line: path: what is wrong`."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]
"""Keys and list positions that lead from the top of a document to a value."""

TAGS = ("name", "kind")
"""Fields by which one part is chosen among others."""

_PLAIN = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "tuple_type": "must be a list, such as",
    "list_type": "must be a list, such as",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must hold fields, one `field: value` per line",
    "model_attributes_type": "must hold fields, one `field: value` per line",
}
_CLOSE = 0.6
"""How alike a word and the one that is suggested for it are."""
_OF_A_FIELD = re.compile(r"Value error, ([a-z]\w*(?:\.\w+)*): ")
_WRONG_KIND = {"string_type": str, "tuple_type": list, "list_type": list, "dict_type": dict, "model_type": dict}


@dataclass(frozen=True)
class _Spot:
    """Where an error lies: in the document and in the types."""

    path: Path
    annotation: Any
    field: FieldInfo | None


def explain(
    error: ValidationError,
    model: type[BaseModel],
    place: Callable[[Path], str],
    former: Mapping[Path, str] | None = None,
) -> list[str]:
    """One line for each thing that is wrong, in the order of the document's fields.

    Args:
        error: What pydantic found.
        model: The type that was validated.
        place: Where the value at a path was written, such as 'mito.yaml:14'.
        former: For each part whose name was replaced after it was written, the name before.

    Returns:
        Lines `place: path: what is wrong`, without a path for the whole.
    """
    spots: dict[Path, list[tuple[ErrorDetails, _Spot]]] = {}
    for detail in error.errors(include_url=False):
        detail, spot = _sharpened(detail, _locate(detail["loc"], model))
        spots.setdefault(spot.path, []).append((detail, spot))
    lines, misspelt = [], set(_misspelt(spots))
    for path, group in spots.items():
        if any(other[: len(path)] == path != other for other in spots) and all(_follows(d) for d, _ in group):
            continue
        if group[0][0]["type"] == "missing" and path in misspelt:
            continue
        left_over = (former or {}).get(path[:-1]) if group[0][0]["type"] == "extra_forbidden" else None
        wordings = (
            [_left_over(group[0][1], left_over)]
            if left_over
            else dict.fromkeys(_wording(detail, spot) for detail, spot in _relevant(group))
        )
        where = [place(_pointed_at(path, group[0][0])), *([dotted(path)] if path else [])]
        lines.append(f"{': '.join(where)}: {'; or '.join(wordings)}")
    return lines


def _misspelt(spots: Mapping[Path, Sequence[tuple[ErrorDetails, _Spot]]]) -> Iterator[Path]:
    """The fields that unknown ones beside them seem to mean."""
    for path, group in spots.items():
        detail, spot = group[0]
        if detail["type"] == "extra_forbidden" and _is_model(spot.annotation):
            close = difflib.get_close_matches(str(path[-1]), field_names(spot.annotation), n=1, cutoff=_CLOSE)
            yield from ((*path[:-1], name) for name in close)


def dotted(path: Path) -> str:
    """A path as people write it: `data.train.0.slices`."""
    return ".".join(str(part) for part in path) or "recipe"


def suggest(word: str, choices: Sequence[str]) -> str:
    """`did you mean 'x'?` with a separator, or nothing when no choice is close."""
    close = difflib.get_close_matches(word, choices, n=1, cutoff=_CLOSE)
    return f"; did you mean '{close[0]}'?" if close else ""


def field_names(model: type[BaseModel]) -> list[str]:
    """Names of a model's fields as they are written in YAML."""
    return [field.alias or name for name, field in model.model_fields.items()]


def tag_field(model: type[BaseModel]) -> str | None:
    """The field by which a recipe chooses this model among others (`name` or `kind`), if it has one."""
    for name in TAGS:
        field = model.model_fields.get(name)
        if field is not None and get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
            return name
    return None


def is_list(path: Path, model: type[BaseModel]) -> bool:
    """Whether the field at a path of a document holds a list."""
    return get_origin(_bare(_locate(path, model).annotation)) in (tuple, list)


def _sharpened(detail: ErrorDetails, spot: _Spot) -> tuple[ErrorDetails, _Spot]:
    """A problem of a whole part whose message begins with the path of one of its fields: that of the field."""
    found = _OF_A_FIELD.match(detail["msg"]) if detail["type"] == "value_error" and _is_model(spot.annotation) else None
    if found is None or found[1].split(".")[0] not in field_names(spot.annotation):
        return detail, spot
    sharper: ErrorDetails = {**detail, "msg": f"Value error, {detail['msg'][found.end() :]}"}
    return sharper, _Spot((*spot.path, *found[1].split(".")), None, None)


def _left_over(spot: _Spot, former: str) -> str:
    """About a field of the part that stood here before its name was replaced."""
    tag = tag_field(spot.annotation) or "name"
    name = get_args(spot.annotation.model_fields[tag].annotation)[0]
    part = ".".join(map(str, spot.path[:-1]))
    return (
        f"belongs to the options of {former}, and {name} has no such one; use --set '{part}={{{tag}: {name}}}', which "
        "leaves out the options from before"
    )


def _pointed_at(path: Path, detail: ErrorDetails) -> Path:
    """For an unknown name the line of the name, else the line of the field."""
    if detail["type"] == "union_tag_invalid":
        return (*path, str(detail["ctx"]["discriminator"]).strip("'"))
    return path


def _follows(detail: ErrorDetails) -> bool:
    """Whether an error around a deeper one only repeats it: another union member's, or a count of valid items."""
    return detail["type"] == "too_short" or not _takes(detail)


def _takes(detail: ErrorDetails) -> bool:
    return detail["type"] not in _WRONG_KIND or isinstance(detail["input"], _WRONG_KIND[detail["type"]])


def _relevant(group: list[tuple[ErrorDetails, _Spot]]) -> list[tuple[ErrorDetails, _Spot]]:
    """Of the errors of a union's members, those of the members that take this kind of value at all."""
    return [one for one in group if _takes(one[0])] or group


def _wording(detail: ErrorDetails, spot: _Spot) -> str:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    match kind:
        case "missing":
            return f"is required{_help(spot)}"
        case "extra_forbidden":
            names = field_names(spot.annotation) if _is_model(spot.annotation) else []
            word = str(spot.path[-1])
            tag = tag_field(spot.annotation) if names else None
            known = ", ".join(name for name in names if name != tag) or "none"
            return f"unknown field{suggest(word, names) or f'; the fields here are {known}'}"
        case "union_tag_invalid":
            choices = [tag.strip(" '") for tag in str(context["expected_tags"]).split(",")]
            key = str(context["discriminator"]).strip("'")
            tag = str(context["tag"])
            return f"unknown {key} '{tag}'{suggest(tag, choices)} ({key} is one of: {', '.join(choices)})"
        case "union_tag_not_found":
            key = str(context["discriminator"]).strip("'")
            return f"`{key}:` is missing; it is one of: {', '.join(_tags(spot.annotation))}"
        case "literal_error":
            choices = [str(choice) for choice in get_args(_bare(spot.annotation))]
            return f"must be {context['expected']}, got {_show(value)}{suggest(str(value), choices)}"
        case "too_short":
            return f"must have at least {context['min_length']} items, got {context['actual_length']}"
        case "too_long":
            return f"must have at most {context['max_length']} items, got {context['actual_length']}"
        case "string_type" if isinstance(value, int | float):
            return f"must be text; put it in quotes: '{value}'"
        case "string_pattern_mismatch":
            return f"{_show(value)} is not in the expected form{_help(spot)}"
        case "value_error" | "assertion_error":
            return detail["msg"].partition(", ")[2] or detail["msg"]
        case "tuple_type" | "list_type" if isinstance(value, dict):
            return "must be a list; put the one part into brackets: [{...}]"
        case "tuple_type" | "list_type" if isinstance(value, str) and _example(spot) == "[1, 2]":
            return f"{_PLAIN[kind]} [{value}], got {_show(value)}{_help(spot)}"
        case "tuple_type" | "list_type":
            return f"{_PLAIN[kind]} {_example(spot)}, got {_show(value)}{_help(spot)}"
        case "model_type" | "model_attributes_type" if value in _tags(spot.annotation):
            return f"{_PLAIN[kind]}, got {_show(value)}; write {{name: {value}}}"
        case kind if kind in _PLAIN:
            return f"{_PLAIN[kind]}, got {_show(value)}{_help(spot)}"
    return f"{detail['msg'].replace('Input should', 'must')}, got {_show(value)}"


def _example(spot: _Spot) -> str:
    default = spot.field.get_default() if spot.field is not None else None
    if isinstance(default, tuple) and default and all(isinstance(one, int | float) for one in default):
        return str(list(default))
    return "[1, 2]"


def _help(spot: _Spot) -> str:
    text = spot.field.description if spot.field is not None else None
    return f" ({' '.join(text.split())})" if text else ""


def _show(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping" if value else "an empty mapping"
        case list() | tuple():
            return f"a list of {len(value)}"
        case bool():
            return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _locate(loc: tuple[int | str, ...], model: type[BaseModel]) -> _Spot:
    """Follow pydantic's location through the types, leaving out the names of union members.

    The annotation of an unknown field is the model that lacks it.
    """
    spot = _Spot((), model, None)
    for item in loc:
        spot = _step(spot, item)
    return spot


def _step(spot: _Spot, item: int | str) -> _Spot:
    annotation = _bare(spot.annotation)
    origin, args = get_origin(annotation), get_args(annotation)
    below = (*spot.path, item)
    if origin in (Union, types.UnionType):
        return _step_into_union(spot, [arg for arg in args if arg is not type(None)], item)
    if _is_model(annotation):
        for name, field in annotation.model_fields.items():
            if item == (field.alias or name):
                return _Spot(below, field.annotation, field)
        return _Spot(below, annotation, None) if item != "[key]" else spot
    if origin in (tuple, list) and isinstance(item, int):
        inner = args[0] if origin is list or args[-1] is Ellipsis else args[min(item, len(args) - 1)]
        return _Spot(below, inner, spot.field)
    if origin is dict:
        return _Spot(below, args[1], spot.field)
    return spot if item == "[key]" or not isinstance(item, int) else _Spot(below, None, spot.field)


def _step_into_union(spot: _Spot, members: list[Any], item: int | str) -> _Spot:
    for member in map(_bare, members):
        if _is_model(member) and (tag := tag_field(member)) and item in get_args(member.model_fields[tag].annotation):
            return _Spot(spot.path, member, spot.field)
    if len(members) == 1:
        return _step(_Spot(spot.path, members[0], spot.field), item)
    for member in map(_bare, members):  # a label such as 'tuple[int, ...]' that pydantic gives to an untagged member
        if str(item).startswith(getattr(get_origin(member) or member, "__name__", "?")):
            return _Spot(spot.path, member, spot.field)
    return spot


def _bare(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _tags(annotation: Any) -> list[str]:
    members = get_args(_bare(annotation)) if not _is_model(annotation) else (annotation,)
    tags = []
    for member in map(_bare, members):
        if _is_model(member) and (tag := tag_field(member)):
            tags += [str(choice) for choice in get_args(member.model_fields[tag].annotation)]
    return tags


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
