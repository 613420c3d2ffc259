"""Train a random forest on the labelled voxels of training regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cristae.classical.config import ObjectsConfig, RandomForestConfig
from cristae.classical.features import FeaturePlan
from cristae.classical.forest import Forest
from cristae.classical.objects import describe_objects, find_objects
from cristae.classical.pixels import read_around
from cristae.classical.samples import count_labelled, draw_samples, structures
from cristae.classical.trees import Trees, grow
from cristae.compiled import usable_cores
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.splits import Part, labelled_boxes
from cristae.errors import LabelError, VoxelSizeError
from cristae.preprocess.normalize import Normalizer
from cristae.progress import Progress

_FOLDS = 3


def train_forest(
    config: RandomForestConfig,
    parts: Sequence[Part],
    classes: Classes,
    normalizers: Mapping[str, Normalizer],
    *,
    seed: int = 0,
    progress: Progress = Progress(),
) -> Forest:
    """Train on the labelled voxels of some regions; few are enough.

    The same arguments give the same forest with any number of threads.

    Args:
        config: Features and size of the forest.
        parts: Training regions, all of one voxel size. Features also depend on the image around them.
        classes: What the labels mean.
        normalizers: Intensity normalisation by volume name.
        seed: Seed of the random numbers.
        progress: Where to show how far it is.

    Raises:
        LabelError: A class has no labelled voxel, or the first stage finds no object to learn from.
        VoxelSizeError: The filters are 3D and the shape of a voxel is not known.
    """
    size = parts[0].volume.voxel_size_nm
    require_voxel_size(config, parts)
    learner = _Learner(config, classes, normalizers, seed)
    folds = _folds(parts) if config.objects else []
    with progress.task("Learn", total=1 + len(folds), unit="forests") as task:
        forest = Forest(config, classes, size, learner.pixels(parts))
        task.advance()
        if config.objects is None:
            return forest
        seen: list[_Objects] = []
        for fold in folds:
            rest = [part for other in folds if other is not fold for part in other]
            rest_forest = replace(forest, pixels=learner.pixels(rest, complete=False))
            seen += [_objects_of(part, rest_forest, normalizers[part.volume.name], config.objects) for part in fold]
            task.advance()
    return replace(forest, objects=learner.objects(seen, config.objects))


@dataclass(frozen=True, eq=False)
class _Objects:
    """Objects of one slice for each structure: what describes them (N, D), and their classes (N,)."""

    features: list[np.ndarray]
    classes: list[np.ndarray]


@dataclass(frozen=True, eq=False)
class _Learner:
    """What all forests of one training run share."""

    config: RandomForestConfig
    classes: Classes
    normalizers: Mapping[str, Normalizer]
    seed: int

    def pixels(self, parts: Sequence[Part], *, complete: bool = True) -> tuple[Trees, ...]:
        """The first stage; `complete` if every class must be there to be learned."""
        config, size = self.config, parts[0].volume.voxel_size_nm
        samples = draw_samples(
            parts,
            self.classes,
            FeaturePlan.on_grid(config.features, config.ndim, size),
            self.normalizers,
            limit=config.max_samples_per_class,
            seed=self.seed,
            threads=usable_cores(),
        )
        if complete:
            for number, one in enumerate(samples):
                _require_classes(one.labelled, self.classes, number)
        return tuple(
            grow(
                one.features,
                one.classes,
                frequency=one.labelled if config.balance == "as_labelled" else np.ones(len(one.labelled)),
                trees=config.trees,
                max_depth=config.max_depth,
                smallest_leaf=config.smallest_leaf,
                seed=self.seed + number,
                threads=usable_cores(),
                features_per_split=config.features_per_split,
            )
            for number, one in enumerate(samples)
        )

    def objects(self, seen: Sequence[_Objects], config: ObjectsConfig) -> tuple[Trees, ...]:
        """The second stage."""
        forests = []
        for number in range(len(seen[0].features)):
            features = np.concatenate([one.features[number] for one in seen])
            classes = np.concatenate([one.classes[number] for one in seen])
            if not len(classes):
                what = "object" if self.classes.exclusive else self.classes.names[number]
                raise LabelError(
                    f"the first stage finds no {what} in the training regions, so that the second has nothing to "
                    "learn from: lower model.objects.threshold or smallest_vox, or leave out model.objects"
                )
            kinds = len(self.classes.names) if self.classes.exclusive else 2
            forest = grow(
                features,
                classes,
                frequency=np.bincount(classes, minlength=kinds),
                trees=config.trees,
                max_depth=None,
                smallest_leaf=1,
                seed=self.seed + number,
                threads=usable_cores(),
            )
            forests.append(forest)
        return tuple(forests)


def require_voxel_size(config: RandomForestConfig, parts: Sequence[Part]) -> None:
    """Make sure that 3D filters know the shape of a voxel.

    Raises:
        VoxelSizeError: They do not.
    """
    if config.ndim == 3 and parts[0].volume.voxel_size_nm is None:
        raise VoxelSizeError(
            f"the voxel size of {parts[0].volume.name} is not known; 3D filters need it, since slices are rarely as "
            "thin as pixels are wide: give voxel_size_nm (z, y, x) under data.volumes, or set model.ndim: 2"
        )


def require_labelled(parts: Sequence[Part], classes: Classes, *, ndim: int) -> None:
    """Make sure that every class, the background too, has labelled voxels to learn from.

    Raises:
        LabelError: One has none.
    """
    for number, labelled in enumerate(count_labelled(parts, classes, ndim=ndim, threads=usable_cores())):
        _require_classes(labelled, classes, number)


def _require_classes(labelled: np.ndarray, classes: Classes, number: int) -> None:
    names = classes.names if classes.exclusive else ("outside", classes.names[number])
    missing = [name for name, count in zip(names, labelled, strict=True) if not count]
    if missing:
        raise LabelError(
            f"no labelled voxel of {', '.join(missing)} in the training regions: a forest cannot learn it; "
            "label some, or add regions that have it under data.train"
        )


def _folds(parts: Sequence[Part]) -> list[list[Part]]:
    """Labelled slices in cross-validation folds, so that each is classified by a forest that was not trained on it."""
    slices = [
        Part(part.volume, one)
        for part in parts
        for box in labelled_boxes(part)
        for one in box.blocks((1, *box.shape[1:]))
    ]
    if len(slices) == 1:
        slices = _halves(slices[0])
    return [slices[first::_FOLDS] for first in range(min(_FOLDS, len(slices)))]


def _halves(part: Part) -> list[Part]:
    """The upper and the lower half of a slice."""
    (z, y, x), (end, bottom, right) = part.box.start, part.box.stop
    if bottom - y < 2:
        return [part, part]
    middle = (y + bottom) // 2
    return [Part(part.volume, Box((z, a, x), (end, b, right))) for a, b in ((y, middle), (middle, bottom))]


def _objects_of(part: Part, forest: Forest, normalizer: Normalizer, config: ObjectsConfig) -> _Objects:
    """Objects of the whole slice that a part lies in, of those that are mostly inside the part and labelled."""
    image, z, depth = part.volume.image, part.box.start[0], forest.plan.reach[0]
    whole = Box((z, 0, 0), (z + 1, *image.shape[1:]))
    around = read_around(image, whole, (depth, 0, 0), normalizer)
    inside = Box((depth, 0, 0), (depth + 1, *image.shape[1:]))
    grey, first = around[depth], forest.probabilities(around, inside)[:, 0]
    truth = np.full((len(part.volume.labels), *whole.shape[1:]), -1, np.int16)
    truth[(slice(None), *part.box.slices[1:])] = structures(part, part.box, forest.classes)[:, 0]
    features, classes = [], []
    for objects, ids in zip(find_objects(first, forest.classes, config), truth, strict=True):
        described = describe_objects(objects, grey, first, config)
        known, kind = _majority(objects, ids)
        features.append(described[known])
        classes.append(kind[known])
    return _Objects(features, classes)


def _majority(objects: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each object whether half of it is labelled, and the most frequent label there; ties go to the lower id."""
    count = int(objects.max(initial=0))
    width = int(ids.max(initial=0)) + 2
    table = np.bincount((objects * width + ids + 1).ravel(), minlength=(count + 1) * width)
    votes = table.reshape(count + 1, width)[1:]
    return votes[:, 1:].sum(axis=1) * 2 >= votes.sum(axis=1), votes[:, 1:].argmax(axis=1).astype(np.uint8)
