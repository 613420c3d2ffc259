"""How large tiles may be: found from a stated ceiling."""

from __future__ import annotations

from collections.abc import Sequence

from cristae.errors import RunError
from cristae.evaluation.features.tiles import LEAST_ROWS, TILE_ROWS, bytes_needed
from cristae.inference.memory import Budget
from cristae.words import memory


def rows_of_tiles(budget: Budget, bounds: Sequence[int], pixels: int, passes: Sequence[int]) -> int:
    """Channels along each side of a tile. Without a stated ceiling they do not depend on the machine.

    Args:
        budget: What may be used.
        bounds: The first channel of each block, and the number of all.
        pixels: Of the grid at one place.
        passes: Bytes that a pass of each network takes, on the CPU; networks run one after the other, before tiles.

    Raises:
        RunError: The ceiling is too low.
    """
    largest = max(passes, default=0)
    if not budget.stated:
        return TILE_ROWS
    if largest > budget.ram:
        raise RunError(
            f"--max-ram {memory(budget.ram + budget.used)}: one window takes {memory(budget.used + largest)}; make "
            "--window smaller, or --max-ram higher"
        )
    rows = TILE_ROWS
    while rows > LEAST_ROWS and bytes_needed(rows, pixels, bounds) > budget.ram:
        rows //= 2
    least = bytes_needed(rows, pixels, bounds)
    if least > budget.ram:
        raise RunError(
            f"--max-ram {memory(budget.ram + budget.used)}: comparing {bounds[-1]} channels takes "
            f"{memory(budget.used + least)} at least; name fewer --blocks, or make --size smaller or --max-ram higher"
        )
    return rows
