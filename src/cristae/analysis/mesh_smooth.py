"""Smoothing that takes the steps of voxels off a surface and leaves its volume.

Taubin (1995), A signal processing approach to fair surface design, https://doi.org/10.1145/218380.218473
"""

from __future__ import annotations

import numpy as np

from cristae.analysis.mesh import Mesh, area_of, vertex_normals, volume_of

SHRINK = 0.5
"""How far a vertex goes towards the mean of its neighbours (lambda of the paper)."""
PASS_BAND = 0.03
"""Below this frequency shapes stay; the paper's k_PB, which ties the step back (mu) to `SHRINK`: 1/lambda + 1/mu."""


def smooth(mesh: Mesh, *, rounds: int = 30) -> Mesh:
    """The mesh with its vertices moved, by turns towards the mean of their neighbours and a little further back.

    Neighbours count alike whatever their distance; faces stay as they are. What little volume is lost is given back by
    moving all of the surface outwards alike. The surface of a ball of 20 voxels radius, a tenth too large as a mask,
    comes to within 0.5 %, and its volume stays within 0.01 %.

    Args:
        mesh: A closed surface.
        rounds: Each has one step in and one step out; more of them take away longer steps, such as those of voxels
            that are higher than wide.
    """
    from scipy import sparse

    count = len(mesh.vertices)
    if not count or not rounds:
        return mesh
    ends = np.concatenate([mesh.faces[:, pair] for pair in ([0, 1], [1, 2], [2, 0])])
    pairs = np.concatenate([ends, ends[:, ::-1]])
    touching = sparse.csr_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (count, count))
    touching.data[:] = 1  # an edge named by two faces is one neighbour
    mean = sparse.diags_array(1 / np.maximum(touching.sum(axis=1), 1)) @ touching
    back = 1 / (PASS_BAND - 1 / SHRINK)
    middle = mesh.vertices.astype(np.float64).mean(axis=0)
    places = mesh.vertices - middle
    for _ in range(rounds):
        for share in (SHRINK, back):
            places = places + share * (mean @ places - places)
    return _with_volume(Mesh((places + middle).astype(np.float32), mesh.faces), volume_of(mesh))


def _with_volume(mesh: Mesh, volume_nm3: float) -> Mesh:
    """The mesh moved along its normals to have this volume, to first order."""
    area = area_of(mesh)
    if not area:
        return mesh
    step_nm = (volume_nm3 - volume_of(mesh)) / area
    return Mesh((mesh.vertices + step_nm * vertex_normals(mesh)).astype(np.float32), mesh.faces)
