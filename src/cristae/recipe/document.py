"""YAML text as plain values that remember their lines.

Scalars follow the core schema of YAML 1.2, so that `0:13` is text, `1e-4` is a number and `no` is a word. Tags,
anchors, duplicate keys and deep nesting are refused: a recipe is data and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml
from yaml.events import AliasEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent

from cristae.errors import RecipeError
from cristae.problems import Path, dotted
from cristae.recipe.places import Places

MAX_BYTES = 1_000_000
MAX_DEPTH = 24

_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_BACKSLASH = (
    "a backslash in double quotes starts an escape such as \\n; write a Windows path in single quotes, "
    r"'C:\data\cell.tif', or with forward slashes, C:/data/cell.tif"
)
_WINDOWS_PATH = re.compile(r"""^"(?:[A-Za-z]:\\(?!\\)|\S+\.\w{2,5}"$)""")
_NUMBERED = re.compile(r"\\u[0-9a-fA-F]{4}")
"""How recipes write letters that cannot be shown; no path holds these by chance."""
_HINTS = {
    "escape": _BACKSLASH,
    "expected alphabetic or numeric character": "text that starts with '*' or '&' must be in quotes",
    "expected the node content": "a value is missing, or a '[' or '{' is not closed",
    "found unexpected end of stream": "a quote is not closed",
    "cannot start any token": "a tab, '@', '%' or '`' stands where a value should start; indent with spaces and quote "
    "text that starts with such a character",
    "mapping values are not allowed here": "a ':' is not expected here; check the indentation, or quote the text",
    "expected <block end>": "the indentation does not fit the lines above",
    "could not find expected ':'": "a ':' is missing after the field name, or the indentation does not fit",
    "expected ',' or ']'": "a list that was opened with '[' is not closed, or a comma is missing",
    "expected ',' or '}'": "a mapping that was opened with '{' is not closed, or a comma is missing",
}


@dataclass(frozen=True)
class Document:
    """The values of a YAML document and where each one was written."""

    value: Any
    """Dicts with text keys, lists, text, numbers, booleans and None."""
    places: Mapping[Path, str]
    """For each path, where it was written, such as 'mito.yaml:14'."""
    former: Mapping[Path, str] = field(default_factory=dict)
    """For each part whose `name` or `kind` a change replaced, the one before."""

    def place(self, path: Path) -> str:
        """Where the value at `path` was written, or else the closest thing around it; see `Places`."""
        return Places(self.places).of(path) or dotted(())


def read_document(text: str, source: str) -> Document:
    """Read YAML text safely.

    Args:
        text: The whole document.
        source: What messages call it, usually the file's path.

    Raises:
        RecipeError: The text is too long, not YAML, or more than plain values.
    """
    if len(text) > MAX_BYTES:
        raise RecipeError(f"{source}:1: is longer than {MAX_BYTES:,} characters; this is not a recipe")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise RecipeError(f"{source}:{line}: holds a character that text files do not have") from None
    except yaml.MarkedYAMLError as error:
        raise RecipeError(f"{source}:{_line(error)}: {_explain(error)}") from None
    if node is None:
        raise RecipeError(f"{source}:1: is empty")
    places: dict[Path, str] = {(): f"{source}:{node.start_mark.line + 1}"}
    try:
        value = _plain(node, (), places, source)
    except yaml.MarkedYAMLError as error:
        raise RecipeError(f"{source}:{_line(error)}: {_explain(error)}") from None
    return Document(value, places)


class _Loader(yaml.SafeLoader):
    """Builds the node tree and refuses what a recipe does not need."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            _refuse(
                "anchors (&) and aliases (*) are not allowed; write the value out, or quote the text", event.start_mark
            )
        if isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent) and event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            _refuse(f"tags such as '{tag}' are not allowed; a recipe holds plain values only", event.start_mark)
        if self.depth >= MAX_DEPTH:
            _refuse("is nested too deeply", event.start_mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:null", _NULL, ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", _BOOL, list("tTfF")),
    ("tag:yaml.org,2002:int", _INT, list("-+0123456789")),
    ("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(_tag, _pattern, _first)
CORE_RESOLVERS = _Loader.yaml_implicit_resolvers
"""What makes unquoted text a number, a boolean or nothing; writing uses the same rules."""


def _plain(node: yaml.Node, path: Path, places: dict[Path, str], source: str) -> Any:
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            places[(*path, i)] = f"{source}:{item.start_mark.line + 1}"
        return [_plain(item, (*path, i), places, source) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _plain_mapping(node, path, places, source)
    return _scalar(node)


def _plain_mapping(node: yaml.MappingNode, path: Path, places: dict[Path, str], source: str) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            _refuse("a field name must be plain text", key_node.start_mark)
        key = key_node.value
        _refuse_half_characters(key, key_node)
        if key in mapping:
            _refuse(f"'{key}' is given twice (first at {places[(*path, key)]})", key_node.start_mark)
        places[(*path, key)] = f"{source}:{key_node.start_mark.line + 1}"
        mapping[key] = _plain(value_node, (*path, key), places, source)
    return mapping


def _scalar(node: yaml.Node) -> str | int | float | bool | None:
    text = str(node.value)
    match node.tag.rpartition(":")[2]:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return _integer(text, node)
        case "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    _refuse_half_characters(text, node)
    _refuse_windows_path(text, node)
    return text


def _refuse_windows_path(text: str, node: yaml.Node) -> None:
    """Refuse a path whose backslashes were taken as escapes: "C:\\new" is a line break and 'ew'."""
    if any(letter < " " for letter in text) and node.start_mark.buffer is not None:
        raw = _NUMBERED.sub("", node.start_mark.buffer[node.start_mark.pointer : node.end_mark.pointer])
        if "\\" in raw and _WINDOWS_PATH.match(raw):
            _refuse(_BACKSLASH, node.start_mark)


def _refuse_half_characters(text: str, node: yaml.Node) -> None:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        _refuse(r"'\ud800' to '\udfff' are halves of characters; write the character itself", node.start_mark)


def _integer(text: str, node: yaml.Node) -> int:
    if len(text) > 40:
        _refuse("is a number too long to be meant", node.start_mark)
    return int(text, 0) if text.startswith(("0x", "0o")) else int(text)


def _refuse(problem: str, mark: Any) -> NoReturn:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _line(error: yaml.MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return 1 if mark is None else int(mark.line) + 1


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem or error.context or "is not YAML")
    if "single document" in str(error.context):
        return "a second document starts here ('---'); a recipe is one document"
    if r"'\t'" in problem:
        return "a tab is used for indentation; use spaces"
    for part, hint in _HINTS.items():
        if part in problem:
            return hint
    return problem
