"""What is wrong with sections, from what was measured of them: each judged by its neighbours on both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cristae.data.section_measures import SectionMeasures
from cristae.data.section_outliers import outliers

_ALIKE = 0.2
"""Correlation of sketches that neighbours which follow each other reach, and inverted ones reach below 0, where a
slice and the next but one are as alike; half of what these reach in the whole volume, where that is less."""
_LEAST_ALIKE = 0.08
"""Smaller correlations say nothing."""
_LEAST_BLUR = 0.5
"""Natural logarithm of how many times less fine detail than its neighbours a section has, at least, to be blurred."""
_LEAST_CONTRAST, _LEAST_BRIGHTNESS = 0.3, 0.6
"""Natural logarithm of a ratio of contrasts, and difference of brightness in usual contrasts, that count."""
_LEAST_SHIFT_VOX = 2.0
_APART = 4
"""Neighbours of a displaced section are at most so many slices apart."""
_USUAL_SHIFTS = 4
"""Times the usual displacement against both neighbours that counts as usual."""


def repeated(digests: Mapping[int, bytes]) -> dict[int, int]:
    """Slices that are equal to an earlier one, with that one."""
    first: dict[bytes, int] = {}
    return {z: first[one] for z, one in digests.items() if first.setdefault(one, z) != z}


def inverted(found: SectionMeasures, faint: Sequence[int]) -> tuple[int, ...]:
    """Slices unlike both neighbours in sign, where the neighbours are alike."""
    here = {*found.spreads} - {*faint}
    inner = [z for z in found.spreads if {z - 1, z, z + 1} <= here]
    across = {z: found.alike[z - 1, z + 1] for z in inner}
    enough = max(_LEAST_ALIKE, min(_ALIKE, 0.5 * float(np.median(list(across.values()) or [0.0]))))
    return tuple(z for z in inner if across[z] > enough and max(found.alike[z - 1, z], found.alike[z, z + 1]) < -enough)


def _series(values: Mapping[int, float], slices: Sequence[int], left_out: set[int]) -> np.ndarray:
    """(n,) one for each slice between the first and the last, NaN where there is none."""
    if not slices:
        return np.zeros(0)
    series = np.full(slices[-1] - slices[0] + 1, np.nan)
    for z, value in values.items():
        if z not in left_out:
            series[z - slices[0]] = value
    return series


def blurred(found: SectionMeasures, slices: Sequence[int], left_out: set[int]) -> dict[int, float]:
    """Slices that have less detail than both sides at two neighbouring scales."""
    scales = []
    for scale in range(3):
        series = _series({z: float(one[scale]) for z, one in found.details.items()}, slices, left_out)
        scales.append({place: less for place, less in outliers(series, _LEAST_BLUR).items() if less < 0})
    found_at: dict[int, float] = {}
    for fine, coarse in ((0, 1), (1, 2)):
        for place in sorted({*scales[fine]} & {*scales[coarse]}):
            z, less = place + slices[0], min(scales[fine][place], scales[coarse][place])
            found_at[z] = min(float(np.exp(less)), found_at.get(z, 1.0))
    return found_at


def jumped(
    found: SectionMeasures, slices: Sequence[int], left_out: set[int], usual: float
) -> dict[int, tuple[float, float]]:
    """Slices of another contrast or brightness than both sides: times as much contrast, and brightness in units of the
    usual contrast."""
    if not usual:
        return {}
    contrast = _series({z: float(np.log(one)) for z, one in found.spreads.items() if one}, slices, left_out)
    brightness = _series({z: one / usual for z, one in found.means.items()}, slices, left_out)
    of_contrast, of_brightness = outliers(contrast, _LEAST_CONTRAST), outliers(brightness, _LEAST_BRIGHTNESS)
    return {
        place + slices[0]: (float(np.exp(of_contrast.get(place, 0.0))), of_brightness.get(place, 0.0))
        for place in sorted({*of_contrast, *of_brightness})
    }


def shifted(found: SectionMeasures, left_out: set[int]) -> dict[int, tuple[float, float]]:
    """Slices that lie off the middle of both neighbours, farther than these lie off each other and than is usual."""
    off: dict[int, np.ndarray] = {}
    back: dict[int, float] = {}
    before = {second: first for first, second in sorted(found.shifts)}  # the nearest
    for after, z in before.items():
        first = before.get(z)
        if first is None or after - first > _APART or {first, z, after} & left_out:
            continue
        there, away = found.shifts[first, z], found.shifts[z, after]
        if there.certain and away.certain:
            a, b = np.array([there.y, there.x]), np.array([away.y, away.x])
            off[z], back[z] = (a - b) / 2, float(np.linalg.norm(a + b))
    sizes = {z: float(np.linalg.norm(jump)) for z, jump in off.items()}
    least = max(_LEAST_SHIFT_VOX, 1.5 * found.step, _USUAL_SHIFTS * float(np.median(list(sizes.values()) or [0.0])))
    return {
        z: (float(off[z][0]), float(off[z][1]))
        for z, size in sizes.items()
        if size >= least and back[z] < size
        if all(size >= 1.4 * sizes.get(other, 0.0) for other in (z - 1, z + 1))  # they lie off by half of it
    }
