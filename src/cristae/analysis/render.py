"""Pictures of surfaces, drawn without a graphics card: parallel projection, soft light, nearer is stronger.

Places and colours are computed on a finer raster and averaged in linear light. Hollows and what lies behind something
else are darkened where a pixel is deeper than its surroundings (Luft, Colditz, Deussen (2006), Image enhancement by
unsharp masking the depth buffer, https://doi.org/10.1145/1141911.1142016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cristae.analysis.mesh import Mesh, join_meshes, vertex_normals

FINER = 2
"""Pixels of the finer raster along one side of a pixel."""
_MARGIN = 0.04
"""Of the picture's width, left free on each side."""
_KEY = np.array([-0.45, -0.62, -0.64])
"""Towards the light: left, above, in front."""
_FOG = 0.4
"""Fraction of the background's white in the farthest surface."""
_HOLLOW = 0.5
"""How much a hollow darkens."""
_LINE = 0.55
"""How much an outline darkens."""


@dataclass(frozen=True, eq=False)
class Body:
    """What is drawn."""

    mesh: Mesh
    color: str
    """'#rrggbb'."""
    translucent: bool = False
    """Drawn like glass, with its outline strong and its face faint, so that what is inside can be seen."""


@dataclass(frozen=True)
class Viewpoint:
    """Where the eye is. Both angles 0 look along z, with x to the right and y down, as a slice is shown."""

    turn_deg: float
    """Around the vertical, the eye going to the right."""
    rise_deg: float
    """The eye going up."""

    @property
    def axes(self) -> np.ndarray:
        """(3, 3) unit vectors in x, y, z: to the right, down, away from the eye."""
        turn, rise = np.deg2rad([self.turn_deg, self.rise_deg])
        right = np.array([np.cos(turn), 0, np.sin(turn)])
        level = np.array([-np.sin(turn), 0, np.cos(turn)])
        down = np.array([0, np.cos(rise), 0]) - np.sin(rise) * level
        away = np.array([0, np.sin(rise), 0]) + np.cos(rise) * level
        return np.stack([right, down, away])


VIEWPOINTS = (Viewpoint(-30, 25), Viewpoint(60, 25))


@dataclass(frozen=True, eq=False)
class Rendering:
    """A picture of bodies."""

    picture: np.ndarray
    """(H, W, 3) uint8 RGB on white."""
    nm_per_px: float
    """The same everywhere in the picture: the projection is parallel."""


def render(
    bodies: Sequence[Body],
    *,
    viewpoints: Sequence[Viewpoint] = VIEWPOINTS,
    width_px: int = 900,
    around: Sequence[Body] = (),
) -> list[Rendering]:
    """A picture from each viewpoint, all of the same size and scale, such that everything fits.

    Args:
        bodies: Those that are empty are not drawn.
        viewpoints: Where to look from.
        width_px: Width of each picture; the height follows from what there is to see, 0.4 to 1.2 of the width.
        around: Bodies that would fit, too, and are not drawn: pictures that are made around the same bodies have the
            same camera.

    Returns:
        A rendering for each viewpoint; none when there is nothing to see.
    """
    bodies = [body for body in bodies if len(body.mesh.faces)]
    fit = [*bodies, *(body for body in around if len(body.mesh.faces))]
    if not fit:
        return []
    places = join_meshes([body.mesh for body in fit]).vertices.astype(np.float64)
    seen = [places @ viewpoint.axes.T for viewpoint in viewpoints]
    low, high = (np.array([extreme(one, axis=0) for one in seen]) for extreme in (np.min, np.max))
    across, tall = (high - low).max(axis=0)[:2]
    fill = 1 - 2 * _MARGIN
    height_px = round(width_px * min(max(tall / max(across, 1e-9) * fill + 2 * _MARGIN, 0.4), 1.2))
    nm_per_px = float(max(across / (width_px * fill), tall / (height_px - 2 * _MARGIN * width_px)))
    shape = (height_px * FINER, width_px * FINER)
    middles = (low + high) / 2
    pictures = [
        _picture(bodies, viewpoint.axes, middle, nm_per_px / FINER, shape)
        for viewpoint, middle in zip(viewpoints, middles, strict=True)
    ]
    return [Rendering(picture, nm_per_px) for picture in pictures]


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the pixels of the finer raster see."""

    depth: np.ndarray
    """(H, W) pixels away from the eye; infinite where there is nothing."""
    normal: np.ndarray
    """(H, W, 3) outward, of length 1 where there is something."""
    color: np.ndarray
    """(H, W, 3) linear RGB before any light."""


def _picture(
    bodies: Sequence[Body], axes: np.ndarray, middle: np.ndarray, nm_per_px: float, shape: tuple[int, int]
) -> np.ndarray:
    opaque, glass = (
        _look([body for body in bodies if body.translucent is clear], axes, middle, nm_per_px, shape)
        for clear in (False, True)
    )
    picture = np.ones((*shape, 3), np.float32)
    there = np.isfinite(opaque.depth)
    if there.any():
        hollow, line = (_hollows(opaque.depth)[there][:, None], _outline(opaque.depth)[there][:, None])
        lit = _light(opaque, there) * (1 - _HOLLOW * hollow)
        picture[there] = _fade(lit, opaque.depth[there]) * (1 - _LINE * line)
    front = glass.depth < opaque.depth
    if front.any():
        slant = 1 - np.abs(glass.normal[front][:, 2])
        strength = (0.10 + 0.55 * slant**2 + 0.25 * _outline(glass.depth)[front])[:, None]
        picture[front] = (1 - strength) * picture[front] + strength * _light(glass, front)
    fine = picture.reshape(shape[0] // FINER, FINER, shape[1] // FINER, FINER, 3)
    values: np.ndarray = np.rint(255 * _to_srgb(fine.mean(axis=(1, 3), dtype=np.float64)))
    return values.astype(np.uint8)


def _look(
    bodies: Sequence[Body], axes: np.ndarray, middle: np.ndarray, nm_per_px: float, shape: tuple[int, int]
) -> _Seen:
    """Draw bodies; the place `middle` (in nm along the axes) is the picture's centre and has depth 0."""
    from cristae.analysis.raster import draw_faces

    mesh = join_meshes([body.mesh for body in bodies])
    places = (mesh.vertices.astype(np.float64) @ axes.T - middle) / nm_per_px + [shape[1] / 2, shape[0] / 2, 0]
    owners = np.repeat(np.arange(len(bodies), dtype=np.int32), [len(body.mesh.faces) for body in bodies])
    depth, normal, owner = draw_faces(places, vertex_normals(mesh) @ axes.T, mesh.faces, owners, shape)
    colors = np.array([_linear(body.color) for body in bodies] + [[1.0, 1.0, 1.0]])
    return _Seen(depth, _unit(normal), colors[owner])


def _light(seen: _Seen, where: np.ndarray) -> np.ndarray:
    """(N, 3) linear RGB of the pixels `where`: a large light from the upper left, a bright sky, some gloss."""
    normal, color = seen.normal[where], seen.color[where]
    toward = _KEY / np.linalg.norm(_KEY)
    key = np.clip((normal @ toward + 0.3) / 1.3, 0, 1)
    sky = 0.5 - 0.5 * normal[:, 1]
    half = toward + np.array([0, 0, -1])
    gloss = np.clip(normal @ (half / np.linalg.norm(half)), 0, 1) ** 30
    diffuse = 0.08 + 0.84 * key + 0.18 * sky
    light: np.ndarray = np.clip(color * diffuse[:, None] + 0.10 * gloss[:, None], 0, 1)
    return light


def _hollows(depth: np.ndarray) -> np.ndarray:
    """(H, W) from 0 to 1: how much deeper a pixel lies than the mean of what is around it, near and far."""
    total = np.zeros(depth.shape)
    for share in (0.006, 0.03):
        reach = share * depth.shape[1]
        deeper = depth - _around(depth, reach)
        total += np.clip(np.where(np.isfinite(deeper), deeper, 0) / (4 * reach), 0, 1)
    return np.minimum(total, 1)


def _around(depth: np.ndarray, reach_px: float) -> np.ndarray:
    """(H, W) mean depth, by a Gaussian, of what is there; computed on a coarser raster, as it changes slowly."""
    from scipy import ndimage

    every = max(1, int(reach_px / 3))
    coarse = depth[::every, ::every]
    there = np.isfinite(coarse)
    weight, sums = (ndimage.gaussian_filter(one, reach_px / every) for one in (there * 1.0, np.where(there, coarse, 0)))
    mean = sums / np.maximum(weight, 1e-6)
    rows, columns = (np.arange(n) / every for n in depth.shape)
    places = [np.minimum(at, size - 1) for at, size in zip((rows, columns), mean.shape, strict=True)]
    down = np.stack([np.interp(places[0], np.arange(len(mean)), column) for column in mean.T], axis=1)
    return np.stack([np.interp(places[1], np.arange(mean.shape[1]), row) for row in down])


def _outline(depth: np.ndarray) -> np.ndarray:
    """(H, W) from 0 to 1: whether something much deeper, or nothing, is beside a pixel."""
    from scipy import ndimage

    there = np.isfinite(depth)
    behind = np.where(there, depth, depth[there].max(initial=0) + 100)
    step = ndimage.maximum_filter(behind, 3) - behind
    return np.where(there, np.clip((step - 8) / 16, 0, 1), 0)


def _fade(color: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Mix (N, 3) colours with white, the more the deeper."""
    near, far = depth.min(), depth.max()
    share = _FOG * ((depth - near) / max(far - near, 1e-9))[:, None]
    faded: np.ndarray = (1 - share) * color + share
    return faded


def _linear(color: str) -> np.ndarray:
    """Linear light of '#rrggbb' (sRGB, IEC 61966-2-1)."""
    value = np.array([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear: np.ndarray = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return linear


def _to_srgb(linear: np.ndarray) -> np.ndarray:
    clipped = np.clip(linear, 0, 1)
    value: np.ndarray = np.where(clipped <= 0.0031308, clipped * 12.92, 1.055 * clipped ** (1 / 2.4) - 0.055)
    return value


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: np.ndarray = vectors / np.where(length > 0, length, 1)
    return unit
