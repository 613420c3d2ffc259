"""Whether dark and bright mean the same in all volumes, by what labelled structures look like there."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cristae.data.label_fit import ODD

_OPPOSITE = 0.6
"""Cosine between what classes look like in two volumes from which on they are alike, or below 0 opposite."""


def opposite(relations: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Volumes in which labelled structures are bright where they are dark in most of the others, or the reverse.

    Args:
        relations: By volume, the correlations (K, F) of classes with features, as `Alignment.relation`.

    Returns:
        Names; of as many on both sides, those that are unlike the first volume.
    """
    if len(relations) < 2:
        return ()
    names, shown = list(relations), [relation[:, ODD].ravel() for relation in relations.values()]
    strongest = shown[int(np.argmax([np.linalg.norm(one) for one in shown]))]
    sides = [_side(one, strongest) for one in shown]
    usual = 1 if sum(sides) > 0 or (sum(sides) == 0 and sides[0] >= 0) else -1
    return tuple(name for name, side in zip(names, sides, strict=True) if side == -usual)


def _side(first: np.ndarray, second: np.ndarray) -> int:
    """1 where two volumes show structures alike, -1 where they show them as negatives, 0 where neither is clear."""
    both = (first != 0) & (second != 0)
    size = float(np.linalg.norm(first[both]) * np.linalg.norm(second[both]))
    cosine = float(first[both] @ second[both]) / size if size else 0.0
    return (cosine > _OPPOSITE) - (cosine < -_OPPOSITE)
