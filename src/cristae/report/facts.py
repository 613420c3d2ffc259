"""Plain facts for people: durations, sizes, and nested settings as rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def duration(seconds: float) -> str:
    """Such as '48 s', '3 min 20 s' or '2 h 05 min'."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def memory(size: float) -> str:
    """Such as '512 MiB' or '3.4 GiB'."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def voxel_size(size_nm: Sequence[float] | None) -> str:
    """Such as '40 x 5.9 x 5.9 nm', z first."""
    return "unknown" if size_nm is None else " x ".join(f"{side:g}" for side in size_nm) + " nm"


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
