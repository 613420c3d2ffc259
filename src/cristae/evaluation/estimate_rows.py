"""One estimate of one class: what a table row of `cristae estimate` holds, and how it reads as a sentence."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

Estimator = Literal["corrected", "labels", "prediction", "difference"]
"""`corrected`: the prediction and the labels together (power-tuned); `labels`: the labelled units alone; `prediction`:
the prediction alone, biased and without interval; `difference`: the prediction plus its mean error."""


@dataclass(frozen=True)
class EstimateRow:
    """One estimate with its 95 % interval."""

    class_name: str
    """The column is called `class`."""
    quantity: str
    """Such as `fraction_of_cell`, `volume_um3`, `mean` or `total`."""
    estimator: Estimator
    value: float
    low: float | None
    high: float | None
    error: float | None
    """Standard error."""
    n: int
    """Labelled units, such as slices."""
    population: int
    """Units that there are."""
    design: str
    """How the labelled ones were chosen."""
    tuning: float | None
    """How much of the prediction was used: lambda."""
    gain: float | None
    """Variance of the labels alone over that of this estimate: as if this many times as many units were labelled."""
    needed: int | None
    """Further units to label for the half-width that was asked for."""
    reason: str = ""
    """Why there is no interval."""

    @property
    def half_width(self) -> float | None:
        """Half of the interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


_NAMES = {field.name: "class" if field.name == "class_name" else field.name for field in fields(EstimateRow)}
COLUMNS = tuple(_NAMES.values())


@dataclass(frozen=True)
class Estimation:
    """What was estimated."""

    rows: tuple[EstimateRow, ...]
    unit: str
    """What was labelled: `slice`, `slab` or `unit`."""
    notes: tuple[str, ...]
    """What a reader should know."""
    path: Path | None = None
    """The table that was written; None when there is none."""

    def row(self, class_name: str, quantity: str, estimator: Estimator = "corrected") -> EstimateRow:
        """One row.

        Raises:
            KeyError: There is none such.
        """
        for row in self.rows:
            if (row.class_name, row.quantity, row.estimator) == (class_name, quantity, estimator):
                return row
        raise KeyError(f"no {estimator} estimate of {quantity} of '{class_name}'")

    @property
    def sentences(self) -> tuple[str, ...]:
        """A line for each class and quantity."""
        found = dict.fromkeys((row.class_name, row.quantity) for row in self.rows)
        return tuple(
            _sentence([row for row in self.rows if (row.class_name, row.quantity) == key], self.unit) for key in found
        )

    def as_json(self) -> dict[str, Any]:
        """Everything that JSON can hold; undefined values are null."""
        rows = [{_NAMES[key]: _plain(value) for key, value in asdict(row).items()} for row in self.rows]
        return {
            "kind": "estimates",
            "unit": self.unit,
            "estimates": rows,
            "sentences": [*self.sentences],
            "notes": [*self.notes],
        }


def estimates_csv(rows: Iterable[EstimateRow]) -> str:
    """The rows as CSV; an empty cell is undefined."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_text(value) for value in asdict(row).values()] for row in rows)
    return buffer.getvalue()


def estimates_json(estimation: Estimation) -> str:
    """The estimation as a JSON document."""
    return json.dumps(estimation.as_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def amount_text(row: EstimateRow) -> str:
    """An estimate for people: `8.1 +- 0.6 %`, with as many digits as its interval is sure of."""
    scale, unit = _scale(row.quantity)
    value, half = scale * row.value, None if row.half_width is None else scale * row.half_width
    if half is None or half <= 0:
        return f"{value:.3g}{unit}"
    digits = max(0, 1 - math.floor(math.log10(half))) if half < 10 else 0
    return f"{value:.{digits}f} ± {half:.{digits}f}{unit}"


def _sentence(rows: Sequence[EstimateRow], unit: str) -> str:
    by = {row.estimator: row for row in rows}
    best = by["corrected"] if by["corrected"].low is not None or "labels" not in by else by["labels"]
    parts = [f"{best.class_name}: {amount_text(best)}{_of(best.quantity)}"]
    if best.n == best.population:
        return f"{parts[0]} (all {best.population} {unit}s are labelled: no sampling error)"
    if best.low is None or best.high is None:
        parts.append(f"no interval: {best.reason}")
    else:
        scale = _scale(best.quantity)[0]
        parts.append(f"95 % interval {scale * best.low:.3g} to {scale * best.high:.3g}")
        parts.append(f"{best.n} of {best.population} {unit}s labelled, {best.design}")
        if best.gain is not None:
            times = f"{best.gain:.1f}" if best.gain < 10 else f"{best.gain:.0f}"
            parts.append(f"as if {times} times as many had been labelled")
    if best.needed is not None:
        parts.append(f"{best.needed} more for the width asked for" if best.needed else "narrow enough")
    return f"{parts[0]} ({'; '.join(parts[1:])}). Labels alone {amount_text(by['labels'])}; prediction alone " + (
        f"{amount_text(by['prediction'])}, biased."
    )


def _scale(quantity: str) -> tuple[float, str]:
    if quantity.startswith("fraction"):
        return 100.0, " %"
    return 1.0, " µm³" if quantity in ("volume_um3", "mean_object_um3") else ""


_OF = {
    "fraction_of_foreground": " of what is not background",
    "volume_um3": "",
    "volume_vox": " voxels",
    "objects": " objects",
    "objects_per_um3": " objects per µm³",
    "mean_object_um3": " for each object",
}
"""What stands behind an amount, where it does not follow from the quantity's name."""


def _of(quantity: str) -> str:
    if quantity in _OF:
        return _OF[quantity]
    return f" of the {quantity.removeprefix('fraction_of_')}" if "_of_" in quantity else f", {quantity}"


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return f"{value:.12g}" if isinstance(value, float) else str(value)
