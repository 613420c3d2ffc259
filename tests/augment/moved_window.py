"""Patches with a margin, moved, and where their voxels came from."""

from collections.abc import Sequence

import numpy as np
import torch

from cristae.augment import Batch, GeometricAugmentation, move, required_margin
from cristae.data.box import Box


class Window:
    """Patches cut from one place of a volume with the margin that some augmentations need, and what they make of them.

    Places are (z, y, x) voxels from the centre of the patch.
    """

    count = 4

    def __init__(self, steps: Sequence[GeometricAugmentation], *size: int, slices: int = 0, seed: int = 7) -> None:
        """Of 2D patches with `slices` neighbouring slices, or of 3D ones where these are 0."""
        self.steps, self.seed, self.slices, self.size = steps, seed, slices, size
        self.margin = required_margin(steps, size)
        grown = tuple(side + 2 * around for side, around in zip(size, self.margin, strict=True))
        self.shape = (slices, *grown) if slices else grown
        stored = self.shape if not slices else (1, *grown)
        centre, start = (100, 400, 500), np.array(stored) // 2
        first = np.array(centre) - start
        self.box = Box(tuple(first.tolist()), tuple((first + stored).tolist()))  # type: ignore[arg-type]

    def places(self) -> np.ndarray:
        """(3, Z, Y, X) of what is read."""
        axes = [np.arange(side) - (side - 1) / 2 for side in self.shape]
        return np.stack(np.meshgrid(*axes, indexing="ij"))

    def batch(self, image: np.ndarray, weight: np.ndarray | None = None) -> Batch:
        """With this image (Z, Y, X), or (C, Z, Y, X) in 3D, in every sample; everything is valid."""
        stack = torch.from_numpy(np.ascontiguousarray(image, np.float32))
        stack = stack if self.slices or stack.ndim == 4 else stack.unsqueeze(0)
        inner = self.shape[1:] if self.slices else self.shape
        weights = torch.ones(inner) if weight is None else torch.from_numpy(weight.astype(np.float32))
        batch = Batch(
            stack, torch.zeros(inner, dtype=torch.uint8), torch.ones(inner, dtype=torch.bool), weights,
            (self.box,) * self.count, ("cell",) * self.count, self.margin,
            volume_shapes=((200, 800, 1000),) * self.count, epoch_key=(3, 5),
        )  # fmt: skip
        return batch.map(lambda tensor: tensor.expand(self.count, *tensor.shape).clone())

    def moved(self, batch: Batch, interpolation: str = "linear") -> Batch:
        """The same draws at every call."""
        draws = [np.random.default_rng([self.seed, i]) for i in range(len(batch))]
        return move(self.steps, batch, draws, interpolation)  # type: ignore[arg-type]

    def image(self, batch: Batch) -> np.ndarray:
        """(B, Z, Y, X) of the first channel."""
        return (batch.image if self.slices else batch.image[:, 0]).numpy().astype(np.float64)

    def sources(self) -> np.ndarray:
        """(3, B, Z, Y, X): where every voxel came from, seen in ramps, which linear interpolation keeps."""
        return np.stack([self.image(self.moved(self.batch(ramp))) for ramp in self.places()])

    def only(self, count: int) -> "Window":
        """The same with another number of samples."""
        self.count = count
        return self
