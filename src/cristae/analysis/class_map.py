"""A map of classes to measure: class ids, or one mask for each overlapping class, and where voxels count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.image import NO_SHIFT_NM, Image, VoxelSize
from cristae.errors import LabelError, ScoreError


@dataclass(frozen=True, eq=False)
class ClassMap:
    """What every voxel is. All images have the same (z, y, x) shape and are read block by block."""

    labels: tuple[Image, ...]
    """Exclusive classes: one image of class ids. Overlapping classes: one image of 0 and 1 for each class."""
    classes: Classes
    voxel_size_nm: VoxelSize
    """(z, y, x)."""
    valid: Image | None = None
    """Voxels where this is 0 were not annotated and lie outside every cell; None when all count."""

    @property
    def shape(self) -> Triple:
        """Voxels (z, y, x)."""
        return self.labels[0].shape

    @property
    def origin_nm(self) -> VoxelSize:
        """Where the middle of voxel (0, 0, 0) lies, (z, y, x)."""
        return self.labels[0].origin_nm or NO_SHIFT_NM

    @property
    def voxel_um3(self) -> float:
        """Volume of one voxel."""
        return prod(self.voxel_size_nm) * 1e-9

    def read_class(self, name: str, box: Box) -> np.ndarray:
        """bool (Z, Y, X): where the class `name` is; False where voxels do not count."""
        if self.classes.exclusive:
            mask = self._ids(box) == self.classes.id_of(name)
        else:
            mask = self.labels[self.classes.names.index(name)].read(box) != 0
        return self._counted(mask, box)

    def read_foreground(self, box: Box) -> np.ndarray:
        """bool (Z, Y, X): where any class but the background is; all voxels that count where there is none."""
        if self.classes.exclusive:
            return self._counted(self._ids(box) >= self.classes.foreground_ids[0], box)
        mask: np.ndarray = np.logical_or.reduce([image.read(box) != 0 for image in self.labels])
        return self._counted(mask, box)

    def read_valid(self, box: Box) -> np.ndarray | None:
        """bool (Z, Y, X): where voxels count; None when all do."""
        return None if self.valid is None else self.valid.read(box) != 0

    def check_names(self, names: Sequence[str], what: str) -> None:
        """Refuse names that are not foreground classes.

        Raises:
            LabelError: One is not; says which there are.
        """
        for name in names:
            if name not in self.classes.foreground:
                raise LabelError(
                    f"{what}: there is no class '{name}'; the classes are {', '.join(self.classes.foreground)}"
                )

    def _counted(self, mask: np.ndarray, box: Box) -> np.ndarray:
        return mask if self.valid is None else mask & (self.valid.read(box) != 0)

    def _ids(self, box: Box) -> np.ndarray:
        image = self.labels[0]
        ids = image.read(box)
        if ids.dtype.kind == "f" or ids.min() < 0 or ids.max() >= len(self.classes.names):
            raise ScoreError(
                f"{image.path}: box {box} holds values from {ids.min()} to {ids.max()} ({ids.dtype}); expected the "
                f"class ids 0 to {len(self.classes.names) - 1} of {', '.join(self.classes.names)}"
            )
        return ids


def cut(shape: Triple, edges: Triple) -> Iterator[Box]:
    """The blocks of a volume, z slowest."""
    return Box.of_shape(shape).blocks(edges)
