"""Models that are not networks: a function of arrays that takes a network's place in prediction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from cristae.data.box import Triple
from cristae.inference.locality import Locality

Probabilities = Callable[[np.ndarray], np.ndarray]
"""Normalised grey values float32 (Z, Y, X) to probabilities float32 (K, Z, Y, X), as many as `Classes.n_logits`."""


class ArrayModel(nn.Module):
    """Stands for a network in a `Member`, but gives probabilities: nothing is applied to them.

    The function gets a block with its reach on every side, cut off where the volume ends; there it does with the
    border as it likes (mirrors it, say), and so every block agrees with the whole. It runs on the CPU.

    Example: `Member(model, model.locality, normalizer, classes)` with
    `model = ArrayModel(forest.probabilities, reach=forest.reach, bytes_per_vox=400)`
    """

    def __init__(self, probabilities: Probabilities, *, reach: Triple, bytes_per_vox: int) -> None:
        """Wrap a function.

        Args:
            probabilities: The function; it need not be thread-safe.
            reach: Voxels (z, y, x) on each side that can change an output voxel.
            bytes_per_vox: Memory that it takes for each voxel of a block, at its peak.
        """
        super().__init__()
        self.probabilities = probabilities
        self.bytes_per_vox = bytes_per_vox
        self.locality = Locality(True, "its features look at a bounded neighbourhood", reach, (1, 1, 1), 3)

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities (1, K, Z, Y, X) of one block (1, 1, Z, Y, X), on the device of the block."""
        grey = np.ascontiguousarray(image[0, 0].cpu().numpy(), dtype=np.float32)
        found = np.ascontiguousarray(self.probabilities(grey), dtype=np.float32)
        return torch.from_numpy(found)[None].to(image.device)
