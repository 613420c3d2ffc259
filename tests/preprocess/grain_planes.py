"""Planes of many kinds for the tree of shapes, and the same filter by Higra."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

KINDS = ("noise", "smooth", "few values", "8 bits", "16 bits", "steps", "binary", "constant", "ramp", "line")
TYPES = (np.uint8, np.uint16, np.float32, np.float64)


def plane_of(kind: str, dtype: Any, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A random plane of a kind; integers use their range, floats lie from -1 to 1."""
    noise = rng.random(shape)
    smooth = ndimage.gaussian_filter(noise, rng.uniform(0.5, 3))
    y, x = np.indices(shape)
    made = {
        "noise": noise,
        "smooth": smooth,
        "few values": rng.integers(0, 4, shape) / 3,
        "8 bits": rng.integers(0, 256, shape) / 255,
        "16 bits": rng.integers(0, 65536, shape) / 65535,
        "steps": np.round(smooth * 12) / 12,
        "binary": noise > 0.6,
        "constant": np.full(shape, noise[0, 0]),
        "ramp": (y * 3 + x * 5) % 17 / 17,
        "line": noise,
    }[kind]
    if kind == "line":
        made = made[:1] if rng.random() < 0.5 else made[:, :1]
    if np.dtype(dtype).kind == "f":
        return (2 * made - 1).astype(dtype)
    return np.asarray(np.round(made * np.iinfo(dtype).max), dtype=dtype)


def filtered_by_higra(plane: np.ndarray, areas: Sequence[int]) -> np.ndarray:
    """Of the plane as float64: Higra adds up the border of integers in their own type, which overflows."""
    higra = pytest.importorskip("higra", reason="Higra, the reference of the grain filter, is not installed")
    tree, levels = higra.component_tree_tree_of_shapes_image2d(plane.astype(np.float64))
    sizes = higra.attribute_area(tree)
    return np.stack([higra.reconstruct_leaf_data(tree, levels, sizes < area) for area in areas])


def assert_same(found: np.ndarray, reference: np.ndarray, mean: float) -> None:
    """Bit for bit, once the reference's float64 is brought to the type.

    Where the mean of a border of float64 is left, its last bits may differ: the order of adding is not the reference's.
    """
    np.testing.assert_allclose(reference, found, rtol=0, atol=0.5 if found.dtype.kind in "iu" else 1e-6)
    rounded = np.rint(reference) if found.dtype.kind in "iu" else reference
    left = found == np.float64(mean) if found.dtype == np.float64 else np.zeros(found.shape, bool)
    np.testing.assert_array_equal(found[~left], rounded.astype(found.dtype)[~left])
    np.testing.assert_allclose(found[left], reference[left], rtol=1e-14, atol=1e-15)
