"""Numbers as people say them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from cristae.errors import RunError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def duration(seconds: float) -> str:
    """Seconds such as '8 s', '3 min 20 s' or '2 h 05 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def memory(size: float) -> str:
    """Bytes such as '512 MiB' or '3.4 GiB'."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def parse_size(text: str | int) -> int:
    """Bytes of a size such as '8GiB', '500MB', '2G' or a plain number.

    Raises:
        RunError: It is not a size.
    """
    if isinstance(text, int):
        return text
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", text.upper())
    if found is None or found[2] not in _UNITS or float(found[1]) == 0:
        raise RunError(f"'{text}' is not a memory size; write it as 8GiB, 500MB or a number of bytes")
    return int(float(found[1]) * _UNITS[found[2]])


def listed(names: Sequence[str], *, most: int = 6) -> str:
    """Names such as 'a, b and c'; of very many the first, and how many more there are.

    Example:
        >>> listed(["a", "b", "c"]), listed(["a", "b", "c"], most=1)
        ('a, b and c', 'a and 2 more')
    """
    shown = list(names[:most]) + ([f"{len(names) - most} more"] if len(names) > most else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def short_names(paths: Sequence[str]) -> list[str]:
    """The last parts of paths, as many as tell them apart.

    Example:
        >>> short_names(["runs/a/fold-1", "runs/b/fold-1"])
        ['a/fold-1', 'b/fold-1']
    """
    for length in range(1, 8):
        names = ["/".join(PurePath(path).parts[-length:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return list(paths)
