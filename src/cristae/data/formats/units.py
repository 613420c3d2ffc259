"""Lengths as files write them, turned into nanometres without rounding; voxel sizes and origins made of them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from cristae.data.image import VoxelSize

_PREFIXES = {
    "yocto": -24, "zepto": -21, "atto": -18, "femto": -15, "pico": -12, "nano": -9, "micro": -6, "milli": -3,
    "centi": -2, "deci": -1, "": 0, "deca": 1, "hecto": 2, "kilo": 3, "mega": 6, "giga": 9, "tera": 12,
}  # fmt: skip
_SYMBOLS = {
    "ym": -24, "zm": -21, "am": -18, "fm": -15, "pm": -12, "nm": -9, "um": -6, "µm": -6, "μm": -6, "mm": -3, "cm": -2,
    "dm": -1, "m": 0, "km": 3,
}  # fmt: skip
_NM_PER_UNIT: dict[str, Decimal] = {
    **{f"{prefix}meter": Decimal(10) ** (power + 9) for prefix, power in _PREFIXES.items()},
    **{f"{prefix}metre": Decimal(10) ** (power + 9) for prefix, power in _PREFIXES.items()},
    **{symbol: Decimal(10) ** (power + 9) for symbol, power in _SYMBOLS.items()},
    **dict.fromkeys(("micron", "u", "µ", "μ"), Decimal(1000)),
    **dict.fromkeys(("a", "å", "ang", "angstrom", "ångström", "angstroem", "ångstrom", "angström"), Decimal("0.1")),
}  # fmt: skip
SHORTEST_NM, LONGEST_NM = 0.005, 1e5
"""Voxels of microscopes lie between 0.05 Angstrom and 0.1 mm."""
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


@dataclass(frozen=True)
class Calibration:
    """What a file says about sizes and places."""

    voxel_size_nm: VoxelSize | None = None
    """(z, y, x)."""
    origin_nm: VoxelSize | None = None
    """Centre of the first voxel (z, y, x)."""
    note: str = ""
    """What is known when the voxel size is not."""


def calibrate(edges_nm: Sequence[float | None], origin_nm: VoxelSize | None = None, *, note: str = "") -> Calibration:
    """A calibration from the edges (z, y, x) that are known; the voxel size needs all three.

    Example:
        >>> calibrate((None, 4.0, 4.0)).note
        'incomplete: the file only says y 4 nm, x 4 nm'
    """
    z, y, x = edges_nm
    if z is not None and y is not None and x is not None:
        return Calibration((z, y, x), origin_nm)
    known = [f"{axis} {edge:g} nm" for axis, edge in zip("zyx", edges_nm, strict=True) if edge is not None]
    said = f"incomplete: the file only says {', '.join(known)}" if known else ""
    return Calibration(None, origin_nm, note or said)


def is_of_microscope(edges_nm: Sequence[float | None]) -> bool:
    """Whether the known edges can be those of a voxel from a microscope; others are slips of the unit."""
    return all(edge is None or SHORTEST_NM <= edge <= LONGEST_NM for edge in edges_nm)


def nm_per_unit(unit: Any) -> Decimal | None:
    """How many nanometres one `unit` has; None for pixels, nothing, or a word that is not a length.

    Example:
        >>> nm_per_unit("micrometers"), nm_per_unit("nm"), nm_per_unit("pixel")
        (Decimal('1000'), Decimal('1'), None)
    """
    if not isinstance(unit, str):
        return None
    word = _plain(unit)
    factor = _NM_PER_UNIT.get(word)
    return _NM_PER_UNIT.get(word.removesuffix("s")) if factor is None and len(word) > 3 else factor


def to_nm(value: Any, unit: Any) -> float | None:
    """A positive, finite length in nm; None when the unit or the value says nothing.

    Computed in decimal, so that 0.0046 µm is 4.6 nm and not 4.6000000000000005 nm.

    Args:
        value: A number or its text.
        unit: Its unit, as written.
    """
    length = offset_to_nm(value, unit)
    return length if length is not None and length > 0 else None


def offset_to_nm(value: Any, unit: Any) -> float | None:
    """A position in nm, which may be zero or negative; None when the unit or the value says nothing."""
    factor = nm_per_unit(unit)
    if factor is None or isinstance(value, bool):
        return None
    try:
        exact = value if isinstance(value, Fraction) else Fraction(Decimal(str(value).strip()))
        position = float(exact * Fraction(factor))
    except (InvalidOperation, OverflowError, ValueError):
        return None
    return position if math.isfinite(position) else None


def _plain(unit: str) -> str:
    # ImageJ writes the micro sign as a six-character escape.
    text = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), unit).strip().strip("\0").strip().casefold()
    return text.removesuffix("(s)")
