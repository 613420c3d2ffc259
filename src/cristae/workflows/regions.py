"""From a recipe's data to what training needs of it: regions on one grid, their classes, their grey values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import Image, VoxelSize, same_voxel_size, voxel_size_text
from cristae.data.open import Dataset, Part, labelled_boxes
from cristae.errors import LabelError, VoxelSizeError
from cristae.preprocess.histogram import IntensityHistogram, histogram_of
from cristae.preprocess.normalize import NormalizeConfig, Normalizer, fit
from cristae.progress import Progress
from cristae.recipe.recipe import Recipe
from cristae.training.staging import StagedPart, on_working_grid

_MAX_HISTOGRAM_VOXELS = 200_000_000
_LOOK = (1, 2048, 2048)


@dataclass(frozen=True)
class Regions:
    """Training and validation regions on the working grid."""

    classes: Classes
    train: tuple[Part, ...]
    validate: tuple[Part, ...]
    images: Mapping[str, Image]
    """The images of their volumes as they are on disk, by volume name."""
    voxel_size_nm: VoxelSize | None


def prepare_regions(recipe: Recipe, dataset: Dataset) -> Regions:
    """Regions on the working grid, after checking that they have labels and one voxel size."""
    for part in (*dataset.train, *dataset.validate):
        if not part.volume.labels:
            raise LabelError(
                f"volume '{part.volume.name}' is used for training or validation but has no labels; "
                "add labels to it under data.volumes"
            )
    flat = recipe.model.ndim == 2
    size = _voxel_size(recipe, dataset, flat=flat)
    working = recipe.data.voxel_size_nm
    return Regions(
        dataset.classes,
        tuple(on_working_grid(part, working, flat=flat) for part in dataset.train),
        tuple(on_working_grid(part, working, flat=flat) for part in dataset.validate),
        {part.volume.name: part.volume.image for part in (*dataset.train, *dataset.validate)},
        size,
    )


def _voxel_size(recipe: Recipe, dataset: Dataset, *, flat: bool) -> VoxelSize | None:
    """The voxel size the network learns at: the working one, or the one that all volumes share."""
    volumes = {part.volume.name: part.volume.voxel_size_nm for part in (*dataset.train, *dataset.validate)}
    known = {name: size for name, size in volumes.items() if size is not None}
    unknown = [name for name in volumes if name not in known]
    if not known and recipe.data.voxel_size_nm is None:
        return None
    if unknown:
        raise VoxelSizeError(
            f"the voxel size of {', '.join(unknown[:5])} is not known while others are, or a working one is set; "
            "give voxel_size_nm (z, y, x) under data.volumes"
        )
    if recipe.data.voxel_size_nm is not None:
        return recipe.data.voxel_size_nm
    (first_name, first), *others = known.items()
    for name, size in others:
        if not same_voxel_size(first, size, axes=(1, 2) if flat else (0, 1, 2)):
            raise VoxelSizeError(
                f"volumes have different voxel sizes: {first_name} {voxel_size_text(first)}, {name} "
                f"{voxel_size_text(size)} (z, y, x); "
                "set data.voxel_size_nm to the size (z, y, x) that all are resampled to"
            )
    return first


def require_classes(staged: Sequence[StagedPart], classes: Classes) -> None:
    """Make sure that every foreground class is there to be learned.

    Raises:
        LabelError: A class has no voxel in the training regions, or no voxel there counts at all.
    """
    counts = np.sum([part.class_counts for part in staged], axis=0)
    missing = [
        name for name, class_id in zip(classes.foreground, classes.foreground_ids, strict=True) if not counts[class_id]
    ]
    if missing or counts.sum() == 0:
        raise LabelError(
            f"no voxel of {', '.join(missing) or 'any class'} in the training regions: a network cannot learn it; "
            "add regions that have it under data.train, or take the class out of data.classes"
        )


def require_judgement(regions: Regions, progress: Progress) -> None:
    """Make sure that the validation regions can tell a good network from a bad one.

    Raises:
        LabelError: No voxel there counts.
    """
    counts = np.zeros(256, np.int64)
    ids = list(regions.classes.foreground_ids)
    for part in regions.validate:
        for box in labelled_boxes(part):
            for block in box.blocks(_LOOK):
                counts += class_counts(part, block, exclusive=regions.classes.exclusive)
                if counts[ids].all():
                    return
    if not counts.sum():
        raise LabelError(
            "no voxel of the validation regions counts: they are masked out or unlabelled, so no epoch could be called "
            "the best; choose other regions under data.validate"
        )
    missing = [name for name, count in zip(regions.classes.foreground, counts[ids], strict=True) if not count]
    progress.warn(
        f"the validation regions hold no {', '.join(missing)}: nothing there can show how well the network finds it"
    )


def class_counts(part: Part, box: Box, *, exclusive: bool) -> np.ndarray:
    """(256,) voxels that count by class id; of overlapping masks, id 0 stands for voxels without any."""
    labels = np.stack([label.read(box) for label in part.volume.labels])
    valid = True if part.volume.valid is None else part.volume.valid.read(box) != 0
    if exclusive:
        return np.bincount(labels[0][np.broadcast_to(valid, box.shape)], minlength=256)
    counts = np.zeros(256, np.int64)
    counts[0] = np.count_nonzero(~labels.any(axis=0) & valid)
    counts[1 : len(labels) + 1] = [np.count_nonzero((mask != 0) & valid) for mask in labels]
    return counts


def fit_normalizers(config: NormalizeConfig, regions: Regions) -> tuple[dict[str, Normalizer], Normalizer]:
    """The mapping of each volume by its name, and the one that the run keeps.

    With `scope: volume` it is found from all voxels of a volume, as at prediction; otherwise from the training regions.
    """
    if config.scope == "volume":
        own = {name: fit(config, histogram_of(image)) for name, image in regions.images.items()}
        return own, own[regions.train[0].volume.name]
    limit = _MAX_HISTOGRAM_VOXELS // len(regions.train)
    total: IntensityHistogram | None = None
    for part in regions.train:
        histogram = histogram_of(part.volume.image, part.box, max_voxels=limit)
        total = histogram if total is None else total + histogram
    assert total is not None
    shared = fit(config, total)
    return dict.fromkeys(regions.images, shared), shared


def region_facts(
    volume: str, box: Box, counts: np.ndarray, classes: Classes, voxel_size_nm: VoxelSize | None
) -> dict[str, object]:
    """What the page shows of a training region, as it was read; `counts` are its voxels of each class."""
    names = classes.names if classes.exclusive else ("none", *classes.names)
    shares = counts / max(1, int(counts.sum()))
    return {
        "use": "train",
        "volume": volume,
        "box": str(box),
        "shape": list(box.shape),
        "voxel_size_nm": voxel_size_nm,
        "class_shares": dict(zip(names, shares.tolist(), strict=True)),
    }
