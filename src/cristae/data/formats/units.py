"""Lengths as files write them, turned into nanometres without rounding."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from fractions import Fraction

NM_PER_UNIT: dict[str, Decimal] = {
    **dict.fromkeys(("pm", "picometer", "picometre"), Decimal("0.001")),
    **dict.fromkeys(("a", "å", "angstrom", "ångström", "angstroms"), Decimal("0.1")),
    **dict.fromkeys(("nm", "nanometer", "nanometre", "nanometers", "nanometres", "nanometer(s)"), Decimal(1)),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometre", "micrometers"), Decimal(1000)),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), Decimal(10) ** 6),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), Decimal(10) ** 7),
    **dict.fromkeys(("m", "meter", "metre"), Decimal(10) ** 9),
}


def nm_per_unit(unit: str | None) -> Decimal | None:
    """How many nanometres one `unit` has; None for pixels, nothing, or a word that is not a length."""
    if not unit:
        return None
    return NM_PER_UNIT.get(_plain(unit))


def to_nm(value: float | str | Fraction, unit: str | None) -> float | None:
    """A positive, finite length in nm; None when the unit or the value says nothing.

    Computed in decimal, so that 0.0046 µm is 4.6 nm and not 4.6000000000000005 nm.
    """
    factor = nm_per_unit(unit)
    if factor is None:
        return None
    try:
        exact = value if isinstance(value, Fraction) else Fraction(Decimal(str(value)))
        length = float(exact * Fraction(factor))
    except (InvalidOperation, OverflowError, ValueError):
        return None
    return length if math.isfinite(length) and length > 0 else None


def offset_to_nm(value: float | str, unit: str | None) -> float | None:
    """A position in nm, which may be zero or negative; None when the unit or the value says nothing."""
    factor = nm_per_unit(unit)
    if factor is None:
        return None
    try:
        position = float(Decimal(str(value)) * factor)
    except (InvalidOperation, OverflowError):
        return None
    return position if math.isfinite(position) else None


def _plain(unit: str) -> str:
    text = unit.strip().strip("\0").lower()
    # ImageJ writes the micro sign as a six-character escape.
    return text.replace("\\u00b5", "µ").replace("\\u03bc", "µ").replace("\\u00c5", "å").replace("\\u00e5", "å")
