"""Numpy arrays and torch tensors alike, without importing torch."""

from __future__ import annotations

from typing import Any

import numpy as np


def is_numpy(values: Any) -> bool:
    """Whether it is an array and no tensor."""
    return isinstance(values, np.ndarray)


def as_numpy(values: Any) -> np.ndarray:
    """An array, or the values of a tensor in main memory."""
    array: np.ndarray = values if is_numpy(values) else values.cpu().numpy()
    return array


def like(values: np.ndarray, other: Any) -> Any:
    """An array as it is where `other` is one, else a float32 tensor on the device of that tensor."""
    return values if is_numpy(other) else other[:0].float().new_tensor(values)
