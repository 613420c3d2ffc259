"""The grid of voxels that the networks work on: that of the image, or one of another voxel size and results back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cristae.data.box import Box
from cristae.data.image import Image, VoxelSize
from cristae.inference.held_out import MemberPart
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
        parts = predictor.parts(core)
        return Box.around([predictor.input_box(self.wanted(p.box), self.working.shape, p.groups) for p in parts])

    def work_of(self, predictor: Predictor, core: Box) -> int:
        """Voxels that the networks of all members and variants take in to predict those."""
        wanted, shape = self.wanted(core), self.working.shape
        return sum(
            member.inner_input(wanted, shape, variant).size
            for member in predictor.members
            for variant in member.variants
        )

    def probabilities(self, predictor: Predictor, raw: np.ndarray, core: Box) -> Tensor:
        """What `predictor.compute` gives for `core` (K, Z, Y, X), from the grey values (Z, Y, X) of `input_box`."""
        known, parts = self.input_box(predictor, core), predictor.parts(core)
        if len(parts) == 1:
            return self._of_part(predictor, raw, known, parts[0])
        result: Tensor | None = None
        for part in parts:
            found = self._of_part(predictor, raw, known, part)
            result = found.new_empty((len(found), *core.shape)) if result is None else result
            result[(slice(None), *part.box.relative_to(core.start).slices)] = found
        assert result is not None, "a block has voxels"
        return result

    def _of_part(self, predictor: Predictor, raw: np.ndarray, known: Box, part: MemberPart) -> Tensor:
        core, wanted = part.box, self.wanted(part.box)
        found = predictor.compute(raw, known, wanted, self.working.shape, part.groups)
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
