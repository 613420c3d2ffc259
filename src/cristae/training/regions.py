"""From opened data to what training needs of it: regions on one grid, their classes, their grey values."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from cristae.data.affinities import Affinities
from cristae.data.box import Box
from cristae.data.class_counts import class_counts
from cristae.data.classes import Classes
from cristae.data.image import Image, VoxelSize, same_voxel_size, voxel_size_text
from cristae.data.open import Dataset, Part, labelled_boxes
from cristae.errors import LabelError, VolumeError, VoxelSizeError
from cristae.preprocess import NormalizeConfig
from cristae.preprocess.fitting import Greys, fit_training, fit_volume, greys_of
from cristae.preprocess.histogram import IntensityHistogram, add_up, histogram_of
from cristae.preprocess.normalize import Normalizer
from cristae.preprocess.resample import resample_volume
from cristae.progress import Progress

_MAX_HISTOGRAM_VOXELS = 200_000_000
_BLOCK = (1, 2048, 2048)
"""Voxels whose labels are counted at once."""
_SHOWN = 5
"""Names that a message lists."""
_HASHED_BLOCK = (16, 1024, 1024)
_SLAB = (16, 1024, 1024)
"""What is read of large regions: some boxes of this size."""


@dataclass(frozen=True)
class Regions:
    """Training and validation regions on the working grid."""

    classes: Classes
    train: tuple[Part, ...]
    validate: tuple[Part, ...]
    images: Mapping[str, Image]
    """The images of their volumes as they are on disk, by volume name."""
    voxel_size_nm: VoxelSize | None

    @property
    def affinities(self) -> Affinities | None:
        """What the classes are, where labels are object ids that training turns into affinities; in all volumes the
        same."""
        objects = self.train[0].volume.objects
        return None if objects is None else objects.affinities

    def count_greys(self, config: NormalizeConfig, max_voxels: int | None = None) -> dict[str, Greys]:
        """What the mapping is found from: of all training regions together, under '', and where each volume has its
        own mapping, of whole volumes by their names, as at prediction.

        Args:
            config: How grey values are normalised.
            max_voxels: Look at no more than about this many, of each volume or of all regions; slices of volumes that
                hold more are then not told apart.

        Raises:
            VolumeError: They are not finite, or of several types that are not on one scale.
        """
        counted = {}
        if config.matches or config.statistics in ("training", "patch"):
            counted[""] = Greys(self._count_regions(self._limit(max_voxels)))
        if config.statistics in ("volume", "slice"):
            images = self.working_images() if config.statistics == "slice" else self.images
            for name, image in images.items():
                whole = max_voxels is None or Box.of_shape(image.shape).size <= max_voxels
                counted[name] = greys_of(config, image) if whole else Greys(histogram_of(image, max_voxels=max_voxels))
        return counted

    def working_images(self) -> dict[str, Image]:
        """The images on the working grid, by volume name: a 3D network's slices may lie elsewhere than on disk."""
        return {part.volume.name: part.volume.image for part in (*self.train, *self.validate)}

    def _limit(self, max_voxels: int | None) -> int:
        """Voxels that are counted of each training region."""
        limit = _MAX_HISTOGRAM_VOXELS // len(self.train)
        if max_voxels is None or sum(part.box.size for part in self.train) <= max_voxels:
            return limit
        return min(limit, max_voxels // len(self.train))

    def _count_regions(self, limit: int) -> IntensityHistogram:
        return add_up(histogram_of(part.volume.image, part.box, max_voxels=limit) for part in self.train)

    def counts_all(self, config: NormalizeConfig, max_voxels: int | None) -> bool:
        """Whether `count_greys` looks at no less with `max_voxels` than without."""
        if max_voxels is None:
            return True
        if config.statistics in ("volume", "slice"):
            return all(Box.of_shape(image.shape).size <= max_voxels for image in self.images.values())
        return sum(part.box.size for part in self.train) <= max_voxels

    def fit_normalizers(
        self, config: NormalizeConfig, counted: Mapping[str, Greys]
    ) -> tuple[dict[str, Normalizer], Normalizer]:
        """The mapping of each volume by its name, and the one that the run keeps, from what `count_greys` counted.

        Raises:
            VolumeError: Grey values are constant.
        """
        shared = None
        if "" in counted:
            with _named(volume_names(self.train)):
                shared = fit_training(config, counted[""])
        own = {}
        for name, greys in counted.items():
            if name:
                with _named(f"'{name}'"):
                    own[name] = fit_volume(config, greys, shared)
        if shared is None:
            return own, replace(own[self.train[0].volume.name], slices=())
        return own or dict.fromkeys(self.images, shared), shared

    def limited(self, read_vox: int, *, flat: bool) -> tuple[Regions, bool]:
        """The same with fewer slices, where they hold more voxels than `read_vox`; and whether all are left.

        Args:
            read_vox: Two thirds of it are for training regions.
            flat: Whether only labelled slices are read.
        """
        train, train_whole = _limited(self.train, 2 * read_vox // 3, flat=flat)
        validate, validate_whole = _limited(self.validate, read_vox // 3, flat=True)
        return replace(self, train=train, validate=validate), train_whole and validate_whole


def volume_names(parts: Iterable[Part]) -> str:
    """The volumes of some parts, for messages."""
    names = [f"'{name}'" for name in dict.fromkeys(part.volume.name for part in parts)]
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _limited(parts: Sequence[Part], read_vox: int, *, flat: bool) -> tuple[tuple[Part, ...], bool]:
    """Some labelled slabs of each region, spread evenly over it, or some layers of tiles."""
    regions: dict[tuple[str, Box], list[tuple[Part, ...]]] = defaultdict(list)
    for (name, region), some in groupby(parts, lambda part: (part.volume.name, part.slab or part.box)):
        regions[name, region] += _slabs_of(region, tuple(some))
    slabs = [slab for found in regions.values() for slab in found]
    read = sum(map(_size, slabs)) if flat else sum(part.box.size for part in parts)
    if read <= read_vox:
        return tuple(parts), True
    chosen: list[Part] = []
    for found in filter(None, regions.values()):
        count = max(1, min(len(found), read_vox // len(regions) // _size(found[0])))
        for place in np.linspace(0, len(found) - 1, count).round().astype(int):
            chosen += found[place]
    return tuple(chosen), False


def _slabs_of(region: Box, parts: tuple[Part, ...]) -> list[tuple[Part, ...]]:
    """What of a region has labels, in pieces that are read by themselves: slabs, or all tiles of the same slices."""
    if parts[0].slab is None:
        boxes = [slab for part in parts for box in labelled_boxes(part) for slab in box.blocks(_SLAB)]
        return [(replace(parts[0], box=box),) for box in boxes]
    layers: dict[Box, list[Part]] = defaultdict(list)
    for part in parts:
        if labelled_boxes(part):
            (first, last), (start, stop) = (part.box.start[0], part.box.stop[0]), (region.start[1:], region.stop[1:])
            layer = Box((first, start[0], start[1]), (last, stop[0], stop[1]))
            layers[layer].append(replace(part, slab=layer))
    return [tuple(tiles) for tiles in layers.values()]


def _size(slab: tuple[Part, ...]) -> int:
    """Voxels that are labelled there."""
    return sum(part.box.size for part in slab)


@contextmanager
def _named(names: str) -> Iterator[None]:
    """For what finds grey values wrong and does not know whose."""
    try:
        yield
    except VolumeError as error:
        raise VolumeError(f"{names}: {error}") from None


def prepare_regions(dataset: Dataset, working: VoxelSize | None, *, flat: bool) -> Regions:
    """Regions on the working grid, after checking that they have labels and one voxel size.

    Args:
        dataset: The opened data.
        working: The working voxel size (z, y, x) in nm; None where volumes keep theirs.
        flat: Whether the network sees single slices, so that the distance between them may differ.

    Raises:
        LabelError: A volume has no labels.
        VoxelSizeError: Voxel sizes differ, or one is not known.
    """
    parts = (*dataset.train, *dataset.validate)
    for part in parts:
        if not part.volume.labels:
            raise LabelError(
                f"volume '{part.volume.name}' is used for training or validation but has no labels; "
                "add labels to it under data.volumes"
            )
    return Regions(
        classes=dataset.classes,
        train=tuple(on_working_grid(part, working, flat=flat) for part in dataset.train),
        validate=tuple(on_working_grid(part, working, flat=flat) for part in dataset.validate),
        images={part.volume.name: part.volume.image for part in parts},
        voxel_size_nm=_common_voxel_size(parts, working, flat=flat),
    )


def _common_voxel_size(parts: Sequence[Part], working: VoxelSize | None, *, flat: bool) -> VoxelSize | None:
    """The voxel size that is learned at: the working one, or the one that all volumes share."""
    volumes = {part.volume.name: part.volume.voxel_size_nm for part in parts}
    known = {name: size for name, size in volumes.items() if size is not None}
    unknown = [name for name in volumes if name not in known]
    if not known and working is None:
        return None
    if unknown:
        raise VoxelSizeError(
            f"the voxel size of {', '.join(unknown[:5])} is not known while others are, or a working one is set; "
            "give voxel_size_nm (z, y, x) under data.volumes"
        )
    if working is not None:
        return working
    (first_name, first), *others = known.items()
    for name, size in others:
        if not same_voxel_size(first, size, axes=(1, 2) if flat else (0, 1, 2)):
            raise VoxelSizeError(
                f"volumes have different voxel sizes: {first_name} {voxel_size_text(first)}, {name} "
                f"{voxel_size_text(size)} (z, y, x); "
                "set data.voxel_size_nm to the size (z, y, x) that all are resampled to"
            )
    return first


def on_working_grid(part: Part, working: VoxelSize | None, *, flat: bool) -> Part:
    """The same region of the volume resampled to the working voxel size; networks that see single slices keep them.

    Raises:
        LabelError: Its classes are affinities, whose offsets are voxels of the files.
    """
    own = part.volume.voxel_size_nm
    if own is None or working is None:
        return part
    size = (own[0], working[1], working[2]) if flat else working
    if same_voxel_size(own, size):
        return part
    if part.volume.objects is not None:
        raise LabelError(
            f"data.voxel_size_nm: is {voxel_size_text(working)} (z, y, x), but labels of '{part.volume.name}' are "
            f"affinities, whose offsets count its voxels of {voxel_size_text(own)}; leave data.voxel_size_nm out, or "
            "give files of that voxel size"
        )
    volume = resample_volume(part.volume, size)
    whole = Box.of_shape(volume.image.shape)
    box, slab = (None if one is None else _inside(one, own, size).intersect(whole) for one in (part.box, part.slab))
    assert box is not None
    return Part(volume, box, slab)


def _inside(box: Box, source: VoxelSize, target: VoxelSize) -> Box:
    """The voxels of the target grid that lie wholly inside `box` of the source grid."""
    # A hundredth of a voxel absorbs the rounding of the division.
    start = [math.ceil(a * s / t - 0.01) for a, s, t in zip(box.start, source, target, strict=True)]
    stop = [math.floor(b * s / t + 0.01) for b, s, t in zip(box.stop, source, target, strict=True)]
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def require_classes(counts: Sequence[np.ndarray], classes: Classes, affinities: Affinities | None = None) -> None:
    """Make sure that every foreground class is there to be learned.

    Args:
        counts: (K,) voxels of each class in each training region.
        classes: What they are.
        affinities: Which affinities, if they are some.

    Raises:
        LabelError: A class has no voxel in the training regions, or no voxel there counts at all.
    """
    total = np.sum(counts, axis=0)
    ids = list(classes.foreground_ids)
    missing = [name for name, count in zip(classes.foreground, total[ids], strict=True) if count == 0]
    if affinities is not None and total.sum() == 0:
        raise LabelError(
            "no voxel of the training regions has all its partners there, so none counts: the offsets of the "
            f"affinities reach {' x '.join(map(str, affinities.frame))} voxels (z, y, x); take larger regions under "
            "data.train, or leave far offsets out"
        )
    if missing or total.sum() == 0:
        raise LabelError(
            f"no voxel of {', '.join(missing) or 'any class'} in the training regions: a network cannot learn it; "
            "add regions that have it under data.train, or take the class out of data.classes"
        )


def require_partners(regions: Regions) -> None:
    """Make sure that the offsets of affinities leave voxels that have all their partners in each region; of volumes
    that are validated, partners may lie anywhere.

    Raises:
        LabelError: Some reach farther than a region.
    """
    affinities = regions.affinities
    if affinities is None:
        return
    splits = [("train", part, part.slab or part.box) for part in regions.train]
    splits += [("validate", part, Box.of_shape(part.volume.image.shape)) for part in regions.validate]
    for axis, letter in enumerate("zyx"):
        steps = [offset[axis] for offset in affinities.offsets]
        back, forth = min(0, *steps), max(0, *steps)
        for split, part, around in splits:
            if forth - back < around.shape[axis]:
                continue
            named = zip(regions.classes.names, steps, strict=True)
            names = " and ".join(f"'{name}'" for name, step in named if step and step in (back, forth))
            raise LabelError(
                f"data.volumes.{part.volume.name}.labels.offsets: none of data.{split} in '{part.volume.name}' would "
                f"count, because partners of {names} lie {forth - back} voxels along {letter}, but there are "
                f"{around.shape[axis]}; leave far offsets out, or take larger regions"
            )


def require_validation(regions: Regions, progress: Progress, *, what: str = "the validation regions") -> None:
    """Make sure that the validation regions can rank networks, and warn about classes that they lack.

    Args:
        regions: Where to validate.
        progress: Where the warning goes.
        what: What messages call the regions, where these are a part of them.

    Raises:
        LabelError: No voxel there counts.
    """
    counts = np.zeros(256, np.int64)
    ids = list(regions.classes.foreground_ids)
    for part in regions.validate:
        for box in labelled_boxes(part):
            for block in box.blocks(_BLOCK):
                counts += class_counts(part.volume, block, exclusive=regions.classes.exclusive)
                if counts[ids].all():
                    return
    if not counts.sum():
        raise LabelError(
            "no voxel of the validation regions counts: they are masked out or unlabelled, so no epoch could be called "
            "the best; choose other regions under data.validate"
        )
    missing = [name for name, count in zip(regions.classes.foreground, counts[ids], strict=True) if not count]
    progress.warn(f"{what} hold no {', '.join(missing)}: nothing there can show how well the network finds it")


@dataclass(frozen=True, eq=False)
class RegionContent:
    """What a training region holds."""

    volume: str
    box: Box
    class_counts: np.ndarray
    """(K,) voxels of each class; of overlapping ones, those without any come first."""
    sha256: str
    """Of its grey values and labels."""

    @property
    def name(self) -> str:
        """The region in provenance."""
        return f"{self.volume} {self.box}"

    def facts(self, classes: Classes, voxel_size_nm: VoxelSize | None) -> dict[str, object]:
        """What the summary of a run says of the region."""
        names = classes.names if classes.exclusive else ("none", *classes.names)
        fractions = self.class_counts / max(1, int(self.class_counts.sum()))
        return {
            "use": "train",
            "volume": self.volume,
            "box": str(self.box),
            "shape": list(self.box.shape),
            "voxel_size_nm": voxel_size_nm,
            "class_shares": dict(zip(names, fractions.tolist(), strict=True)),
        }


def read_content(regions: Regions) -> tuple[RegionContent, ...]:
    """Read the labelled slices of the training regions once, for the page and for provenance."""
    slabs = [Part(part.volume, box) for part in regions.train for box in labelled_boxes(part)]
    return tuple(_content_of(slab, regions.classes) for slab in slabs)


def _content_of(part: Part, classes: Classes) -> RegionContent:
    counts, content, volume = np.zeros(256, np.int64), hashlib.sha256(), part.volume
    images = (volume.image, *volume.labels, *([] if volume.valid is None else [volume.valid]))
    for block in part.box.blocks(_HASHED_BLOCK):
        counts += class_counts(part.volume, block, exclusive=classes.exclusive)
        for image in images:
            content.update(np.ascontiguousarray(image.read(block)).tobytes())
    return RegionContent(volume.name, part.box, counts[: classes.ids[-1] + 1], content.hexdigest())
