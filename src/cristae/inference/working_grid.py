"""The grid of voxels that the networks work on: that of the image, or one of another voxel size and results back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cristae.data.box import Box
from cristae.data.image import Image, VoxelSize
from cristae.inference.predictor import Predictor
from cristae.preprocess.resample import Grid, needed_box, resample_array, resample_image


@dataclass(frozen=True, eq=False)
class WorkingGrid:
    """Pairs an image with what the networks read. Boxes are in voxels of `source` unless said otherwise."""

    source: Image
    working: Image
    """`source` itself, or resampled to the voxel size that the networks were trained at."""

    @property
    def resampled(self) -> bool:
        """Whether the networks work at another voxel size."""
        return self.working is not self.source

    @property
    def working_voxel_size_nm(self) -> VoxelSize | None:
        """What the image is resampled to; None when it is taken as it is."""
        return self.working.voxel_size_nm if self.resampled else None

    def wanted(self, core: Box) -> Box:
        """The working voxels whose probabilities decide those of `core`."""
        if not self.resampled:
            return core
        return needed_box(core, _grid(self.source), _grid(self.working), "linear")

    def input_box(self, predictor: Predictor, core: Box) -> Box:
        """The working voxels that must be read to predict those."""
        return predictor.input_box(self.wanted(core), self.working.shape)

    def probabilities(self, predictor: Predictor, raw: np.ndarray, core: Box) -> Tensor:
        """Probabilities (K, Z, Y, X) of `core`, from the grey values (Z, Y, X) of `input_box`."""
        wanted = self.wanted(core)
        found = predictor.compute(raw, self.input_box(predictor, core), wanted, self.working.shape)
        if not self.resampled:
            return found
        back = resample_array(
            found.cpu().numpy(), wanted, _grid(self.working), core, _grid(self.source), method="linear"
        )
        return torch.from_numpy(back)


def working_grid_at(image: Image, voxel_size_nm: VoxelSize | None) -> WorkingGrid:
    """The grid of `image` at a working voxel size; None, or its own size, leaves the image as it is."""
    return WorkingGrid(image, image if voxel_size_nm is None else resample_image(image, voxel_size_nm, method="linear"))


def _grid(image: Image) -> Grid:
    assert image.voxel_size_nm is not None, "a resampled image knows its voxel size"
    return Grid(image.shape, image.voxel_size_nm)
