"""What a T cell at a synapse holds: centrioles, microtubules that spread from them, granules and the Golgi around."""

from __future__ import annotations

import numpy as np

from cristae.data.synthetic.cells import Piece, Room, fill, spread, square, unit_vectors
from cristae.data.synthetic.organelles import CENTRIOLE_NM, CISTERNAE, PITCH_NM, across

_TUBE_NM = 12.5
"""Radius of a microtubule."""
_STRIDE_NM = 40.0
_LONGEST = 38
"""Points on the longest microtubule, a stride apart."""


def fill_cell(room: Room) -> list[Piece]:
    """The contents of a T cell. The share of the rarest structure is that of its microtubules."""
    points, fits = room.spots(600)
    centre = points[int(np.argmax(fits))]
    centrioles = _centrioles(room, centre)
    golgi = _golgi(room, centre)
    volume = room.volume_um3
    granules = fill(room, "granule", 0.05 * volume, (105, 190), 0.2)
    mitochondria = fill(room, "mitochondrion", 0.05 * volume, (105, 165), 2.4)
    # Tubes take what is left, and vesicles the room between them: large pieces would find none.
    tubes = _microtubules(room, centre, room.packing.rarest_share * room.packing.cell_um3)
    vesicles = fill(room, "vesicle", 0.012 * volume, (24, 60), 0.15)
    return [*tubes, *vesicles, *golgi, *granules, *mitochondria, *centrioles]


def _centrioles(room: Room, centre: np.ndarray) -> list[Piece]:
    """Two barrels at right angles, where there is room for them."""
    pieces: list[Piece] = []
    mother = room.direction()
    daughter, _ = across(mother)
    for middle, axis, half in (
        (centre, mother, 210.0),
        (centre - 70 * mother + (2 * CENTRIOLE_NM + 120) * daughter, daughter, 150.0),
    ):
        path = middle + axis * np.linspace(-half, half, 7)[:, None]
        if (room.clearance(path) > CENTRIOLE_NM + 25).all():
            room.take(path, CENTRIOLE_NM)
            pieces.append(
                Piece("centriole", np.stack([path[0], path[-1]]), (CENTRIOLE_NM, CENTRIOLE_NM), 0.0, wobble=0.0)
            )
    return pieces


def _golgi(room: Room, centre: np.ndarray) -> list[Piece]:
    """The stack that fits nearest to the centrioles."""
    points, _ = room.spots(900)
    order = np.argsort(square(points - centre), kind="stable")
    half = CISTERNAE * PITCH_NM / 2
    for number in order:
        axis = unit_vectors(points[number] - centre + 300 * room.direction())
        radius = float(spread(room.rng, 290, 430)[0])
        inside = spread(room.rng, -1, 1, (30, 2)) * 0.72 * radius
        first, second = across(axis)
        disc = points[number] + inside[:, :1] * first + inside[:, 1:] * second
        if (room.clearance(disc) > half).all() and room.free(disc[None], half, margin=0.0)[0]:
            room.take(disc, half)
            ends = points[number] + axis * np.array([[-half], [half]])
            return [Piece("golgi", ends, (radius, radius), float(spread(room.rng, -1, 1)[0]))]
    return []


def _microtubules(room: Room, centre: np.ndarray, volume_um3: float) -> list[Piece]:
    """Long stiff tubes: most spread from near the centrioles, others pass by."""
    wanted_nm = volume_um3 * 1e9 / (np.pi * _TUBE_NM**2)
    count = round(40 + wanted_nm / 120)
    headings = room.directions(count)
    starts = centre + headings * spread(room.rng, 190, 520, (count, 1)) + 60 * room.directions(count)
    passing, _ = room.spots(count)
    n = min(len(passing), count // 3)
    starts[:n] = passing[:n]
    along = _STRIDE_NM * np.arange(_LONGEST)[:, None]
    bend = room.directions(count) * spread(room.rng, 0, 9e-5, (count, 1))
    paths = starts[:, None] + along * headings[:, None] + along**2 * bend[:, None]
    pieces: list[Piece] = []
    for path in paths:
        if wanted_nm <= 0:
            break
        tube = path[: _free_length(room, path)]
        if len(tube) < 7:
            continue
        room.take(tube, _TUBE_NM)
        wanted_nm -= _STRIDE_NM * (len(tube) - 1)
        pieces += [
            Piece("microtubule", tube[i : i + 5], (_TUBE_NM, _TUBE_NM), 0.0, wobble=0.0)
            for i in range(0, len(tube) - 1, 4)
        ]
    return pieces


def _free_length(room: Room, path: np.ndarray) -> int:
    """How many points from the first on are clear of membranes and of what was taken."""
    blocked = np.flatnonzero((room.clearance(path) < _TUBE_NM + 10) | (room.space(path) < _TUBE_NM + 12))
    return int(blocked[0]) if len(blocked) else len(path)
