"""Voxel sizes that nobody meant: in another unit, in another order of the axes, or left at a program's default.

The limits are wide: no electron microscope comes near them, from tilted milling to sparse sections.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cristae.data.image import VoxelSize, check_voxel_size, same_voxel_size, voxel_size_text
from cristae.errors import VoxelSizeError

SHORTEST_NM, LONGEST_PIXEL_NM, LONGEST_SLICE_NM = 0.05, 1000.0, 5000.0
"""No edge is shorter than the first, none in y and x longer than the second, and slices no thicker than the third."""
THICKEST, THINNEST = 1000.0, 0.1
"""Distance of slices as a multiple of the longer side of a pixel."""
MOST_OBLONG = 4.0
"""Pixels are square, or nearly: tilted milling and drift stretch y less than this."""
FAR_APART = 8.0
"""Networks are not brought to pixels more than so many times larger or smaller than those that they learned from."""
_MICROMETRE, _MILLIMETRE, _FINE_PIXEL_NM = 1e3, 1e6, 100.0
_UNITS = {1: "angstrom and nm", 3: "um and nm", 4: "um and angstrom", 6: "mm and nm", 9: "m and nm"}
"""Units that are so many powers of ten apart."""
_MEANT = (
    (1e3, "um was meant where nm is said"),
    (1e-3, "nm was meant where um is said"),
    (10.0, "nm was meant where angstrom is said"),
    (0.1, "angstrom was meant where nm is said"),
    (1e6, "mm was meant where nm is said"),
    (1e-6, "nm was meant where mm is said"),
)
"""Factors that may make a size a likely one."""


def unit_slip(size: VoxelSize, *, flat: bool = False) -> str | None:
    """Why no electron microscope gives this voxel size, and what was likely meant; None where one does.

    Args:
        size: (z, y, x) in nm.
        flat: Of a single slice, whose thickness does not matter.

    Example:
        >>> unit_slip((40.0, 4.0, 4.0))
        >>> print(unit_slip((0.05, 0.004, 0.004)))
        an edge of 0.004 nm is shorter than an atom; if um was meant where nm is said, it is 50 x 4 x 4 nm
    """
    if not flat and _is_default(size):
        return f"{size[0]:g} nm {_default_axes(size)} is what programs write where nobody set a size"
    why = _implausible(size, flat)
    return None if why is None else f"{why}{_proposal(size, flat)}"


def check_typed_size(size: Sequence[float], *, flat: bool = False) -> None:
    """Do nothing for a voxel size (z, y, x) in nm that somebody may have meant to type.

    Raises:
        VoxelSizeError: It is no voxel size, or one that `unit_slip` knows; 1 um on all axes may be meant.
    """
    check_voxel_size(size)
    z, y, x = size
    slip = None if z == y == x == _MICROMETRE else unit_slip((z, y, x), flat=flat)
    if slip is not None:
        raise VoxelSizeError(f"voxel size {voxel_size_text(size)} (z, y, x): {slip}; give it in nm")


def slip_between(first: VoxelSize, second: VoxelSize, *, axes: Sequence[int] = (0, 1, 2)) -> str:
    """How two voxel sizes that differ may mean the same one, for a message; empty where they cannot.

    Example:
        >>> slip_between((50.0, 4.0, 4.0), (0.05, 0.004, 0.004))
        'a factor of 1000, as if um and nm were confused'
        >>> slip_between((50.0, 4.0, 4.0), (0.05, 4.0, 4.0))
        'a factor of 1000 along z, as if um and nm were confused'
        >>> slip_between((50.0, 4.0, 4.0), (4.0, 4.0, 50.0))
        'as if one were written in the order x, y, z'
    """
    if same_voxel_size(first, second, axes=axes):
        return ""
    if len(axes) == 3 and same_voxel_size(first, (second[2], second[1], second[0])):
        return "as if one were written in the order x, y, z"
    powers = {axis: _power_of_ten(second[axis] / first[axis]) for axis in axes}
    other = {power for power in powers.values() if power != 0}
    if len(other) != 1 or (power := other.pop()) is None:
        return ""
    along = [f" along {'zyx'[axis]}" for axis in axes if powers[axis]]
    where = "" if len(along) == len(axes) else " and".join(along)
    units = _UNITS.get(abs(power))
    return f"a factor of {10 ** abs(power)}{where}" + (f", as if {units} were confused" if units else "")


def far_apart(first: VoxelSize, second: VoxelSize) -> bool:
    """Whether pixels (y, x) differ so much that one network cannot serve both."""
    ratios = [second[axis] / first[axis] for axis in (1, 2)]
    most = FAR_APART * 1.01
    return all(ratio > most for ratio in ratios) or all(ratio < 1 / most for ratio in ratios)


def _power_of_ten(ratio: float) -> int | None:
    power = round(math.log10(ratio))
    return power if same_voxel_size((ratio,) * 3, (10.0**power,) * 3) else None


def _is_default(size: VoxelSize) -> bool:
    """Whether 1 um or 1 mm stands where nobody set a size: on all axes, or between slices of fine pixels."""
    z, y, x = size
    return z in (_MICROMETRE, _MILLIMETRE) and (z == y == x or max(y, x) < _FINE_PIXEL_NM)


def _default_axes(size: VoxelSize) -> str:
    return "on all axes" if size[0] == size[2] else "between slices"


def _implausible(size: VoxelSize, flat: bool) -> str | None:
    z, y, x = size
    pixel, shortest = max(y, x), min(y, x) if flat else min(size)
    if shortest < SHORTEST_NM:
        return f"an edge of {shortest:g} nm is shorter than an atom"
    if pixel > LONGEST_PIXEL_NM:
        return f"pixels (y, x) of {pixel:g} nm are wider than those of an electron microscope"
    if pixel > MOST_OBLONG * min(y, x):
        return f"pixels are square, or nearly, but y is {y:g} nm and x {x:g} nm"
    if flat:
        return None
    if z > LONGEST_SLICE_NM or z > THICKEST * pixel:
        return f"slices {z:g} nm apart are too far for pixels of {pixel:g} nm"
    if z < THINNEST * pixel:
        return f"slices {z:g} nm apart are too close for pixels of {pixel:g} nm"
    return None


def _proposal(size: VoxelSize, flat: bool) -> str:
    """What was likely meant; empty where nobody can know."""
    z, y, x = size
    if not flat and z != x and _likely((x, y, z), flat):
        return f"; if it was written in the order x, y, z, it is {voxel_size_text((x, y, z))}"
    for factor, meant in _MEANT:
        for candidate in ((z * factor, y * factor, x * factor), (z * factor, y, x), (z, y * factor, x * factor)):
            if candidate != size and _likely(candidate, flat):
                return f"; if {meant}, it is {voxel_size_text(candidate)}"
    return ""


def _likely(size: VoxelSize, flat: bool) -> bool:
    """Whether it is one that people work at."""
    z, y, x = size
    if _implausible(size, flat) is not None or not (0.1 <= y <= 250 and 0.1 <= x <= 250):
        return False
    return flat or (0.2 <= z <= 500 and 0.5 * max(y, x) <= z <= 100 * min(y, x))
