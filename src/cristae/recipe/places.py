"""Where the values of a recipe were written, so that a problem can be told at its line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cristae.problems import Path

_FIELD = re.compile(r"[a-z]\w*(?:\.[^\s.:]+)*(?=: )")


class Change(str):
    """Where a value was changed after it was written: a `--set`, or the line of a plan."""


@dataclass(frozen=True)
class Places:
    """Where each value was written; all are equal, because recipes are compared by what they say."""

    written: Mapping[Path, str] = field(default_factory=dict, compare=False)
    """For each path, 'mito.yaml:14' or the `Change` that gave the value."""

    def of(self, path: Path) -> str | None:
        """Where the value at `path` was written, or else the closest thing around it, with what changed parts of that.

        Example:
            >>> change = Change("--set model.slices=3")
            >>> Places({("model",): "r.yaml:9", ("model", "slices"): change}).of(("model",))
            'r.yaml:9 (with --set model.slices=3)'
        """
        closest = self.closest(path)
        if closest not in self.written:
            return None
        place = self.written[closest]
        inside = (where for known, where in self.written.items() if closest and known[: len(closest)] == closest)
        changes = dict.fromkeys(where for where in inside if isinstance(where, Change) and where != place)
        return f"{place} (with {', '.join(changes)})" if changes else place

    def closest(self, path: Path) -> Path:
        """The part of a path whose place is known, () where none is."""
        while path and path not in self.written:
            path = path[:-1]
        return path


def field_of(problem: str) -> Path:
    """The path that a problem begins with; () where it begins with none.

    Example:
        >>> field_of("data.train.0: there is no volume 'a'")
        ('data', 'train', 0)
    """
    found = _FIELD.match(problem)
    return () if found is None else tuple(int(key) if key.isdecimal() else key for key in found[0].split("."))
