"""Filters that look at the grey values themselves: how each is called, how far it sees, and what it computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cristae.classical.config import IN_BALL, FeaturesConfig
from cristae.classical.edge_preserving import (
    COVERS,
    KUWAHARA_CRITERIA,
    bilateral,
    cover_radius,
    diffusion,
    diffusion_radius,
    kuwahara,
    lipschitz,
)
from cristae.classical.neighbourhood import PROJECTIONS, ball, ball_radius, in_ball, membrane_projections
from cristae.classical.textures import (
    ENTROPY_BINS,
    GABOR_CHANNELS,
    NEIGHBOURS,
    entropies,
    gabor,
    gabor_radius,
    neighbours,
)
from cristae.data.box import Triple


@dataclass(frozen=True)
class AroundFilter:
    """One filter with its settings."""

    names: tuple[str, ...]
    """What each of its channels is."""
    reach: Triple
    """Voxels (z, y, x) on each side that it sees."""
    compute: Callable[[np.ndarray], Sequence[np.ndarray]]
    """From float32 (Z, Y, X), larger than the result by `reach` on each side, to the channels."""
    in_range: bool = False
    """Whether it wants fractions of the range of grey values, as float64."""


def around_filters(config: FeaturesConfig, step: tuple[float, float, float], ndim: int) -> list[AroundFilter]:
    """The filters of a config, in the order of their channels.

    Args:
        config: Which there are.
        step: Distance of neighbouring voxels (z, y, x), 1 along the finest axis.
        ndim: 2 filters each slice by itself, 3 the volume.
    """
    found = [
        AroundFilter(
            (f"{name} {radius:g}",),
            ball_radius(radius, step, ndim=ndim),
            lambda grey, name=name, radius=radius: [in_ball(name, grey, radius, step, ndim=ndim)],  # type: ignore[misc]
        )
        for name in IN_BALL
        for radius in getattr(config, name)
    ]
    if (line := config.membrane) is not None:
        names = tuple(f"membrane {what}" for what in PROJECTIONS)
        thickness, patch = line.thickness, line.patch
        found.append(
            AroundFilter(
                names,
                (0, patch // 2, patch // 2),
                lambda grey: membrane_projections(grey, thickness=thickness, patch=patch),
            )
        )
    return [*found, *_textures(config, step, ndim), *_edge_preserving(config, step, ndim)]


def _textures(config: FeaturesConfig, step: tuple[float, float, float], ndim: int) -> list[AroundFilter]:
    found = []
    for radius in config.entropy:
        names = tuple(f"entropy {radius:g}, {bins} bins" for bins in ENTROPY_BINS)
        seen = ball(radius, step, ndim=ndim)
        reach = ball_radius(radius, step, ndim=ndim)
        found.append(AroundFilter(names, reach, lambda grey, seen=seen: entropies(grey, seen), in_range=True))  # type: ignore[misc]
    for wave in config.gabor:
        names = tuple(f"gabor {wave:g} {what}" for what in GABOR_CHANNELS)
        reach = (0, gabor_radius(wave), gabor_radius(wave))
        found.append(AroundFilter(names, reach, lambda grey, wave=wave: gabor(grey, wave), in_range=True))  # type: ignore[misc]
    for distance in config.neighbours:
        names = tuple(f"neighbour {distance * y:+d} {distance * x:+d}" for y, x in NEIGHBOURS)
        reach = (0, distance, distance)
        found.append(AroundFilter(names, reach, lambda grey, distance=distance: neighbours(grey, distance)))  # type: ignore[misc]
    return found


def _edge_preserving(config: FeaturesConfig, step: tuple[float, float, float], ndim: int) -> list[AroundFilter]:
    found = []
    for radius, near in config.bilateral:
        seen, reach = ball(radius, step, ndim=ndim), ball_radius(radius, step, ndim=ndim)

        def close(grey: np.ndarray, seen: np.ndarray = seen, near: float = near) -> list[np.ndarray]:
            return [bilateral(grey, seen, near)]

        found.append(AroundFilter((f"bilateral {radius:g} {near:g}",), reach, close, in_range=True))
    if config.kuwahara is not None:
        length = config.kuwahara
        names = tuple(f"kuwahara {what}" for what in KUWAHARA_CRITERIA)
        reach = (0, length // 2, length // 2)
        found.append(AroundFilter(names, reach, lambda grey: kuwahara(grey, length), in_range=True))
    for slope in config.lipschitz:

        def cover(grey: np.ndarray, slope: float = slope) -> list[np.ndarray]:
            return lipschitz(grey, slope, step, ndim=ndim)

        names = tuple(f"lipschitz {slope:g} {what}" for what in COVERS)
        found.append(AroundFilter(names, cover_radius(slope, step, ndim=ndim), cover, in_range=True))
    for edge in config.diffusion:

        def diffuse(grey: np.ndarray, edge: float = edge) -> list[np.ndarray]:
            return [diffusion(grey, edge, step, ndim=ndim)]

        found.append(AroundFilter((f"diffusion {edge:g}",), diffusion_radius(ndim=ndim), diffuse, in_range=True))
    return found
