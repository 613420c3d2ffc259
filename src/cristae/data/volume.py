"""A volume: an image with what is known about its voxels."""

from __future__ import annotations

from dataclasses import dataclass

from cristae.data.affinities import ObjectLabels
from cristae.data.image import Image, VoxelSize


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume as the rest of the program sees it. All parts share the image's (z, y, x) shape and are read lazily."""

    name: str
    image: Image
    """Grey values, (Z, Y, X), any integer or float type."""
    labels: tuple[Image, ...] = ()
    """Empty when there is no annotation. Exclusive classes: one uint8 image of class ids. Overlapping classes: one
    uint8 image of 0 and 1 for each class, in the order of `Classes.names`."""
    valid: Image | None = None
    """uint8, 1 where a voxel counts and 0 where it was not annotated; None when every voxel of `labels` counts."""
    weight: Image | None = None
    """float32, how much a voxel counts in pixelwise loss terms; None means 1."""
    voxel_size_nm: VoxelSize | None = None
    """(z, y, x) in nm; None only where nothing depends on it."""
    labelled_slices: tuple[int, ...] | None = None
    """Indices z that have annotation; None means all of them (when there are labels)."""
    objects: ObjectLabels | None = None
    """The object ids that `labels` and `valid` are made of, where the classes are affinities."""
    warnings: tuple[str, ...] = ()
    """What is allowed but deserves a look: origins that differ, a voxel size that looks like a slip of the unit."""
