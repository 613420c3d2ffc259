"""The synthetic volume as a set: computed on this machine, labelled as several papers label their own."""

from __future__ import annotations

import numpy as np

from cristae.data.classes import Classes
from cristae.data.description import DataConfig, IdLabels, Labels, MappedLabels, Region, VolumeConfig
from cristae.data.image import Image, image_of_array
from cristae.data.public.base import PublicSet
from cristae.data.synthetic import PLATELET_CLASSES, SyntheticConfig, synthetic_volume

_VOLUME = SyntheticConfig(shape=(24, 512, 512), seed=5)
_IMAGE, _IDS, _FIBSEM_IDS = "image.tif", "platelet.tif", "fib-sem.tif"
_FIBSEM = Classes(names=("background", "mitochondrion", "cell membrane", "endoplasmic reticulum"))
_ORGANELLES = {
    "0-1": "background",
    "2": "mitochondria",
    "3": "alpha granule",
    "4": "canalicular vessel",
    "5-6": "dense granule",
}
_MITOCHONDRIA = {"0-1": "background", "2": "mitochondria", "3-6": "background"}


def _compute(path: str) -> Image:
    volume = synthetic_volume(_VOLUME)
    (ids,) = volume.labels
    if path == _FIBSEM_IDS:
        return image_of_array(fibsem_ids(ids.read()), voxel_size_nm=_VOLUME.voxel_size_nm)
    return volume.image if path == _IMAGE else ids


def fibsem_ids(ids: np.ndarray) -> np.ndarray:
    """What Meyer et al. (2021) label, in whole slices (Z, Y, X) of platelets, as uint8 ids.

    Mitochondria stay what they are, canalicular vessels stand in for the endoplasmic reticulum, and the cell membrane
    is a line: the cytoplasm that has background beside it, above it or below it in its slice.
    """
    outside = np.pad(ids == 0, ((0, 0), (1, 1), (1, 1)))
    beside = outside[:, 1:-1, :-2] | outside[:, 1:-1, 2:] | outside[:, :-2, 1:-1] | outside[:, 2:, 1:-1]
    table = np.array([0, 0, 1, 0, 3, 0, 0], np.uint8)
    found: np.ndarray = np.where((ids == 1) & beside, np.uint8(2), table[ids])
    return found


def _describe(classes: Classes, labels: Labels) -> DataConfig:
    return DataConfig(
        classes=classes,
        volumes=(VolumeConfig(name="platelets", image=_IMAGE, labels=labels, voxel_size_nm=_VOLUME.voxel_size_nm),),
        # Slices 16 and 17 are a gap: neighbouring slices are alike.
        train=(Region(volume="platelets", slices="0:16"),),
        validate=(Region(volume="platelets", slices="18:24"),),
    )


def _from_ids(values: dict[str, str]) -> DataConfig:
    names = tuple(dict.fromkeys(values.values()))
    colors = {name: color for name, color in PLATELET_CLASSES.colors.items() if name in names}
    return _describe(Classes(names=names, colors=colors), MappedLabels(path=_IDS, values=values))


SET = PublicSet(
    name="synthetic",
    title="Synthetic platelets, computed on this machine: 24 slices of 512 x 512",
    citation="Cristae; looks and class shares follow Guay et al., Scientific Reports 11:2561 (2021)",
    doi="10.1038/s41598-021-81590-0",
    licence="none needed",
    licence_note="Nothing is downloaded: the voxels follow from a rule and belong to whoever computes them.",
    homepage="https://doi.org/10.1038/s41598-021-81590-0",
    address="",
    tasks={
        "platelet": _describe(PLATELET_CLASSES, IdLabels(path=_IDS)),
        "organelles": _from_ids(_ORGANELLES),
        "mitochondria": _from_ids(_MITOCHONDRIA),
        "fib-sem": _describe(_FIBSEM, IdLabels(path=_FIBSEM_IDS)),
    },
    notes="For trying things: every recipe trains on it, with a task whose classes suit its loss. A score says that "
    "training works, not how good a network is on micrographs.",
    compute=_compute,
)
