"""A truth and a prediction aligned on one grid, and read block by block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.geometry import Geometry, common_size, placement_hint
from cristae.data.image import Image, VoxelSize
from cristae.errors import ScoreError
from cristae.evaluation.masks import mask_of
from cristae.evaluation.segmentation import Segmentation, check_shape
from cristae.progress import Progress


@dataclass(frozen=True, eq=False)
class Voxels:
    """What is read of one box; every array (Z, Y, X)."""

    truth: tuple[np.ndarray, ...]
    """Class ids, or one mask for each overlapping class."""
    prediction: tuple[np.ndarray, ...]
    valid: np.ndarray | None
    """bool, whether a voxel counts; None when every one does."""
    maps: tuple[np.ndarray, ...]
    """Probabilities of each foreground class, uint8 (255 is 1) or floats; empty where there are none."""
    truth_map: np.ndarray | None
    """The probability map that was binarised to the truth."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """One volume's truth and what was predicted for it; all images have the same shape."""

    truth: Segmentation
    prediction: Segmentation
    valid: tuple[Image, ...] = ()
    """Voxels count where none of these is 0."""
    first_slice: int = 0
    """Slice of the volume that slice 0 of the images is."""
    voxel_size_nm: VoxelSize | None = None
    """(z, y, x), where it is known."""

    @property
    def volume(self) -> str:
        """Name of the volume."""
        return self.truth.volume

    @property
    def images(self) -> tuple[Image, ...]:
        """All images of truth and prediction."""
        return (*self.truth.images, *self.prediction.images)

    @property
    def maps(self) -> tuple[Image, ...]:
        """Predicted probability maps of the foreground classes, or none."""
        return self.prediction.probabilities

    @property
    def truth_map(self) -> Image | None:
        """The probability map that is binarised to the truth."""
        return None if self.truth.labels else self.truth.probabilities[0]

    @property
    def shape(self) -> Triple:
        """Voxels (z, y, x) that are compared."""
        return self.truth.shape

    def read(self, box: Box) -> Voxels:
        """What is in `box` of all images."""
        maps = tuple(image.read(box) for image in self.maps)
        truth_map = None if self.truth_map is None else self.truth_map.read(box)
        truth = self.truth.read(box) if truth_map is None else self.truth.binarized([truth_map])
        prediction = self.prediction.read(box) if self.prediction.labels else self.prediction.binarized(maps)
        return Voxels(truth, prediction, self.read_valid(box), maps, truth_map)

    def read_valid(self, box: Box) -> np.ndarray | None:
        """bool, whether a voxel counts; None when every one does."""
        masks = [image.read(box) != 0 for image in self.valid]
        if not masks:
            return None
        both: np.ndarray = np.logical_and.reduce(masks)
        return both

    def where(self, z: int) -> str:
        """A slice of the comparison for messages, with the files it is read from."""
        paths = f"truth {self.truth.images[0].path}, prediction {self.prediction.images[0].path}"
        return f"slice {self.first_slice + z} of '{self.volume}' ({paths})"


def align(
    truth: Segmentation,
    prediction: Segmentation,
    *,
    box: Box | str | None = None,
    mask: Image | None = None,
    voxel_size_nm: VoxelSize | None = None,
    progress: Progress = Progress(),
) -> Comparison:
    """Crop a truth and a prediction to the voxels that are compared.

    Args:
        truth: Of the whole volume.
        prediction: Of the volume or a part of it.
        box: The part of the volume to compare; None takes all that was predicted.
        mask: Only voxels where this is not 0 count; of the truth's shape.
        voxel_size_nm: (z, y, x), where no file says it.
        progress: Takes a warning where origins differ.

    Raises:
        ScoreError: The shapes do not fit together, the prediction leaves voxels without a class, or the mask has
            colours.
        VoxelSizeError: The voxel sizes differ.
        VolumeError: The orientations differ.
    """
    if prediction.valid is not None:
        raise ScoreError(
            f"{prediction.path}: leaves voxels without a class (unlabelled values or slices, or a valid mask), but a "
            "prediction has a class for every voxel; compare annotations with each other by `cristae agree`"
        )
    _check_slice_names(truth, prediction)
    place = truth.geometry("the truth")
    covered = check_shape(truth.volume, place, prediction)
    wanted = covered if box is None else _box_in(truth, box)
    if not covered.contains(wanted):
        raise ScoreError(f"volume '{truth.volume}': box {wanted} reaches outside the predicted part {covered}")
    if mask is not None and mask.shape != truth.shape:
        raise ScoreError(
            f"the mask {mask.path} has shape {mask.shape}, the truth of '{truth.volume}' {truth.shape} (z, y, x)."
            + placement_hint(place, Geometry.of(mask, ""))
        )
    inside = None if mask is None else mask_of(mask)
    places = [place.crop(covered), prediction.geometry("the prediction")]
    if mask is not None:
        places.append(Geometry.of(mask, "the mask").crop(covered))
    return Comparison(
        truth=truth.crop(wanted),
        prediction=prediction.crop(wanted.relative_to(covered.start)),
        valid=tuple(image.crop(wanted) for image in (truth.valid, inside) if image is not None),
        first_slice=wanted.start[0],
        voxel_size_nm=common_size(places, voxel_size_nm, progress),
    )


def _check_slice_names(truth: Segmentation, prediction: Segmentation) -> None:
    """Refuse folders of slices of which a file stands at another place than the file of the same name."""
    names, found = (next((one.slice_names for one in of.images if one.slice_names), ()) for of in (truth, prediction))
    places = {name: z for z, name in enumerate(names)}
    for z, name in enumerate(found):
        if len(names) == len(found) and places.get(name, z) != z:
            raise ScoreError(
                f"{prediction.path}: '{name}' is slice {z} (from 0) of this folder, but slice {places[name]} of the "
                f"truth of '{truth.volume}'; a file is missing or too many in one of them. Give both the same slices"
            )


def _box_in(truth: Segmentation, box: Box | str) -> Box:
    if isinstance(box, Box):
        return box
    try:
        return Box.parse(box, truth.shape)
    except ValueError as error:
        raise ScoreError(f"volume '{truth.volume}': box {error}") from None
