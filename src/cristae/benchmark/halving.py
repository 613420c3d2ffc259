"""Successive halving: after some epochs only the best cells go on (Jamieson, Talwalkar 2016,
https://arxiv.org/abs/1502.07943, algorithm 1).

Cells are compared when all of them have been trained as long, so which go on depends on their validation alone: not on
which job ended first, and not on interruptions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from cristae.benchmark.plan import Halving
from cristae.config import facts_from
from cristae.data.files import write_json
from cristae.recipe.benchmark_folder import HALVING
from cristae.recipe.benchmark_tables import read_json
from cristae.recipe.folder import read_epochs


@dataclass(frozen=True)
class Standing:
    """A cell when cells are compared."""

    cell: str
    epoch: int
    """That its trainings have reached."""
    epochs: int
    """That they are to have at last."""
    value: float
    """The mean of their best validation mIoU so far; NaN where none is known."""
    finished: bool = False
    """Whether they have ended already."""


@dataclass(frozen=True)
class Stopped:
    """A cell that does not go on."""

    cell: str
    epoch: int
    """The last that was trained."""
    epochs: int
    """That it would have had."""
    validation: float | None
    """The mean of its trainings' best validation mIoU; None where none is known."""
    place: int
    """Among the cells that were compared; the best has 1."""
    compared: int

    def __str__(self) -> str:
        value = "unknown" if self.validation is None else f"{self.validation:.3f}"
        return (
            f"after epoch {self.epoch} of {self.epochs}, mean validation IoU {value}, place {self.place} of "
            f"{self.compared}"
        )


def rungs(halving: Halving) -> list[float]:
    """The shares of the epochs after which cells are compared.

    Example:
        >>> rungs(Halving(after=0.25, factor=2))
        [0.25, 0.5]
    """
    found = [halving.after]
    while found[-1] * halving.factor < 1:
        found.append(found[-1] * halving.factor)
    return found


def epoch_at(share: float, epochs: int) -> int:
    """The epoch, counted from 1, that ends a share of them.

    Example:
        >>> epoch_at(0.25, 10), epoch_at(0.3, 10)
        (3, 3)
    """
    return min(epochs, max(1, math.ceil(round(share * epochs, 6))))


def best_until(folder: Path, epoch: int) -> float:
    """The best validation mIoU of a run within its first epochs; NaN where none is known."""
    known = [float(row["val_miou"]) for row in read_epochs(folder)[:epoch] if row.get("val_miou")]
    return max((value for value in known if not math.isnan(value)), default=math.nan)


def mean_known(values: Sequence[float]) -> float:
    """The mean of what is known; NaN of nothing."""
    known = [value for value in values if not math.isnan(value)]
    return fmean(known) if known else math.nan


def behind(cells: Sequence[Standing], factor: int) -> list[Stopped]:
    """The cells that are not among the best, of which one in `factor` goes on, rounded up. Of equal ones the first
    goes on. What has ended already is compared, but not stopped.

    Example:
        >>> [one.cell for one in behind([Standing("a", 1, 4, 0.5), Standing("b", 1, 4, 0.9)], 2)]
        ['a']
    """
    ordered = sorted(cells, key=lambda one: math.inf if math.isnan(one.value) else -one.value)
    kept = math.ceil(len(ordered) / factor)
    return [
        Stopped(
            one.cell, one.epoch, one.epochs, None if math.isnan(one.value) else one.value, place, compared=len(ordered)
        )
        for place, one in enumerate(ordered[kept:], start=kept + 1)
        if not one.finished
    ]


def write_stopped(out: Path, stopped: Sequence[Stopped]) -> None:
    """Keep in a benchmark folder which cells were stopped; without any there is no file."""
    if stopped:
        write_json(out / HALVING, [asdict(one) for one in stopped])
    else:
        (out / HALVING).unlink(missing_ok=True)


def read_stopped(out: Path) -> dict[str, Stopped]:
    """The cells that were stopped, by their names.

    Raises:
        RunError: The file is damaged.
    """
    if not (out / HALVING).is_file():
        return {}
    return {one["cell"]: facts_from(Stopped, one, "halving") for one in read_json(out / HALVING)}
