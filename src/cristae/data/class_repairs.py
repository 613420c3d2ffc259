"""Regions for classes that a split lacks: labelled sections that hold them, and that no other split needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from cristae.data.box import Box
from cristae.data.open import Dataset
from cristae.data.split_repairs import GAP, Region, cut, regions_line, slab
from cristae.data.splits import Part
from cristae.data.volume import Volume

_MOST_VOX = 2**27
"""Of more labelled voxels none is looked at."""
_BLOCK = (16, 1024, 1024)
_SPLITS = ("train", "validate", "test")

Section = tuple[str, int]
"""A volume's name and one of its slices."""
Voxels = Mapping[Section, Mapping[int, int]]
"""Of each foreground class that is there, by labelled section."""


def absent_classes(dataset: Dataset, voxels: Voxels, split: str) -> tuple[int, ...]:
    """Foreground classes that none of the labelled sections of a split holds.

    Args:
        dataset: Opened.
        voxels: Of all its labelled sections.
        split: 'train', 'validate' or 'test'.
    """
    there = {number for section in _sections(dataset, split) for number in voxels.get(section, {})}
    return tuple(number for number in dataset.classes.foreground_ids if number not in there)


def with_absent_classes(dataset: Dataset, voxels: Voxels, split: str) -> tuple[str, ...]:
    """Lines that give a split, for each class that it lacks, the section with most of it that it can have.

    It is one that no split uses, or one of the training regions' where these keep all their classes without it and the
    slices beside it. Empty where there is none.
    """
    volumes = {volume.name: volume for volume in dataset.volumes}
    splits = {name: set(_sections(dataset, name)) for name in _SPLITS}
    learned = set() if split == "train" else splits["train"]
    held = {one for name in {*_SPLITS} - {split, "train"} for one in splits[name]}
    added: dict[Section, None] = {}
    given_up: set[Section] = set()
    for number in absent_classes(dataset, voxels, split):
        if any(number in voxels[one] for one in added):
            continue
        holding = [one for one in voxels if number in voxels[one]]
        holding.sort(key=lambda one: (one in learned, -voxels[one][number], one))
        for one in holding:
            near = _near(one, volumes)
            gone = given_up | near & learned
            if not near & held and _classes(voxels, learned - gone) == _classes(voxels, learned):
                added[one], given_up = None, gone
                break
        else:
            return ()
    regions = {"train": _without(dataset.train, given_up)} if given_up else {}
    regions[split] = [(part.volume, part.box) for part in getattr(dataset, split)]
    regions[split] += [(volumes[name], slab(Box.of_shape(volumes[name].image.shape), z, z + 1)) for name, z in added]
    return tuple(regions_line(name, some) for name, some in regions.items())


def _classes(voxels: Voxels, sections: set[Section]) -> set[int]:
    return {number for section in sections for number in voxels.get(section, {})}


def _without(parts: Sequence[Part], given_up: set[Section]) -> list[Region]:
    return [
        (part.volume, box)
        for part in parts
        for box in cut(part.box, {z for name, z in given_up if name == part.volume.name})
    ]


def voxels_by_section(dataset: Dataset) -> Voxels | None:
    """Look at all labelled sections of a dataset; None where these are too many to be looked at quickly."""
    boxes = [(volume, box) for volume in dataset.volumes for box in _labelled(volume)]
    if sum(box.size for _, box in boxes) > _MOST_VOX:
        return None
    return {(volume.name, z): found for volume, box in boxes for z, found in _counted(dataset, volume, box)}


def _labelled(volume: Volume) -> list[Box]:
    if not volume.labels:
        return []
    whole = Box.of_shape(volume.image.shape)
    if volume.labelled_slices is None:
        return [whole]
    return cut(whole, set(range(whole.shape[0])) - set(volume.labelled_slices))


def _counted(dataset: Dataset, volume: Volume, box: Box) -> Iterator[tuple[int, Mapping[int, int]]]:
    classes, found = dataset.classes, {z: dict[int, int]() for z in _slices(box)}
    for block in box.blocks(_BLOCK):
        for place, mask in enumerate(volume.labels):
            read = mask.read(block)
            for z, plane in zip(_slices(block), read, strict=True):
                ids, counts = np.unique(plane, return_counts=True)
                for number, count in zip(ids.tolist(), counts.tolist(), strict=True):
                    own = number if classes.exclusive else classes.ids[place] if number else None
                    if own in classes.foreground_ids:
                        found[z][own] = found[z].get(own, 0) + count
    yield from found.items()


def _sections(dataset: Dataset, split: str) -> list[Section]:
    return [(part.volume.name, z) for part in getattr(dataset, split) for z in _slices(part.box)]


def _near(section: Section, volumes: Mapping[str, Volume]) -> set[Section]:
    """A section and those beside it that a gap leaves out."""
    name, z = section
    gap = GAP if volumes[name].image.shape[0] > 1 else 0
    return {(name, other) for other in range(z - gap, z + gap + 1)}


def _slices(box: Box) -> range:
    return range(box.start[0], box.stop[0])
