"""What a proposal follows from: the data in a few numbers, and the machine."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace

from cristae.data.image import VoxelSize

_THIN, _LINE_VOX = 0.2, 10.0
"""A class is thin where its width is below this part of the size of its objects, and no more than a line's."""


@dataclass(frozen=True)
class ClassFacts:
    """One foreground class, in the training slices that were looked at. Lengths are in voxels of the working grid."""

    name: str
    share: float
    """Part of the labelled voxels."""
    width_vox: float | None = None
    """How wide its areas are: twice their area over their outline, about the thickness of a membrane and half the
    diameter of a disc. None where the class was not seen."""
    size_vox: float | None = None
    """Half of its voxels lie in connected areas of a slice that are larger than a disc of this diameter."""
    depth_slices: float | None = None
    """How many slices a line along z stays inside it on average; None where no two neighbours are labelled."""

    @property
    def thin(self) -> bool:
        """Whether it is drawn in lines, as membranes are, rather than in areas."""
        if self.width_vox is None or self.size_vox is None:
            return False
        return self.width_vox <= min(_LINE_VOX, _THIN * self.size_vox)


@dataclass(frozen=True)
class DataFacts:
    """The training and validation regions."""

    stacked: bool
    """Whether slices follow each other, as in a volume of several slices."""
    slices: int
    """Labelled training slices (or images)."""
    consecutive: int
    """The longest run of labelled training slices that follow each other."""
    sides: tuple[int, int]
    """Smallest sides (y, x) of the training regions, in voxels of the working grid, apart from small regions with less
    than a tenth of what is labelled."""
    classes: tuple[ClassFacts, ...] = ()
    """Foreground classes; none where there are no labels yet."""
    background: bool = True
    """Whether there is a background class, or overlapping classes."""
    voxel_size_nm: VoxelSize | None = None
    """(z, y, x) of the working grid; None where it is not known."""
    likeness: float | None = None
    """Correlation of the grey values of neighbouring slices, from -1 to 1; None where there are no neighbours."""
    drift: float | None = None
    """How far the mean grey values of slices lie apart (standard deviation), in standard deviations of one slice."""
    complete: bool = True
    """Whether every labelled training voxel was looked at."""
    validate_vox: int = 0
    """Labelled voxels to validate on, on the working grid."""

    @property
    def anisotropy(self) -> float | None:
        """How many times as long a voxel is along z as in the plane; None where its size is not known."""
        size = self.voxel_size_nm
        return None if size is None else 2 * size[0] / (size[1] + size[2])

    @property
    def rarest(self) -> ClassFacts | None:
        """The class with the fewest voxels, of those that were seen."""
        return min((one for one in self.classes if one.share), key=lambda one: one.share, default=None)

    @property
    def largest_vox(self) -> float | None:
        """The size of the objects of the class that has the largest, of those that are not thin."""
        sizes = [one.size_vox for one in self.classes if one.size_vox is not None and not one.thin]
        return max(sizes, default=None)

    @property
    def seen(self) -> str:
        """What shares are shares of."""
        return "the labelled training voxels" if self.complete else "the labelled training voxels looked at"


@dataclass(frozen=True)
class Machine:
    """Where the training will run."""

    device: str
    """`cpu`, `cuda` or `mps`."""
    cores: int
    memory_bytes: int
    """What the training may use: of the device where it has memory of its own."""

    @property
    def accelerated(self) -> bool:
        """Whether there is a GPU."""
        return self.device != "cpu"

    @property
    def text(self) -> str:
        """For a comment."""
        return (
            f"{self.cores} core{'' if self.cores == 1 else 's'}" if self.device == "cpu" else f"a GPU ({self.device})"
        )


@dataclass(frozen=True)
class Measured:
    """What some steps of a training took on the machine."""

    seconds_per_step: float
    validation_seconds: float
    """Of all validation regions, once."""
    peak_bytes: int
    """The most memory that they held."""
    validated_vox: int = 0
    """Voxels of them that were looked at where they are many; 0 for all."""

    def whole(self, facts: DataFacts) -> Measured:
        """The same with the time that all validation regions take."""
        if not self.validated_vox:
            return self
        factor = max(1.0, facts.validate_vox / self.validated_vox)
        return replace(self, validation_seconds=self.validation_seconds * factor, validated_vox=0)

    @classmethod
    def too_large(cls) -> Measured:
        """Of steps that do not fit into memory."""
        return cls(math.inf, 0.0, sys.maxsize)
