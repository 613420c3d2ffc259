"""Plain facts for people: shapes, and nested settings as rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cristae.words import duration, memory


def shape(size: Sequence[int]) -> str:
    """Such as '60 x 512 x 512', z first."""
    return " x ".join(str(side) for side in size)


def rows_of(content: Mapping[str, Any]) -> list[dict[str, str]]:
    """Nested settings as rows of a dotted name and a value, in order; units in the names decide the form."""
    return [{"Name": name, "Value": value} for name, value in _flat(content, "")]


def _flat(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif value is not None:
            yield name, _text(name, value)


def _text(name: str, value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_text(name, item) for item in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if name.endswith("seconds"):
            return duration(value)
        if "bytes" in name:
            return memory(value)
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    return str(value)
