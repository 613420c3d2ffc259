"""The form of all targets: a config with statistics of the labels, and a call that computes what a loss compares with.

Targets are computed for each patch after the geometric augmentations, on the training device, so that a boundary or a
distance is that of the turned labels and a weight is that of the patch alone, without its margin. Called with labels of
a batch, a config returns `TargetMaps`; training puts them into the batch and hands them to the loss:

    loss(logits, target, valid, weight, further)

A new target is one file with a subclass, and one line in the union of `targets/__init__.py`. What it computes beside
the weight travels under a name in `TargetMaps.further` to `losses.Voxels.further`, where a loss term reads it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from cristae.config import Config

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


class TargetConfig(Config):
    """How labels become what the loss compares with."""

    def prepare(self, parts: Sequence[LabelledPart]) -> Statistics:
        """Statistics of all training labels, taken once before training; none unless a subclass needs some.

        Args:
            parts: Every annotated box of the training data; read in blocks, so that volumes of any size fit.
        """
        return {}

    @abstractmethod
    def __call__(self, target: Tensor, valid: Tensor, statistics: Statistics) -> TargetMaps:
        """Targets of a batch, each sample by itself.

        Args:
            target: uint8 ids (B, *T), or masks (B, K, *T) of overlapping classes; anything where nothing is valid.
            valid: bool (B, *T).
            statistics: What `prepare` returned.
        """
