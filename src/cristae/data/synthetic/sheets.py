"""Endoplasmic reticulum: thin sheets and tubules that wind through the cytoplasm.

They follow smooth noise: a sheet lies where a field takes one value, a tubule where two fields do. So they need no list
of objects, and go on for as long as tissue does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cristae.data.synthetic.drawing import FAR, Scene
from cristae.data.synthetic.noise import Axes, value_noise


@dataclass(frozen=True)
class Reticulum:
    """How much of the reticulum there is, and how fine."""

    half_nm: float
    """Half the thickness of a sheet, membranes included."""
    scale_nm: float
    """Over what length sheets bend."""
    extent: float
    """Sheets are where another noise from -1 to 1 is above this."""
    radius_nm: float
    """Radius of the tubules."""


def reticulum_distance(scene: Scene, seeds: tuple[int, int, int], reticulum: Reticulum) -> np.ndarray:
    """Distance in nm to the surface of the reticulum, negative within; exact near it.

    Args:
        scene: What else is there. The reticulum keeps 45 nm clear of cell membranes, and of the pieces.
        seeds: Of three noises.
        reticulum: Its form.
    """
    scale = reticulum.scale_nm
    first = _surface(seeds[0], scene.axes, scale)
    second = _surface(seeds[1], scene.axes, 0.83 * scale)
    mask = value_noise(seeds[2], scene.axes, (1.6 * scale, 1.5 * scale, 1.5 * scale))
    mask += np.float32(0.35) * scene.ripple
    # Where the mask ends a sheet, its rim is round: further and further within, the sheet gets as thick as it is.
    beyond = np.maximum((np.float32(reticulum.extent) - mask) * np.float32(0.45 * scale), np.float32(0))
    sheet = np.sqrt(first * first + beyond * beyond) - np.float32(reticulum.half_nm)
    tubule = np.sqrt(first * first + second * second) - np.float32(reticulum.radius_nm)
    distance = np.minimum(sheet, tubule)
    return np.maximum(distance, np.float32(45) - scene.depth, out=distance)


def _surface(seed: int, axes: Axes, scale_nm: float) -> np.ndarray:
    """Signed distance in nm to the zeros of a noise, exact near them."""
    field, slope = _field(seed, axes, scale_nm), np.zeros(1, np.float32)
    for axis in range(3):
        ahead: Axes = tuple(a + 4.0 * (i == axis) for i, a in enumerate(axes))  # type: ignore[assignment]
        change = (_field(seed, ahead, scale_nm) - field) * np.float32(0.25)
        slope = slope + change * change
    slope = np.sqrt(slope) * np.float32(scale_nm)
    distance = np.abs(field) * np.float32(scale_nm) / np.maximum(slope, np.float32(0.3))
    # Where the noise is level it stays near a value over some distance: no thick patch there, but a hole.
    np.maximum(distance, (np.float32(1.2) - slope) * np.float32(90), out=distance)
    return np.minimum(distance, FAR)


def _field(seed: int, axes: Axes, scale_nm: float) -> np.ndarray:
    """Two octaves on lattices that do not meet, so that no lattice shows."""
    field = value_noise(seed, axes, (scale_nm, scale_nm, scale_nm))
    shifted: Axes = tuple(a + 0.37 * scale_nm for a in axes)  # type: ignore[assignment]
    field += np.float32(0.8) * value_noise(seed ^ 0x5EED, shifted, (0.71 * scale_nm, 0.77 * scale_nm, 0.73 * scale_nm))
    return field
