"""Which face of a mesh each pixel sees, in machine code."""

from __future__ import annotations

from typing import Any

import numpy as np

from cristae.compiled import compiled


@compiled
def _draw(places: Any, normals: Any, faces: Any, owners: Any, depth: Any, normal: Any, owner: Any) -> None:
    height, width = depth.shape
    for number in range(faces.shape[0]):
        a, b, c = faces[number]
        ax, ay, bx, by, cx, cy = places[a, 0], places[a, 1], places[b, 0], places[b, 1], places[c, 0], places[c, 1]
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if area >= 0:  # seen from behind, or on edge
            continue
        left = max(int(np.ceil(min(ax, bx, cx) - 0.5)), 0)
        right = min(int(np.floor(max(ax, bx, cx) - 0.5)), width - 1)
        top = max(int(np.ceil(min(ay, by, cy) - 0.5)), 0)
        bottom = min(int(np.floor(max(ay, by, cy) - 0.5)), height - 1)
        for row in range(top, bottom + 1):
            y = row + 0.5
            for column in range(left, right + 1):
                x = column + 0.5
                u = ((bx - x) * (cy - y) - (cx - x) * (by - y)) / area
                v = ((cx - x) * (ay - y) - (ax - x) * (cy - y)) / area
                w = 1.0 - u - v
                if u < 0 or v < 0 or w < 0:
                    continue
                z = u * places[a, 2] + v * places[b, 2] + w * places[c, 2]
                if z < depth[row, column]:
                    depth[row, column] = z
                    owner[row, column] = owners[number]
                    for axis in range(3):
                        normal[row, column, axis] = u * normals[a, axis] + v * normals[b, axis] + w * normals[c, axis]


def draw_faces(
    places: np.ndarray, normals: np.ndarray, faces: np.ndarray, owners: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw triangles with a depth buffer; faces that are seen from behind are left out.

    Args:
        places: (V, 3) float64 in pixels: to the right, down, and away from the eye. Pixel centres lie at halves.
        normals: (V, 3) float64 of the vertices, outward, in the same axes.
        faces: (F, 3) int32 rows of `places`, counter-clockwise from outside.
        owners: (F,) int32 number of what a face belongs to.
        shape: Height and width of the picture.

    Returns:
        Depth (H, W) float64, infinite where nothing is; normal (H, W, 3) float64, interpolated, not of length 1;
        owner (H, W) int32, -1 where nothing is.
    """
    depth = np.full(shape, np.inf)
    normal = np.zeros((*shape, 3))
    owner = np.full(shape, -1, np.int32)
    _draw(places, normals, faces, owners, depth, normal, owner)
    return depth, normal, owner
