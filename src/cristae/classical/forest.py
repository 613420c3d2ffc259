"""A trained forest: from normalised grey values to probabilities, and to a file of plain arrays and back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from cristae.classical.config import RandomForestConfig
from cristae.classical.features import FeaturePlan
from cristae.classical.objects import describe_objects, find_objects, object_features
from cristae.classical.pixels import pixel_probabilities
from cristae.classical.trees import Trees
from cristae.compiled import usable_cores
from cristae.config import Config
from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.files import write_bytes
from cristae.data.image import VoxelSize
from cristae.errors import RunError

_WHOLE_SLICE = 2**24
"""Further than any slice reaches."""


class _Facts(Config):
    """Metadata stored beside the arrays."""

    config: RandomForestConfig
    classes: Classes
    voxel_size_nm: VoxelSize | None


@dataclass(frozen=True, eq=False)
class Forest:
    """A random forest that classifies voxels or, in a second stage, objects."""

    config: RandomForestConfig
    classes: Classes
    voxel_size_nm: VoxelSize | None
    """(z, y, x) of the images that it takes; None where the training volumes do not say."""
    pixels: tuple[Trees, ...]
    """The first stage: one forest for exclusive classes, one for each overlapping class."""
    objects: tuple[Trees, ...] = ()
    """The second stage, alike; empty without one."""

    @cached_property
    def plan(self) -> FeaturePlan:
        """The features it uses."""
        return FeaturePlan.on_grid(self.config.features, self.config.ndim, self.voxel_size_nm)

    @property
    def reach(self) -> Triple:
        """Voxels (z, y, x) on each side that can change a voxel's probabilities; objects need the whole slice."""
        return (self.plan.reach[0], _WHOLE_SLICE, _WHOLE_SLICE) if self.objects else self.plan.reach

    @property
    def bytes_per_vox(self) -> int:
        """Memory of `probabilities` at its peak, for each voxel of a block."""
        return 4 * (4 + len(self.plan.scales) + 3 * self.classes.n_logits) + (64 if self.objects else 0)

    def probabilities(self, grey: np.ndarray, wanted: Box | None = None) -> np.ndarray:
        """Probabilities float32 (K, Z, Y, X) of the voxels of a box, K being `Classes.n_logits`.

        Args:
            grey: Normalised float32 (Z, Y, X). Its borders are mirrored, so a block needs `reach` voxels more than
                are wanted wherever the image continues.
            wanted: A box of `grey`; None for all of it.
        """
        wanted = wanted or Box.of_shape(grey.shape)
        if not self.objects:
            return self._of_pixels(grey, wanted)
        whole = Box((wanted.start[0], 0, 0), (wanted.stop[0], grey.shape[1], grey.shape[2]))
        first = self._of_pixels(grey, whole)
        found = np.empty((self.classes.n_logits, *wanted.shape), np.float32)
        for z in range(wanted.shape[0]):
            second = self._of_objects(grey[wanted.start[0] + z], first[:, z])
            found[:, z] = second[(slice(None), *wanted.slices[1:])]
        return found

    def _of_pixels(self, grey: np.ndarray, wanted: Box) -> np.ndarray:
        found = pixel_probabilities(grey, self.plan, self.pixels, wanted=wanted, threads=usable_cores())
        return found if self.classes.softmax else found[1::2]

    def _of_objects(self, grey: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Each object takes the probabilities of its class, (K, Y, X); the rest is background."""
        config = self.config.objects
        assert config is not None
        channels = []
        for trees, objects in zip(self.objects, find_objects(first, self.classes, config), strict=True):
            features = describe_objects(objects, grey, first, config)
            background = np.zeros((trees.n_classes, 1), np.float32)
            background[0] = 1
            shares = np.concatenate([background, trees.probabilities(np.ascontiguousarray(features.T))], axis=1)
            channels.append(shares[:, objects])
        found = np.concatenate(channels)
        return found if self.classes.softmax else found[1::2]

    def save(self, path: Path) -> None:
        """Write one safetensors file.

        Raises:
            StorageError: The disk is full or the place may not be written.
        """
        from safetensors.numpy import save

        arrays = {
            name: np.ascontiguousarray(array)
            for stage in ("pixels", "objects")
            for number, trees in enumerate(getattr(self, stage))
            for name, array in trees.to_arrays(f"{stage}.{number}").items()
        }
        facts = _Facts(config=self.config, classes=self.classes, voxel_size_nm=self.voxel_size_nm)
        write_bytes(path, save(arrays, metadata={"random_forest": facts.model_dump_json()}))

    @classmethod
    def load(cls, path: Path) -> Forest:
        """Read what `save` wrote.

        Raises:
            RunError: The file is missing or damaged, or holds something else.
        """
        facts, arrays = _read(path)
        plan = FeaturePlan.on_grid(facts.config.features, facts.config.ndim, facts.voxel_size_nm)
        kinds = [len(facts.classes.names)] if facts.classes.exclusive else [2] * len(facts.classes.names)

        def read_stage(name: str, n_features: int) -> tuple[Trees, ...]:
            return tuple(
                Trees.from_arrays(arrays, f"{name}.{number}", n_features=n_features, n_classes=kind)
                for number, kind in enumerate(kinds)
            )

        try:
            pixels = read_stage("pixels", len(plan.names))
            second = facts.config.objects
            objects = () if second is None else read_stage("objects", len(object_features(facts.classes, second)))
        except RunError as error:
            raise RunError(f"{path}: the forest is damaged: {error}") from None
        return cls(facts.config, facts.classes, facts.voxel_size_nm, pixels, objects)


def _read(path: Path) -> tuple[_Facts, dict[str, np.ndarray]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise RunError(f"{path}: there is no forest; the training has not finished")
    try:
        path.open("rb").close()  # safetensors takes a file that may not be read for a missing one
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})["random_forest"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _Facts.model_validate(facts), arrays
    except OSError as error:
        raise RunError(f"{path}: the forest cannot be read: {error.strerror or error}") from None
    except (SafetensorError, ValueError, KeyError, ValidationError) as error:
        shown = str(error).splitlines()[0][:160]
        raise RunError(f"{path}: is damaged, or holds no random forest: {shown}") from None
