"""What counts as one independent unit, and how rows of slices are grouped into units.

Slices of one stack are not independent: a mitochondrion that is missed in one slice is missed in the next. Intervals
and p-values made of such slices are too narrow and too small. Slices may stand alone only where they lie far apart;
otherwise consecutive slices are added up to slabs, or a whole volume or animal is the unit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from cristae.errors import ScoreError

NEIGHBOURS_WARNING: Final = (
    "slices of one stack are taken as independent units; neighbouring slices show the same objects, so the intervals "
    "are too narrow and p-values too small unless the slices lie far apart; group them with --unit slab:500nm, or take "
    "volumes or animals as units"
)


@dataclass(frozen=True)
class Unit:
    """What is taken as independent of everything else."""

    kind: Literal["slice", "slab", "volume", "column"]
    thickness_nm: float = 0.0
    """Of a slab along z."""
    column: str = ""
    """Whose values name the units, such as an animal or a block."""

    def __str__(self) -> str:
        if self.kind == "slab":
            return f"slab:{self.thickness_nm:g}nm"
        return f"column:{self.column}" if self.kind == "column" else self.kind


def parse_unit(text: str) -> Unit:
    """Read `slice`, `slab:500nm`, `volume` or `column:NAME`.

    Raises:
        ScoreError: The text is none of these.
    """
    if text == "slice":
        return Unit("slice")
    if text == "volume":
        return Unit("volume")
    if slab := re.fullmatch(r"slab:(\d+(?:\.\d+)?)\s*nm", text):
        if float(slab[1]) > 0:
            return Unit("slab", thickness_nm=float(slab[1]))
    elif text.startswith("column:") and len(text) > len("column:"):
        return Unit("column", column=text.removeprefix("column:"))
    raise ScoreError(f"'{text}' is not a unit; expected slice, slab:500nm, volume or column:NAME")


def slab_of(slices: np.ndarray, spacing_nm: float, thickness_nm: float) -> np.ndarray:
    """Number of the slab that each slice belongs to, counted from slice 0.

    Args:
        slices: (n,) slice numbers.
        spacing_nm: Distance of slices in nm.
        thickness_nm: Of a slab; rounded to whole slices.

    Raises:
        ScoreError: The spacing is not positive, or a slab is thinner than a slice.
    """
    if not (math.isfinite(spacing_nm) and spacing_nm > 0):
        raise ScoreError(f"the distance of slices must be greater than 0 nm, got {spacing_nm:g}")
    if thickness_nm < spacing_nm:
        raise ScoreError(f"a slab of {thickness_nm:g} nm is thinner than the {spacing_nm:g} nm between two slices")
    return np.asarray(slices, np.int64) // min(round(thickness_nm / spacing_nm), np.iinfo(np.int64).max)


def group_rows(keys: Sequence[Hashable], rows: np.ndarray) -> tuple[tuple[Hashable, ...], np.ndarray]:
    """Add up the rows of each unit.

    Args:
        keys: (n,) the unit of each row.
        rows: (n, k) counts, or values and numbers as `mean_rows` gives them.

    Returns:
        The units in order of first appearance, and their sums (units, k).
    """
    names = tuple(dict.fromkeys(keys))
    place = {name: index for index, name in enumerate(names)}
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, [place[key] for key in keys], rows)
    return names, sums


def correlation_length(values: np.ndarray) -> float:
    """Over how many slices scores of a stack go together: the integrated autocorrelation along z.

    A stack of N slices is worth about N / length independent ones. The sum of the autocorrelations stops
    at the first pair of neighbouring lags whose sum is not positive, and pairs are kept from rising again (Geyer 1992, https://doi.org/10.1214/ss/1177011137).
    A trend over the stack counts as correlation. From a short stack the length comes out too small.

    Args:
        values: (n,) scores of consecutive slices, without gaps, NaN where undefined.

    Returns:
        The length in slices, at least 1; NaN below ten defined slices or where the scores do not vary.
    """
    centred = np.asarray(values, np.float64) - np.nanmean(values) if np.isfinite(values).any() else np.full(1, np.nan)
    ok = np.isfinite(centred)
    variance = float(np.square(centred[ok]).mean()) if ok.any() else 0.0
    if np.count_nonzero(ok) < 10 or variance < 1e-24:
        return math.nan
    series = np.where(ok, centred, 0.0)
    lags = range(1, len(series) // 2)
    rho = [_autocorrelation(series, ok, lag) / variance for lag in lags]
    pairs = [1.0 + rho[0], *(rho[i] + rho[i + 1] for i in range(1, len(rho) - 1, 2))]
    end = next((i for i, pair in enumerate(pairs) if pair <= 0), len(pairs))
    return max(1.0, float(2 * np.minimum.accumulate(pairs[:end]).sum() - 1)) if end else 1.0


def _autocorrelation(series: np.ndarray, ok: np.ndarray, lag: int) -> float:
    both = np.count_nonzero(ok[lag:] & ok[:-lag])
    return float((series[lag:] * series[:-lag]).sum() / both) if both else 0.0
