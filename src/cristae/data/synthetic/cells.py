"""Where the cells of a synthetic volume are and what they hold.

Cells sit on a jittered, tilted lattice that fills all of space. Everything about a cell follows from the seed and its
lattice index, so any box can list the objects that touch it without knowing the rest of the volume. Sums are written
out and rotations are rational, because matrix products, sines and fused operations differ between machines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal

import numpy as np

from cristae.data.box import Triple

Numbers = float | Sequence[float]
Kind = Literal[
    "channel", "dense body", "dense core", "mitochondrion", "alpha", "clump",
    "microtubule", "centriole", "golgi", "granule", "vesicle", "lysosome",
]  # fmt: skip

WOBBLE_NM = 90.0
"""Membranes lie at most this far from the ellipsoid of their cell."""
REACH_NM = 300.0
"""Nothing of a cell lies further than this outside the box that its ellipsoid fits in."""
ORGANELLE_WOBBLE = 0.22
"""Membranes of organelles lie within this fraction of the radius from their round shape."""


@dataclass(frozen=True)
class Packing:
    """How the cells of a tissue are packed, and what is in them."""

    spacing_nm: tuple[float, float, float]
    """Distance of cells along z, across and along their common direction."""
    gap_nm: tuple[float, float]
    """Least and greatest distance kept between two cells that press against each other."""
    closed: float
    """How little of the gap is open: it is at its least where smooth noise from -1 to 1 is below this."""
    contents: Callable[[Room], list[Piece]]
    """What a cell holds, in painting order."""
    slope: float = 1.0
    """How steeply the gap opens with the noise, in units of its greatest width."""
    size: float = 1.0
    """Axes of cells as a multiple of those of platelets; from about 1.1 on they press against each other everywhere."""
    undulation_nm: float = 0.0
    """How far the walls between two cells bulge."""
    rarest_share: float = 0.0
    """Fraction of space that the rarest structure takes, where that can be chosen."""
    shade: tuple[float, float] = (0.40, 0.53)
    """Darkest and palest cytoplasm, 0 black to 1 white."""

    @property
    def cell_um3(self) -> float:
        """Volume of space for each cell."""
        z, y, x = self.spacing_nm
        return 1e-9 * z * y * x


@dataclass(frozen=True)
class Tissue:
    """All that cells and their contents follow from."""

    seed: int
    packing: Packing


@dataclass(frozen=True, eq=False)
class Cell:
    """An ellipsoid with principal axes."""

    centre: np.ndarray
    """(3,) z, y, x in nm."""
    axes: np.ndarray
    """(3, 3) unit vectors of the principal axes in rows, each in z, y, x."""
    semi: np.ndarray
    """(3,) half lengths in nm."""
    shade: float
    """Grey of the cytoplasm, 0 black to 1 white."""

    @property
    def extent(self) -> np.ndarray:
        """(3,) half extents in nm of the box along z, y, x that the cell fits in, wobble included."""
        half: np.ndarray = np.sqrt(square((self.semi[:, None] * self.axes).T))
        return half + WOBBLE_NM

    def depth(self, points: np.ndarray) -> np.ndarray:
        """How far (n, 3) points are inside the ellipsoid, in nm; negative outside. Exact near the surface."""
        return _depth(turn(points - self.centre, self.axes) / self.semi, self.semi)

    def place(self, unit: np.ndarray) -> np.ndarray:
        """(n, 3) points of the unit ball stretched to the cell, in nm."""
        result: np.ndarray = self.centre + turn(unit * self.semi, self.axes.T)
        return result


def turn(points: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """(..., n) scalar products of (..., 3) points with the n rows of (n, 3) axes."""
    result: np.ndarray = points[..., :1] * axes[:, 0] + points[..., 1:2] * axes[:, 1] + points[..., 2:] * axes[:, 2]
    return result


def square(vectors: np.ndarray) -> np.ndarray:
    """(...) squared lengths of (..., 3) vectors."""
    parts = vectors * vectors
    result: np.ndarray = parts[..., 0] + parts[..., 1] + parts[..., 2]
    return result


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """(..., 3) vectors scaled to length 1."""
    result: np.ndarray = vectors / (np.sqrt(square(vectors)) + 1e-9)[..., None]
    return result


def _depth(unit: np.ndarray, semi: np.ndarray) -> np.ndarray:
    """Distance in nm to the surface of an ellipsoid, to first order, from (..., 3) points of the unit-ball frame."""
    length = np.sqrt(square(unit)) + 1e-9
    result: np.ndarray = (1 - length) * length / (np.sqrt(square(unit / semi)) + 1e-12)
    return result


@dataclass(frozen=True, eq=False)
class Piece:
    """A chain of points with a thickness: a granule, a mitochondrion or a stretch of a channel."""

    kind: Kind
    points: np.ndarray
    """(2 or 3, 3) z, y, x in nm."""
    radii: tuple[float, float]
    """Thickness at the first and the last point, in nm."""
    shade: float
    """-1 to 1: darker or paler than is usual for its kind."""
    wobble: float = ORGANELLE_WOBBLE
    """How far its surface lies from its regular shape, at most, as a fraction of the thinner radius."""

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners of a box in nm that holds it with its rim, however much it wobbles."""
        reach = max(self.radii) * (1 + self.wobble) + 25
        return self.points.min(0) - reach, self.points.max(0) + reach


@dataclass(frozen=True, eq=False)
class Contents:
    """All pieces of a cell in painting order, with the boxes they fit in."""

    pieces: tuple[Piece, ...]
    low: np.ndarray
    """(n, 3) lower corners in nm."""
    high: np.ndarray
    """(n, 3) upper corners in nm."""

    @classmethod
    def of(cls, pieces: list[Piece]) -> Contents:
        """Bound the pieces."""
        bounds = np.array([piece.bounds for piece in pieces]).reshape(-1, 2, 3)
        return cls(tuple(pieces), bounds[:, 0], bounds[:, 1])


def rng_of(seed: int, index: Triple, purpose: int) -> np.random.Generator:
    """A generator of its own for each seed, cell and purpose."""
    z, y, x = (i & 0xF_FFFF for i in index)
    return np.random.Generator(np.random.Philox(key=[seed, purpose << 60 | z << 40 | y << 20 | x]))


def spread(rng: np.random.Generator, low: Numbers, high: Numbers, size: int | Sequence[int] = 1) -> np.ndarray:
    """Evenly distributed numbers between two limits."""
    result: np.ndarray = np.asarray(low) + (np.asarray(high) - np.asarray(low)) * rng.random(size)
    return result


@lru_cache(maxsize=64)
def _frame(seed: int) -> np.ndarray:
    """(3, 3) unit vectors of the lattice in rows: near z, across the cells, along the cells."""
    rng = rng_of(seed, (0, 0, 0), 1)
    return _rotation(spread(rng, (0.25, -0.06, -0.06), (3.0, 0.06, 0.06), 3))


def _rotation(half_tangents: np.ndarray) -> np.ndarray:
    """Turn in the plane of the section, then tilt about y and x, by the tangents of half the angles."""
    (c, s), (d, t), (e, u) = (((1 - h * h) / (1 + h * h), 2 * h / (1 + h * h)) for h in half_tangents.tolist())
    plane = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    about_y = np.array([[d, 0, -t], [0, 1, 0], [t, 0, d]])
    about_x = np.array([[e, -u, 0], [u, e, 0], [0, 0, 1]])
    return turn(turn(plane, about_y.T), about_x.T)


@lru_cache(maxsize=16_384)
def cell_at(tissue: Tissue, index: Triple) -> Cell:
    """The cell of a lattice place."""
    spacing_nm = np.array(tissue.packing.spacing_nm)
    rng = rng_of(tissue.seed, index, 2)
    frame = _frame(tissue.seed)
    jitter = spread(rng, -1, 1, 3) * (0.3, 0.1, 0.22)
    stagger = np.array([0.0, 0.0, 0.5 * (index[1] % 2)])
    centre = turn((np.array(index) + jitter + stagger) * spacing_nm, frame.T)
    axes = turn(_rotation(spread(rng, -1, 1, 3) * (0.08, 0.05, 0.05)), frame.T)
    semi = spacing_nm * spread(rng, (0.53, 0.50, 0.52), (0.66, 0.64, 0.64), 3) * tissue.packing.size
    return Cell(centre, axes, semi, float(spread(rng, *tissue.packing.shade)[0]))


def cells_near(tissue: Tissue, low: np.ndarray, high: np.ndarray) -> list[Triple]:
    """Lattice indices, in order, of the cells that reach the box between two corners (z, y, x in nm)."""
    corners = turn(np.array(list(product(*zip(low, high, strict=True)))), _frame(tissue.seed)) / np.array(
        tissue.packing.spacing_nm
    )
    first = np.floor(corners.min(0) - 1.6).astype(int)
    last = np.ceil(corners.max(0) + 1.6).astype(int)
    found = []
    for z, y, x in product(*(range(a, b + 1) for a, b in zip(first.tolist(), last.tolist(), strict=True))):
        index = (z, y, x)
        cell = cell_at(tissue, index)
        if (cell.centre + cell.extent > low).all() and (cell.centre - cell.extent < high).all():
            found.append(index)
    return found


@lru_cache(maxsize=512)
def contents_of(tissue: Tissue, index: Triple) -> Contents:
    """What a cell holds, clear of its membrane, of its neighbours and of each other."""
    return Contents.of(tissue.packing.contents(Room(tissue, index)))


class Room:
    """The space inside one cell, and what is taken of it."""

    def __init__(self, tissue: Tissue, index: Triple) -> None:
        self.rng = rng_of(tissue.seed, index, 3)
        self.packing = tissue.packing
        self._kept = self.packing.gap_nm[1] / 2 + self.packing.undulation_nm
        self.cell = cell_at(tissue, index)
        steps = [step for step in product((-1, 0, 1), repeat=3) if any(step)]
        near = [cell_at(tissue, (index[0] + z, index[1] + y, index[2] + x)) for z, y, x in steps]
        reach = self.cell.extent
        self.others = [o for o in near if (abs(o.centre - self.cell.centre) < reach + o.extent).all()]
        self._to_unit = np.concatenate([o.axes / o.semi[:, None] for o in self.others] or [np.zeros((0, 3))])
        self._shift = np.array([turn(o.centre, o.axes) / o.semi for o in self.others]).reshape(-1, 3)
        self._semi = np.array([o.semi for o in self.others]).reshape(-1, 3)
        self.volume_um3 = 4.19e-9 * float(self.cell.semi.prod())
        self._centres = np.zeros((0, 3))
        self._radii = np.zeros(0)

    def clearance(self, points: np.ndarray) -> np.ndarray:
        """Radius in nm that fits around (n, 3) points without touching the cell's membrane."""
        own = self.cell.depth(points)
        result: np.ndarray = np.minimum(own - WOBBLE_NM, (own - self.outside(points)) / 2 - self._kept)
        return result

    def outside(self, points: np.ndarray) -> np.ndarray:
        """How deep (n, 3) points are in the nearest other cell, in nm; negative when in none."""
        if not self.others:
            return np.full(len(points), -np.inf)
        unit = turn(points, self._to_unit).reshape(len(points), -1, 3) - self._shift
        result: np.ndarray = _depth(unit, self._semi).max(1)
        return result

    def free(self, paths: np.ndarray, radius: float | np.ndarray, margin: float = 18.0) -> np.ndarray:
        """(n,) whether balls around the points of (n, k, 3) paths touch nothing that was taken before."""
        gaps = np.sqrt(square(paths[:, :, None] - self._centres)) - self._radii
        result: np.ndarray = (gaps > np.asarray(radius) * (1 + ORGANELLE_WOBBLE) + margin).all((1, 2))
        return result

    def space(self, points: np.ndarray) -> np.ndarray:
        """(n,) distance in nm from (n, 3) points to the nearest of the balls that were taken before."""
        gaps = np.sqrt(square(points[:, None] - self._centres)) - self._radii
        result: np.ndarray = gaps.min(1, initial=1e4)
        return result

    def take(self, points: np.ndarray, radius: float) -> None:
        """Reserve balls around the points."""
        self._centres = np.concatenate([self._centres, points])
        self._radii = np.concatenate([self._radii, np.full(len(points), radius * (1 + ORGANELLE_WOBBLE))])

    def spots(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(n, 3) random points in the cell and the radius that fits around each."""
        unit = spread(self.rng, -0.92, 0.92, (count, 3))
        points = self.cell.place(unit[square(unit) < 0.85])
        return points, self.clearance(points)

    def direction(self) -> np.ndarray:
        """(3,) a random unit vector."""
        result: np.ndarray = self.directions(1)[0]
        return result

    def directions(self, count: int) -> np.ndarray:
        """(n, 3) random unit vectors."""
        return unit_vectors(spread(self.rng, -1, 1, (count, 3)))


def fill(room: Room, kind: Kind, volume_um3: float, radii: tuple[float, float], stretch: float) -> list[Piece]:
    """Place rods of random radius, length and bend until they fill a volume, or no room is left."""
    pieces: list[Piece] = []
    filled = 0.0
    points, _ = room.spots(1800)
    radius = spread(room.rng, *radii, len(points))
    reach = radius * stretch * room.rng.random(len(points))
    half = room.directions(len(points)) * reach[:, None]
    bend = room.directions(len(points)) * 0.35 * reach[:, None]
    chains = np.stack([points - half, points + bend, points + half], 1)
    fits = room.clearance(chains.reshape(-1, 3)).reshape(-1, 3).min(1) > radius * (1 + ORGANELLE_WOBBLE)
    shades = spread(room.rng, -1, 1, len(points))
    for i in np.flatnonzero(fits):
        if filled >= volume_um3:
            break
        if room.free(chains[i : i + 1], float(radius[i]))[0]:
            room.take(chains[i], float(radius[i]))
            pieces.append(Piece(kind, chains[i], (float(radius[i]), float(radius[i])), float(shades[i])))
            filled += 1e-9 * float(4.19 * radius[i] ** 3 + 6.28 * radius[i] ** 2 * reach[i])
    return pieces
