"""Organelles with an inner structure of their own: centrioles, the Golgi, lytic granules and microtubules."""

from __future__ import annotations

import numpy as np

from cristae.data.synthetic.cells import Piece, square, unit_vectors
from cristae.data.synthetic.drawing import Scene, Window, band, line, step

CENTRIOLE_NM = 112.0
"""Outer radius of a centriole."""
CISTERNAE, PITCH_NM = 5, 46.0
"""Number of cisternae in a Golgi, and the distance from one to the next."""
_THIN_NM, _SWOLLEN_NM = 9.0, 19.0
_TURNS = (
    (1.0, 0.0), (0.766044, 0.642788), (0.173648, 0.984808), (-0.5, 0.866025), (-0.939693, 0.34202),
    (-0.939693, -0.34202), (-0.5, -0.866025), (0.173648, -0.984808), (0.766044, -0.642788),
)  # fmt: skip
"""Cosine and sine of nine equal angles."""


def across(axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors at right angles to a unit vector and to each other."""
    helper = np.array([1.0, 0.0, 0.0]) if abs(axis[0]) < 0.6 else np.array([0.0, 1.0, 0.0])
    first = unit_vectors(helper - axis * (helper[0] * axis[0] + helper[1] * axis[1] + helper[2] * axis[2]))
    a, b = axis, first
    second = np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])
    return first, second


def _axis(piece: Piece) -> tuple[np.ndarray, np.ndarray, float]:
    """Middle, direction and length of a piece with two ends."""
    way = piece.points[-1] - piece.points[0]
    return piece.points.mean(0), unit_vectors(way), float(np.sqrt(square(way)))


def barrel(scene: Scene, where: Window, piece: Piece) -> np.ndarray:
    """Distance to the surface of a straight cylinder with flat ends."""
    middle, axis, length = _axis(piece)
    along = line(scene.axes, where, middle, axis)
    first, second = (line(scene.axes, where, middle, one) for one in across(axis))
    radial = np.sqrt(first * first + second * second) - np.float32(piece.radii[0])
    return np.maximum(radial, np.abs(along) - np.float32(length / 2))


def barrel_fill(scene: Scene, where: Window, piece: Piece, distance: np.ndarray) -> np.ndarray:
    """Nine slanted blades of three dark tubes each, in a wall around a paler middle."""
    middle, axis, _ = _axis(piece)
    first, second = (line(scene.axes, where, middle, one) for one in across(axis))
    nearest = np.full(distance.shape, 1e4, np.float32)
    for cosine, sine in _TURNS:
        for step_out, step_along in ((-22.0, -10.0), (-14.0, 10.0), (-6.0, 30.0)):
            out, aside = piece.radii[0] - 8.0 + step_out, step_along
            u = first - np.float32(out * cosine - aside * sine)
            v = second - np.float32(out * sine + aside * cosine)
            np.minimum(nearest, u * u + v * v, out=nearest)
    tube = np.abs(np.sqrt(nearest) - np.float32(9))
    grey = np.float32(0.44) + np.float32(0.06) * scene.ripple[where]
    grey -= np.float32(0.12) * step(np.abs(distance + np.float32(22)) - np.float32(20), 8)
    grey -= np.float32(0.30) * step(tube - np.float32(3), 6)
    return grey


def cisternae(scene: Scene, where: Window, piece: Piece) -> np.ndarray:
    """Distance to a stack of bent flat sacs with swollen rims."""
    middle, axis, length = _axis(piece)
    along = line(scene.axes, where, middle, axis)
    first, second = (line(scene.axes, where, middle, one) for one in across(axis))
    radial = np.sqrt(first * first + second * second)
    along += radial * radial * np.float32(0.35 * piece.shade / piece.radii[0])
    along += np.float32(16) * scene.ripple[where]
    along += np.float32(length / 2)
    sac = np.floor(along * np.float32(1 / PITCH_NM)).clip(0, CISTERNAE - 1)
    along -= (sac + np.float32(0.5)) * np.float32(PITCH_NM)
    ends = piece.radii[0] * (0.7 + 0.3 * (np.arange(CISTERNAE) * 0.618 + piece.shade) % 1.0)
    rim = radial - ends.astype(np.float32)[sac.astype(np.intp)]
    rim += np.float32(30) * scene.ripple[where]
    swelling = (rim * np.float32(1 / 90.0) + np.float32(1)).clip(np.float32(0), np.float32(1))
    half = np.float32(_THIN_NM) + np.float32(_SWOLLEN_NM - _THIN_NM) * swelling * swelling
    outer = np.maximum(rim + half, np.float32(0))
    return np.sqrt(along * along + outer * outer) - half


def cisternae_fill(scene: Scene, where: Window, _: Piece, distance: np.ndarray) -> np.ndarray:
    """A lumen of middling grey within a dark membrane."""
    grey = np.float32(0.58) + np.float32(0.05) * scene.ripple[where]
    return grey - np.float32(0.48) * band(distance, -2.5, 7)


def mitochondrion_fill(scene: Scene, where: Window, piece: Piece, distance: np.ndarray) -> np.ndarray:
    """A grey matrix and two membranes; cristae, dark with a pale lumen, reach in from them about every 75 nm."""
    middle, axis, _ = _axis(piece)
    ripple = scene.ripple[where]
    phase = line(scene.axes, where, middle, axis / 75.0)
    phase += np.float32(0.55) * ripple
    sheet = np.floor(phase)
    phase -= sheet
    aside, _ = across(axis)
    reach = line(scene.axes, where, middle, aside / (2.6 * piece.radii[0]))
    reach += sheet * np.float32(0.382) + np.float32(0.25) * ripple
    reach -= np.floor(reach)
    folds = (np.float32(2.6) * band(reach, 0.5, 0.5) - np.float32(0.5)).clip(np.float32(0), np.float32(1))
    folds *= step(distance + np.float32(16), 10)
    away = np.abs(phase - np.float32(0.5)) * np.float32(75)
    grey = np.float32(0.40 + 0.05 * piece.shade) + np.float32(0.05) * ripple
    grey -= folds * np.float32(0.24) * band(away, 7.0, 9.0)
    grey += folds * np.float32(0.12) * band(away, 0.0, 6.0)
    grey += np.float32(0.12) * band(distance, -11.0, 6.0)
    return grey - np.float32(0.24) * band(distance, -19.0, 7.0)


def granule_fill(scene: Scene, where: Window, piece: Piece, distance: np.ndarray) -> np.ndarray:
    """A dense core, a paler shell around it, and a membrane."""
    grey = np.float32(0.50) + np.float32(0.08) * scene.ripple[where]
    core = step(distance + np.float32(26 + 10 * piece.shade) + np.float32(9) * scene.ripple[where], 14)
    grey -= core * np.float32(0.27 + 0.05 * piece.shade)
    return grey - np.float32(0.42) * band(distance, -3.5, 7)


def tube_grey(grey: np.ndarray, distance: np.ndarray) -> None:
    """Draw microtubules: a dark wall around a pale lumen, and a clear zone that keeps ribosomes away.

    Args:
        grey: Drawn over.
        distance: Distance in nm to the surface of the nearest one.
    """
    cover = step(distance - np.float32(9), 10)
    cover *= np.float32(0.95)
    grey += cover * (np.float32(0.62) - grey)
    grey -= np.float32(0.52) * band(distance, -2.0, 6.5)
