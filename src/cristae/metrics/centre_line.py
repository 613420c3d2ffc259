"""Centre lines: a mask thinned to lines one voxel wide that keep its pieces, loops and hollows.

Voxels are taken away from one side after the other, layer by layer, as in Lee, Kashyap and Chu (1994,
https://doi.org/10.1006/cgip.1994.1042): first all voxels of a side are chosen that may go, then they go one by one, in
raster order, each only if it still may. A voxel may go if it is

- simple: without it there are as many pieces (26 neighbours), loops and hollows (6 neighbours) as with it, which its
  26 neighbours determine (Bertrand and Malandain, 1994, https://doi.org/10.1016/0167-8655(94)90046-9); and
- not the end of a line. One that had a single neighbour before its side's turn always stays. One that has become
  an end during the turn goes if the neighbour that is left was not chosen too: bumps go, lines do not melt away.

The last rule is our own. Without it an object may melt away in a single turn: scikit-image (Lee) leaves nothing of a
straight tube of 4 x 4 voxels, of any length, and of many compact objects. In planes, its other method (Zhang and
Suen, 1984) shortens slanting lines two pixels wide to about half.
"""

from __future__ import annotations

import numpy as np

from cristae.compiled import compiled
from cristae.errors import ScoreError

MOST_VOXELS = 1 << 27
"""Largest mask that is thinned: it takes up to 1.6 GB of memory."""
STAYS, CHOSEN = 1, 2
"""Foreground while a side has its turn."""

_AROUND = np.array([(z, y, x) for z in (-1, 0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1) if (z, y, x) != (0, 0, 0)])
_STEPS = np.abs(_AROUND).sum(axis=1)
_SIDES = np.array([(-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)])


def _bits(chosen: np.ndarray) -> np.ndarray:
    """Rows of 26 booleans as integers, bit i for neighbour i."""
    bits: np.ndarray = (chosen * (1 << np.arange(26))).sum(axis=-1).astype(np.int64)
    return bits


_APART = np.abs(_AROUND[:, None] - _AROUND[None])
_JOINED_26 = _bits(_APART.max(axis=-1) <= 1)
_JOINED_6 = _bits((_APART.sum(axis=-1) <= 1) & (_STEPS <= 2))
_FACES, _FACES_AND_EDGES = int(_bits(_STEPS == 1)), int(_bits(_STEPS <= 2))
_POSITION = np.zeros(37, np.int64)  # 37 leaves a different remainder for every power of two up to 2**35
_POSITION[[(1 << i) % 37 for i in range(26)]] = np.arange(26)


def centre_line(mask: np.ndarray) -> np.ndarray:
    """Thin a mask to lines one voxel wide.

    Takes 1 byte for each voxel and 12 for each voxel of the foreground.

    Args:
        mask: (Z, Y, X) or (Y, X) of bool, at most `MOST_VOXELS`. Along an axis of one voxel no side is taken away.

    Returns:
        The same shape, bool. Beyond the border is background.

    Raises:
        ScoreError: The mask is neither a plane nor a volume, or too large.

    Example:
        >>> centre_line(np.ones((3, 6), bool)).astype(int)
        array([[0, 0, 0, 0, 0, 0],
               [1, 1, 1, 1, 1, 1],
               [0, 0, 0, 0, 0, 0]])
    """
    if mask.ndim not in (2, 3):
        raise ScoreError(f"a mask to thin is (Z, Y, X) or (Y, X), got shape {mask.shape}")
    if mask.size > MOST_VOXELS:
        raise ScoreError(
            f"an object in a box of {' x '.join(map(str, mask.shape))} voxels is too large for a skeleton, which is "
            f"that of a whole object: at most {MOST_VOXELS} voxels. Score slice by slice, or inside a smaller box"
        )
    padded = np.pad(mask[None] if mask.ndim == 2 else mask, 1).astype(np.uint8)
    strides = np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
    sides = _SIDES[np.repeat(np.array(padded.shape) > 3, 2)]
    left = np.flatnonzero(padded).astype(np.int32)
    _thin(padded.reshape(-1), left, _AROUND @ strides, sides @ strides, _JOINED_26, _JOINED_6, _POSITION)
    line: np.ndarray = padded[1:-1, 1:-1, 1:-1].reshape(mask.shape) != 0
    return line


@compiled
def _thin(
    voxels: np.ndarray,
    left: np.ndarray,
    around: np.ndarray,
    sides: np.ndarray,
    joined_26: np.ndarray,
    joined_6: np.ndarray,
    position: np.ndarray,
) -> None:
    """Thin in place.

    Args:
        voxels: (n,) uint8 of a padded volume, `STAYS` in the foreground, 0 elsewhere.
        left: (m,) int32 places of the foreground, rising; overwritten.
        around: (26,) int64 distances in `voxels` to the neighbours.
        sides: (k,) int64 distances to the face neighbours that are taken in turn.
        joined_26, joined_6: (26,) int64, for each neighbour the neighbours next to it, as bits.
        position: (37,) int64, which bit has this remainder.
    """
    m = len(left)
    chosen = np.empty(m, np.int32)
    gone = True
    while gone:
        gone = False
        for side in sides:
            n = 0
            for i in range(m):
                place = left[i]
                open_side = voxels[place] and not voxels[place + side]
                if open_side and _may_go(voxels, place, around, joined_26, joined_6, position):
                    chosen[n] = place
                    n += 1
            for i in range(n):
                voxels[chosen[i]] = CHOSEN
            for i in range(n):
                if _may_go(voxels, chosen[i], around, joined_26, joined_6, position):
                    voxels[chosen[i]] = 0
                    gone = True
            for i in range(n):
                voxels[chosen[i]] = min(voxels[chosen[i]], STAYS)
        n = 0
        for i in range(m):
            if voxels[left[i]]:
                left[n] = left[i]
                n += 1
        m = n


@compiled
def _may_go(
    voxels: np.ndarray,
    place: int,
    around: np.ndarray,
    joined_26: np.ndarray,
    joined_6: np.ndarray,
    position: np.ndarray,
) -> bool:
    """Whether a voxel is simple and, as stated above, not the end of a line."""
    inside = np.int64(0)
    for i in range(26):
        if voxels[place + around[i]]:
            inside |= np.int64(1) << i
    if inside == 0:
        return False
    if inside & (inside - 1) == 0:  # a single neighbour
        if voxels[place] == STAYS or voxels[place + around[position[inside % 37]]] == CHOSEN:
            return False
    elif _reached(inside & -inside, inside, joined_26, position) != inside:
        return False
    outside = ~inside & np.int64(_FACES_AND_EDGES)
    faces = outside & np.int64(_FACES)
    if faces == 0:
        return False
    return bool(_reached(faces & -faces, outside, joined_6, position) & faces == faces)


@compiled
def _reached(start: np.int64, allowed: np.int64, joined: np.ndarray, position: np.ndarray) -> np.int64:
    """All of the allowed neighbours (as bits) that hang together with `start`."""
    reached = start
    waiting = start
    while waiting:
        one = waiting & -waiting
        waiting ^= one
        fresh = joined[position[one % 37]] & allowed & ~reached
        reached |= fresh
        waiting |= fresh
    return reached
