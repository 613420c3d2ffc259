"""Which cases of a costly test the everyday suite runs; `pytest -m slow` runs the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest


def everyday(cases: Mapping[str, Any] | Iterable[Any], *names: str) -> list[Any]:
    """Parameters for `pytest.mark.parametrize`, those that are not named marked as slow.

    Args:
        cases: By name, or values that are their own names.
        names: Of those for every day.
    """
    named = dict(cases) if isinstance(cases, Mapping) else {str(case): case for case in cases}
    unknown = set(names) - named.keys()
    assert not unknown, f"no cases: {unknown}"
    found = []
    for name, case in named.items():
        values = case if isinstance(case, tuple) else (case,)
        found.append(pytest.param(*values, id=name, marks=() if name in names else pytest.mark.slow))
    return found
