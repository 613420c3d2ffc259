"""The form of all targets: a config with statistics of the labels, and a call that computes what a loss compares with.

Targets are computed for each patch after the geometric augmentations, on the training device, so that a boundary or a
distance is that of the turned labels and a weight is that of the patch alone, without its margin. Called with labels of
a batch, a config returns `TargetMaps`; training puts them into the batch and hands them to the loss:

    loss(logits, target, valid, weight, further)

A new weighting is one file with a subclass, and one line in the union of `targets/__init__.py`; a new further channel,
which a loss term reads by its name, is one file with a `Channel` and one line in the union of `targets/further.py`.
Weights that depend on more than a patch are a `WeightField`: they are computed for whole slices when data is cached,
and move with image and labels.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from pydantic import field_validator
from torch import Tensor

from cristae.config import Config
from cristae.data.classes import Classes
from cristae.data.image import VoxelSize
from cristae.targets.further import Further
from cristae.targets.masks import foreground_masks

INVALID = 255
"""Label of voxels that do not count."""

Statistics = Mapping[str, Any]
"""What `prepare` found in the training labels: plain values that JSON can hold."""


class LabelledPart(Protocol):
    """The labels of one annotated box, read in blocks."""

    @property
    def class_counts(self) -> np.ndarray:
        """(K,) int64: voxels of each class that count. Overlapping classes: index 0 holds the voxels without any."""

    def label_blocks(self) -> Iterator[np.ndarray]:
        """uint8 labels (K, Z, Y, X) in blocks that cover the box once; 255 where a voxel does not count. K is 1 for
        exclusive classes, whose ids stand there, else the masks' number."""


class TargetMaps(NamedTuple):
    """What the loss compares the logits of a batch of patches with."""

    target: Tensor
    """uint8 ids (B, *T) of exclusive classes, or masks (B, K, *T) of overlapping ones."""
    weight: Tensor | None = None
    """float32 (B, *T) or (B, K, *T): how much each voxel counts in pixelwise loss terms; None means 1. A volume's own
    weights multiply it."""
    further: Mapping[str, Tensor] = {}
    """Further target channels by name, each float32 (B, C, *T): distances, boundaries, affinities."""


class WeightField(Protocol):
    """Weights of whole slices: what a voxel weighs depends on labels beyond the patch that it is seen in."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Plain values that decide the weights, together with labels and statistics."""

    def peaks(self, labels: np.ndarray) -> tuple[float, ...]:
        """Values of one slice whose maxima over all training labels are needed, as the statistic 'peaks'; often none.

        Args:
            labels: uint8 ids (Y, X), INVALID where a voxel does not count.
        """

    def weights(self, labels: np.ndarray, statistics: Statistics) -> np.ndarray:
        """float32 weights (Y, X) of one slice, 0 where a voxel does not count."""


class TargetConfig(Config):
    """How labels become what the loss compares with: how much each voxel counts, and further channels."""

    further: tuple[Further, ...] = ()
    """Channels beside the labels, which terms of the loss read by their names; each patch has its own."""

    @field_validator("further")
    @classmethod
    def _distinct(cls, further: tuple[Further, ...]) -> tuple[Further, ...]:
        if len({one.name for one in further}) != len(further):
            raise ValueError("a channel is named twice")
        return further

    def check(self, classes: Classes) -> None:
        """Whether the targets are defined for these classes; a subclass that is not for all says what to do.

        Raises:
            RecipeError: They are not.
        """

    def prepare(self, parts: Sequence[LabelledPart]) -> Statistics:
        """Statistics of all training labels, taken once before training; none unless a subclass needs some.

        Args:
            parts: Every annotated box of the training data; read in blocks, so that volumes of any size fit.
        """
        return {}

    def field(self, classes: Classes) -> WeightField | None:
        """Weights of whole slices, for classes that `check` accepts; none unless a subclass has some."""
        return None

    @abstractmethod
    def __call__(self, target: Tensor, valid: Tensor, statistics: Statistics) -> TargetMaps:
        """Labels and weights of a batch, each sample by itself.

        Args:
            target: uint8 ids (B, *T), or masks (B, K, *T) of overlapping classes; anything where nothing is valid.
            valid: bool (B, *T).
            statistics: What `prepare` returned.
        """

    def bind(
        self, statistics: Statistics, classes: Classes, voxel_size_nm: VoxelSize | None
    ) -> Callable[[Tensor, Tensor], TargetMaps]:
        """A function (target, valid) that computes labels, weights and all further channels.

        Args:
            statistics: What `prepare` returned.
            classes: What the labels mean.
            voxel_size_nm: (z, y, x) of the training data, None where it is not known.

        Raises:
            VoxelSizeError: A channel is measured in nm, and the voxel size is not known.
        """
        for one in self.further:
            one.require(voxel_size_nm)

        def compute(target: Tensor, valid: Tensor) -> TargetMaps:
            maps = self(target, valid, statistics)
            if not self.further:
                return maps
            masks = foreground_masks(target, valid, classes)
            channels: dict[str, Tensor] = {one.name: one(masks, valid, voxel_size_nm) for one in self.further}
            return maps._replace(further={**maps.further, **channels})

        return compute
