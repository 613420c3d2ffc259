"""Truth and prediction laid on each other: what is compared where, read block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.image import Image, VoxelSize, check_voxel_size, same_voxel_size, voxel_size_text
from cristae.data.volume import Volume
from cristae.errors import LabelError, ScoreError, VoxelSizeError
from cristae.evaluation.masks import mask_of
from cristae.inference.prediction import Prediction
from cristae.metrics.binary import binarize

_BLOCK_VOXELS = 1 << 24
"""Roughly what is read of each image at once."""


@dataclass(frozen=True, eq=False)
class Voxels:
    """What is read of one box; every array (Z, Y, X)."""

    truth: tuple[np.ndarray, ...]
    """Class ids, or one mask for each overlapping class."""
    prediction: tuple[np.ndarray, ...]
    valid: np.ndarray | None
    """bool, whether a voxel counts; None when every one does."""
    maps: tuple[np.ndarray, ...]
    """Scores for each foreground class, uint8 (255 is 1) or floats; empty where there are none."""
    truth_map: np.ndarray | None
    """The grey truth that was binarised, as a map of scores."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """One volume and what was predicted for it; all images have the same shape."""

    volume: str
    truth: tuple[Image, ...]
    """Class ids, or one mask for each overlapping class; empty with a `truth_map`."""
    prediction: tuple[Image, ...]
    """As `truth`; empty where the only map is binarised."""
    valid: tuple[Image, ...] = ()
    """Voxels count where none of these is 0."""
    first_slice: int = 0
    """Slice of the volume that slice 0 of the images is."""
    maps: tuple[Image, ...] = ()
    """Maps of scores for each foreground class, or none."""
    truth_map: Image | None = None
    """Grey truth, foreground above the same threshold as the prediction."""
    threshold: float | None = None
    """Above which a score is foreground; None for labels."""
    voxel_size_nm: VoxelSize | None = None
    """(z, y, x) in nm, where it is known."""

    @property
    def images(self) -> tuple[Image, ...]:
        """Truth and prediction, whatever they are read from."""
        found = (self.truth_map, *self.truth, *self.prediction, *self.maps)
        return tuple(image for image in found if image is not None)

    @property
    def shape(self) -> Triple:
        """Voxels (z, y, x) that are compared."""
        return self.images[0].shape

    def read(self, box: Box) -> Voxels:
        """What is in `box` of all images."""
        maps = tuple(image.read(box) for image in self.maps)
        truth_map = None if self.truth_map is None else self.truth_map.read(box)
        truth = self.read_truth(box) if truth_map is None else (binarize(truth_map, self._cut),)
        prediction = self.read_prediction(box) if self.prediction else tuple(binarize(m, self._cut) for m in maps)
        return Voxels(truth, prediction, self.read_valid(box), maps, truth_map)

    def read_truth(self, box: Box) -> tuple[np.ndarray, ...]:
        """Class ids, or one mask for each overlapping class."""
        if self.truth_map is not None:
            return (binarize(self.truth_map.read(box), self._cut),)
        return tuple(image.read(box) for image in self.truth)

    def read_prediction(self, box: Box) -> tuple[np.ndarray, ...]:
        """As `read_truth`."""
        if self.prediction:
            return tuple(image.read(box) for image in self.prediction)
        return tuple(binarize(image.read(box), self._cut) for image in self.maps)

    def read_valid(self, box: Box) -> np.ndarray | None:
        """bool, whether a voxel counts; None when every one does."""
        masks = [image.read(box) != 0 for image in self.valid]
        if not masks:
            return None
        both: np.ndarray = np.logical_and.reduce(masks)
        return both

    @property
    def _cut(self) -> float:
        return 0.5 if self.threshold is None else self.threshold

    def where(self, z: int) -> str:
        """A slice of the comparison for messages, with the files behind it."""
        truth = (self.truth or (self.truth_map,))[0]
        prediction = (self.prediction or self.maps)[0]
        paths = f"truth {truth.path if truth else ''}, prediction {prediction.path}"
        return f"slice {self.first_slice + z} of '{self.volume}' ({paths})"


def compare(
    truth: Volume,
    prediction: Sequence[Image],
    *,
    maps: Sequence[Image] = (),
    truth_map: Image | None = None,
    threshold: float | None = None,
    made_by: Prediction | None = None,
    box: Box | None = None,
    mask: Image | None = None,
    voxel_size_nm: VoxelSize | None = None,
) -> Comparison:
    """Lay a prediction on the truth.

    Args:
        truth: A volume with labels.
        prediction: Class ids, or one mask for each overlapping class; empty where the one map is binarised.
        maps: Scores for each foreground class.
        truth_map: Instead of the volume's labels, a grey map that is binarised like the prediction.
        threshold: Above which a score is foreground.
        made_by: Where the images come from, which may cover a part of the volume; None when they cover all of it.
        box: The part of the volume to compare; None takes all that was predicted.
        mask: Only voxels where this is not 0 count; as large as the truth.
        voxel_size_nm: (z, y, x), where no file says it.

    Raises:
        LabelError: The volume has no labels.
        ScoreError: The shapes do not fit together, or the mask has colours.
        VoxelSizeError: The voxel sizes differ.
    """
    labels = truth.labels if truth_map is None else (truth_map,)
    if not labels:
        raise LabelError(f"volume '{truth.name}' has no labels to compare with; name them in the recipe")
    if prediction and len(prediction) != len(labels):
        raise ScoreError(
            f"volume '{truth.name}' has {len(labels)} label images, the prediction has {len(prediction)}; "
            "were both made with the same classes?"
        )
    found = (*prediction, *maps)[0]
    covered = covered_part(truth.name, labels[0].shape, found.shape, made_by)
    wanted = covered if box is None else box
    if not covered.contains(wanted):
        raise ScoreError(f"volume '{truth.name}': box {wanted} reaches outside the predicted part {covered}")
    if mask is not None and mask.shape != labels[0].shape:
        raise ScoreError(
            f"the mask {mask.path} has shape {mask.shape}, the truth of '{truth.name}' {labels[0].shape} (z, y, x)"
        )
    inside = None if mask is None else mask_of(mask)
    counts = [image.crop(wanted) for image in (truth.valid, inside) if image is not None]
    own = wanted.relative_to(covered.start)
    return Comparison(
        volume=truth.name,
        truth=() if truth_map is not None else tuple(label.crop(wanted) for label in labels),
        prediction=tuple(label.crop(own) for label in prediction),
        valid=tuple(counts),
        first_slice=wanted.start[0],
        maps=tuple(image.crop(own) for image in maps),
        truth_map=None if truth_map is None else truth_map.crop(wanted),
        threshold=threshold,
        voxel_size_nm=agreed_voxel_size(
            {f"truth '{truth.name}'": truth.voxel_size_nm, f"prediction {found.path}": found.voxel_size_nm},
            voxel_size_nm,
            flat=found.shape[0] == 1,
        ),
    )


def agreed_voxel_size(
    said: Mapping[str, VoxelSize | None], stated: VoxelSize | None, *, flat: bool
) -> VoxelSize | None:
    """What files or the command say about voxels; None where nobody knows.

    Args:
        said: Voxel size (z, y, x) in nm by who says it, as messages name them.
        stated: By the command.
        flat: Of a single slice, whose thickness may differ.

    Raises:
        VoxelSizeError: Two of them differ by more than 1 %, or the stated one is no voxel size.
    """
    if stated is not None:
        check_voxel_size(stated)
    known = [(who, size) for who, size in (*said.items(), ("the command", stated)) if size is not None]
    for who, size in known[1:]:
        first, agreed = known[0]
        if not same_voxel_size(agreed, size, axes=(1, 2) if flat else (0, 1, 2)):
            raise VoxelSizeError(
                f"voxel sizes differ: {first} says {voxel_size_text(agreed)}, {who} says {voxel_size_text(size)} "
                "(z, y, x); compare maps of one volume on one grid, or correct the file that is wrong"
            )
    return known[0][1] if known else None


def blocks_of(*images: Image, voxels: int | None = None) -> list[Box]:
    """Cut images of one shape into boxes of whole chunks, of about 16 million voxels each or as many as asked for."""
    size = [max(image.chunks[axis] for image in images) for axis in range(3)]
    shape = images[0].shape
    for axis in (2, 1, 0):
        while size[axis] < shape[axis] and 2 * size[0] * size[1] * size[2] <= (voxels or _BLOCK_VOXELS):
            size[axis] *= 2
        size[axis] = min(size[axis], shape[axis])
    return list(Box.of_shape(shape).blocks(size))


def slabs_of(*images: Image) -> list[Box]:
    """Cut images of one shape into slabs of whole slices, as deep as chunks and about 16 million voxels allow."""
    depth, shape = max(image.chunks[0] for image in images), images[0].shape
    fits = max(1, _BLOCK_VOXELS // (shape[1] * shape[2]))
    step = min(depth, fits) if depth > 1 else min(8, fits)
    return list(Box.of_shape(shape).blocks((step, *shape[1:])))


def covered_part(name: str, shape: Triple, found: Triple, made_by: Prediction | None = None) -> Box:
    """The part of the truth that was predicted. A part is recognised only in a volume as large as the truth.

    Args:
        name: Of the volume, for messages.
        shape: Of the truth.
        found: Of the prediction.
        made_by: Where the prediction comes from, which may cover a part of the volume.

    Raises:
        ScoreError: The shapes do not fit together.
    """
    if made_by is not None and made_by.volume_shape == shape:
        return made_by.box
    if found == shape:
        return Box.of_shape(shape)
    part = ""
    if made_by is not None and made_by.volume_shape != found:
        part = f" (box {made_by.box} of a volume of {made_by.volume_shape})"
    raise ScoreError(
        f"truth and prediction of '{name}' have different shapes: truth {shape}, prediction {found}{part} voxels "
        "(z, y, x). Compare a prediction with the truth of the same volume."
    )
