"""Means and deviations of windows that move over slices, in one pass with little memory."""

from __future__ import annotations

import numpy as np

from cristae.compiled import compiled


@compiled
def window_contrast(stack: np.ndarray, found: np.ndarray, reach: int, least: float) -> None:
    """Fill `found` (N, Y, X) from `stack`, which has the reach on both sides: sums of columns move down with the
    window, sums of windows move along them."""
    side = 2 * reach + 1
    count, height, width = found.shape
    for n in range(count):
        columns, squares = np.zeros(stack.shape[2]), np.zeros(stack.shape[2])
        for y in range(side - 1):
            for x in range(stack.shape[2]):
                value = np.float64(stack[n, y, x])
                columns[x] += value
                squares[x] += value * value
        for y in range(height):
            for x in range(stack.shape[2]):
                value = np.float64(stack[n, y + side - 1, x])
                columns[x] += value
                squares[x] += value * value
            total, square = columns[: side - 1].sum(), squares[: side - 1].sum()
            for x in range(width):
                total += columns[x + side - 1]
                square += squares[x + side - 1]
                mean = total / (side * side)
                variance = max(0.0, square / (side * side) - mean * mean)
                found[n, y, x] = (stack[n, y + reach, x + reach] - mean) / max(np.sqrt(variance), least)
                total -= columns[x]
                square -= squares[x]
            for x in range(stack.shape[2]):
                value = np.float64(stack[n, y, x])
                columns[x] -= value
                squares[x] -= value * value
