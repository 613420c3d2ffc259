"""Parts made from small arrays of class ids, as training would hand them to a sampler."""

import numpy as np

from cristae.data.box import Box
from cristae.sampling import SamplePart

INVALID = 255


def part_of(
    target: np.ndarray,
    *,
    n_classes: int,
    invalid: int = INVALID,
    names: tuple[str, ...] = (),
    volume: str = "",
    listed: int | None = None,
    first_foreground: int = 1,
) -> SamplePart:
    """A part of ids (Z, Y, X).

    Args:
        target: Ids; `invalid` where a voxel does not count.
        n_classes: Number of classes.
        invalid: The id that does not count.
        names: Of the classes.
        volume: Whose part it is.
        listed: Places that are remembered of a class; None remembers all.
        first_foreground: 0 where there is no background.
    """

    def places(voxels: np.ndarray, start: tuple[int, int, int]) -> tuple[np.ndarray, ...]:
        rng = np.random.default_rng(int(target.sum()))
        found = [rng.permutation(np.argwhere(voxels == k).astype(np.int32) + start) for k in range(n_classes)]
        return tuple(one[:listed] for one in found)

    def counts(voxels: np.ndarray) -> np.ndarray:
        return np.array([np.count_nonzero(voxels == k) for k in range(n_classes)])

    def structures(voxels: np.ndarray) -> np.ndarray:
        return (voxels >= first_foreground) & (voxels != invalid)

    return SamplePart(
        shape=target.shape,
        class_counts=counts(target),
        class_voxels=places(target, (0, 0, 0)),
        has_foreground=lambda box: bool(np.any(structures(target[box.slices]))),
        has_valid=lambda box: bool(np.any(target[box.slices] != invalid)),
        fully_valid=not np.any(target == invalid),
        first_foreground=first_foreground,
        class_names=names or tuple(f"c{k}" for k in range(n_classes)),
        volume=volume,
        index_within=lambda box, _: (counts(target[box.slices]), places(target[box.slices], box.start)),
    )


def inside(target: np.ndarray, box: Box) -> np.ndarray:
    """The ids of the voxels of a box that are in the part."""
    return target[box.intersect(Box.of_shape(target.shape)).slices]
